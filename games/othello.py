"""Othello (Reversi with the fixed opening set-up) on 4 x 4, 6 x 6 or 8 x 8 boards.

A state is two bitboards (bit ``8 * row + column``, row 0 at the top) and whose move it is. Rules:
World Othello Federation; a pass is a move, legal where it is the only one and the game goes on.

The file is long because the rules are compiled: a class of thin methods, then its kernels.
"""

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry
from games.compiling import jit
from games.drawing import Drawing, Label, squares

_DIRECTIONS = (1, -1, 8, -8, 7, -7, 9, -9)
_LETTERS = "abcdefgh"

_MAX_LEGAL = {4: 8, 6: 28, 8: 34}
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

    dtype = np.dtype([("mine", "<u8"), ("theirs", "<u8"), ("player", "i1")])
    """``mine`` are the discs of ``player``, who is about to move (0 black, 1 white)."""

    def __init__(self, size: int = 8):
        """``size``: 4, 6 or 8 cells a side, else ``ValueError``."""
        if size not in (4, 6, 8):
            raise ValueError(f"othello: size must be 4, 6 or 8, not {size}")
        self.name = f"othello:size={size}"
        self.size = size
        self.num_actions = size * size + 1
        self.observation_shape = (2, size, size)
        self.max_legal = _MAX_LEGAL[size]
        # No two passes follow each other, so at most every second ply is one.
        self.max_plies = 2 * (size * size - 4)
        row, column = np.divmod(np.arange(size * size, dtype=np.uint64), size)
        self._bits = np.uint64(1) << (8 * row + column)
        self._board = np.bitwise_or.reduce(self._bits)
        # Discs off the left and right edges: runs kept to these cannot wrap into the next row.
        self._between = np.bitwise_or.reduce(self._bits[(column > 0) & (column < size - 1)])

    def initial(self, batch: int) -> States:
        """Black, who begins, has the upper right and lower left of the four cells in the centre."""
        bits = self._bits.reshape(self.size, self.size)
        upper, lower = self.size // 2 - 1, self.size // 2
        states = np.zeros(batch, self.dtype)
        states["mine"] = bits[upper, lower] | bits[lower, upper]
        states["theirs"] = bits[upper, upper] | bits[lower, lower]
        return states

    def legal(self, states: States) -> NDArray[np.bool_]:
        return _legal(states, self._bits, self._board, self._between)

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        _step(states, actions, after, self._bits, self._between)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        return _outcome(states, self._bits, self._board, self._between)

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def observe(self, states: States) -> NDArray[np.float32]:
        """Two planes: the mover's discs, the opponent's; row 0 is the top."""
        boards = np.stack([states["mine"], states["theirs"]], axis=1)[:, :, None]
        return (boards & self._bits != 0).astype(np.float32).reshape(-1, *self.observation_shape)

    def symmetries(self) -> list[Symmetry]:
        """Four rotations, each plain and mirrored; half of them swap the set-up's colours."""
        board = np.arange(self.size**2).reshape(self.size, self.size)
        turned = [np.rot90(side, turns) for side in (board, board.T) for turns in range(4)]
        return [(cells.ravel(), np.append(cells, self.size**2)) for cells in turned]

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        """The majority of discs on the board, as in a finished game."""
        return np.sign(self.final_score(states))

    def final_ownership(self, states: States) -> NDArray[np.float32]:
        """A cell belongs to the player whose disc is on it; cells left empty to neither."""
        mine, theirs = (self._discs(states[name]) for name in ("mine", "theirs"))
        return mine.astype(np.float32) - theirs.astype(np.float32)

    def final_score(self, states: States) -> NDArray[np.float32]:
        """The mover's discs less the opponent's, as a share of all cells.

        The mean of ``final_ownership``; empty cells are not given to the winner as in tournaments.
        """
        return self.final_ownership(states).mean(axis=1)

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Squares with letters above and numbers at the left; a pass is named."""
        mine, theirs, mover = (state[name] for name in ("mine", "theirs", "player"))
        players = np.select([self._discs(mine), self._discs(theirs)], [mover, 1 - mover], -1)
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

    def _discs(self, board: NDArray[np.uint64] | np.uint64) -> NDArray[np.bool_]:
        """``bool [..., size * size]``: the cells of bitboards, row by row from the top left."""
        return np.asarray(board)[..., None] & self._bits != 0

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
def _legal(states, bits, board, between):
    """The cells where the mover may move; a pass where it has none and the opponent has one."""
    allowed = np.empty((states.shape[0], bits.shape[0] + 1), np.bool_)
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        moves = _moves(mine, theirs, board, between)
        for cell in range(bits.shape[0]):
            allowed[i, cell] = moves & bits[cell] != 0
        allowed[i, -1] = moves == 0 and _moves(theirs, mine, board, between) != 0
    return allowed


@jit
def _outcome(states, bits, board, between):
    """The sign of the mover's majority of discs where neither side can move, else NaN."""
    result = np.full(states.shape[0], np.nan, np.float32)
    for i in range(states.shape[0]):
        mine, theirs = states[i].mine, states[i].theirs
        if not (_moves(mine, theirs, board, between) or _moves(theirs, mine, board, between)):
            margin = 0
            for bit in bits:
                margin += int(mine & bit != 0) - int(theirs & bit != 0)
            result[i] = np.sign(margin)
    return result
