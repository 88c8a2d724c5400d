"""The rate of self-play, and the upper limit that the network sets."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphazero.config import Config
from alphazero.inference import NetworkEvaluator
from alphazero.local_fleet import LocalFleet
from alphazero.nn.device import cores
from alphazero.parts import game_of, search_of
from alphazero.types import Evaluation
from games.base import States
from workers.bench.measuring import (
    BenchSettings,
    Figures,
    Tally,
    Work,
    circumstances,
    measure,
    midgame,
    reporting,
    weights,
)
from workers.bench.synthetic import CountingStore
from workers.node.fleet import NodeFleet
from workers.node.plan import largest_batch, make_plan, this_machine
from workers.runs.train import check_ray, choose_processes, choose_ray

if TYPE_CHECKING:
    from workers.cluster.fleet import RayFleet


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure self-play as in a run, and in turns with it the network alone on ready batches.

    ``fraction_of_ceiling``: evaluations per second in self-play as a share of those of the network
    alone. With 8,000 and 10,000 it is 0.8: search, game rules and waiting take the rest.
    """
    game = game_of(chosen)
    # Long random openings, so that the games are at different plies.
    play = replace(chosen.selfplay, random_opening_plies=game.max_plies // 4)
    chosen = _placed(replace(chosen, selfplay=play))
    with reporting() as report:
        report("the network alone is timed, to choose its backend")
        network_alone = NetworkEvaluator(game, chosen.network, chosen.inference)
        network_alone.load(weights(chosen, game), 0)
        here = _in_processes_of_this_machine if chosen.selfplay.processes else _on_threads
        measured = here if chosen.ray == "off" else _on_ray
        place = "" if chosen.ray == "off" else f", on Ray ({chosen.ray})"
        report(f"self-play starts{place}, and is measured for {settings.seconds:g} s")
        figures = measured(chosen, settings, network_alone)
    return {
        **figures,
        **circumstances(chosen, settings),
        "ray": chosen.ray,
        "simulations": search_of(chosen).simulations,
        "backend": network_alone.description,
    }


def _placed(chosen: Config) -> Config:
    """With the place of self-play that a run would choose, on Ray or in how many processes."""
    chosen = replace(chosen, ray=choose_ray() if chosen.ray == "auto" else chosen.ray)
    if chosen.ray == "off":
        return choose_processes(chosen)
    check_ray(chosen)
    return chosen


def _on_threads(
    chosen: Config, settings: BenchSettings, network_alone: NetworkEvaluator
) -> Figures:
    game = game_of(chosen)
    groups = max(chosen.selfplay.groups, settings.threads)
    play = replace(chosen.selfplay, groups=groups, threads=settings.threads)
    chosen = replace(chosen, selfplay=play)
    evaluator = _BatchSizes(chosen)
    evaluator.choice = network_alone.choice  # one timing for both
    # Nothing is played ahead: it would run during the turns of the network alone.
    fleet = LocalFleet(chosen, CountingStore(), evaluator, ahead=False)
    fleet.publish(weights(chosen, game), 0)

    def collect(_: int) -> int:
        fleet.collect()
        return play.groups * play.games

    collect(0)
    evaluator.batches.clear()
    works = [Work(collect, threads=1), _ceiling(network_alone, midgame(game, play.games), settings)]
    played, ready = measure(works, settings.seconds, warm=False)
    fleet.close()
    return _figures(chosen, played, sum(evaluator.batches), ready) | {"games": groups * play.games}


def _in_processes_of_this_machine(
    chosen: Config, settings: BenchSettings, network_alone: NetworkEvaluator
) -> Figures:
    plan = make_plan(chosen, this_machine())

    def make(config: Config, folder: Path) -> NodeFleet:
        return NodeFleet(config, folder, CountingStore(), plan=plan)

    return _measure_processes(chosen, settings, network_alone, make)


def _on_ray(chosen: Config, settings: BenchSettings, network_alone: NetworkEvaluator) -> Figures:
    from workers.cluster.fleet import RayFleet  # which takes Ray's seconds to import

    plan = partial(make_plan, chosen)
    make = partial(RayFleet, address=chosen.ray, plan=plan)
    return _measure_processes(chosen, settings, network_alone, make)


def _measure_processes(
    chosen: Config,
    settings: BenchSettings,
    network_alone: NetworkEvaluator,
    make: "Callable[[Config, Path], NodeFleet | RayFleet]",
) -> Figures:
    """Measure a fleet of search processes and evaluators, made by ``make`` in a run directory."""
    game = game_of(chosen)
    assert network_alone.choice
    # The evaluators use the backend and precision chosen here.
    inference = replace(chosen.inference, **network_alone.choice._asdict())
    with tempfile.TemporaryDirectory(prefix="alphazero-bench-") as folder:
        fleet = make(replace(chosen, inference=inference), Path(folder))
        with closing(fleet):
            fleet.publish(weights(chosen, game), 0)
            playing = _Playing(fleet, _longest_batch(chosen, network_alone))
            with playing.turn():
                playing.evaluations(0)
            before = playing.count()
            # Evaluators join the requests of groups: the network alone gets batches of that size.
            batch = max(chosen.selfplay.games, round(before["evaluations"] / before["batches"]))
            works = [
                Work(playing.evaluations, threads=1, around=playing.turn),
                _ceiling(network_alone, midgame(game, batch), settings),
            ]
            played, ready = measure(works, settings.seconds, warm=False)
            after = playing.count()
    grown = after - before
    per_evaluation = grown["moves"] * chosen.selfplay.games / grown["evaluations"]
    positions = Tally(round(per_evaluation * played.units), played.seconds)
    return {
        **_figures(chosen, positions, played.units, ready),
        "mean_batch": grown["evaluations"] / grown["batches"],
        "search_processes": after["players"],
        "evaluators": after["evaluators"],
        "games_per_group": chosen.selfplay.games,
    }


def _longest_batch(chosen: Config, network_alone: NetworkEvaluator) -> float:
    """Seconds that a batch of an evaluator takes while all cores evaluate others, about."""
    size = network_alone.batch_size or largest_batch(chosen, on_gpu=False)
    states = midgame(game_of(chosen), size)
    network_alone(states)
    began = time.perf_counter()
    network_alone(states)
    return (time.perf_counter() - began) * cores()


def _ceiling(network_alone: NetworkEvaluator, states: States, settings: BenchSettings) -> Work:
    return Work(lambda _: len(network_alone(states).value), settings.threads)


def _figures(chosen: Config, played: Tally, evaluations: int, ready: Tally) -> Figures:
    """Figures of ``played`` positions, their ``evaluations``, and ``ready``: the network alone."""
    rate = evaluations / played.seconds
    return {
        "simulations_per_second": played.rate * search_of(chosen).simulations,
        "positions_per_second": played.rate,
        "evaluations_per_second": rate,
        "ceiling_evaluations_per_second": ready.rate,
        "fraction_of_ceiling": rate / ready.rate,
    }


COUNTS = ("moves", "evaluations", "batches", "players", "evaluators")


def counts_of(fleet: "NodeFleet | RayFleet") -> Counter[str]:
    """Moves of groups, evaluations and batches since the start, and the numbers of processes."""
    if isinstance(fleet, NodeFleet):
        statuses: list[Any] = [fleet.status()]
    else:
        statuses = [status for kind, status in fleet.fetch_statuses() if kind == "node"]
    return Counter({name: int(sum(status[name] for status in statuses)) for name in COUNTS})


class _Playing:
    """A fleet of several processes that plays during its turns and pauses between them."""

    def __init__(self, fleet: "NodeFleet | RayFleet", quiet: float):
        """``quiet``: seconds without an evaluation after which none is in progress."""
        self._fleet, self._quiet = fleet, quiet
        self._last = self.count()

    def count(self) -> Counter[str]:
        """``counts_of`` the fleet; exact while it pauses."""
        return counts_of(self._fleet)

    def evaluations(self, _: int) -> int:
        """Evaluations since the last call."""
        self._fleet.collect()
        before, self._last = self._last, self.count()
        return self._last["evaluations"] - before["evaluations"]

    @contextmanager
    def turn(self) -> Iterator[None]:
        self._fleet.allow(2**62)
        self.evaluations(0)
        while not self.evaluations(0):
            pass
        yield
        self._fleet.allow(0)
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        """Wait until the moves that have begun are played."""
        quiet_since = time.monotonic()
        while True:
            if self.evaluations(0):
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since > self._quiet:
                return


class _BatchSizes(NetworkEvaluator):
    """A network evaluator that records the size of every batch."""

    def __init__(self, chosen: Config):
        super().__init__(game_of(chosen), chosen.network, chosen.inference)
        self.batches: list[int] = []

    def __call__(self, states: States) -> Evaluation:
        self.batches.append(len(states))  # atomic, where adding to a sum would not be
        return super().__call__(states)
