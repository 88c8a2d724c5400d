"""Proven results of the moves of one position, nearer ones first: ``win in 3 plies``.

For every game: full-width search (``minimax.search``), a ply deeper each time. Positions at
its last ply where the game goes on count as wins of the player about to move at the root. A result
that is proven nevertheless does not depend on them: a loss is one whatever they are, and a win is
only reported where a game ends as one. Of moves that then are at most a draw, a second search, in
which those positions are losses, tells which ones are at least one. In Connect Four the solver
follows, which computes all results.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from games import solvers
from games.base import Game, States
from games.solvers import minimax

FIRST_DEPTH = 4
"""Plies that are searched before the solver of Connect Four, which may take long, is called."""
_STONES = 21
"""The stones of each player in Connect Four."""
_HALF = np.float32(0.5)


class Proof(NamedTuple):
    """The result of a move under best play, for the player who makes it."""

    result: int
    """+1, 0 or -1."""
    plies: int | None
    """Plies to the end, the move itself included, if the winner hurries and the loser delays; None
    for a draw."""


def deepening(game: Game, states: States, ply: int) -> Iterator[dict[int, Proof]]:
    """All that is proven so far of the moves of the unfinished position ``states [1]``.

    ``ply`` is the number of moves that led to it: no game is longer than ``game.max_plies``. A
    dictionary by action is yielded after each depth; the last one has all moves, unless play can go
    on to ``max_plies``. The time of each depth is several times that of the one before: the caller
    ends the iteration. Memory is that of ``minimax.search``.
    """
    proofs: dict[int, Proof] = {}
    legal = np.flatnonzero(game.legal(states)[0])
    for depth in range(1, game.max_plies - ply + 1):
        if game.name == "connect_four" and depth > FIRST_DEPTH:
            yield _solved(game, states, ply)
            return
        left = np.array([action for action in legal.tolist() if action not in proofs])
        proofs |= _proven(game, states, left, depth)
        yield dict(proofs)
        if len(proofs) == len(legal):
            return


def _proven(game: Game, states: States, actions: NDArray[np.int64], depth: int) -> dict[int, Proof]:
    """Those of ``actions`` whose result is proven ``depth`` plies deep."""
    player = int(game.to_move(states)[0])
    children = game.step(np.repeat(states, len(actions)), actions)
    highest, plies = _bounds(game, children, depth, player, _HALF)
    proofs = {
        int(actions[i]): Proof(int(np.sign(highest[i])), int(plies[i]))
        for i in np.flatnonzero(plies > 0)
    }
    at_most_drawn = np.flatnonzero(highest == 0)
    if len(at_most_drawn):
        lowest, _ = _bounds(game, children[at_most_drawn], depth, player, -_HALF)
        drawn = at_most_drawn[lowest == 0]
        proofs |= {int(action): Proof(0, None) for action in actions[drawn]}
    return proofs


def _bounds(
    game: Game, children: States, depth: int, player: int, unknown: np.float32
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``(values [n], plies [n])`` of ``children`` for ``player``, ``depth - 1`` plies deep.

    ``plies`` to the end of a proven win or loss, that to ``children`` included; 0 where there is
    none. ``unknown``: the value for ``player`` of a game that goes on at that depth.
    """

    def heuristic(states: States) -> NDArray[np.float32]:
        return np.where(game.to_move(states) == player, unknown, -unknown).astype(np.float32)

    values = game.outcome(children)
    going_on = np.isnan(values)
    plies = np.where(np.abs(values) == 1, 1, 0)
    if depth > 1 and going_on.any():
        values[going_on], _ = minimax.search(game, children[going_on], depth - 1, heuristic)
        # See ``minimax.search``: after d plies an outcome counts 1 - 0.1 * d / depth of itself.
        size = np.abs(values)
        later = np.rint((1 - size) / (1 - minimax.UNSURE) * depth).astype(np.int64) + 1
        plies = np.where(going_on & (size > minimax.UNSURE + 1e-4), later, plies)
    else:
        values[going_on] = heuristic(children[going_on])
    return np.where(game.to_move(children) == player, values, -values), plies


def _solved(game: Game, states: States, ply: int) -> dict[int, Proof]:
    """All results in Connect Four, by its solver."""
    scores = solvers.scores(game, states)[1][0]
    return {int(action): _of_score(int(scores[action]), ply)
            for action in np.flatnonzero(~np.isnan(scores))}  # fmt: skip


def _of_score(score: int, ply: int) -> Proof:
    """A score counts the stones that the winner has left, the last one included.

    Example: after ``ply`` 6 the mover has 3 stones of 21 on the board; the score 18 is a win with
    the fourth, the next ply.
    """
    if score == 0:
        return Proof(0, None)
    last = _STONES + 1 - abs(score)
    mover, other = ply // 2, ply - ply // 2
    plies = 2 * (last - mover) - 1 if score > 0 else 2 * (last - other)
    return Proof(1 if score > 0 else -1, plies)
