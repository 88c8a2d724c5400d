"""Functions for the boards of several games: their symmetries, and bitboards as planes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def turned_boards(rows: int, columns: int) -> list[NDArray[np.intp]]:
    """The ``cells`` of all symmetries of a board ``rows x columns``, the identity first.

    Of a square the four rotations, each plain and mirrored, of another board the half turn and the
    two mirror images.
    """
    board = np.arange(rows * columns).reshape(rows, columns)
    turned = [np.rot90(side, turns) for side in (board, board.T) for turns in range(4)]
    return [cells.ravel() for cells in turned if cells.shape == board.shape]


def bit_planes(
    bits: NDArray[np.integer], constant: Callable[[NDArray], Any]
) -> Callable[[Any], Any]:
    """For ``Game.observe_bytes``: planes of truth values, one bit of the state for each cell.

    ``bits [C, H, W]``: the number of each cell's bit, counted from the lowest bit of the state's
    first byte on; numbers of several bytes in a state have the lowest byte first. Bit 13 is the
    bit of 32 in byte 1, the second one.
    """
    byte, mask = constant(bits // 8), constant((1 << bits % 8).astype(np.uint8))
    return lambda states: states[:, byte] & mask != 0
