"""Exact answers: what perfect play makes of a position and of each of its moves.

``scores`` and ``label`` answer for the games that can be solved: Connect Four, in stones the winner
has left, and tic-tac-toe, in results (+1, 0, -1). The sign is always the result for the mover.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States
from games.solvers import connect_four, minimax

Solve = Callable[[Game, States], tuple[NDArray[np.integer], NDArray[np.float32]]]

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


class NotAPosition(ValueError):
    """``row`` says which of several games will not do."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row = row


def separator(game: Game) -> str:
    """Between the moves of a text: nothing where the game has fewer than ten actions."""
    return "" if game.num_actions < 10 else " "


def moves(game: Game, text: str) -> list[str]:
    """The moves of a text, not yet checked."""
    return text.split() if separator(game) else list(text.strip())


def positions(game: Game, games: Sequence[str]) -> States:
    """``[B]``: the states after each of ``games``, 1-based actions from the start.

    Digits where the game has fewer than ten actions, else separated by spaces. All are played
    together, ply by ply. ``NotAPosition`` names the first move that cannot be.
    """
    words = [moves(game, each) for each in games]
    states = game.initial(len(games))
    for ply in range(max(map(len, words), default=0)):
        rows = np.array([row for row, each in enumerate(words) if len(each) > ply])
        actions = np.array([_action(game, words[row][ply]) for row in rows])
        allowed = (actions >= 0) & game.legal(states[rows])[np.arange(len(rows)), actions]
        for row in map(int, rows[~allowed]):
            move = f"move {ply + 1} of {games[row]!r}, {words[row][ply]!r}"
            raise NotAPosition(row, f"{move}, cannot be played")
        states[rows] = game.step(states[rows], actions)
    return states


def unfinished(game: Game, games: Sequence[str]) -> States:
    """``[B]``: as ``positions``; ``NotAPosition`` where a game is over as well."""
    states = positions(game, games)
    for row in map(int, np.flatnonzero(~game.legal(states).any(axis=1))):
        raise NotAPosition(row, f"the game is over after {games[row]!r}")
    return states


def position(game: Game, moves: str) -> States:
    """``[1]``: as ``positions``, of one game."""
    return positions(game, [moves])


def _action(game: Game, text: str) -> int:
    """-1 for what is no action of the game."""
    action = int(text) - 1 if text.isascii() and text.isdigit() else -1
    return action if action < game.num_actions else -1


def label(game: Game, games: Sequence[str], solve: Solve = scores) -> list[list[str]]:
    """The rows ``moves, best, c1..cA`` of a position file, an illegal move's cell left empty.

    ``ValueError`` as in ``scores`` and ``positions``.
    """
    best, each = solve(game, positions(game, games))
    return [
        [text, str(top), *("" if np.isnan(x) else str(int(x)) for x in row)]
        for text, top, row in zip(games, best, each, strict=True)
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
