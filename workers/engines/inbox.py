"""Lines from another program, read by a thread, so that a search can see that one has arrived."""

import threading
from collections import deque
from collections.abc import Callable

LONGEST = 2**18
"""Bytes of a line. Of a longer one the first ``LONGEST + 1`` are kept, so that it is known by its
length. A game of 1,000 moves with the name of each is a tenth of that."""
ROOM = 2**20
"""Bytes of lines that may wait; the thread reads no more until some have been taken."""
CHUNK = 2**16
"""Bytes that are read at once, at most."""


class Inbox:
    """The lines of one input, in their order, decoded from UTF-8 and without their line feeds."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """``read(n)`` returns at most ``n`` bytes, none at the end of the input.

        With ``os.read`` the thread holds no lock of a Python file, which would break the end of
        the process while it waits for input.
        """
        self._read = read
        self._lines: deque[str] = deque()
        self._bytes = 0
        self._ended = False
        self._changed = threading.Condition()
        threading.Thread(target=self._fill, name="inbox", daemon=True).start()

    def get(self) -> str | None:
        """The next line, for which it waits; None at the end of the input."""
        self.wait()
        with self._changed:
            if not self._lines:
                return None
            line = self._lines.popleft()
            self._bytes -= len(line) + 1
            self._changed.notify_all()
            return line

    def wait(self) -> None:
        """Wait until there is a line, or the input has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._lines or self._ended)

    def next(self) -> str | None:
        """The line that ``get`` would return at once, and stays; None: there is none yet."""
        with self._changed:
            return self._lines[0] if self._lines else None

    def waiting(self) -> list[str]:
        """All lines that have arrived, in their order; they stay."""
        with self._changed:
            return list(self._lines)

    def ready(self) -> bool:
        """Whether ``get`` would return at once: a line has arrived, or the input has ended."""
        return bool(self._lines) or self._ended

    @property
    def ended(self) -> bool:
        """Whether the input has ended; lines may still wait."""
        return self._ended

    def _fill(self) -> None:
        partial = b""
        while chunk := self._chunk():
            *whole, last = chunk.split(b"\n")
            for line in whole:
                self._put(partial + line)
                partial = b""
            partial = (partial + last)[: LONGEST + 1]
        if partial:
            self._put(partial)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _chunk(self) -> bytes:
        try:
            return self._read(CHUNK)
        except OSError:  # the terminal is gone: the same as the end
            return b""

    def _put(self, line: bytes) -> None:
        text = line[: LONGEST + 1].decode("utf-8", "replace")
        if len(line) > LONGEST:
            text = text.ljust(LONGEST + 1)  # some characters have several bytes
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < ROOM)
            self._lines.append(text)
            self._bytes += len(text) + 1
            self._changed.notify_all()
