"""Exact scores of positions and moves under perfect play, and texts of moves.

``scores`` and ``label`` are for the games that can be solved: Connect Four, where a score counts
the stones that the winner has left, and every game with few enough positions to enumerate them,
where it is the result (+1, 0, -1). The sign of a score is always the result for the mover.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States
from games.solvers import connect_four, minimax

Solve = Callable[[Game, States], tuple[NDArray[np.integer], NDArray[np.float32]]]
"""``(game, states [B]) -> (best [B], scores [B, A])``, as ``scores`` does."""


def scores(game: Game, states: States) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """``(best [B], scores [B, A])`` of unfinished positions, the mover's view; NaN = illegal.

    ``best`` is the score of the best move, which is the position's own score. In games other than
    Connect Four the first call enumerates all positions. ``ValueError`` for a game that has too
    many of them and for a finished position.
    """
    if game.name == "connect_four":
        best, move_scores = _connect_four().solve(states)
        return best.astype(np.int64), move_scores
    return _look_up(game.identity(states), *_exhaustive(game))


def heuristic(game: Game) -> minimax.Heuristic:
    """The heuristic value of unfinished positions; 0 everywhere in games that have no heuristic."""
    return connect_four.heuristic if game.name == "connect_four" else minimax.zero


class NotAPosition(ValueError):
    """Moves that lead to no usable position; ``row`` is the index among several games."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(why)
        self.row = row


def separator(game: Game) -> str:
    """The text between two moves: empty where the game has fewer than ten actions, else a space."""
    return "" if game.num_actions < 10 else " "


def moves(game: Game, text: str) -> list[str]:
    """Split a text into moves, without checking them: ``"4453"`` gives ``["4", "4", "5", "3"]``."""
    return text.split() if separator(game) else list(text.strip())


def positions(game: Game, games: Sequence[str]) -> States:
    """``[B]``: the states after each of ``games``, 1-based actions from the start.

    Actions are digits where the game has fewer than ten of them, else separated by spaces. All
    games are played together, ply by ply. ``NotAPosition`` names the first move that is not legal;
    none is after ``max_plies`` of them.
    """
    words = [moves(game, text) for text in games]
    states = game.initial(len(games))
    for ply in range(max(map(len, words), default=0)):
        rows = np.array([row for row, line in enumerate(words) if len(line) > ply])
        actions = np.array([_action(game, words[row][ply]) for row in rows])
        allowed = (actions >= 0) & game.legal(states[rows])[np.arange(len(rows)), actions]
        allowed &= ply < game.max_plies
        for row in map(int, rows[~allowed]):
            move = f"move {ply + 1} of {games[row]!r}, {words[row][ply]!r}"
            raise NotAPosition(row, f"{move}, cannot be played{_hint(game, words[row][ply])}")
        states[rows] = game.step(states[rows], actions)
    return states


def unfinished(game: Game, games: Sequence[str]) -> States:
    """``[B]``: the same as ``positions``; ``NotAPosition`` also where a game is over."""
    states = positions(game, games)
    plies = np.array([len(moves(game, text)) for text in games], np.int64)
    for row in map(int, np.flatnonzero(~np.isnan(game.result(states, plies)))):
        where = f"after {games[row]!r}" if games[row].strip() else "in its initial position"
        raise NotAPosition(row, f"the game is over {where}")
    return states


def position(game: Game, moves: str) -> States:
    """``[1]``: the state after one game's ``moves``; errors as in ``positions``."""
    return positions(game, [moves])


def _action(game: Game, text: str) -> int:
    """The action that a 1-based number names; -1 for a text that names none."""
    action = int(text) - 1 if text.isascii() and text.isdigit() else -1
    return action if action < game.num_actions else -1


def _hint(game: Game, word: str) -> str:
    """The end of a message about a move that cannot be played."""
    if _action(game, word) >= 0:
        return ""
    return f"; moves are numbers from 1 to {game.num_actions}"


def header(game: Game) -> list[str]:
    """The first row of a position file: ``moves, best, c1..cA``."""
    return ["moves", "best", *(f"c{action + 1}" for action in range(game.num_actions))]


def label(game: Game, games: Sequence[str], solve: Solve = scores) -> list[list[str]]:
    """Rows of a position file, see ``header``: the cell of an illegal move is empty.

    ``ValueError`` as in ``scores`` and ``positions``.
    """
    best, move_scores = solve(game, positions(game, games))
    return [
        [text, str(top), *("" if np.isnan(x) else str(int(x)) for x in row)]
        for text, top, row in zip(games, best, move_scores, strict=True)
    ]


@cache
def _connect_four() -> connect_four.Solver:
    return connect_four.Solver()


@lru_cache(maxsize=4)
def _exhaustive(game: Game) -> tuple[dict[bytes, int], minimax.Solution]:
    """The rows of a small game's solution by the bytes of identities, and the solution."""
    solution = minimax.solve_all(game)
    identity = game.identity(solution.states)
    return {key.tobytes(): row for row, key in enumerate(identity)}, solution


def _look_up(
    identity: NDArray[np.uint8], row_of: dict[bytes, int], solution: minimax.Solution
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    try:
        rows = [row_of[key.tobytes()] for key in identity]
    except KeyError:
        raise ValueError("a position is finished or cannot be reached: it has no scores") from None
    return solution.value[rows].astype(np.int64), solution.move_values[rows]
