"""Locks on files: one process holds such a lock until it gives it back or ends, however it ends."""

import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    def _lock(handle: int) -> None:
        """Lock the first byte, which need not exist; ``OSError`` where another process has it."""
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore

else:

    def _lock(handle: int) -> None:
        """Lock the file; ``OSError`` where another handle has it."""
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def take(path: Path) -> int | None:
    """The handle that holds the lock on ``path`` until ``os.close``; None where another holds it.

    The file is made where there is none. It stays: a removed one could be locked twice, before and
    after. ``OSError``: it cannot be made.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        _lock(handle)
    except (BlockingIOError, PermissionError):
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle
