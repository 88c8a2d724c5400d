"""How moves are chosen in the games of the check: at random, greedily, and by looking ahead.

Random games of many rules are short and reach few positions of good play; played well, the same
rules may go on for ever, or lead to positions where a rule was forgotten.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States
from games.solvers import minimax

Choose = Callable[[Game, States, NDArray[np.bool_], np.random.Generator], NDArray[np.int64]]
"""``choose(game, states [B], legal [B, A], rng)``: one legal action per state, ``[B]``."""

CONSIDERED = 8
"""Legal moves per position, drawn at random, from which a greedy player and minimax choose."""


def random_moves(
    game: Game, states: States, legal: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Each legal move with the same probability."""
    return np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)


def greedy_moves(
    game: Game, states: States, legal: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """A move that wins at once, else one that does not lose at once."""
    return _best(game, states, legal, rng, lambda after: np.nan_to_num(game.outcome(after)))


def minimax_moves(
    game: Game, states: States, legal: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The best move two plies deep."""
    return _best(game, states, legal, rng, lambda after: minimax.search(game, after, 1)[0])


def _best(
    game: Game,
    states: States,
    legal: NDArray[np.bool_],
    rng: np.random.Generator,
    value: Callable[[States], NDArray[np.float32]],
) -> NDArray[np.int64]:
    """The move whose position has the highest ``value``, for the player who makes the move."""
    count = min(CONSIDERED, legal.shape[1])
    drawn = np.where(legal, rng.random(legal.shape), -1.0)
    choices = np.argpartition(-drawn, count - 1, axis=1)[:, :count]
    choices = np.take_along_axis(
        choices, np.argsort(-np.take_along_axis(drawn, choices, axis=1), axis=1), axis=1
    )
    rows, places = np.nonzero(np.take_along_axis(legal, choices, axis=1))
    after = game.step(states[rows], choices[rows, places])
    same = game.to_move(after) == game.to_move(states)[rows]
    scores = np.full(choices.shape, -np.inf)
    scores[rows, places] = np.where(same, 1, -1) * value(after)
    return choices[np.arange(len(states)), scores.argmax(axis=1)]
