"""Arrays in memory that several processes share."""

import mmap
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphazero import memory_files

Specs = Mapping[str, tuple[tuple[int, ...], np.dtype]]
"""Shape and type by name."""


class SharedArrays:
    """Named arrays, zero at first, in a file of ``memory_files``.

    A child process maps the same memory: it inherits the ``descriptor`` with its number and
    unpickles this object.
    """

    def __init__(self, specs: Specs, descriptor: int | None = None):
        """``descriptor``: that of the memory in a child process; None makes new memory.

        ``OSError`` where there is not so much.
        """
        self.specs = dict(specs)
        ends, size = {}, 0
        for name, (shape, dtype) in self.specs.items():
            ends[name] = size
            size += memory_files.aligned(int(np.prod(shape)) * dtype.itemsize)
        self.descriptor = _new_file(size) if descriptor is None else descriptor
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


def _new_file(size: int) -> int:
    descriptor = memory_files.create()
    try:
        memory_files.reserve(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
