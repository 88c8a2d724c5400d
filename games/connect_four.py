"""Connect Four: seven columns, six rows, four in a line wins.

A state is two bitboards of 64 bits. Bit ``7 * column + row`` is a cell, row 0 at the bottom; every
seventh bit (row 6) stays empty, so no line runs over from one column into the next. This is the
layout of Tromp's and Pons's solvers.

The file is long because every method is compiled: a class of thin methods, then its kernels. The
same rules in plain NumPy would be as short as ``games/tic_tac_toe.py``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry, Transition
from games.boards import bit_planes
from games.compiling import jit
from games.drawing import Drawing, Label, squares

ROWS, COLUMNS = 6, 7
_STRIDE = ROWS + 1
_TOPS = tuple(np.uint64(1 << (_STRIDE * column + ROWS - 1)) for column in range(COLUMNS))
_FULL = np.uint64(sum(((1 << ROWS) - 1) << (_STRIDE * column) for column in range(COLUMNS)))

_ROW, _COLUMN = np.divmod(np.arange(ROWS * COLUMNS, dtype=np.uint64), COLUMNS)
_SHIFTS = (_STRIDE * _COLUMN + ROWS - 1 - _ROW).astype(np.int64).reshape(ROWS, COLUMNS)
"""The number of each cell's bit, the top row first."""
_BITS = np.uint64(1) << _SHIFTS.astype(np.uint64).ravel()
"""The bit of each cell, row by row from the top left."""
_SHORTEST_WIN, _STONES = 4, ROWS * COLUMNS // 2
"""Stones of the winner in the quickest win; stones of each player in a full board."""


class ConnectFour(Game):
    """Connect Four on the usual 6 x 7 board; a move is a column, 1 to 7 from the left."""

    name = "connect_four"
    num_actions = COLUMNS
    observation_shape = (2, ROWS, COLUMNS)
    max_plies = ROWS * COLUMNS
    dtype = np.dtype([("mine", "<u8"), ("theirs", "<u8")])
    """``mine`` are the stones of the player about to move, ``theirs`` the other's."""

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> NDArray[np.bool_]:
        allowed = np.empty((len(states), COLUMNS), np.bool_)
        _legal(states, allowed)
        return allowed

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        _step(states, actions, after)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        result = np.empty(len(states), np.float32)
        _outcome(states, result)
        return result

    def to_move(self, states: States) -> NDArray[np.int8]:
        mover = np.empty(len(states), np.int8)
        _to_move(states, mover)
        return mover

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        batch = len(states)
        after, allowed = np.empty(batch, self.dtype), np.empty((batch, COLUMNS), np.bool_)
        result = Transition(after, allowed, np.empty(batch, np.float32), np.empty(batch, np.int8))
        _advance(states, actions, *result)
        return result

    def observe(self, states: States) -> NDArray[np.float32]:
        """Two planes: the mover's stones, the opponent's; row 0 is the top."""
        return _observe(states)

    def observe_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any]:
        return bit_planes(np.stack([_SHIFTS, 64 + _SHIFTS]), constant)

    def symmetries(self) -> list[Symmetry]:
        """The identity and the mirror image."""
        cells = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
        columns = np.arange(COLUMNS)
        return [(cells.ravel(), columns), (cells[:, ::-1].ravel(), columns[::-1].copy())]

    def final_ownership(self, states: States) -> NDArray[np.float32]:
        """A cell belongs to the player whose stone is in it; row 0 is the top."""
        mine, theirs = (_stones(states[name]) for name in ("mine", "theirs"))
        return mine.astype(np.float32) - theirs.astype(np.float32)

    def final_score(self, states: States) -> NDArray[np.float32]:
        """The winner's stones that are left, the winning one included, as a share of 18.

        1 for a win with the fourth stone, the quickest, and 1/18 for one with the last, the 21st.
        It is the solver's score (``games.solvers.connect_four``) divided by its maximum. A draw
        is 0. Only the other player can have won, so that the mover's score is never positive.
        """
        left = _STONES + 1 - np.bitwise_count(states["theirs"]).astype(np.float32)
        share = left / (_STONES + 1 - _SHORTEST_WIN)
        return np.where(self.outcome(states) == 0, 0, -share).astype(np.float32)

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Squares above the numbers of the columns; a column's lowest empty cell is clicked."""
        mover = int(self.to_move(np.array([state], self.dtype))[0])
        mine, theirs = _stones(state["mine"]), _stones(state["theirs"])
        occupied = (mine | theirs).reshape(ROWS, COLUMNS)
        height = occupied.sum(axis=0)
        landing = (ROWS - 1 - height).clip(0) * COLUMNS + np.arange(COLUMNS)
        top = (ROWS - height) * COLUMNS + np.arange(COLUMNS)
        return Drawing(
            cells=squares(np.select([mine, theirs], [mover, 1 - mover], -1), COLUMNS),
            clicks={column: (int(cell),) for column, cell in enumerate(landing)},
            labels=tuple(Label(float(c), float(ROWS), str(c + 1)) for c in range(COLUMNS)),
            last=() if last_action is None else (int(top[last_action]),),
            line=tuple(np.flatnonzero(_stones(_in_fours(state["theirs"]))).tolist()),
        )


def _stones(board: NDArray[np.uint64] | np.uint64) -> NDArray[np.bool_]:
    """``bool [..., 42]``: the cells of bitboards, row by row from the top left."""
    return np.asarray(board)[..., None] & _BITS != 0


def _in_fours(stones: np.uint64) -> np.uint64:
    """The stones of a bitboard that are in a line of four or more."""
    inside = np.uint64(0)
    for shift in (1, 6, 7, 8):
        four = stones & stones >> shift & stones >> 2 * shift & stones >> 3 * shift
        for step in range(4):  # from a line's first stone to its fourth
            inside |= four << step * shift
    return inside


@jit
def _has_four(stones):
    """Whether a bitboard holds four in a line: pairs, then pairs of pairs, in each direction."""
    four = np.uint64(0)
    for shift in (np.uint64(1), np.uint64(6), np.uint64(7), np.uint64(8)):
        pairs = stones & (stones >> shift)
        four |= pairs & (pairs >> (shift + shift))
    return four != np.uint64(0)


@jit
def _step(states, actions, after):
    """Drop a stone of the mover and hand the move over: ``mine`` and ``theirs`` change places."""
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        occupied = mine | theirs
        bottom = np.uint64(1) << np.uint64(_STRIDE * actions[i])
        # The carry runs up the column's stones into its lowest empty cell: with two stones in it,
        # 0b011 + 0b001 = 0b100.
        after[i].mine = theirs
        after[i].theirs = mine | ((occupied + bottom) & ~occupied)


@jit
def _legal(states, allowed):
    """A column is allowed while its top cell is empty and the game goes on."""
    for i in range(states.shape[0]):
        empty = ~(states[i].mine | states[i].theirs)
        if _has_four(states[i].theirs):
            empty = np.uint64(0)
        for column in range(COLUMNS):
            allowed[i, column] = empty & _TOPS[column] != 0


@jit
def _outcome(states, result):
    """-1, 0 or NaN: the mover of a finished game never won."""
    # Only the player who has just moved can have four: the mover of a finished game lost or drew.
    for i in range(states.shape[0]):
        if _has_four(states[i].theirs):
            result[i] = -1.0
        elif states[i].mine | states[i].theirs == _FULL:
            result[i] = 0.0
        else:
            result[i] = np.nan


@jit
def _to_move(states, mover):
    """The parity of the number of stones: after an odd number the other player is to move."""
    # Each step folds the upper half of the bits onto the lower half; one bit is left at the end.
    for i in range(states.shape[0]):
        bits = states[i].mine ^ states[i].theirs
        for shift in (32, 16, 8, 4, 2, 1):
            bits ^= bits >> np.uint64(shift)
        mover[i] = bits & np.uint64(1)


@jit
def _advance(states, actions, after, allowed, result, mover):
    """All four in one compiled call, into arrays given by the caller."""
    _step(states, actions, after)
    _legal(after, allowed)
    _outcome(after, result)
    _to_move(after, mover)


@jit
def _observe(states):
    """``[B, 2, 6, 7]``: the cells of each bitboard, the top row first."""
    planes = np.empty((states.shape[0], 2, ROWS, COLUMNS), np.float32)
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        for row in range(ROWS):
            for column in range(COLUMNS):
                bit = np.uint64(_STRIDE * column + ROWS - 1 - row)
                planes[i, 0, row, column] = (mine >> bit) & np.uint64(1)
                planes[i, 1, row, column] = (theirs >> bit) & np.uint64(1)
    return planes
