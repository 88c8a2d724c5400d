"""Locks on files: one process holds such a lock until it gives it back or ends, however it ends."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphazero import plain_files

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


NAME = ".lock"
"""The file in a folder that is locked; it stays there."""


def take(path: Path) -> int | None:
    """The handle that holds the lock on ``path`` until ``os.close``; None where another holds it.

    The file is made where there is none. It stays: a removed one could be locked twice, before and
    after. ``ValueError``, one line: it is no regular file. ``OSError``: it cannot be made.
    """
    if os.path.lexists(path):  # a link would lead elsewhere, a FIFO would be waited for
        with plain_files.named(path.parent):
            plain_files.size(path)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | plain_files.SAFELY, 0o644)
    try:
        _lock(handle)
    except (BlockingIOError, PermissionError):
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


def acquire(folder: Path, timeout: float = 0.0) -> int:
    """Lock ``folder``, which is made if missing, until the returned handle is closed.

    The lock ends with this process, too. ``ValueError``, one line, if another process holds it for
    ``timeout`` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    while (handle := take(folder / NAME)) is None:
        if time.monotonic() > deadline:
            raise ValueError(f"another run writes to {folder}; end it first")
        time.sleep(0.1)
    return handle


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the lock of ``folder`` meanwhile; ``ValueError`` as for ``acquire``."""
    handle = acquire(folder)
    try:
        yield
    finally:
        os.close(handle)


def is_empty(folder: Path) -> bool:
    """Whether ``folder`` is missing or holds nothing but its lock."""
    return not folder.exists() or (folder.is_dir() and {p.name for p in folder.iterdir()} <= {NAME})
