"""The actors of a Ray fleet as the driver keeps track of them."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from workers.node.node import NodeTimeouts
from workers.node.plan import Machine

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Timeouts:
    """When an actor or the whole fleet counts as failed; in seconds."""

    interval: float = 0.5
    """Between two checks of every actor; longer for fleets of hundreds of nodes."""
    membership: float = 20.0
    """Between two looks for machines that have joined the cluster or left it; shorter after a loss
    and while there is none."""
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
    """For a first answer, which may include imports."""
    stall: float = 900.0
    """Without any progress of the fleet as a whole while it has a node."""
    max_failures: int = 6
    """Failures without a finished game between them that end the run, unless a node is playing; a
    count, not seconds."""
    node: NodeTimeouts = field(default_factory=NodeTimeouts)
    """Those of the processes of each machine."""


TOTALS = ("evaluations", "batches", "room", "busy_seconds", "restarts")
"""Counts of nodes that are added up over all of them, including those that were lost."""


def add_up(statuses: Iterable[dict]) -> dict[str, float]:
    """The sum of each of the ``TOTALS``; a status without it counts as 0."""
    listed = list(statuses)
    return {name: float(sum(status.get(name, 0) for status in listed)) for name in TOTALS}


@dataclass
class Member:
    """One actor and the supervisor's view of it."""

    name: str
    kind: Literal["replay", "node"]
    actor: Any
    node: str = ""
    """The id of its machine in Ray."""
    machine: Machine = Machine(0, 0)  # noqa: RUF009 - a tuple
    """The cores and GPUs of that machine."""
    pid: int | None = None
    """The process that answered last; an answer from another process means a restart."""
    pending_look: Any = None
    """The reference of an ``is_stopped`` task on another machine, until it returns."""
    status: dict = field(default_factory=dict)
    """The last answer; empty from a failure until the next answer."""
    pending_ping: Any = None
    """The reference of a ``status`` call that has not returned yet."""
    pending_call: Any = None
    """The reference of the call that carries ``applied`` to the actor, until it returns."""
    applied: Any = None
    """The setting sent last: the version of the weights (node) or the allowance (replay actor).
    None before the first, and again after a failure."""
    running: Any = None
    """The reference of a node's ``run`` call, which returns only with an error."""
    last_answer: float = 0.0
    """On the supervisor's ``Clock``."""
    last_advance: float = 0.0
    """When a node's ``run`` was last seen to advance; on the same clock."""
    is_first: bool = False
    """Whether a node has been there since the run began, when a line described it."""

    @property
    def alive(self) -> bool:
        return bool(self.status)

    def report_join(self) -> None:
        """Name a node that answers for the first time in the log, a later one on the terminal."""
        level = logging.INFO if self.is_first else logging.WARNING
        logger.log(level, f"{self.name} has joined: {self.machine.describe()}")

    def request_status(self) -> Any:
        """The reference of a ``status`` call, which the actor answers beside all other calls."""
        return self.actor.status.options(concurrency_group="control").remote()


@dataclass
class Desired:
    """The settings that members should have: the newest ones that the run has published."""

    weights: tuple[Any, int] | None = None
    """A Ray reference and the version."""
    allowance: int | None = None
    """Play is held while so many positions are stored."""

    def of(self, member: Member) -> Any:
        """The setting of a member, as its ``applied`` shows it; None if there is none yet."""
        if member.kind == "replay":
            return self.allowance
        return self.weights[1] if self.weights else None

    def send(self, member: Member, replay: Any, now: float) -> Any:
        """Start the call that carries the setting to a member; returns its reference.

        A node's first one starts its ``run``, which delivers games to the actor ``replay``.
        """
        if member.kind == "replay":
            return member.actor.allow.remote(self.allowance)
        assert self.weights
        if member.running is None:
            member.running, member.last_advance = member.actor.run.remote(replay), now
        # ``run`` never returns, so that ``publish`` has a concurrency group of its own.
        return member.actor.publish.options(concurrency_group="settings").remote(*self.weights)
