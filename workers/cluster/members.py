"""The actors of a Ray fleet as the driver keeps track of them, and the numbers of their lives."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Timeouts:
    """When an actor or the whole fleet counts as failed; in seconds."""

    interval: float = 0.5
    """Between two checks of every actor; longer for fleets of hundreds of actors."""
    ping: float = 30.0
    """For an answer from an actor that has answered before: long, for its machine may be busy."""
    stopped: float = 3.0
    """The same where the system says that the process is stopped, which no load explains."""
    control: float = 8.0
    """For an answer from Ray's own processes until a warning; in a cluster that was started here
    the run ends then."""
    control_elsewhere: float = 40.0
    """The same until a run ends on a cluster that it joined; Ray itself ends it after 60."""
    start: float = 180.0
    """For a first answer, and for one iteration of a worker's loop: both may include compiling."""
    stall: float = 900.0
    """Without any progress of the fleet as a whole."""
    max_failures: int = 6
    """Failures without a finished game between them that end the run; a count, not seconds."""


@dataclass
class Member:
    """One actor and the supervisor's view of it."""

    name: str
    kind: Literal["replay", "server", "worker"]
    actor: Any
    pid: int | None = None
    """The process that answered last; an answer from another process means a restart."""
    pending_look: Any = None
    """The reference of an ``is_stopped`` task on another node, until it returns."""
    fruitless: int = 0
    """A worker's failures in a row before any of its games was finished."""
    status: dict = field(default_factory=dict)
    """The last answer; empty from a failure until the next answer."""
    pending_ping: Any = None
    """The reference of a ``status`` call that has not returned yet."""
    pending_call: Any = None
    """The reference of the call that carries ``applied`` to the actor, until it returns."""
    applied: Any = None
    """The setting sent last: a weights version (server), the allowance (replay actor) or "run"
    (worker). None before the first, and again after a failure."""
    last_answer: float = 0.0
    """On the supervisor's ``Clock``."""
    last_advance: float = 0.0
    """When the loop of a worker was last seen to advance; on the same clock."""

    @property
    def alive(self) -> bool:
        return bool(self.status)

    def request_status(self) -> Any:
        """The reference of a ``status`` call, which the actor answers beside all other calls."""
        return self.actor.status.options(concurrency_group="control").remote()


class Incarnations:
    """Numbers that are never used for two worker processes, in all sessions of a run; from 1 on.

    The next number is on disk before it is used. It is not part of the checkpoint: games stored
    after the newest checkpoint keep their ids when the run is resumed from that checkpoint.
    """

    def __init__(self, path: Path):
        self._path = path
        self.next = int(path.read_text()) if path.exists() else 1

    def draw(self) -> int:
        """Return the next number, after the one behind it was written to disk."""
        number, self.next = self.next, self.next + 1
        part = self._path.with_suffix(".part")
        with part.open("w") as file:
            file.write(str(self.next))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        return number
