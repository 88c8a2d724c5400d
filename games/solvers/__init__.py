"""Exact answers: what perfect play makes of a position and of each of its moves.

``scores`` and ``label`` answer for the games that can be solved: Connect Four, in stones the winner
has left, and tic-tac-toe, in results (+1, 0, -1). The sign is always the result for the mover.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States
from games.solvers import connect_four, minimax

_EXHAUSTIVE = ("tic_tac_toe",)


def scores(game: Game, states: States) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """``(best [B], scores [B, A])`` of unfinished positions, the mover's view; NaN = illegal.

    ``ValueError`` for a game without a solver and for a finished position.
    """
    if game.name == "connect_four":
        best, each = _connect_four().solve(states)
        return best.astype(np.int64), each
    if game.name in _EXHAUSTIVE:
        places, solution = _exhaustive(game.name, game)
        return _find(states, places, solution)
    solved = ", ".join(("connect_four", *_EXHAUSTIVE))
    raise ValueError(f"{game.name} has no solver; there is one for {solved}")


def heuristic(game: Game) -> minimax.Heuristic:
    """How good unfinished positions look at a glance: 0 for games that nobody wrote one for."""
    return connect_four.heuristic if game.name == "connect_four" else minimax.zero


def position(game: Game, moves: str) -> States:
    """``[1]``: the state after ``moves``, 1-based actions from the start.

    Digits where the game has fewer than ten actions, else separated by spaces. ``ValueError`` for a
    move that cannot be played.
    """
    states = game.initial(1)
    for ply, text in enumerate(moves.strip() if game.num_actions < 10 else moves.split(), 1):
        action = int(text) - 1 if text.isdecimal() else -1
        if not 0 <= action < game.num_actions or not game.legal(states)[0, action]:
            raise ValueError(f"{game.name}: move {ply} of {moves!r}, {text!r}, cannot be played")
        states = game.step(states, np.array([action]))
    return states


def label(game: Game, moves: Sequence[str]) -> list[dict[str, str]]:
    """The rows ``moves, best, c1..cA`` of a position file, an illegal move's cell left empty.

    ``ValueError`` as in ``scores`` and ``position``.
    """
    states = [position(game, each) for each in moves]
    best, each = scores(game, np.concatenate([game.initial(0), *states]))
    return [
        {"moves": text, "best": str(top)}
        | {f"c{a}": "" if np.isnan(x) else str(int(x)) for a, x in enumerate(row, 1)}
        for text, top, row in zip(moves, best, each, strict=True)
    ]


@cache
def _connect_four() -> connect_four.Solver:
    return connect_four.Solver()


_solutions: dict[str, tuple[dict[bytes, int], minimax.Solution]] = {}


def _exhaustive(name: str, game: Game) -> tuple[dict[bytes, int], minimax.Solution]:
    if name not in _solutions:
        solution = minimax.solve_all(game)
        places = {state.tobytes(): place for place, state in enumerate(solution.states)}
        _solutions[name] = places, solution
    return _solutions[name]


def _find(
    states: States, places: dict[bytes, int], solution: minimax.Solution
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    try:
        found = [places[state.tobytes()] for state in states]
    except KeyError:
        raise ValueError("a position is finished or cannot be reached: it has no scores") from None
    return solution.value[found].astype(np.int64), solution.move_values[found]
