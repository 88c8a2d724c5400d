"""The time of a game by GTP's settings: main time, then periods of some moves (byo-yomi)."""

import time
from collections.abc import Callable

from alphazero.judging.clock import SHARE, Clock
from alphazero.judging.session import LEAST_SECONDS


class TimeControl:
    """The time of both sides: a main time, after it periods in which a number of moves is due.

    The clock counts a side's main time or, when that is over, its period.
    """

    def __init__(
        self,
        main: float,
        period: float = 0.0,
        moves: int = 0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Seconds of the main time and of a period of ``moves`` moves; no period: 0 and 0."""
        self._settings, self._now = (main, period, moves), now
        self.start()

    def start(self) -> None:
        """Give both sides their time at the beginning of a game."""
        main, self._period, self._moves = self._settings
        self._clock = Clock((main or self._period,) * 2, now=self._now)
        self._due = [0 if main else self._moves] * 2
        """The moves due in each side's period; 0: its main time is not over."""

    def set(self, side: int, seconds: float, moves: int) -> None:
        """Set a side's time: ``moves`` are due in ``seconds``, or it is main time where 0 are."""
        left = list(self._clock.remaining())
        left[side] = seconds
        self._clock.set(left)
        self._due[side] = moves

    def seconds(self, side: int, moves: int) -> float:
        """The seconds that ``side`` should take for its next move, of at most ``moves`` to come.

        Always more than 0: a side whose time is over moves at once.
        """
        share = self._clock.share(side, min(self._due[side] or moves, moves))
        share = max(share, LEAST_SECONDS)
        if self._due[side] or not self._moves:
            return share
        return max(share, SHARE * self._period / self._moves)  # the main time may end

    def run(self, side: int) -> None:
        """Let the time of ``side`` run."""
        self._clock.run(side)

    def moved(self, side: int) -> None:
        """Stop the time: ``side`` has moved. A period without moves due begins anew."""
        self._clock.stop()
        left = self._clock.remaining()[side]
        if self._due[side]:
            self._due[side] -= 1
            if not self._due[side]:
                self.set(side, self._period, self._moves)
        elif left == 0 and self._moves:
            self.set(side, self._period, self._moves)
