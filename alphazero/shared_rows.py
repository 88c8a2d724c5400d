"""The rows of a batch in memory that several processes of one machine share.

One process writes and sends the others the places, from which they read.
"""

import mmap
import os
from typing import NamedTuple

import numpy as np

from alphazero import memory_files
from alphazero.learner import Columns


class Place(NamedTuple):
    """Where a column is in the memory."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


class SharedRows:
    """A memory for one batch at a time, which grows with the batches."""

    def __init__(self, descriptor: int):
        """``descriptor``: that of a file of ``memory_files``; ``close`` closes it."""
        self.descriptor = descriptor
        self._memory: mmap.mmap | None = None

    def write(self, columns: Columns) -> dict[str, Place]:
        """Replace the rows by those of ``columns``; where they are, for ``read`` elsewhere.

        The earlier rows must not be in use any more. ``OSError`` where there is no room.
        """
        places, end = {}, 0
        for name, array in columns.items():
            places[name] = Place(end, array.shape, array.dtype.str)
            end += memory_files.aligned(array.nbytes)
        memory_files.reserve(self.descriptor, end)
        for name, array in self._views(places, slice(None)).items():
            array[:] = columns[name]
        return places

    def read(self, places: dict[str, Place], rows: slice) -> Columns:
        """The ``rows`` of all columns, without a copy: they change with the next ``write``."""
        return self._views(places, rows)

    def close(self) -> None:
        os.close(self.descriptor)

    def _views(self, places: dict[str, Place], rows: slice) -> Columns:
        size = os.fstat(self.descriptor).st_size
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(self.descriptor, size)
        return {
            name: np.ndarray(place.shape, place.dtype, self._memory, place.offset)[rows]
            for name, place in places.items()
        }
