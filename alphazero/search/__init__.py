"""Batched tree search: generators that yield states to evaluate and return their results."""

from collections.abc import Generator, Sequence
from inspect import Parameter, signature
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alphazero.types import Evaluation, Evaluator, Generators, Kept, Limits, Search, SearchResult
from games.base import Game, States

Result = TypeVar("Result")

WARM_UP = 4
"""Simulations of the search before the first one that is limited in time."""


def run(steps: Generator[States, Evaluation, Result], evaluate: Evaluator) -> Result:
    """Run a search, or any generator that yields states, to its end and return its result.

    Each batch of states that it yields is evaluated and sent back.
    """
    try:
        states = next(steps)
        while True:
            states = steps.send(evaluate(states))
    except StopIteration as stop:
        return stop.value


def strongest_moves(
    search: Search,
    game: Game,
    states: States,
    rngs: Generators,
    evaluate: Evaluator,
    limits: Limits = Limits(),
    kept: Sequence[Kept | None] | None = None,
) -> SearchResult:
    """The result of ``search`` in ``states [B]`` at temperature 0; ``action [B]`` are the moves.

    ``search.without_noise()`` is the search of a match; one generator per position. ``limits`` and
    ``kept`` (see ``types.Kept``) are passed to a search that has parameters of these names. Another
    one makes its own number of simulations, in trees of its own. The first search of a kind
    compiles its functions, or loads them from disk; that does not count as time. ``ValueError``:
    a position is finished.
    """
    check_going(game.legal(states))
    if limits.seconds is not None:
        _warm_up(search, game, states, evaluate)
    temperature = np.zeros(len(states), np.float32)
    more = {"limits": limits, "kept": kept}
    more = {name: value for name, value in more.items() if _accepts(search, name)}
    return run(search(game, states, rngs, temperature, **more), evaluate)


_warm: set[tuple[type, str]] = set()
"""The kinds of searches and the games for which ``_warm_up`` has searched."""


def _warm_up(search: Search, game: Game, states: States, evaluate: Evaluator) -> None:
    """Search one position shortly, once per process, kind of search and game."""
    kind = type(search), game.name
    if kind in _warm or not len(states):
        return
    _warm.add(kind)
    short = search.without_noise(WARM_UP)
    rngs = [np.random.default_rng(0)]
    run(short(game, states[:1], rngs, np.zeros(1, np.float32)), evaluate)


def check_going(legal: NDArray[np.bool_]) -> None:
    """Raise ``ValueError``, one line, where a position of ``legal [B, A]`` is finished."""
    going = legal.any(axis=1)
    if not going.all():
        place = f"position {int(np.argmin(going)) + 1} of {len(legal)}"
        raise ValueError(f"{place} is finished: there is no move to choose")


def continues_trees(search: Search) -> bool:
    """Whether ``search`` can go on from the tree of an earlier one: its call accepts ``kept``."""
    return _accepts(search, "kept")


def _accepts(search: Search, name: str) -> bool:
    parameters = signature(search).parameters
    return name in parameters or any(
        parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values()
    )
