"""Checks of a run's settings beyond the type and range of each."""

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import games
from alphazero import addresses, config_file, encoders, targets
from alphazero.addresses import ByAddress
from alphazero.cluster_settings import NodeLimits
from alphazero.network_settings import Network
from alphazero.search import continues_trees
from alphazero.selfplay_settings import check_fast_moves
from games.base import Game

if TYPE_CHECKING:
    from alphazero.config import Config


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"got {device!r}, should be auto, cpu, cuda, cuda:N or mps")


def check_ray(ray: str) -> None:
    """``ValueError`` unless ``ray`` is off, local, auto or an address ``host:port``."""
    if ray not in ("off", "local", "auto") and not re.fullmatch(r"[^:/\s]+:\d+", ray):
        raise ValueError(f"got {ray!r}, should be off, local, auto or an address host:port")


def check_nodes(limits: NodeLimits, ray: str) -> str:
    """A line where ``cluster.nodes`` has no effect, because the run plays without Ray; else "".

    ``ray``: where the run plays, not ``auto``. ``ValueError``, one line, for more machines than a
    cluster of this machine alone can ever have.
    """
    if ray == "off":
        return "cluster.nodes has no effect without Ray" if limits != NodeLimits() else ""
    if ray == "local" and (limits.min or 0) > 1:
        raise ValueError(
            f"cluster.nodes.min: {limits.min} machines, but ray=local is this machine alone"
        )
    return ""


CHECKS: config_file.Checks = {
    "game": games.make,
    "ray": check_ray,
    "replay.value_target": targets.check_value_target,
    "training.device": _check_device,
    "inference.device": _check_device,
}
"""By dotted key, a function that raises ``ValueError`` for an invalid text."""


def contradictions(config: "Config") -> list[str]:
    """Contradictions between several settings, one line each."""
    problems = []
    game = games.make(config.game)
    plies, longest = config.selfplay.random_opening_plies, game.max_plies
    if plies >= longest:
        problems.append(
            f"selfplay.random_opening_plies: {plies} leave nothing to train on: games of "
            f"{config.game} last at most {longest} plies"
        )
    if (least := config.cluster.nodes.min or 0) > (most := config.cluster.nodes.max or least):
        problems.append(f"cluster.nodes.min: {least} is more than cluster.nodes.max, {most}")
    training = config.training
    if training.batch_size < 2 * training.processes:
        problems.append(
            f"training.processes: {training.processes} need a training.batch_size of at least "
            f"{2 * training.processes}, two rows each, not {training.batch_size}"
        )
    if training.processes > 1 and not re.fullmatch("auto|cpu|cuda", training.device):
        problems.append(
            f"training.device: {training.processes} training.processes have a GPU each; should be "
            f"auto, cpu or cuda, not {training.device}"
        )
    return [
        *problems,
        *_problem("search", lambda: _check_search(config)),
        *_problem("network", lambda: _check_network(config.network)),
        *_problem("network.heads", lambda: _check_offered(config.network.heads, game)),
        *_problem("network.encoder", lambda: encoders.make(config.network.encoder, game)),
    ]


def _problem(key: str, check: Callable[[], object]) -> list[str]:
    """The line of the ``ValueError`` that ``check`` raises, or none."""
    try:
        check()
    except ValueError as error:
        return [f"{key}: {error}"]
    return []


def _check_search(config: "Config") -> None:
    """Check the address of a search, and its agreement with the settings of self-play."""
    search: Any = config.search
    if isinstance(search, ByAddress):
        addresses.check(search, "search")
        search = addresses.build(search, "search")
        _check_search_contract(search, config.search.kind)
    check_fast_moves(config.selfplay, search.simulations)
    if config.selfplay.reuse_tree and not continues_trees(search):
        raise ValueError(
            f"{config.search.kind} begins each search with a new tree; set search.kind to one that "
            "continues from a tree, or selfplay.reuse_tree to false"
        )


def _check_search_contract(search: Any, kind: str) -> None:
    simulations = getattr(search, "simulations", None)
    if not (isinstance(simulations, int) and simulations >= 1):
        raise ValueError(f"{kind} needs simulations, an int above 0, not {simulations!r}")
    for method in ("__call__", "without_noise"):
        if not callable(getattr(search, method, None)):
            raise ValueError(f"{kind} is not a search: it has no {method}")


def _check_network(network: Network) -> None:
    if isinstance(network, ByAddress):
        addresses.check(network, "network", arguments=2)


def _check_offered(heads: Iterable[str], game: Game) -> None:
    """Refuse heads whose target the game does not offer: their loss would always be 0."""
    for name in heads:
        if not targets.offered(name, game):
            method = targets.TARGETS[name].needs
            raise ValueError(f"{game.name} has no {method}, the target of the head {name}")
