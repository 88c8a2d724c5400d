"""A perfect Connect Four solver: the exact score of any position, given time; and a heuristic.

A score counts the stones the winner has left, the winning one included, with perfect play: +1 wins
with the mover's last stone, 0 is a draw, negative loses; the mover's view, -21 to 21. Example: the
mover has three stones in a row on the ground and takes the fourth now, its 4th stone of 21; 17 are
left besides it, so the score is 18.

The search only decides whether the mover scores at least ``bound``: alpha-beta with a null window,
whose answer is yes or no. Bisection over bounds gives the score. The kernels are in
``connect_four_kernels``; the cells of a bitboard are numbered there.

Allis, "A Knowledge-based Approach of Connect-Four" (1988), on the game; Knuth and Moore, "An
Analysis of Alpha-Beta Pruning" (1975), section 6; Plaat et al., "Best-first Fixed-depth Minimax
Algorithms" (1996), on null windows with a table; Plaat et al., "Exploiting Graph Properties of Game
Trees" (1996), on looking up all children in the table before any is searched.
"""

import numpy as np
from numpy.typing import NDArray

from games.base import States
from games.solvers import connect_four_kernels as kernels
from games.solvers.connect_four_kernels import BOARD, BOTTOM, CELLS, COLUMNS

# Nodes between two returns to Python, where an interrupt can be noticed: about a third of a second.
_BUDGET = 2_000_000

# Of the heuristic: the difference of two sides' line values times this is what tanh is taken of.
_SCALE = 0.02


class Solver:
    """A transposition table and the search that fills it. For one thread at a time.

    The table is kept between calls, so related positions are cheaper together. Ctrl-C during a call
    leaves it consistent.
    """

    def __init__(self, table_bits: int = 23):
        """``2 ** table_bits`` entries of 8 bytes: 64 MiB by default; more help near the start.

        ``ValueError`` unless ``table_bits`` is 1 to 34.
        """
        if not 1 <= table_bits <= 34:
            raise ValueError(f"table_bits must be 1 to 34, not {table_bits}")
        self._table = np.zeros(1 << table_bits, np.uint64)
        self._stack = np.zeros((CELLS + 1, kernels.MOVES + COLUMNS), np.uint64)
        self._cursor = np.zeros(4, np.int64)

    @property
    def nodes(self) -> int:
        """Positions searched since this solver was made."""
        return int(self._cursor[kernels.NODES])

    def score(self, own: int, other: int) -> int:
        """The score of an unfinished position, from the mover's (``own``) point of view.

        ``ValueError`` for a finished game and for stones that no game could have placed.
        """
        _check(own, other)
        return self._score(own, own | other)

    def move_scores(self, own: int, other: int) -> NDArray[np.float32]:
        """``[7]``: each column's score for the mover, NaN where it is full; errors as above."""
        _check(own, other)
        both = own | other
        scores = np.full(COLUMNS, np.nan, np.float32)
        for column in range(COLUMNS):
            move = int(kernels.playable(np.uint64(both))) & (63 << 7 * column)
            if _wins_now(own, both) & move:
                scores[column] = _winning_now(both)
            elif move:
                scores[column] = -self._score(other, both | move)
        return scores

    def solve(self, states: States) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """``(best [B], scores [B, 7])`` of ``games.connect_four`` states, none of them finished."""
        scores = np.empty((len(states), COLUMNS), np.float32)
        for row, state in enumerate(states):
            try:
                scores[row] = self.move_scores(int(state["mine"]), int(state["theirs"]))
            except ValueError as error:
                raise ValueError(f"position {row} of {len(states)}: {error}") from None
        return np.nanmax(scores, axis=1, initial=-CELLS).astype(np.int8), scores

    def at_least(self, own: int, other: int, bound: int) -> bool:
        """Whether the score is ``bound`` or more: cheaper than the score; errors as above."""
        _check(own, other)
        both = own | other
        if _wins_now(own, both):
            return _winning_now(both) >= bound
        return self._reaches(own, both, bound)

    def _score(self, own: int, both: int) -> int:
        """``score`` by bisection, the stones known to be possible."""
        ply = both.bit_count()
        if _wins_now(own, both):
            return _winning_now(both)
        low, high = (ply + 1) // 2 - 21, 20 - ply // 2
        while low < high:
            # While both signs are possible the bound is 0 or 1, so that the sign is settled first:
            # the entries which that leaves in the table make the narrower questions cheaper.
            bound = (low + high + 1) // 2
            if low < 0 < high:
                bound = 0 if bound <= 0 else 1
            if self._reaches(own, both, bound):
                low = bound
            else:
                high = bound - 1
        return low

    def _reaches(self, own: int, both: int, bound: int) -> bool:
        """Whether the mover, who cannot win at once, scores at least ``bound``."""
        k = kernels
        self._stack[0, [k.OWN, k.BOTH]] = own, both
        self._cursor[[k.LEVEL, k.PLY, k.ROOT_BOUND]] = 0, both.bit_count(), bound
        answer = k.enter(self._stack, self._cursor, self._table)
        while answer == k.OPEN:
            answer = k.search(self._stack, self._cursor, self._table, _BUDGET)
        return answer == k.FAIL_HIGH


def heuristic(states: States) -> NDArray[np.float32]:
    """``[B]`` in (-1, 1): how many more of the 69 lines of four the mover owns than the opponent.

    A line counts for a side while the other has no stone in it, and more the more stones it holds.
    """
    return np.tanh(kernels.balance(states["mine"], states["theirs"]) * _SCALE).astype(np.float32)


def _check(own: int, other: int) -> None:
    """``ValueError`` for stones that no game leads to and for finished games."""
    both = own | other
    floating = both & ~int(BOARD) or (both + int(BOTTOM)) & both
    if own & other or floating or other.bit_count() - own.bit_count() not in (0, 1):
        raise ValueError("no game of Connect Four leads to these stones")
    four = kernels.has_four(np.uint64(own)) or kernels.has_four(np.uint64(other))
    if four or both == int(BOARD):
        raise ValueError("the game is over: there is no move to score")


def _wins_now(own: int, both: int) -> int:
    """The cells with which the mover wins at once, as a bitboard."""
    threats = kernels.threats(np.uint64(own), np.uint64(both))
    return int(threats & kernels.playable(np.uint64(both)))


def _winning_now(both: int) -> int:
    """The score of a win with the next stone: 21 less the mover's stones on the board."""
    return 21 - both.bit_count() // 2
