"""Hex on rhombic boards of 3 x 3 to 19 x 19 hexagons, with or without the swap rule.

A state has one byte per cell, row by row from the top left: whose stone is there, and which of its
owner's two edges the stone's chain reaches. A new stone passes these marks on to the stones of its
chain that lack them; each stone is marked twice at most in a whole game, so that no move needs a
search of the board. The game is over when a chain has both marks.

Cells are neighbours in their row, in their column, and where a row further down goes with a column
to the left: row 1, column 1 touches row 0, column 2. The first player joins top and bottom, the
second left and right. Actions and observations are from the mover's side: for the second player
the board is mirrored on its long diagonal (row r, column c becomes row c, column r), so that the
mover always joins top and bottom, and one network learns one direction.

The file is long because the rules are compiled: a class of thin methods, then its kernels.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry, Transition, as_bytes
from games.compiling import jit
from games.drawing import Cell, Drawing, Edge, Label

SMALLEST, LARGEST = 3, 19
_LETTERS = "abcdefghijklmnopqrs"
_SWAP = "swap"
_DOWN = 0.866
"""The distance of two rows of hexagons, where neighbours in a row are 1 apart."""
_TIP, _SHOULDER = _DOWN * 2 / 3, _DOWN / 3
"""How far above its middle a hexagon has its top corner and the two beside it."""

_ROOF = (-0.5, -_SHOULDER), (0.0, -_TIP), (0.5, -_SHOULDER)
"""The upper corners of a hexagon, seen from its middle."""

_FIRST, _SECOND = 1, 2
"""The bits of a stone: of the first player, of the second."""
_NEAR, _FAR = 4, 8
"""The bits of a stone whose chain reaches an edge of its owner: top or left, bottom or right."""
_EDGES = _NEAR | _FAR


class Hex(Game):
    """Hex; a move is a cell, a1 at the top left, or swap as the second player's first move."""

    def __init__(self, size: int = 11, swap: bool = True):
        """``size``: 3 to 19 cells a side, else ``ValueError``; ``swap``: whether it is allowed."""
        if not SMALLEST <= size <= LARGEST:
            raise ValueError(f"hex: size must be {SMALLEST} to {LARGEST}, not {size}")
        self.name = f"hex:size={size},swap={'true' if swap else 'false'}"
        self.size, self.swap = size, swap
        cells = size * size
        self.num_actions = cells + swap
        self.max_legal = cells  # the swap is legal when one cell is taken
        self.max_plies = cells + swap
        self.observation_shape = (4 + swap, size, size)
        # Every field is made of bytes: the kernels read a batch as bytes [B, cells + 3], and are
        # compiled once for all sizes.
        self.dtype = np.dtype(
            [("cells", "u1", (cells,)), ("player", "i1"), ("won", "u1"), ("swap", "u1")]
        )
        self._mirror = np.arange(cells).reshape(size, size).T.ravel()
        self._neighbours = _neighbours(size)
        row, column = np.divmod(np.arange(cells), size)
        self._touched = np.array(
            [
                np.where(line == 0, _NEAR, 0) | np.where(line == size - 1, _FAR, 0)
                for line in (row, column)
            ],
            np.uint8,
        )

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> NDArray[np.bool_]:
        allowed = np.empty((len(states), self.num_actions), np.bool_)
        _legal(as_bytes(states), allowed, self._mirror)
        return allowed

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        _step(*self._moves(states, actions, after), *self._board())
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        """-1 in a finished game: the last move won. A full board has a winner: there is no draw."""
        return np.where(states["won"], np.float32(-1), np.float32(np.nan))

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        batch = len(states)
        after = np.empty(batch, self.dtype)
        allowed = np.empty((batch, self.num_actions), np.bool_)
        result = Transition(after, allowed, np.empty(batch, np.float32), np.empty(batch, np.int8))
        _advance(*self._moves(states, actions, after), *result[1:], *self._board())
        return result

    def observe(self, states: States) -> NDArray[np.float32]:
        """Four or five planes, turned so that the mover joins the top row and the bottom row.

        The mover's stones, the opponent's, those of the mover whose chain reaches an edge of
        theirs, the opponent's likewise; with the swap rule a plane of ones where it may be used.
        """
        planes = np.zeros((len(states), self.observation_shape[0], self.size**2), np.float32)
        _observe(as_bytes(states), planes, self._mirror)
        return planes.reshape(-1, *self.observation_shape)

    def observe_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any]:
        cells, planes = self.size**2, self.observation_shape[0]
        bits = np.array([(1, 2, 1, 2, 0), (2, 1, 2, 1, 0), (0, 0, 0, 0, 1)], np.uint8)[:, :planes]
        stone, other, swap = (constant(row) for row in bits)
        every_stone = constant(np.array([True, True, False, False, False])[:planes, None])
        mirror = constant(self._mirror)

        def observe(states: Any) -> Any:
            board, player = states[:, :cells], states[:, cells : cells + 1]
            # Where the player is 1, a ^ (a ^ b) * player is b, else a.
            board = (board ^ (board ^ states[:, mirror]) * player)[:, None]
            stones = (stone ^ (stone ^ other) * player)[:, :, None]
            shown = (board & stones != 0) & (every_stone | (board & _EDGES != 0))
            may_swap = (states[:, cells + 2 :] * swap != 0)[:, :, None]
            return (shown | may_swap).reshape(-1, *self.observation_shape)

        return observe

    def symmetries(self) -> list[Symmetry]:
        """The identity and the half turn; the mirror image of the second player is none."""
        cells = np.arange(self.size**2)
        swap = np.arange(self.size**2, self.num_actions)
        return [(turned, np.append(turned, swap)) for turned in (cells, cells[::-1].copy())]

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Hexagons, rows shifted to the right; edges have their players, the won chain is marked.

        The swap is named.
        """
        cells = self.size**2
        clicks = {a: (self._cell(a, int(state["player"])),) for a in range(cells)}
        letters = [Label(x - 0.5, -_DOWN, _LETTERS[x]) for x in range(self.size)]
        numbers = [Label(y / 2 - 1, y * _DOWN, str(y + 1)) for y in range(self.size)]
        return Drawing(
            cells=tuple(
                self._hexagon(cell, int(stone)) for cell, stone in enumerate(state["cells"])
            ),
            clicks=clicks,
            named={cells: _SWAP} if self.swap else {},
            labels=(*letters, *numbers),
            last=() if last_action is None else self._last(state, int(last_action)),
            line=tuple(np.flatnonzero(state["cells"] & _EDGES == _EDGES).tolist()),
            text="X (first) joins top and bottom, O (second) left and right",
            edges=self._edges(),
        )

    def _hexagon(self, cell: int, stone: int) -> Cell:
        row, column = divmod(cell, self.size)
        player = {_FIRST: 0, _SECOND: 1}.get(stone & (_FIRST | _SECOND))
        return Cell(x=column + row / 2, y=row * _DOWN, shape="hexagon", player=player)

    def _edges(self) -> tuple[Edge, ...]:
        """The four sides along the corners of their hexagons: top, bottom, left, right."""
        end = self.size - 1
        across = [(x + dx, dy) for x in range(self.size) for dx, dy in _ROOF]
        down = [
            (y / 2 - 0.5, y * _DOWN + dy)
            for y in range(self.size)
            for dy in (-_SHOULDER, _SHOULDER)
        ]
        far = [(x + end / 2, end * _DOWN - dy) for x, dy in across]
        right = [(x + self.size, y) for x, y in down]
        return tuple(Edge(n // 2, tuple(side)) for n, side in enumerate((across, far, down, right)))

    def _last(self, state: np.void, action: int) -> tuple[int, ...]:
        """The cell of the action that led to ``state``; of a swap the stone that it moved."""
        if action == self.size**2:
            return tuple(np.flatnonzero(state["cells"]).tolist())
        return (self._cell(action, 1 - int(state["player"])),)

    def _cell(self, action: int, player: int) -> int:
        """The cell, row by row from the top left, of an action of ``player``."""
        return int(self._mirror[action]) if player else action

    def action_to_text(self, action: int) -> str:
        """The cell as the first player sees it, column letter and row number, or ``swap``."""
        row, column = divmod(action, self.size)
        return f"{_LETTERS[column]}{row + 1}" if row < self.size else _SWAP

    def text_to_action(self, text: str) -> int:
        return super().text_to_action(text.lower())

    def move_to_text(self, state: np.void, action: int) -> str:
        """The cell on the board as it is drawn, whichever player moves, or ``swap``."""
        on_board = action < self.size**2
        return self.action_to_text(self._cell(action, state["player"]) if on_board else action)

    def text_to_move(self, state: np.void, text: str) -> int:
        action = self.text_to_action(text)
        return self._cell(action, state["player"]) if action < self.size**2 else action

    def _moves(
        self, states: States, actions: NDArray[np.integer], after: States
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8]]:
        """The first three arguments of the kernels that make moves; ``after`` is written to."""
        return as_bytes(states), actions.astype(np.int64, copy=False), as_bytes(after)

    def _board(self) -> tuple[NDArray, NDArray, NDArray]:
        return self._mirror, self._neighbours, self._touched


def _neighbours(size: int) -> NDArray[np.int64]:
    """``[size * size, 6]``: the cells beside each cell, and -1 in place of those that are missing.

    A cell's own come first: a corner's row is ``1, 4, -1, -1, -1, -1`` on 4 x 4.
    """
    table = np.full((size * size, 6), -1)
    for cell in range(size * size):
        row, column = divmod(cell, size)
        around = [(0, 1), (1, 0), (0, -1), (-1, 0), (-1, 1), (1, -1)]
        inside = [
            (row + down) * size + column + right
            for down, right in around
            if 0 <= row + down < size and 0 <= column + right < size
        ]
        table[cell, : len(inside)] = inside
    return table


# In the kernels a state is a row of bytes: its cells, then player, won and swap.


@jit
def _place(cells, cell, stone, touched, neighbours, queue):
    """Put a stone on a cell, mark its chain with the edges it reaches; whether it reaches both.

    ``touched``: the edges at the cell itself. ``queue``: room for all cells, for the flood. All
    stones of a chain have the same marks, so that a stone which lacks none ends the flood.
    """
    edges = touched
    for other in neighbours[cell]:
        if other >= 0 and cells[other] & stone:
            edges |= cells[other] & np.uint8(_EDGES)
    cells[cell] = stone | edges
    queue[0], waiting = cell, 1 if edges else 0
    while waiting:
        waiting -= 1
        for other in neighbours[queue[waiting]]:
            if other >= 0 and cells[other] & stone and cells[other] & edges != edges:
                cells[other] |= edges
                queue[waiting] = other
                waiting += 1
    return edges == _EDGES


@jit
def _first_stone(board, cells):
    """The first cell with a stone; ``cells``, their number, where the board is empty."""
    cell = 0
    while cell < cells and board[cell] == 0:
        cell += 1
    return cell


@jit
def _step(states, actions, after, mirror, neighbours, touched):
    """Place a stone, or take over the only one: its cell is mirrored, its colour changes."""
    cells = mirror.shape[0]
    queue = np.empty(cells, np.int64)
    for i in range(states.shape[0]):
        board = after[i]
        for place in range(states.shape[1]):
            board[place] = states[i, place]
        player = board[cells]
        if actions[i] < cells:
            cell = mirror[actions[i]] if player else actions[i]
        else:
            taken = _first_stone(board, cells)
            board[taken] = 0
            cell = mirror[taken]
        stone = np.uint8(_SECOND if player else _FIRST)
        won = _place(board, cell, stone, touched[player, cell], neighbours, queue)
        board[cells] = 1 - player
        board[cells + 1] = won
        # After the first move of a game, which began with an empty board.
        board[cells + 2] = player == 0 and _first_stone(states[i], cells) == cells


@jit
def _legal(states, allowed, mirror):
    """The empty cells, in the mover's numbering, and the swap while the game goes on."""
    cells = mirror.shape[0]
    for i in range(states.shape[0]):
        if states[i, cells + 1]:
            allowed[i] = False
            continue
        if states[i, cells]:
            for action in range(cells):
                allowed[i, action] = states[i, mirror[action]] == 0
        else:
            for action in range(cells):
                allowed[i, action] = states[i, action] == 0
        if allowed.shape[1] > cells:
            allowed[i, cells] = states[i, cells + 2] != 0


@jit
def _advance(states, actions, after, allowed, result, mover, mirror, neighbours, touched):
    """All four in one compiled call, into arrays given by the caller."""
    cells = mirror.shape[0]
    _step(states, actions, after, mirror, neighbours, touched)
    _legal(after, allowed, mirror)
    for i in range(states.shape[0]):
        result[i] = -1.0 if after[i, cells + 1] else np.nan
        mover[i] = after[i, cells]


@jit
def _observe(states, planes, mirror):
    """Fill ``planes [B, 4 or 5, cells]``, which are zero, in the mover's numbering."""
    cells = mirror.shape[0]
    for i in range(states.shape[0]):
        player = states[i, cells]
        mine, theirs = (_SECOND, _FIRST) if player else (_FIRST, _SECOND)
        for place in range(cells):
            stone = states[i, mirror[place] if player else place]
            planes[i, 0, place] = stone & mine != 0
            planes[i, 1, place] = stone & theirs != 0
            planes[i, 2, place] = stone & mine != 0 and stone & _EDGES != 0
            planes[i, 3, place] = stone & theirs != 0 and stone & _EDGES != 0
        if planes.shape[1] > 4 and states[i, cells + 2]:
            planes[i, 4] = 1.0
