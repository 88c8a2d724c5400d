"""The clock of a game: the seconds that each side has left, with an increment per move."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

MOVES_AHEAD = 20
"""The moves among which a side divides its time, or fewer where the game must end sooner."""
SHARE = 0.9
"""The largest share of a side's remaining time that one move may take."""


class Clock:
    """Two sides' remaining seconds, of which those of at most one side run.

    ``now`` returns the seconds of any clock that does not go back.
    """

    def __init__(
        self,
        seconds: Sequence[float],
        increment: float = 0.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds`` of both sides; ``ValueError``: a number is negative or not finite."""
        self._now = now
        self.set(seconds)
        self.start_seconds, self.increment = self.remaining(), _checked(increment)

    def set(self, seconds: Sequence[float]) -> None:
        """Stop, and set the remaining time of both sides; errors as in ``Clock``."""
        if len(seconds) != 2:
            raise ValueError(f"a clock needs the seconds of two sides, not {seconds!r}")
        self._left = [_checked(value) for value in seconds]
        self._running: int | None = None
        self._since = 0.0

    def run(self, side: int) -> None:
        """Let the time of ``side`` run, and the other's stop."""
        self.stop()
        self._running, self._since = side, self._now()

    def stop(self) -> None:
        """Let no side's time run."""
        self._left = list(self.remaining())
        self._running = None

    def moved(self, side: int) -> None:
        """Stop, and give ``side``, which has just moved, its increment."""
        self.stop()
        self._left[side] += self.increment

    def remaining(self) -> tuple[float, float]:
        """The seconds that side 0 and side 1 have left now, at least 0."""
        left = list(self._left)
        if self._running is not None:
            left[self._running] -= self._now() - self._since
        return max(0.0, left[0]), max(0.0, left[1])

    def expired(self) -> int | None:
        """The side that has no time left, of two the one whose time ran last; None: neither."""
        left = self.remaining()
        order = (1, 0) if self._running == 1 else (0, 1)
        return next((side for side in order if left[side] == 0), None)

    def share(self, side: int, moves: int) -> float:
        """The seconds that ``side`` should take for its next move, of at most ``moves`` to come.

        An equal part of its time for each of the moves to come, of which there are at most
        ``MOVES_AHEAD``, and the increment; but not more than ``SHARE`` of its time. Example: with
        100 s left, 2 s of increment and 30 moves to come it is 100 / 20 + 2 = 7 s.
        """
        left = self.remaining()[side]
        return min(SHARE * left, left / max(1, min(MOVES_AHEAD, moves)) + self.increment)

    def as_dict(self) -> dict[str, Any]:
        """The clock in plain types, ready for JSON: its seconds at first and now."""
        return {
            "start": list(self.start_seconds),
            "seconds": list(self.remaining()),
            "increment": self.increment,
        }

    @classmethod
    def load(cls, saved: dict[str, Any], now: Callable[[], float] = time.monotonic) -> "Clock":
        """The clock of which ``saved`` is the ``as_dict``, stopped; errors as in ``Clock``."""
        clock = cls(saved["start"], saved["increment"], now)
        clock.set(saved["seconds"])
        return clock


def as_text(seconds: float) -> str:
    """``272.9`` as ``4:32``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _checked(seconds: float) -> float:
    if not 0 <= seconds <= sys.float_info.max:
        raise ValueError(f"a clock's seconds must be 0 or more, not {seconds}")
    return seconds
