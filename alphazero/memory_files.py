"""Files in memory, without a name, that several processes of one machine map.

A child process inherits the descriptor of such a file. The memory is freed when the last process
that has it ends, however it ends.
"""

import os
import tempfile

ALIGNMENT = 64
"""Bytes of a cache line: arrays begin at multiples, so that no two share a line."""


def create() -> int:
    """The descriptor of a new, empty file; ``os.close`` closes it.

    On Linux the size of ``/dev/shm``, small in a container, does not limit it. Elsewhere the file
    is in the folder for temporary ones.
    """
    if hasattr(os, "memfd_create"):
        return os.memfd_create("alphazero")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def reserve(descriptor: int, size: int) -> None:
    """Let the file have at least ``size`` bytes, new ones zero, at least one.

    Where the system can, with memory, so that no write fails later. ``OSError`` where the machine
    has not so much; where a container may not take it, the system ends the process.
    """
    size = max(size, 1)
    if os.fstat(descriptor).st_size >= size:
        return
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def aligned(size: int) -> int:
    """``size`` bytes, rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT
