"""The decorator that compiles the kernels, and the constants that they share.

The disk cache depends on a digest of all sources in this folder, so that an edit of any of them
compiles all of them again. A kernel calls compiled functions of this folder only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from games import compiling

ZERO, ONE, LOWEST = np.float32(0), np.float32(1), np.float32(-np.inf)

WAITING, EXPANDED, FINISHED = 0, 1, 2
"""A node's status: its evaluation is under way; it has edges; or its result is certain, because the
game is over, a move wins at once (``look_ahead``) or the result is proven."""

NEW, BACKED_UP, BLOCKED = 0, 1, 2
"""How a descent ended: at an edge without a child; at a FINISHED node, whose value was backed up;
or at an edge or node that already waits for its evaluation."""


_SOURCES = compiling.digest(Path(__file__).parent.glob("*.py"))


def jit(function: Callable[..., Any]) -> Any:
    """Compile ``function`` at its first call and keep the machine code on disk.

    ``error_model``: division by 0 gives infinity as in NumPy, instead of raising an exception as in
    Python; loops that may raise are slower.
    """
    return compiling.jit(function, _SOURCES, error_model="numpy")
