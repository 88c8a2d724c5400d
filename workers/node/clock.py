"""A clock for the supervision of other processes."""

import time

LONGEST_CHECK = 2.0
"""Seconds of silence that one check adds at most: more than that, and this process was stopped."""


class Clock:
    """Seconds during which an answer could have been noticed.

    ``now`` advances at each ``advance`` by the time since the one before, at most by ``most``. So
    no process seems silent to a driver that was stopped itself, or on a laptop that was suspended:
    an hour between two checks counts as two seconds.
    """

    def __init__(self, most: float):
        self.now = 0.0
        self._most = most
        self._read = time.monotonic()

    def advance(self, to: float | None = None) -> None:
        """Read the time; ``to`` in tests."""
        read = time.monotonic() if to is None else to
        self.now += max(0.0, min(read - self._read, self._most))
        self._read = read
