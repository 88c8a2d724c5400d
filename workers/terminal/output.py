"""Standard output and standard error that may fail: a closed terminal, a pipe without a reader."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

log = logging.getLogger(__name__)

GONE = (errno.EIO, errno.EPIPE)
"""Errors after which no later output can be read; after others, such as a full disk, it can."""


class _Tolerant:
    """A text stream whose ``write`` and ``flush`` raise no error of the operating system."""

    def __init__(self, stream: TextIO):
        self._stream, self._failed = stream, False

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self._note(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._note(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _note(self, error: OSError) -> None:
        if error.errno in GONE:
            # What is buffered would fail again when Python exits.
            with contextlib.suppress(OSError, ValueError):
                _discard(self._stream.fileno())
        if not self._failed:
            self._failed = True
            log.warning("%s cannot be written: %s", self._stream.name, error.strerror)


def _discard(descriptor: int) -> None:
    """From now on, drop what is written to ``descriptor``."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


@contextlib.contextmanager
def tolerated() -> Iterator[None]:
    """Meanwhile, what cannot be written to standard output or standard error is lost, no more.

    For commands that have something to save.
    """
    before = sys.stdout, sys.stderr
    # A process that was started without an output has None there, which print and rich accept.
    sys.stdout, sys.stderr = (stream and _Tolerant(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def counted(number: int, noun: str, ending: str = "s") -> str:
    """A number with its noun, whose plural has this ``ending``: "1 loss", "2 losses"."""
    return f"{number:,} {noun}{ending if number != 1 else ''}"


def warn(line: str) -> None:
    """Print a warning to standard error."""
    print(f"warning: {line}", file=sys.stderr)
