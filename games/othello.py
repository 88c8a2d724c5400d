"""Othello (Reversi with the fixed opening set-up) on 4 x 4, 6 x 6, 8 x 8 or 10 x 10 boards.

A state is two bitboards (bit ``8 * row + column``, row 0 at the top) and whose move it is. Rules:
World Othello Federation; a pass is a move, legal where it is the only one and the game goes on.

The file is long because the rules are compiled: a class of thin methods, then its kernels. The 100
cells of the largest board need two words: its kernels are in ``games/othello_10x10.py``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry, Transition
from games.boards import bit_planes, turned_boards
from games.compiling import jit
from games.drawing import Drawing, Label, squares

_DIRECTIONS = (1, -1, 8, -8, 7, -7, 9, -9)
_LETTERS = "abcdefghij"

_MAX_LEGAL = {4: 8, 6: 28, 8: 34, 10: 80}
"""An upper bound on the moves in any placement of discs, by size.

4: the most of all 3^16 placements. 8: Takizawa, "The maximum number of legal moves of Othello in
reachable positions is 33" (2023), who proves 34 where unreachable positions are included. 6: by
counting. With m discs of the mover and t of the opponent, a move needs an empty cell, of which
there are 36 - m - t; a disc of the mover at the end of a run, and each serves 8 moves at most, one
per direction; and a disc of the opponent next to the cell, again 8 at most. min(8 m, 8 t,
36 - m - t) is largest at m = t = 4: 28.
"""


class Othello(Game):
    """Othello; a move is a cell, a1 to h8 from the top left, or pass where no cell is allowed."""

    def __init__(self, size: int = 8):
        """``size``: 4, 6, 8 or 10 cells a side, else ``ValueError``.

        In a state ``mine`` are the discs of ``player``, who is about to move (0 black, 1 white).
        """
        if size not in _MAX_LEGAL:
            raise ValueError(f"othello: size must be 4, 6, 8 or 10, not {size}")
        self.name = f"othello:size={size}"
        self.size = size
        self.num_actions = size * size + 1
        self.observation_shape = (2, size, size)
        self.max_legal = _MAX_LEGAL[size]
        # No two passes follow each other, so at most every second ply is one.
        self.max_plies = 2 * (size * size - 4)
        row, column = np.divmod(np.arange(size * size, dtype=np.uint64), size)
        words = () if size <= 8 else (2,)
        self.dtype = np.dtype([("mine", "<u8", words), ("theirs", "<u8", words), ("player", "i1")])
        if size <= 8:
            self._kernels = _KERNELS
            self._bits = np.uint64(1) << (8 * row + column)
        else:
            from games.othello_10x10 import KERNELS

            self._kernels = _Kernels(*KERNELS)
            one_bit = [1 << cell for cell in range(size * size)]
            self._bits = np.array([(bit % 2**64, bit >> 64) for bit in one_bit], np.uint64)
        self._board = np.bitwise_or.reduce(self._bits)
        # Discs off the left and right edges: runs kept to these cannot wrap into the next row.
        self._between = np.bitwise_or.reduce(self._bits[(column > 0) & (column < size - 1)])

    def initial(self, batch: int) -> States:
        """Black, who begins, has the upper right and lower left of the four cells in the centre."""
        bits = self._bits.reshape(self.size, self.size, *self._bits.shape[1:])
        upper, lower = self.size // 2 - 1, self.size // 2
        states = np.zeros(batch, self.dtype)
        states["mine"] = bits[upper, lower] | bits[lower, upper]
        states["theirs"] = bits[upper, upper] | bits[lower, lower]
        return states

    def legal(self, states: States) -> NDArray[np.bool_]:
        allowed, result = self._empty(len(states))
        self._kernels.legal(states, allowed, result, self._bits, self._board, self._between)
        return allowed

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        self._kernels.step(states, actions, after, self._bits, self._between)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        _, result = self._empty(len(states))
        self._kernels.outcome(states, result, self._bits, self._board, self._between)
        return result

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        after = self.step(states, actions)
        allowed, result = self._empty(len(states))
        self._kernels.legal(after, allowed, result, self._bits, self._board, self._between)
        return Transition(after, allowed, result, after["player"].copy())

    def _empty(self, batch: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Arrays for the legal moves and the outcomes of ``batch`` positions."""
        return np.empty((batch, self.num_actions), np.bool_), np.empty(batch, np.float32)

    def observe(self, states: States) -> NDArray[np.float32]:
        """Two planes: the mover's discs, the opponent's; row 0 is the top."""
        return self._discs(states).reshape(-1, *self.observation_shape)

    def observe_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any]:
        row, column = np.indices((self.size, self.size))
        mine = max(self.size, 8) * row + column
        theirs = mine + 8 * self.dtype["mine"].itemsize
        return bit_planes(np.stack([mine, theirs]), constant)

    def symmetries(self) -> list[Symmetry]:
        """Four rotations, each plain and mirrored; half of them swap the set-up's colours."""
        turned = turned_boards(self.size, self.size)
        return [(cells, np.append(cells, self.size**2)) for cells in turned]

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        """The majority of discs on the board, as in a finished game."""
        return np.sign(self.final_score(states))

    def final_ownership(self, states: States) -> NDArray[np.float32]:
        """A cell belongs to the player whose disc is on it; cells left empty to neither."""
        discs = self._discs(states)
        return discs[:, 0] - discs[:, 1]

    def final_score(self, states: States) -> NDArray[np.float32]:
        """The mover's discs less the opponent's, as a share of all cells.

        The mean of ``final_ownership``; empty cells are not given to the winner as in tournaments.
        """
        return self.final_ownership(states).mean(axis=1)

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Squares with letters above and numbers at the left; a pass is named."""
        mine, theirs = self._discs(np.array([state], self.dtype))[0] > 0
        mover = int(state["player"])
        players = np.select([mine, theirs], [mover, 1 - mover], -1)
        above = [Label(float(x), -1.0, _LETTERS[x]) for x in range(self.size)]
        beside = [Label(-1.0, float(y), str(y + 1)) for y in range(self.size)]
        cells = self.size**2
        return Drawing(
            cells=squares(players, self.size),
            clicks={cell: (cell,) for cell in range(cells)},
            named={cells: self.action_to_text(cells)},
            labels=(*above, *beside),
            last=() if last_action in (None, cells) else (int(last_action),),
        )

    def _discs(self, states: States) -> NDArray[np.float32]:
        """``[B, 2, cells]``: 1 at the mover's discs, and at the opponent's; row by row."""
        discs = np.empty((len(states), 2, self.size**2), np.float32)
        self._kernels.discs(states, discs, self._bits)
        return discs

    def action_to_text(self, action: int) -> str:
        """Column letter and row number, a1 at the top left; ``pass`` for the last action."""
        row, column = divmod(action, self.size)
        return f"{_LETTERS[column]}{row + 1}" if row < self.size else "pass"

    def text_to_action(self, text: str) -> int:
        return super().text_to_action(text.lower())


@jit
def _shift(discs, by):
    """Move a bitboard by ``by`` cells: 1 to the right, 8 down, 9 both; negative the other way."""
    return discs << np.uint64(by) if by > 0 else discs >> np.uint64(-by)


@jit
def _run(start, theirs, by, between):
    """The unbroken runs of ``theirs`` that begin next to ``start``, in one direction.

    At most six discs lie between two others on a board of eight cells: one shift finds the first,
    five more the rest. Row ``X O O .`` and ``by`` 1: from X the run is both O, and the cell behind
    it is a move.
    """
    within = theirs if abs(by) == 8 else theirs & between
    run = within & _shift(start, by)
    for _ in range(5):
        run |= within & _shift(run, by)
    return run


@jit
def _moves(mine, theirs, board, between):
    """A bitboard of the cells where ``mine`` may move."""
    ends = np.uint64(0)
    for by in _DIRECTIONS:
        ends |= _shift(_run(mine, theirs, by, between), by)
    return ends & board & ~(mine | theirs)


@jit
def _step(states, actions, after, bits, between):
    """Place a disc and turn the runs that it encloses; a pass (the last action) turns none."""
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        if actions[i] < bits.shape[0]:
            cell = bits[actions[i]]
            flipped = np.uint64(0)
            for by in _DIRECTIONS:
                run = _run(cell, theirs, by, between)
                # Enclosed only where one of the mover's own discs follows the run.
                if _shift(run, by) & mine:
                    flipped |= run
            mine, theirs = mine | cell | flipped, theirs & ~flipped
        after[i].mine, after[i].theirs = theirs, mine
        after[i].player = 1 - states[i].player


@jit
def _legal(states, allowed, result, bits, board, between):
    """The cells where the mover may move; a pass where it has none and the opponent has one.

    Where neither has, the game is over: ``result`` is the sign of the mover's majority, else NaN.
    """
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        moves = _moves(mine, theirs, board, between)
        for cell in range(bits.shape[0]):
            allowed[i, cell] = moves & bits[cell] != 0
        allowed[i, -1] = moves == 0 and _moves(theirs, mine, board, between) != 0
        result[i] = np.nan if moves or allowed[i, -1] else np.sign(_margin(mine, theirs, bits))


@jit
def _outcome(states, result, bits, board, between):
    """The sign of the mover's majority of discs where neither side can move, else NaN."""
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        over = not (_moves(mine, theirs, board, between) or _moves(theirs, mine, board, between))
        result[i] = np.sign(_margin(mine, theirs, bits)) if over else np.nan


@jit
def _margin(mine, theirs, bits):
    margin = 0
    for bit in bits:
        margin += int(mine & bit != 0) - int(theirs & bit != 0)
    return margin


@jit
def _discs(states, discs, bits):
    """``discs [B, 2, cells]``: 1 where the mover has a disc, and where the opponent has one."""
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        # Two loops over numbers, not truth values: four times as fast.
        for cell in range(bits.shape[0]):
            discs[i, 0, cell] = np.float32(1) if mine & bits[cell] else np.float32(0)
        for cell in range(bits.shape[0]):
            discs[i, 1, cell] = np.float32(1) if theirs & bits[cell] else np.float32(0)


class _Kernels(NamedTuple):
    """The compiled rules of one layout of boards."""

    legal: Callable
    step: Callable
    outcome: Callable
    discs: Callable


_KERNELS = _Kernels(_legal, _step, _outcome, _discs)
