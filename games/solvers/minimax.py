"""Exact answers for tiny games and depth-limited minimax for any game, a whole level at a time.

Both read only the ``Game`` contract. A child's value changes its sign where the player to move has
changed, so passes and double moves are right (Shannon, "Programming a Computer for Playing Chess",
1950, section 3, for the principle and for cutting off with a heuristic).

Games in which play can go round in circles end at ``max_plies``, as everywhere: ``solve_all`` gives
the exact values of that game, ``search`` follows a line for at most ``max_plies`` plies. Positions
of equal ``identity`` are one position.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States

Heuristic = Callable[[States], NDArray[np.float32]]
"""``[B]`` unfinished states to ``float32[B]`` in (-1, 1), the mover's view."""

UNSURE = 0.9
"""The factor of heuristic values in ``search``: values beyond +-0.9 are proven results."""

LIMIT = 300_000
"""The largest number of positions of a game that is solved."""
MOST_VALUES = 1 << 27
"""Most values of moves, one per position and action, that a solution has: 512 MiB."""
MOVES_PER_POSITION = 4
"""Most moves of one ply, per position that a solution may have."""

_WIDTH = 1 << 16
"""The largest number of positions expanded at once; more are searched in parts."""


class Solution(NamedTuple):
    """All unfinished positions of a game, none twice, with their exact values.

    A position that several plies reach is here as of the first of them: where play can be longer
    than ``max_plies``, its value depends on how many plies are left before it is adjudicated.
    """

    states: States
    """``[n]``, ordered by the first ply that reaches them."""
    value: NDArray[np.float32]
    """``[n]`` in {-1, 0, +1}: the result under perfect play, the mover's view."""
    move_values: NDArray[np.float32]
    """``[n, A]``: the same after each move, still for the mover of ``states``; NaN = illegal."""


class _Level(NamedTuple):
    """The distinct positions of one ply and their ``m`` moves.

    ``row [m]`` is the position that a move belongs to, ``child [m]`` the position it leads to, in
    the next level; ``sign [m]`` is -1 where the other player moves there, else +1.
    """

    states: States
    result: NDArray[np.float32]
    """``[n]``, NaN where the game goes on."""
    row: NDArray[np.intp]
    action: NDArray[np.intp]
    sign: NDArray[np.float32]
    child: NDArray[np.intp]


def solve_all(game: Game, limit: int = LIMIT) -> Solution:
    """Solve every position reachable from the start, by backward induction, ply by ply.

    At ply ``max_plies`` unfinished games get the result of ``game.adjudicate``: the induction ends
    even where play goes round in circles. Example: a token that both players pull to and fro for
    100 plies is solved in 100 levels of a few positions each. ``ValueError`` where more than
    ``limit`` positions are reachable, those of several plies counted in each of them, or where
    their moves have more than ``MOST_VALUES`` values: the memory for them is bounded.
    """
    limit = min(limit, MOST_VALUES // game.num_actions)
    levels, total = [], 0
    states = game.initial(1)
    while len(states):
        result = game.result(states, len(levels))
        going_on = np.flatnonzero(np.isnan(result))
        total += len(states)
        if total > limit or _moves(game, states[going_on]) > MOVES_PER_POSITION * limit:
            raise ValueError(
                f"{game.name} is too large to solve: it has more than {limit:,} positions"
            )
        row, action, sign, children = _expand(game, states[going_on])
        distinct, child = _distinct(game, children)
        levels.append(_Level(states, result, going_on[row], action, sign, child))
        states = distinct
    return _back_up(game, levels)


def _moves(game: Game, states: States) -> int:
    """How many moves these positions have, without making them."""
    return sum(
        int(np.count_nonzero(game.legal(states[i : i + _WIDTH])))
        for i in range(0, len(states), _WIDTH)
    )


def zero(states: States) -> NDArray[np.float32]:
    """The heuristic without any knowledge: 0 for every position."""
    return np.zeros(len(states), np.float32)


def search(
    game: Game, states: States, depth: int, heuristic: Heuristic = zero
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Full-width minimax ``depth`` plies deep: ``(values [B], move_values [B, A])``, mover's view.

    A game that ends after ``d`` plies has the value ``outcome * (1 - 0.1 * d / (depth + 1))``:
    faster wins and slower losses are better, and both lie beyond ``UNSURE``, the factor of the
    heuristic where a game goes on at the depth. Example: with ``depth`` 3 a win by the next move is
    0.975, one by the mover's second move 0.925, and no heuristic exceeds 0.9. Illegal moves are
    NaN; a finished state keeps its outcome and has no moves. ``ValueError``: ``depth`` below 1.

    A state does not say how many plies led to it: all are searched as if the game began there. A
    line of ``max_plies`` plies ends with the result of ``game.adjudicate``, so that a larger
    ``depth`` does not look further. Memory is bounded for any ``B`` and ``depth``.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, not {depth}")
    parts = [states[i : i + _WIDTH] for i in range(0, len(states), _WIDTH)] or [states]
    results = [_search_roots(game, part, depth, heuristic) for part in parts]
    values, move_values = zip(*results, strict=True)
    return np.concatenate(values), np.concatenate(move_values)


def _search_roots(
    game: Game, states: States, depth: int, heuristic: Heuristic
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``search`` of at most ``_WIDTH`` states."""
    discount = 1 - (1 - UNSURE) * np.arange(depth + 1) / (depth + 1)

    def leaf(states: States) -> NDArray[np.float32]:
        if depth < game.max_plies:
            return UNSURE * heuristic(states)
        return np.float32(discount[game.max_plies]) * game.adjudicate(states)

    move_values = np.full((len(states), game.num_actions), np.nan, np.float32)
    row, action, sign, children = _expand(game, states)
    replies = _values(game, children, discount[1 : game.max_plies + 1], leaf)
    # Adding 0 turns -0 into 0.
    move_values[row, action] = sign * replies + 0
    values = game.outcome(states)
    going_on = np.isnan(values)
    values[going_on] = np.nanmax(move_values[going_on], axis=1, initial=-1)
    return values, move_values


def _values(
    game: Game, states: States, discount: NDArray[np.float64], leaf: Heuristic
) -> NDArray[np.float32]:
    """``[n]``: minimax values ``len(discount) - 1`` plies deep; ``discount[0]`` is for this ply.

    ``leaf`` gives the values of games that go on at that depth.
    """
    if len(states) > _WIDTH:
        halves = np.array_split(states, 2)
        return np.concatenate([_values(game, half, discount, leaf) for half in halves])
    values = game.outcome(states)
    going_on = np.isnan(values)
    values *= np.float32(discount[0])
    if not going_on.any():
        return values
    if len(discount) == 1:
        values[going_on] = leaf(states[going_on])
        return values
    row, _, sign, children = _expand(game, states[going_on])
    replies = sign * _values(game, children, discount[1:], leaf)
    # Moves come grouped by position, and every unfinished position has one.
    first = np.flatnonzero(np.diff(row, prepend=-1))
    values[going_on] = np.maximum.reduceat(replies, first)
    return values


def _expand(
    game: Game, states: States
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32], States]:
    """Every move of every state: row, action, sign of the child's value, child (see ``_Level``)."""
    row, action = np.nonzero(game.legal(states))
    children = game.step(states[row], action)
    same = game.to_move(children) == game.to_move(states)[row]
    return row, action, np.where(same, np.float32(1), np.float32(-1)), children


def _distinct(game: Game, states: States) -> tuple[States, NDArray[np.intp]]:
    """The distinct states, and for each given state its place among them."""
    _, first, place = np.unique(_keys(game, states), return_index=True, return_inverse=True)
    return states[first], place.reshape(-1)


def _keys(game: Game, states: States) -> NDArray[np.void]:
    """``[n]``: the identity of each state as one value, so that equal positions are equal."""
    identity = np.ascontiguousarray(game.identity(states))
    return identity.view(f"V{identity.shape[1]}")[:, 0]


def _back_up(game: Game, levels: list[_Level]) -> Solution:
    """From the last level to the first: a position's value is its best move's."""
    solved: list[Solution] = []
    below = np.empty(0, np.float32)
    for level in reversed(levels):
        move_values = np.full((len(level.states), game.num_actions), np.nan, np.float32)
        move_values[level.row, level.action] = level.sign * below[level.child] + 0
        below = level.result.copy()
        going_on = np.isnan(below)
        below[going_on] = np.nanmax(move_values[going_on], axis=1, initial=-1)
        solved.append(Solution(level.states[going_on], below[going_on], move_values[going_on]))
    states, value, move_values = (np.concatenate(part) for part in zip(*solved[::-1], strict=True))
    # A game with passes may reach a position at two different plies.
    once = np.sort(np.unique(_keys(game, states), return_index=True)[1])
    return Solution(states[once], value[once], move_values[once])
