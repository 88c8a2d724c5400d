"""Dots and Boxes: a completed box is owned and gives another move; most boxes win.

The board is a grid of ``2 * rows + 1`` by ``2 * columns + 1`` cells: dots, lines and boxes. Three
boxes in a row and two rows, ``+`` a dot, ``-`` and ``|`` a line, ``#`` a box, row 0 at the top::

    + - + - + - +
    | # | # | # |
    + - + - + - +
    | # | # | # |
    + - + - + - +

Lines are numbered as in OpenSpiel: the horizontal ones row by row, then the vertical ones row by
row. A state packs the drawn lines and each player's boxes into bits: bit ``n % 8`` of byte
``n // 8`` is line or box ``n``.

The file is long because the rules are compiled: a class of thin methods, then its kernels.
"""

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry, Transition, as_bytes
from games.boards import turned_boards
from games.compiling import jit
from games.drawing import Cell, Drawing, Label

_LARGEST = 9
_LETTERS = "abcdefghijklmnopqrs"
_NONE = -1
"""In place of a box: a line at the edge has one on one side only."""


class DotsAndBoxes(Game):
    """Dots and Boxes; a move is a line, as b1, in the drawing's grid of dots and lines."""

    def __init__(self, rows: int = 3, columns: int = 3):
        """``rows`` and ``columns`` of boxes, 1 to 9 each, else ``ValueError``."""
        for name, value in (("rows", rows), ("columns", columns)):
            if not 1 <= value <= _LARGEST:
                raise ValueError(f"dots_and_boxes: {name} must be 1 to {_LARGEST}, not {value}")
        self.name = f"dots_and_boxes:rows={rows},columns={columns}"
        self.rows, self.columns = rows, columns
        self._shape = height, width = 2 * rows + 1, 2 * columns + 1
        row, column = np.divmod(np.arange(height * width), width)
        self._line_cells = np.concatenate(
            [np.flatnonzero((row % 2 == part) & (column % 2 == 1 - part)) for part in (0, 1)]
        )
        self._box_cells = np.flatnonzero((row % 2 == 1) & (column % 2 == 1))
        self.num_actions = self.max_plies = len(self._line_cells)
        self.observation_shape = (4, height, width)
        lines, boxes = -(-self.num_actions // 8), -(-rows * columns // 8)
        self.dtype = np.dtype(
            [("lines", "u1", (lines,)), ("mine", "u1", (boxes,)), ("theirs", "u1", (boxes,)),
             ("player", "i1")]
        )  # fmt: skip
        self._first = lines, lines + boxes
        self._lines_of, self._boxes_of = self._neighbours()

    def _neighbours(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each box's lines ``[boxes, 4]`` and each line's boxes ``[A, 2]``, -1 for none."""
        number = np.empty(self._shape, np.int64).ravel()
        number[self._line_cells] = np.arange(len(self._line_cells))
        _, width = self._shape
        lines_of = number[self._box_cells[:, None] + (-width, -1, 1, width)]
        boxes_of = np.full((len(self._line_cells), 2), _NONE)
        for box, lines in enumerate(lines_of):
            for line in lines:
                boxes_of[line, int(boxes_of[line, 0] != _NONE)] = box
        return lines_of, boxes_of

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> NDArray[np.bool_]:
        """Every line that is not drawn; the game ends with the last one."""
        allowed = np.empty((len(states), self.num_actions), np.bool_)
        _legal(as_bytes(states), allowed)
        return allowed

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = states.copy()
        _step(as_bytes(after), actions, self._first, self._lines_of, self._boxes_of)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        """The sign of the mover's majority of boxes; the mover drew the last line."""
        result = np.empty(len(states), np.float32)
        _outcome(as_bytes(states), result, self._first, len(self._box_cells))
        return result

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        after = self.step(states, actions)
        return Transition(after, self.legal(after), self.outcome(after), after["player"].copy())

    def observe(self, states: States) -> NDArray[np.float32]:
        """Four planes of dots, lines and boxes: lines drawn, lines open, own boxes, the others'."""
        return self._planes(states)

    def _planes(self, states: States) -> NDArray[np.float32]:
        planes = np.zeros((len(states), 4, self._shape[0] * self._shape[1]), np.float32)
        _fill(as_bytes(states), planes, self._first, self._line_cells, self._box_cells)
        return planes.reshape(-1, *self.observation_shape)

    def symmetries(self) -> list[Symmetry]:
        """Rotations, plain and mirrored: eight of a square board, four of another."""
        line = np.empty(self._shape[0] * self._shape[1], np.int64)
        line[self._line_cells] = np.arange(self.num_actions)
        turned = turned_boards(*self._shape)
        return [(cells, line[cells[self._line_cells]]) for cells in turned]

    def final_ownership(self, states: States) -> NDArray[np.float32]:
        """A box belongs to the player who completed it; dots and lines to neither."""
        planes = self._planes(states)
        return (planes[:, 2] - planes[:, 3]).reshape(len(states), self._shape[0] * self._shape[1])

    def final_score(self, states: States) -> NDArray[np.float32]:
        """The mover's boxes less the opponent's, as a share of all boxes."""
        return self.final_ownership(states).sum(axis=1) / np.float32(len(self._box_cells))

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """The grid with letters above and numbers at the left; an open line is clicked."""
        height, width = self._shape
        drawn, _, mine, theirs = self._planes(np.array([state], self.dtype))[0]
        mover = int(state["player"])
        owner = np.select([mine > 0, theirs > 0], [mover, 1 - mover], _NONE)
        above = [Label(float(x), -1.0, _LETTERS[x]) for x in range(width)]
        beside = [Label(-1.0, float(y), str(y + 1)) for y in range(height)]
        return Drawing(
            cells=tuple(
                _cell(x, y, bool(drawn[y, x]), int(owner[y, x]))
                for y in range(height)
                for x in range(width)
            ),
            clicks={action: (int(cell),) for action, cell in enumerate(self._line_cells)},
            labels=(*above, *beside),
            last=() if last_action is None else (int(self._line_cells[last_action]),),
        )

    def action_to_text(self, action: int) -> str:
        """The line's column letter and row number in the drawing; ``b1`` is the first line."""
        row, column = divmod(int(self._line_cells[action]), self._shape[1])
        return f"{_LETTERS[column]}{row + 1}"

    def text_to_action(self, text: str) -> int:
        return super().text_to_action(text.lower())


def _cell(x: int, y: int, drawn: bool, owner: int) -> Cell:
    """One cell of the drawing: a dot, a line or a box."""
    if x % 2 == 0 and y % 2 == 0:
        return Cell(float(x), float(y), "dot", label="+")
    if x % 2 and y % 2:
        return Cell(float(x), float(y), player=None if owner == _NONE else owner, label=" ")
    shape, piece = ("down", "|") if y % 2 else ("across", "-")
    return Cell(float(x), float(y), shape, piece=piece if drawn else "")


# Kernels have the bytes of states as arguments, and ``first``, the first byte of ``mine`` and of
# ``theirs``: every size of board has records of a type of its own, for which all would be compiled
# again.


@jit
def _has(bits, first, number):
    """Whether bit ``number`` of the packed bytes from ``first`` on is 1."""
    return (bits[first + (number >> 3)] >> (number & 7)) & 1 != 0


@jit
def _add(bits, first, number):
    """Set bit ``number`` of the packed bytes from ``first`` on."""
    bits[first + (number >> 3)] |= np.uint8(1 << (number & 7))


@jit
def _step(states, actions, first, lines_of, boxes_of):
    """Draw a line in place; without a new box the move is the other player's."""
    mine, theirs = first
    for i in range(states.shape[0]):
        state = states[i]
        _add(state, 0, actions[i])
        completed = False
        for box in boxes_of[actions[i]]:
            if box >= 0:
                whole = True
                for line in lines_of[box]:
                    whole &= _has(state, 0, line)
                if whole:
                    _add(state, mine, box)
                    completed = True
        if not completed:
            for own in range(mine, theirs):
                other = own + theirs - mine
                state[own], state[other] = state[other], state[own]
            state[-1] = 1 - state[-1]


@jit
def _legal(states, allowed):
    for i in range(states.shape[0]):
        for action in range(allowed.shape[1]):
            allowed[i, action] = not _has(states[i], 0, action)


@jit
def _outcome(states, result, first, boxes):
    """The sign of the mover's margin where all boxes are owned, and so all lines drawn; or NaN."""
    for i in range(states.shape[0]):
        own, other = 0, 0
        for box in range(boxes):
            own += _has(states[i], first[0], box)
            other += _has(states[i], first[1], box)
        result[i] = np.sign(own - other) if own + other == boxes else np.nan


@jit
def _fill(states, planes, first, line_cells, box_cells):
    """Fill planes of zeros ``[B, 4, H * W]``."""
    for i in range(states.shape[0]):
        for line in range(line_cells.shape[0]):
            planes[i, 0 if _has(states[i], 0, line) else 1, line_cells[line]] = 1
        for box in range(box_cells.shape[0]):
            planes[i, 2, box_cells[box]] = _has(states[i], first[0], box)
            planes[i, 3, box_cells[box]] = _has(states[i], first[1], box)
