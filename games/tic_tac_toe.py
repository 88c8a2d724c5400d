"""Tic-tac-toe in plain NumPy: the example to copy for a game of your own."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry
from games.drawing import Drawing, squares

_LINES = np.array(
    [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]]
)


class TicTacToe(Game):
    """Tic-tac-toe; a move is a cell, 1 to 9, row by row from the top left."""

    name = "tic_tac_toe"
    num_actions = 9
    observation_shape = (2, 3, 3)
    max_plies = 9
    dtype = np.dtype([("cells", "i1", (9,))])
    """+1 a stone of the player about to move, -1 one of the other's, 0 empty."""

    def initial(self, batch: int) -> States:
        return np.zeros(batch, self.dtype)

    def legal(self, states: States) -> NDArray[np.bool_]:
        unfinished = np.isnan(self.outcome(states))
        return (states["cells"] == 0) & unfinished[:, None]

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        # The other player moves next, so every stone changes its sign.
        after = np.empty(len(states), self.dtype)
        after["cells"] = -states["cells"]
        after["cells"][np.arange(len(states)), actions] = -1
        return after

    def outcome(self, states: States) -> NDArray[np.float32]:
        cells = states["cells"]
        lost = (cells[:, _LINES].sum(axis=2) == -3).any(axis=1)
        full = (cells != 0).all(axis=1)
        return np.where(lost, -1, np.where(full, 0, np.nan)).astype(np.float32)

    def to_move(self, states: States) -> NDArray[np.int8]:
        return (np.count_nonzero(states["cells"], axis=1) % 2).astype(np.int8)

    def observe(self, states: States) -> NDArray[np.float32]:
        """Two planes: the mover's stones, the opponent's."""
        cells = states["cells"].reshape(-1, 3, 3)
        return np.stack([cells == 1, cells == -1], axis=1).astype(np.float32)

    def observe_bytes(self, constant: Callable[[NDArray], Any]) -> Callable[[Any], Any]:
        """Only needed for the highest speed on a GPU: a game of your own can do without."""
        cells = constant(np.arange(9).reshape(1, 3, 3))
        stones = constant(np.array([1, 255], np.uint8).reshape(2, 1, 1))  # -1 as a byte is 255
        return lambda states: states[:, cells] == stones

    def symmetries(self) -> list[Symmetry]:
        """Four rotations, each plain and mirrored; an action is a cell, so both move alike."""
        board = np.arange(9).reshape(3, 3)
        turned = [np.rot90(side, turns) for side in (board, board.T) for turns in range(4)]
        return [(cells.ravel(), cells.ravel()) for cells in turned]

    def render(self, state: np.void) -> str:
        """Empty cells show the number to type."""
        return self.drawing(state).as_text()

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        """Nine squares with their numbers; a click on one plays there."""
        mover = int(self.to_move(np.array([state], self.dtype))[0])
        players = np.select([state["cells"] == 1, state["cells"] == -1], [mover, 1 - mover], -1)
        won = _LINES[(state["cells"][_LINES] == -1).all(axis=1)]
        return Drawing(
            cells=squares(players, 3, [str(number) for number in range(1, 10)]),
            clicks={cell: (cell,) for cell in range(9)},
            last=() if last_action is None else (int(last_action),),
            line=tuple(np.unique(won).tolist()),
        )
