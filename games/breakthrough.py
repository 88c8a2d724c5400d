"""Breakthrough (Dan Troyka, 2000) on boards of up to 8 x 8 cells.

A state is two bitboards as the mover sees them, and whose move it is. Bit ``8 * row + column`` is a
cell; row 0 is the mover's own first row, and the mover's pieces move to higher rows. For the second
player rows are therefore mirrored (columns are not): one network plays both sides alike.

The file is long because the rules are compiled: a class of thin methods, then its kernels.
"""

import re

import numpy as np
from numpy.typing import NDArray

from games.base import LONGEST, NEAREST, Game, States, Symmetry, Transition
from games.compiling import jit
from games.drawing import Drawing, Label, squares
from games.spec import nearest

_LETTERS = "abcdefgh"
_ASIDE = (0, -1, 1)
"""Columns to the right that a move goes: straight, left, right, in the order of the actions."""
_WRITTEN = re.compile(r"([a-h][1-8])[-x]?([a-h][1-8])\*?")
"""A move as players write it (``a2-a3``, ``a2xb3``), as UCI does (``a2b3``), as OpenSpiel does
(``a2b3*`` for a capture)."""


class Breakthrough(Game):
    """Breakthrough; a move is two squares, as a2a3 or a2b3; White's home row is 1."""

    dtype = np.dtype([("mine", "<u8"), ("theirs", "<u8"), ("player", "i1")])
    """``mine`` are the pieces of ``player``, who is about to move (0 White, 1 Black)."""

    def __init__(self, rows: int = 8, columns: int = 8):
        """``rows``: 4 to 8, ``columns``: 2 to 8, else ``ValueError``."""
        for name, value, least in (("rows", rows, 4), ("columns", columns, 2)):
            if not least <= value <= 8:
                raise ValueError(f"breakthrough: {name} must be {least} to 8, not {value}")
        self.name = f"breakthrough:rows={rows},columns={columns}"
        self.rows, self.columns = rows, columns
        self._moves = _moves(rows, columns)
        self.num_actions = len(self._moves)
        self.observation_shape = (2, rows, columns)
        self.max_legal = _most_moves(rows, columns)
        # Every move takes a piece one row forward, and a piece in the last row ends the game. So
        # all moves but the last are at most rows - 2 by each piece of the first row and rows - 3
        # by each of the second, on both sides.
        self.max_plies = 2 * columns * (2 * rows - 5) + 1
        shifts = 8 * self._moves[..., 0] + self._moves[..., 1]
        self._origins, self._targets = (np.uint64(1) << shifts.astype(np.uint64)).T.copy()
        self._first = tuple((rows - 1) * places for places in (0, columns, 2 * columns - 1))
        self._texts = tuple([self._text(move, player) for move in self._moves] for player in (0, 1))
        self._actions = tuple(
            {text: action for action, text in enumerate(texts)} for texts in self._texts
        )

    def initial(self, batch: int) -> States:
        """Each player's two first rows are full; White, who begins, moves up the board."""
        two_rows = np.uint64(((1 << self.columns) - 1) * (1 + (1 << 8)))
        states = np.zeros(batch, self.dtype)
        states["mine"] = two_rows
        states["theirs"] = two_rows << np.uint64(8 * (self.rows - 2))
        return states

    def legal(self, states: States) -> NDArray[np.bool_]:
        allowed = np.empty((len(states), self.num_actions), np.bool_)
        _legal(states, allowed, self._origins, self._first)
        return allowed

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        _step(states, actions, after, self._origins, self._targets, self.rows)
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        """-1 or NaN: only the last move wins, and there are no draws."""
        result = np.empty(len(states), np.float32)
        _outcome(states, result)
        return result

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        batch = len(states)
        after, allowed = np.empty(batch, self.dtype), np.empty((batch, self.num_actions), np.bool_)
        result = np.empty(batch, np.float32)
        _step(states, actions, after, self._origins, self._targets, self.rows)
        _legal(after, allowed, self._origins, self._first)
        _outcome(after, result)
        return Transition(after, allowed, result, after["player"].copy())

    def observe(self, states: States) -> NDArray[np.float32]:
        """Two planes: the mover's pieces, the opponent's; the row at the top is the mover's aim."""
        return _pieces(states, self.rows, self.columns)

    def symmetries(self) -> list[Symmetry]:
        """The identity and the mirror image of left and right."""
        cells = np.arange(self.rows * self.columns).reshape(self.rows, self.columns)
        mirrored = self._moves.copy()
        mirrored[..., 1] = self.columns - 1 - mirrored[..., 1]
        number = {move.tobytes(): action for action, move in enumerate(self._moves)}
        actions = np.array([number[move.tobytes()] for move in mirrored])
        identity = (cells.ravel(), np.arange(self.num_actions))
        return [identity, (cells[:, ::-1].ravel(), actions)]

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """White's home row is at the bottom, whose move it may be; a move is two clicks."""
        mover, rows, columns = int(state["player"]), self.rows, self.columns
        # As the mover sees it; the first row of a drawing is the top one, White's last.
        mine, theirs = _pieces(np.array([state], self.dtype), rows, columns)[0] > 0
        players = np.select([mine, theirs], [mover, 1 - mover], -1)
        above = [Label(float(x), -1.0, _LETTERS[x]) for x in range(columns)]
        beside = [Label(-1.0, float(y), str(rows - y)) for y in range(rows)]
        clicks = self._cells(mover).tolist()
        return Drawing(
            cells=squares((players if mover == 0 else players[::-1]).ravel(), columns),
            clicks={action: tuple(cells) for action, cells in enumerate(clicks)},
            labels=(*above, *beside),
            last=() if last_action is None else tuple(self._cells(1 - mover)[last_action].tolist()),
        )

    def _cells(self, player: int) -> NDArray[np.int64]:
        """``[A, 2]``: each move's two cells in the drawing, row by row from the top."""
        rows = self._moves[..., 0] if player else self.rows - 1 - self._moves[..., 0]
        return rows * self.columns + self._moves[..., 1]

    def action_to_text(self, action: int) -> str:
        """The two squares of the move if White, who began, makes it: ``a2a3``."""
        return self._texts[0][action]

    def text_to_action(self, text: str) -> int:
        """The inverse; ``a2-a3``, ``a2xb3`` and ``a2b3*`` are read, too."""
        return self._read(text, 0)

    def move_to_text(self, state: np.void, action: int) -> str:
        """The two squares, a1 at White's lower left: Black's action ``a2a3`` is ``a7a6``."""
        return self._texts[state["player"]][action]

    def text_to_move(self, state: np.void, text: str) -> int:
        """The inverse; reads what ``text_to_action`` does."""
        return self._read(text, int(state["player"]))

    def _text(self, move: NDArray[np.int64], player: int) -> str:
        """The squares of a move ``[2, 2]``, see ``_moves``, if ``player`` makes it."""
        rows = self.rows - 1 - move[:, 0] if player else move[:, 0]
        return "".join(
            f"{_LETTERS[column]}{row + 1}" for row, column in zip(rows, move[:, 1], strict=True)
        )

    def _read(self, text: str, player: int) -> int:
        key, known = text.strip()[:LONGEST].lower(), self._actions[player]
        plain = "".join(written.groups()) if (written := _WRITTEN.fullmatch(key)) else key
        if plain not in known:
            some = ", ".join(nearest(plain, known, NEAREST))
            raise ValueError(f"{key!r} is not a move here; the nearest are {some}")
        return known[plain]


def _moves(rows: int, columns: int) -> NDArray[np.int64]:
    """``[A, 2, 2]``: origin and target of each action, ``(row, column)`` as the mover sees them.

    Straight moves first, then those to the left and those to the right, row by row from the
    mover's own first row; only moves that stay on the board.
    """
    return np.array(
        [
            ((row, column), (row + 1, column + aside))
            for aside in _ASIDE
            for row in range(rows - 1)
            for column in range(columns)
            if 0 <= column + aside < columns
        ]
    )


def _most_moves(rows: int, columns: int) -> int:
    """An upper bound on the moves of a position.

    A player has 2 * columns pieces; one at the edge has two moves, one elsewhere three. On 8 x 8
    cells there are 42 cells of the latter kind: 3 * 16.
    """
    inside = min(2 * columns, (rows - 1) * (columns - 2))
    return 3 * inside + 2 * (2 * columns - inside)


_HOME = np.uint64(0xFF)
_PAIRS, _QUARTERS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)


@jit
def _mirrored(board, rows):
    """Turn a bitboard's rows upside down: reverse its bytes, then drop the rows off the board.

    With 6 rows, byte 5 becomes byte 2 and then byte 0.
    """
    board = ((board >> np.uint64(8)) & _PAIRS) | ((board & _PAIRS) << np.uint64(8))
    board = ((board >> np.uint64(16)) & _QUARTERS) | ((board & _QUARTERS) << np.uint64(16))
    return ((board >> np.uint64(32)) | (board << np.uint64(32))) >> np.uint64(8 * (8 - rows))


@jit
def _is_lost(state):
    """Whether the mover has lost: an opponent's piece in its first row, or none of its own."""
    return (state.theirs & _HOME) != 0 or state.mine == 0


@jit
def _step(states, actions, after, origins, targets, rows):
    """Move a piece, take what is there, and see the board from the other side."""
    for i in range(states.shape[0]):
        origin, target = origins[actions[i]], targets[actions[i]]
        after[i].mine = _mirrored(states[i].theirs & ~target, rows)
        after[i].theirs = _mirrored((states[i].mine ^ origin) | target, rows)
        after[i].player = 1 - states[i].player


@jit
def _legal(states, allowed, origins, first):
    """Straight moves to empty cells, diagonal ones to cells without a piece of the mover.

    ``first``: the numbers of the first straight action, the first to the left and to the right.
    """
    actions, left, right = origins.shape[0], first[1], first[2]
    for i in range(states.shape[0]):
        mine = np.uint64(0) if _is_lost(states[i]) else states[i].mine
        # Pieces whose cell ahead is empty, and without an own piece ahead at the left and right.
        straight = mine & ~((mine | states[i].theirs) >> np.uint64(8))
        to_left, to_right = mine & ~(mine >> np.uint64(7)), mine & ~(mine >> np.uint64(9))
        for action in range(left):
            allowed[i, action] = straight & origins[action] != 0
        for action in range(left, right):
            allowed[i, action] = to_left & origins[action] != 0
        for action in range(right, actions):
            allowed[i, action] = to_right & origins[action] != 0


@jit
def _outcome(states, result):
    for i in range(states.shape[0]):
        result[i] = -1.0 if _is_lost(states[i]) else np.nan


@jit
def _pieces(states, rows, columns):
    """``[B, 2, rows, columns]``: each bitboard's cells, the mover's last row first."""
    planes = np.empty((states.shape[0], 2, rows, columns), np.float32)
    for i in range(states.shape[0]):
        for row in range(rows):
            for column in range(columns):
                bit = np.uint64(8 * (rows - 1 - row) + column)
                planes[i, 0, row, column] = (states[i].mine >> bit) & np.uint64(1)
                planes[i, 1, row, column] = (states[i].theirs >> bit) & np.uint64(1)
    return planes
