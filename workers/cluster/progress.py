"""Whether a fleet as a whole makes progress: failures in a row, and the time without any."""

from workers.cluster.members import Timeouts


class Progress:
    """Failures without a finished game between them, and the time since anything advanced."""

    def __init__(self, timeouts: Timeouts):
        self._timeouts = timeouts
        self.failures = 0
        self._reason, self._games = "", -1
        self._last: tuple[int, float] = -1, 0.0
        self._last_at = 0.0

    def fail(self, reason: str, held: bool) -> None:
        """Note a failure; it counts unless play is held, for then no game can be finished."""
        self._reason = reason
        self.failures += not held

    def games(self, stored: int) -> None:
        """Note the number of stored games; a new one ends a row of failures."""
        if stored > self._games:
            self._games, self.failures = stored, 0

    def problem(self, now: float, evaluations: float, waits: bool, playing: bool) -> str:
        """Why the run is to be given up; empty where it is not.

        ``waits``: play is held, or has no machine or no weights, so that nothing can advance.
        ``playing``: a node has evaluated something. A node that is lost once an hour, with games
        finished in between, is always replaced.
        """
        if (advanced := (self._games, evaluations)) != self._last or waits:
            self._last, self._last_at = advanced, now
        if self.failures >= self._timeouts.max_failures and not playing:
            return (
                f"{self.failures} failures without a finished game between them, "
                f"the last one: {self._reason}"
            )
        if now - self._last_at > self._timeouts.stall:
            return f"self-play made no progress for {self._timeouts.stall:.0f} s"
        return ""
