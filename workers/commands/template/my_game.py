"""Four stones in a row on a board of 5 x 5 cells: a game to change into your own.

The contract of all methods is the docstring of ``games.base``. The places to change are numbered;
after each change run ``alphazero check my_game:MyGame`` and ``pytest test_my_game.py``.
"""

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry
from games.drawing import Drawing, Label, squares

SIDE, LINE = 5, 4
LETTERS = "abcde"


def lines() -> NDArray[np.intp]:
    """``[L, 4]``: the cells of every line that wins, as numbers; cell 0 is the top left one."""
    result = []
    for row, column in np.ndindex(SIDE, SIDE):
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            rows, columns = (row + down * np.arange(LINE), column + right * np.arange(LINE))
            if rows[-1] < SIDE and 0 <= columns[-1] < SIDE:
                result.append(rows * SIDE + columns)
    return np.array(result)


LINES = lines()


class MyGame(Game):
    """Place a stone on an empty cell, a1 to e5 from the top left; four in a row win."""

    # 1. The constants. `name` is the address of this class. A position is one record of `dtype`: it
    # holds everything that the rest of the game depends on, and as few bytes as possible.
    name = "my_game:MyGame"
    num_actions = SIDE * SIDE
    observation_shape = (2, SIDE, SIDE)
    max_plies = SIDE * SIDE
    dtype = np.dtype([("cells", "i1", (SIDE * SIDE,))])
    """+1 a stone of the player about to move, -1 one of the other's, 0 empty."""

    # 2. The start: `batch` equal positions. All methods take and return whole batches.
    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    # 3. The moves, bool [B, A]. In a finished game no move is legal; a player who may have none
    # while the game goes on needs an action that passes.
    def legal(self, states: States) -> NDArray[np.bool_]:
        unfinished = np.isnan(self.outcome(states))
        return (states["cells"] == 0) & unfinished[:, None]

    # 4. One move per position: new arrays, the arguments stay as they are. Here the stones change
    # their signs, because the other player moves next.
    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        after = np.empty(len(states), self.dtype)
        after["cells"] = -states["cells"]
        after["cells"][np.arange(len(states)), actions] = -1
        return after

    # 5. The end, for the player about to move: -1 lost, 0 drawn, +1 won, NaN while it goes on. The
    # check cannot find a wrong winner: test positions of your own in test_my_game.py.
    def outcome(self, states: States) -> NDArray[np.float32]:
        cells = states["cells"]
        lost = (cells[:, LINES] == -1).all(axis=2).any(axis=1)
        full = (cells != 0).all(axis=1)
        return np.where(lost, -1, np.where(full, 0, np.nan)).astype(np.float32)

    # 6. Whose turn it is: 0, who began, or 1. A player may move twice in a row.
    def to_move(self, states: States) -> NDArray[np.int8]:
        return (np.count_nonzero(states["cells"], axis=1) % 2).astype(np.int8)

    # 7. The network's input [B, C, H, W], from the view of the player about to move: numbers from 0
    # to 1, or state `observation_bounds`. Show all that the legal moves and the result depend on.
    def observe(self, states: States) -> NDArray[np.float32]:
        cells = states["cells"].reshape(-1, SIDE, SIDE)
        return np.stack([cells == 1, cells == -1], axis=1).astype(np.float32)

    # 8. Optional: turns and mirror images under which the rules stay the same. Agents learn faster
    # with them. A wrong one teaches wrong moves: if in doubt delete this method.
    def symmetries(self) -> list[Symmetry]:
        board = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
        turned = [np.rot90(side, turns) for side in (board, board.T) for turns in range(4)]
        return [(cells.ravel(), cells.ravel()) for cells in turned]

    # 9. Optional: how moves are written. Without it they are numbered from 1.
    def action_to_text(self, action: int) -> str:
        row, column = divmod(action, SIDE)
        return f"{LETTERS[column]}{row + 1}"

    # 10. The board for terminals, pictures and clicks. A game without cells may return any text
    # from `render`, and needs no `drawing`.
    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        mover = int(self.to_move(np.array([state], self.dtype))[0])
        players = np.select([state["cells"] == 1, state["cells"] == -1], [mover, 1 - mover], -1)
        won = LINES[(state["cells"][LINES] == -1).all(axis=1)]
        above = [Label(float(x), -1.0, letter) for x, letter in enumerate(LETTERS)]
        beside = [Label(-1.0, float(y), str(y + 1)) for y in range(SIDE)]
        return Drawing(
            cells=squares(players, SIDE),
            clicks={cell: (cell,) for cell in range(SIDE * SIDE)},
            labels=(*above, *beside),
            last=() if last_action is None else (int(last_action),),
            line=tuple(np.unique(won).tolist()),
        )

    def render(self, state: np.void) -> str:
        return self.drawing(state).as_text()
