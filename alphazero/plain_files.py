"""Files of folders that may come from anyone: regular ones of a bounded size, never through links.

Opening a FIFO waits for ever, reading a device never ends, a sparse file of 8 GiB takes no room on
the disk, and a link leads to any file of the person who opens the folder.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEXT = 2**20
"""The most bytes of a small file, such as a manifest: 1 MiB."""
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Flags for opening: no link is followed, no FIFO waited for."""
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


class NotPlain(ValueError):
    """A file that is not read, for the reason in its message, one line with the file's name."""


def size(path: Path) -> int:
    """The bytes of a regular file; ``NotPlain`` for anything else, ``OSError`` where it is not."""
    status = os.lstat(path)
    kind = _KINDS.get(stat.S_IFMT(status.st_mode))
    if kind:
        raise NotPlain(f"{path.name} is {kind}, should be a regular file")
    return status.st_size


def check(path: Path, most: int) -> None:
    """``NotPlain`` for what is no regular file, or has more than ``most`` bytes."""
    if (bytes_ := size(path)) > most:
        raise NotPlain(f"{path.name} has {bytes_:,} bytes, should have at most {most:,}")


@contextmanager
def opened(path: Path, most: int) -> Iterator[BinaryIO]:
    """A regular file, opened to be read. ``NotPlain``: it is none, or has over ``most`` bytes."""
    check(path, most)
    # Something else may have taken its place since.
    with open(path, "rb", opener=lambda name, _: os.open(name, os.O_RDONLY | SAFELY)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise NotPlain(f"{path.name} is no regular file")
        yield file


def read(path: Path, most: int = TEXT) -> bytes:
    """The bytes of a regular file of at most ``most``; errors as for ``opened``."""
    with opened(path, most) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise NotPlain(f"{path.name} grows while it is read")
    return data


def check_entries(folder: Path) -> None:
    """``ValueError``, one line, for an entry of ``folder`` that is no folder and no regular file.

    ``folder`` itself may be a link where the user named it.
    """
    for entry in sorted(os.listdir(folder)):
        path = folder / entry
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            with named(folder):
                size(path)


@contextmanager
def named(folder: Path) -> Iterator[None]:
    """Put the folder in front of the message."""
    try:
        yield
    except NotPlain as error:
        raise NotPlain(f"{folder}: {error}") from None
