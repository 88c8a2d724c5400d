"""The decorator that compiles the kernels, and the constants that they share.

Numba's disk cache compares the date of a function's own file only: after an edit of ``backup.py``
the cached code of ``puct.py`` would still contain the old backup. The decorator replaces that
date by a digest of all sources in this folder, so that an edit of any of them compiles all of them
again. A kernel calls compiled functions of this folder only.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from games import compiling

ZERO, ONE, LOWEST = np.float32(0), np.float32(1), np.float32(-np.inf)

WAITING, EXPANDED, FINISHED = 0, 1, 2
"""A node's status: its evaluation is under way; it has edges; or its result is certain, because the
game is over or because the result is proven."""

NEW, BACKED_UP, BLOCKED = 0, 1, 2
"""How a descent ended: at an edge without a child; at a FINISHED node, whose value was backed up;
or at an edge or node that already waits for its evaluation."""


def _digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all Python files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


_SOURCES = _digest(Path(__file__).parent)


def jit(function: Callable[..., Any]) -> Any:
    """Compile ``function`` at its first call and keep the machine code on disk.

    ``error_model``: division by 0 gives infinity as in NumPy, instead of raising an exception as in
    Python; loops that may raise are slower.
    """
    compiled = compiling.jit(function, error_model="numpy")
    cache: Any = getattr(compiled, "_cache", None)  # none with NUMBA_DISABLE_JIT=1
    if hasattr(cache, "_cache_file"):  # not where no code can be kept
        cache._cache_file._source_stamp = _SOURCES
    return compiled
