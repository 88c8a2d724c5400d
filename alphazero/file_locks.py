"""Locks of folders against a second process that would write to them."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = ".lock"
"""The file in a folder that is locked; it stays there."""


def acquire(folder: Path, timeout: float = 0.0) -> int:
    """Lock ``folder``, which is made if missing, until the returned handle is closed.

    The lock ends with this process, too. ``ValueError``, one line, if another process holds it for
    ``timeout`` seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT, 0o644)
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise ValueError(f"another run writes to {folder}; end it first") from None
            time.sleep(0.1)


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
