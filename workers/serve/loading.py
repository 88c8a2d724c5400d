"""Load the model to be served, and compute one result with it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from workers.serve.limits import Limits

if TYPE_CHECKING:
    from workers.serve.service import Service


class Allowed(NamedTuple):
    """Code outside this program that a checkpoint, which may come from anyone, may use."""

    game: str | None = None
    """The game that it must play; None: any registered one."""
    addresses: tuple[str, ...] = ()
    """Searches, networks and encoders, ``module:Class``."""


NOTHING = Allowed()


def load(checkpoint: str, limits: Limits, allowed: Allowed = NOTHING) -> "Service":
    """The service of the model at ``checkpoint``, after one result was computed with it.

    ``ValueError``, one line: there is no valid model, it needs code that is not ``allowed``, or its
    results are not finite.
    """
    path = find(checkpoint)
    import torch  # takes seconds: errors that need no torch are reported before it

    # One thread for the network; the event loop has the other core.
    torch.set_num_threads(1)
    service = _service(path, limits, allowed)
    # Whatever is compiled at the first call is compiled here, before the first request.
    results = service.compute([service.example])
    try:
        json.dumps(service.to_json(results, False), allow_nan=False)
    except ValueError:
        raise ValueError(f"{path} answers with numbers that are not finite") from None
    return service


def find(checkpoint: str) -> Path:
    """The folder of a checkpoint, its hashes checked.

    ``checkpoint`` is such a folder, a run (whose newest checkpoint is used), or the name of a game
    with a bundled agent. ``ValueError``, one line: there is none, or it is damaged.
    """
    from alphazero import sealed
    from alphazero.judging import agent

    return sealed.resolve(agent.find(checkpoint))


def source(checkpoint: str) -> str:
    """``checkpoint`` as other processes find it: a bundled agent's name, or an absolute path.

    Their working directory is another one, and on another node our packages may lie elsewhere.
    ``ValueError``, one line: there is none.
    """
    from alphazero import agents
    from alphazero.judging import agent

    path = agent.find(checkpoint)
    return checkpoint if path.parent == agents.FOLDER else str(path.resolve())


def _service(path: Path, limits: Limits, allowed: Allowed) -> "Service":
    import games
    from alphazero.supervised import model
    from workers.serve import moves, predictions

    if not model.is_supervised(path):
        game = games.make(allowed.game) if allowed.game else None
        return moves.load(path, limits, game, allowed.addresses)
    if allowed != NOTHING:
        raise ValueError(f"{path} is a supervised model: --game and --allow are for agents")
    predictor = model.Predictor(path)
    if predictor.config.model.kind == "gan":
        raise ValueError(f"{path} makes pictures; only classifiers and agents can be served")
    return predictions.service(predictor, limits)
