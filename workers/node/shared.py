"""Arrays in memory that several processes share."""

import mmap
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes of a cache line: each array begins at a multiple, so that no two share a line."""
IN_MEMORY = Path("/dev/shm")
"""A folder whose files are in memory, on Linux."""

Specs = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""Shape and type by name."""


class SharedArrays:
    """Named arrays, zero at first, in a file without a name.

    A child process maps the same memory: it inherits the ``descriptor`` with its number and
    unpickles this object. The memory is freed when the last process ends, however it ends.
    """

    def __init__(self, specs: Specs, descriptor: int | None = None):
        """``descriptor``: that of the memory in a child process; None makes new memory."""
        self.specs = dict(specs)
        ends, size = {}, 0
        for name, (shape, dtype) in self.specs.items():
            ends[name] = size
            size += -(-int(np.prod(shape)) * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        self.descriptor = _memory_file(size) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, max(size, 1))
        self._arrays = {
            name: np.ndarray(shape, dtype, self._memory, ends[name])
            for name, (shape, dtype) in self.specs.items()
        }

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __reduce__(self) -> tuple:
        return SharedArrays, (self.specs, self.descriptor)

    def close(self) -> None:
        """Close the descriptor; the memory stays mapped while its arrays are in use."""
        os.close(self.descriptor)


def _memory_file(size: int) -> int:
    """The descriptor of a new file of ``size`` zero bytes that has no name.

    ``OSError`` where there is not so much memory.
    """
    folder = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryFile(dir=folder) as file:
        descriptor = os.dup(file.fileno())
    try:
        _reserve(descriptor, max(size, 1))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _reserve(descriptor: int, size: int) -> None:
    """Give the file its size; where the system can, with memory, so that no write fails later."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
