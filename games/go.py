"""Go by area: positional superko, no suicide; two passes in a row end the game.

The compiled rules and the layout of a state are in ``games/go_kernels.py``. The file is long
because it has all optional methods of a game; each is thin.
"""

import numpy as np
from numpy.typing import NDArray

from games import go_kernels
from games.base import Game, States, Symmetry, Transition, as_bytes
from games.boards import turned_boards
from games.drawing import Cell, Drawing, Label

_LETTERS = "ABCDEFGHJKLMNOPQRST"
_PLANES = 11
MOST_REMEMBERED = 2048
"""The largest ``history``: 16 KiB per state."""


class Go(Game):
    """Go by area; a move is a point, A1 to T19 from the bottom left without an I, or pass."""

    def __init__(self, size: int = 9, komi: float = 7.0, history: int = 16):
        """``size`` points a side, 2 to 19; ``komi`` points for White, -361 to 361.

        ``history``: how many earlier positions superko remembers, 1 to 2048. 1 is the simple ko
        rule; ``max_plies`` or more never forgets. ``ValueError`` for other values.
        """
        self._check(size, komi, history)
        self.size, self.komi, self.history = size, komi + 0.0, history
        self.name = f"go:size={size},komi={self.komi},history={history}"
        points = size * size
        self.num_actions = points + 1
        self.max_plies = max(2 * points, 32)
        self.observation_shape = (_PLANES, size, size)
        # The bytes before the keys fill whole words, so that all rows can be read as words.
        self._tail = (points + 1 + 6 + 7) // 8 * 8 - 6
        self.dtype = np.dtype(
            [("cells", "i1", (self._tail,)), ("passes", "i1"), ("player", "i1"), ("plies", "<u2"),
             ("quiet", "<u2"), ("key", "<u8"), ("seen", "<u8", (history,))]
        )  # fmt: skip
        self._near, self._inner = _neighbours(size)

    @staticmethod
    def _check(size: int, komi: float, history: int) -> None:
        if not 2 <= size <= go_kernels.LARGEST:
            raise ValueError(f"go: size must be 2 to {go_kernels.LARGEST}, not {size}")
        most = go_kernels.LARGEST**2
        if not abs(komi) <= most:  # refuses NaN, too
            raise ValueError(f"go: komi must be -{most} to {most}, not {komi}")
        if not 1 <= history <= MOST_REMEMBERED:
            raise ValueError(f"go: history must be 1 to {MOST_REMEMBERED}, not {history}")

    def initial(self, batch: int) -> States:
        states = np.zeros(batch, self.dtype)
        states["cells"][:, self.size**2 :] = go_kernels.EDGE
        return states

    def _views(self, states: States) -> tuple[NDArray, NDArray, NDArray]:
        """Contiguous states as bytes, shorts and words, ``[B, n]``."""
        raw = as_bytes(states)
        return raw.view(np.int8), raw.view(np.uint16), raw.view(np.uint64)

    def legal(self, states: States) -> NDArray[np.bool_]:
        return self._legal(self._views(states))

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        return self._step(states, actions)[0]

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        after, views = self._step(states, actions)
        return Transition(after, self._legal(views), self._result(views[0], 2), self.to_move(after))

    def _legal(self, views: tuple[NDArray, NDArray, NDArray]) -> NDArray[np.bool_]:
        allowed = np.empty((len(views[0]), self.num_actions), np.uint8)
        go_kernels.legal(*views, allowed, self._tail, self._near, self._inner)
        return allowed.view(np.bool_)

    def _step(
        self, states: States, actions: NDArray[np.integer]
    ) -> tuple[States, tuple[NDArray, NDArray, NDArray]]:
        """The states after a step, and their views."""
        after = np.empty(len(states), self.dtype)
        views = self._views(after)
        before, actions = self._views(states)[2], np.asarray(actions, np.int64)
        go_kernels.step(before, actions, *views, self._tail, self._near, self.max_plies)
        return after, views

    def outcome(self, states: States) -> NDArray[np.float32]:
        return self._result(self._views(states)[0], passes=2)

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        """The result by the area on the board as it stands, with komi."""
        return self._result(self._views(states)[0], passes=0)

    def _result(self, cells: NDArray, passes: int) -> NDArray[np.float32]:
        """The results by area of the boards ``cells``; NaN after fewer ``passes``."""
        won = np.empty(len(cells), np.float32)
        go_kernels.result(cells, won, self._tail, self._near, self.komi, passes)
        return won + np.float32(0)  # no draw is -0

    def _area(self, states: States) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The owners ``[B, points]`` and the margins with komi ``[B]``, for the player to move."""
        owner = np.empty((len(states), self.size**2), np.int8)
        margin = np.empty(len(states))
        go_kernels.own(self._views(states)[0], owner, margin, self._near)
        sign = (1 - 2 * states["player"]).astype(np.float32)
        return owner * sign[:, None], (margin - self.komi) * sign

    def to_move(self, states: States) -> NDArray[np.int8]:
        return states["player"].copy()

    def observe(self, states: States) -> NDArray[np.float32]:
        """Eleven planes; the mover's and the opponent's take turns in the first six:

        stones; stones whose chain has one liberty; two liberties; empty points that suicide or
        superko forbids; 1 everywhere if the last move was a pass; if the mover is White; how close
        ``max_plies`` is, from 0 (``2 * size`` plies or more to go) to 1; 1 everywhere.
        """
        planes = np.empty((len(states), _PLANES, self.size**2), np.float32)
        cells, shorts, _ = self._views(states)
        go_kernels.observe(
            cells, shorts, self.legal(states), planes,
            self._tail, self._near, self.max_plies, 2 * self.size,
        )  # fmt: skip
        return planes.reshape(-1, *self.observation_shape)

    def identity(self, states: States) -> NDArray[np.uint8]:
        """All bytes, without what cannot matter any more.

        In a finished game neither plies nor earlier positions do. While it goes on, the plies
        matter, as they will be observed near ``max_plies``; earlier positions do not where none of
        them can come back before it is forgotten, as in most openings. ``go_kernels._may_return``
        has the proof.
        """
        kept = states.copy()
        views = self._views(kept)
        go_kernels.forget(*views, self._tail, self._near)
        return views[0].view(np.uint8)

    def symmetries(self) -> list[Symmetry]:
        """Four rotations, each plain and mirrored; a pass stays a pass."""
        turned = turned_boards(self.size, self.size)
        return [(cells, np.append(cells, self.size**2)) for cells in turned]

    def final_ownership(self, states: States) -> NDArray[np.float32]:
        """A stone owns its point; an empty region belongs to the colour that alone borders it."""
        return self._area(states)[0]

    def final_score(self, states: States) -> NDArray[np.float32]:
        """The mover's area less the opponent's, with komi, as a share of the points and komi."""
        return (self._area(states)[1] / (self.size**2 + abs(self.komi))).astype(np.float32)

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Points with numbers at the left and letters below; a pass is named."""
        size, points = self.size, self.size**2
        colours = np.sign(state["cells"][:points]).tolist()
        cells = tuple(
            Cell(float(p % size), float(p // size), "point", {1: 0, -1: 1}.get(colour))
            for p, colour in enumerate(colours)
        )
        beside = [Label(-1.0, float(y), str(size - y)) for y in range(size)]
        below = [Label(float(x), float(size), _LETTERS[x]) for x in range(size)]
        return Drawing(
            cells=cells,
            clicks={point: (point,) for point in range(points)},
            named={points: self.action_to_text(points)},
            labels=(*beside, *below),
            last=() if last_action in (None, points) else (int(last_action),),
        )

    def action_to_text(self, action: int) -> str:
        """Column letter (without I) and row number from the bottom, or ``pass``."""
        row, column = divmod(action, self.size)
        return f"{_LETTERS[column]}{self.size - row}" if row < self.size else "pass"

    def text_to_action(self, text: str) -> int:
        text = text.strip()
        return super().text_to_action("pass" if text.lower() == "pass" else text.upper())


def _neighbours(size: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """``near [points, 4]`` and ``inner [2, points]`` of ``go_kernels``."""
    row, column = np.divmod(np.arange(size * size), size)
    near = np.full((size * size, 4), size * size, np.uint16)
    for k, (down, right) in enumerate(((0, -1), (0, 1), (-1, 0), (1, 0))):
        y, x = row + down, column + right
        on = (np.minimum(y, x) >= 0) & (np.maximum(y, x) < size)
        near[on, k] = (size * y + x)[on]
    inner = np.stack([column > 0, column < size - 1]).astype(np.uint8)
    return near, inner
