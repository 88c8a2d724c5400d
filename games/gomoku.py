"""Gomoku and its relatives: the first line of ``length`` stones wins, on any board up to 19 x 19.

Tic-tac-toe is ``gomoku:size=3,length=3``, and an m,n,k game (m columns, n rows, k in a line) is
``gomoku:size=NxM,length=K``. Free-style Gomoku counts longer lines as well; with ``exact`` a line
longer than ``length``, an overline, does not win. The rule is the same for both players, and no
move is forbidden (Renju is another game).

A state has one byte per cell, row by row from the top left. Only the four lines through the new
stone can be new, so that a move looks at these and at no others; the state keeps the result.

The file is long because the rules are compiled: a class of thin methods, then its kernels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry, Transition, as_bytes
from games.boards import turned_boards
from games.compiling import jit
from games.drawing import Cell, Drawing, Label

SMALLEST, LARGEST = 3, 19
_LETTERS = "abcdefghijklmnopqrs"
_LINES = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Rows down and columns to the right from a stone to the next, in each direction of a line."""
_WON, _DRAWN = 1, 2
"""The field ``over`` of a finished game: the last stone made a line, or it filled the board."""


class Gomoku(Game):
    """Gomoku and m,n,k games (size=ROWSxCOLUMNS); a move is a cell, a1 at the bottom left."""

    def __init__(self, size: str = "15", length: int = 5, exact: bool = False):
        """``size``: 3 to 19 cells a side, ``"15"``, or rows and columns, ``"6x7"``.

        ``length``: stones of a line that wins, from 3 to the longer side. ``exact``: whether a
        longer line does not win. ``ValueError`` for other values.
        """
        self.rows, self.columns = _sides(str(size))
        if not 3 <= length <= max(self.rows, self.columns):
            raise ValueError(
                f"gomoku: length must be 3 to {max(self.rows, self.columns)}, the longer side, "
                f"not {length}"
            )
        square = self.rows == self.columns
        shape = str(self.rows) if square else f"{self.rows}x{self.columns}"
        self.name = f"gomoku:size={shape},length={length},exact={'true' if exact else 'false'}"
        self.length, self.exact = length, exact
        self.num_actions = self.max_plies = self.rows * self.columns
        self.observation_shape = (2, self.rows, self.columns)
        # Every field is made of bytes: the kernels read a batch as bytes [B, cells + 2], and are
        # compiled once for all sizes.
        self.dtype = np.dtype(
            [("cells", "u1", (self.num_actions,)), ("player", "i1"), ("over", "u1")]
        )
        self._rules = (self.rows, self.columns, length, exact)

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> NDArray[np.bool_]:
        return (states["cells"] == 0) & (states["over"] == 0)[:, None]

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        _step(*self._moves(states, actions, after), self._rules)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        """-1 where the last stone made a line, 0 where it filled the board without one."""
        return _OUTCOMES[states["over"]]

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        batch = len(states)
        after, allowed = np.empty(batch, self.dtype), np.empty((batch, self.num_actions), np.bool_)
        result = Transition(after, allowed, np.empty(batch, np.float32), np.empty(batch, np.int8))
        _advance(*self._moves(states, actions, after), *result[1:], self._rules)
        return result

    def observe(self, states: States) -> NDArray[np.float32]:
        """Two planes: the mover's stones, the opponent's; row 0 is the top."""
        planes = np.empty((len(states), 2, self.num_actions), np.float32)
        _observe(as_bytes(states), planes)
        return planes.reshape(-1, *self.observation_shape)

    def observe_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any]:
        cells, number = self.num_actions, constant(np.array([1, 2], np.uint8))

        def observe(states: Any) -> Any:
            player = states[:, cells : cells + 1]
            stones = number ^ 3 * player  # [B, 2]: 1 and 2, for the second player 2 and 1
            planes = states[:, None, :cells] == stones[:, :, None]
            return planes.reshape(-1, *self.observation_shape)

        return observe

    def symmetries(self) -> list[Symmetry]:
        """Half turn and mirror images; on square boards quarter turns, too: four or eight."""
        return [(cells, cells) for cells in turned_boards(self.rows, self.columns)]

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """The points of the board, numbers at the left, letters below; the winning line marked."""
        numbers = [Label(-1.0, float(y), str(self.rows - y)) for y in range(self.rows)]
        letters = [Label(float(x), float(self.rows), _LETTERS[x]) for x in range(self.columns)]
        return Drawing(
            cells=tuple(self._point(cell, int(stone)) for cell, stone in enumerate(state["cells"])),
            clicks={cell: (cell,) for cell in range(self.num_actions)},
            labels=(*numbers, *letters),
            last=() if last_action is None else (int(last_action),),
            line=self._winning(state) if state["over"] == _WON else (),
        )

    def _point(self, cell: int, stone: int) -> Cell:
        row, column = divmod(cell, self.columns)
        player = stone - 1 if stone else None
        return Cell(x=float(column), y=float(row), shape="point", player=player)

    def _winning(self, state: np.void) -> tuple[int, ...]:
        """The stones of every line that wins, in order."""
        board = np.pad(state["cells"].reshape(self.rows, self.columns), 1)
        winner = 2 - int(state["player"])  # the stones of the player who has just moved
        inside: set[int] = set()
        for row, column in zip(*np.nonzero(board == winner), strict=True):
            for down, right in _LINES:
                run = []
                if board[row - down, column - right] != winner:  # the first stone of its line
                    y, x = row, column
                    while board[y, x] == winner:
                        run.append(int((y - 1) * self.columns + x - 1))
                        y, x = y + down, x + right
                if len(run) == self.length or (len(run) > self.length and not self.exact):
                    inside.update(run)
        return tuple(sorted(inside))

    def action_to_text(self, action: int) -> str:
        """Column letter and row number, counted from the bottom: ``a1`` is the lower left cell."""
        row, column = divmod(action, self.columns)
        return f"{_LETTERS[column]}{self.rows - row}"

    def text_to_action(self, text: str) -> int:
        return super().text_to_action(text.lower())

    def _moves(
        self, states: States, actions: NDArray[np.integer], after: States
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]:
        """The first three arguments of the kernels that make moves; ``after`` is written to."""
        return as_bytes(states), actions.astype(np.int64, copy=False), as_bytes(after)


_OUTCOMES = np.array([np.nan, -1, 0], np.float32)
"""The outcome for the player to move, by the field ``over``."""


def _sides(size: str) -> tuple[int, int]:
    """Rows and columns: ``"15"`` gives 15 and 15, ``"6x7"`` gives 6 and 7."""
    rows, _, columns = size.partition("x")
    known = {str(side): side for side in range(SMALLEST, LARGEST + 1)}
    if rows not in known or (columns or rows) not in known or size.endswith("x"):
        raise ValueError(
            f"gomoku: size must be {SMALLEST} to {LARGEST}, or ROWSxCOLUMNS of these as 6x7, "
            f"not {size[:20]!r}"
        )
    return known[rows], known[columns or rows]


# In the kernels a state is a row of bytes: its cells, then player and over; ``rules`` are the
# number of rows and of columns, the length and whether it is exact.


@jit
def _run(board, cell, down, right, rules):
    """The stones of one colour that follow a cell without a gap, in one direction."""
    rows, columns, _, _ = rules
    row, column, run = cell // columns + down, cell % columns + right, 0
    # Rows and columns are compared with the edges, so that no line goes on behind one.
    while (
        0 <= row < rows and 0 <= column < columns and board[row * columns + column] == board[cell]
    ):
        row, column, run = row + down, column + right, run + 1
    return run


@jit
def _makes_line(board, cell, rules):
    """Whether the stone on a cell is part of a line that wins."""
    _, _, length, exact = rules
    for down, right in _LINES:
        run = 1 + _run(board, cell, down, right, rules) + _run(board, cell, -down, -right, rules)
        if run == length or (run > length and not exact):
            return True
    return False


@jit
def _step(states, actions, after, rules):
    """Place a stone of the mover; the game is over with a line, or when no cell is empty."""
    cells = states.shape[1] - 2
    for i in range(states.shape[0]):
        board = after[i]
        for place in range(states.shape[1]):
            board[place] = states[i, place]
        player = board[cells]
        board[actions[i]] = player + 1
        board[cells] = 1 - player
        if _makes_line(board, actions[i], rules):
            board[cells + 1] = _WON
        else:
            empty = 0
            while empty < cells and board[empty]:
                empty += 1
            board[cells + 1] = _DRAWN if empty == cells else 0


@jit
def _advance(states, actions, after, allowed, result, mover, rules):
    """All four in one compiled call, into arrays given by the caller."""
    cells = states.shape[1] - 2
    _step(states, actions, after, rules)
    for i in range(states.shape[0]):
        over = after[i, cells + 1]
        result[i] = np.nan if over == 0 else -1.0 if over == _WON else 0.0
        mover[i] = after[i, cells]
        if over:
            allowed[i] = False
            continue
        for cell in range(cells):
            allowed[i, cell] = after[i, cell] == 0


@jit
def _observe(states, planes):
    """Fill ``planes [B, 2, cells]``."""
    cells = states.shape[1] - 2
    for i in range(states.shape[0]):
        mine = states[i, cells] + 1
        for cell in range(cells):
            planes[i, 0, cell] = states[i, cell] == mine
            planes[i, 1, cell] = states[i, cell] == 3 - mine
