"""The watchdog of a Ray fleet: the one owner of "no progress".

Ray restarts an actor that dies, and its handle stays valid; what Ray does not do is notice one that
hangs (it reads ALIVE for ever), or tell a reborn one what it has to know. Here a thread of the
driver compares what each actor says of itself with what it should be, and mends the difference.
"""

import logging
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import ActorDiedError, PendingCallsLimitExceeded, RayError, RayTaskError

from alphazero.types import RunFailed
from workers.cluster.selfplay import Peers

logger = logging.getLogger(__name__)

LOOK = 0.004
"""Seconds between two looks, for each actor: looking takes up to a tenth of that."""


@dataclass(frozen=True)
class Patience:
    """When silence counts as death; seconds."""

    tick: float = 0.5
    """Between two looks at every actor; longer where there are hundreds."""
    ping: float = 30.0
    """For an answer from an actor that has answered before."""
    start: float = 180.0
    """For a first answer, and for a worker's loop to turn: both may have to compile."""
    stall: float = 900.0
    """For any progress of the fleet as a whole."""
    failures: int = 6
    """Failures without a finished game between them that end the run."""


@dataclass
class Member:
    """One actor as the watchdog knows it."""

    name: str
    kind: Literal["replay", "server", "worker"]
    actor: Any
    pid: int | None = None
    """Of the last process that answered; another one answering means a restart."""
    status: dict = field(default_factory=dict)
    """The last answer; empty from an outage until the next one."""
    ping: Any = None
    order: Any = None
    """The call under way that tells it ``told``."""
    told: Any = None
    """The weights' version, the allowance, or that it is to run; None after an outage."""
    heard_at: float = field(default_factory=time.monotonic)
    turned_at: float = field(default_factory=time.monotonic)
    """When a worker's loop was last seen to advance."""

    @property
    def alive(self) -> bool:
        return bool(self.status)

    def ask(self) -> Any:
        """A reference to what the actor says of itself, whatever else it is doing."""
        return self.actor.status.options(concurrency_group="control").remote()


class Incarnations:
    """Numbers that no two lives of a worker share, in all sessions of a run; 1 is the first.

    On disk before it is used, not in the checkpoint: games stored after the newest checkpoint keep
    their ids when the run goes on from there.
    """

    def __init__(self, path: Path):
        self._path = path
        self.next = int(path.read_text()) if path.exists() else 1

    def draw(self) -> int:
        number, self.next = self.next, self.next + 1
        part = self._path.with_suffix(".part")
        with part.open("w") as file:
            file.write(str(self.next))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        return number


class Watchdog:
    """Keeps the members of a fleet alive and up to date."""

    def __init__(self, members: list[Member], incarnations: Incarnations, patience: Patience):
        self.members = members
        self.failure: str | None = None
        """Why the run was given up."""
        self.restarts = 0
        self.counters = {"evaluations": 0, "batches": 0, "busy_seconds": 0.0}
        """Of all servers, those that died included."""
        actors = {
            kind: [m.actor for m in members if m.kind == kind] for kind in ("server", "replay")
        }
        self._peers = Peers(actors["server"], actors["replay"][0])
        self._incarnations = incarnations
        self._patience = patience
        self._weights: tuple[Any, int] | None = None
        self._allowance: int | None = None
        self._failures, self._reason = 0, ""
        self._games = -1
        self._progress: tuple = ()
        self._progress_at = time.monotonic()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def check(self):
        """Raises ``RunFailed``, one line, once the run has been given up."""
        if self.failure:
            raise RunFailed(self.failure)

    def publish(self, weights: Any, version: int):
        """Servers are to answer with ``weights`` (a Ray reference); workers may begin."""
        with self._lock:
            self._weights = weights, version
            self._mend("server")

    def allow(self, positions: int):
        """Self-play is to hold while more positions than this are stored."""
        with self._lock:
            self._allowance = positions
            self._mend("replay")

    def stop(self):
        self._stop.set()
        self._thread.join(timeout=10)

    def _watch(self):
        tick = max(self._patience.tick, LOOK * len(self.members))
        while not self._stop.wait(tick) and not self.failure:
            try:
                with self._lock:
                    for member in self.members:
                        self._look(member)
                    self._mend("replay", "server", "worker")
                    self._judge()
            except Exception as error:
                if not self._stop.is_set():
                    self.failure = f"the watchdog failed: {error!r}"

    def _look(self, member: Member):
        """Take the answer to the last ping, act on its absence, and ping again."""
        if member.ping is not None and _ready(member.ping):
            ping, member.ping = member.ping, None
            self._hear(member, ping)
        silence = time.monotonic() - member.heard_at
        if silence > (self._patience.ping if member.alive else self._patience.start):
            self._kill(member, f"{member.name} did not answer for {silence:.0f} s")
        elif member.kind == "worker" and member.alive and member.order is not None:
            stuck = time.monotonic() - member.turned_at
            if stuck > self._patience.start:
                self._kill(member, f"{member.name} has not advanced for {stuck:.0f} s")
        if member.ping is None:
            member.ping = member.ask()

    def _hear(self, member: Member, ping: Any):
        try:
            status: Any = ray.get(ping, timeout=1.0)
        except ActorDiedError as error:
            self.failure = f"{member.name} cannot run: {_line(error)}"
        except RayError as error:
            if member.alive:
                self._lose(member, f"{member.name} died: {_line(error)}")
        else:
            if member.alive and member.pid != status["pid"]:
                self._lose(member, f"{member.name} died and was restarted between two looks")
            self._take(member, status)

    def _take(self, member: Member, status: dict):
        now = time.monotonic()
        if status.get("turns") != member.status.get("turns"):
            member.turned_at = now
        if member.kind == "server":
            for name in self.counters:
                self.counters[name] += status[name] - member.status.get(name, 0)
        if member.kind == "replay":
            self.failure = status["flaw"] or self.failure
            for line in status["reports"][len(member.status.get("reports", ())) :]:
                logger.warning(line)
        member.pid, member.status, member.heard_at = status["pid"], status, now

    def _kill(self, member: Member, reason: str):
        if member.pid is None:
            have = ray.available_resources() if ray.is_initialized() else {}
            free = ", ".join(f"{have.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
            self.failure = f"{reason} since it was started; the cluster has {free} free"
        ray.kill(member.actor, no_restart=False)
        member.ping = None
        self._lose(member, reason)

    def _lose(self, member: Member, reason: str):
        """Begin an outage, which the next answer ends."""
        member.status, member.told, member.order = {}, None, None
        member.heard_at = member.turned_at = time.monotonic()
        self.restarts += 1
        self._fail(reason)

    def _fail(self, reason: str):
        logger.warning(reason)
        self._failures, self._reason = self._failures + 1, reason

    def _mend(self, *kinds: str):
        """Tell living members what they do not know yet, one order at a time."""
        for member in self.members:
            if member.kind not in kinds:
                continue
            self._read_order(member)
            wish = self._wish(member)
            if member.alive and member.order is None and wish not in (None, member.told):
                # One that takes no more calls is for the pings to find.
                with suppress(PendingCallsLimitExceeded):
                    member.order, member.told = self._tell(member), wish

    def _wish(self, member: Member) -> Any:
        """What the member should have been told."""
        if member.kind == "replay":
            return self._allowance
        if self._weights is None:
            return None
        return self._weights[1] if member.kind == "server" else "run"

    def _tell(self, member: Member) -> Any:
        if member.kind == "replay":
            return member.actor.allow.remote(self._allowance)
        if member.kind == "server":
            assert self._weights
            # Not behind the questions, which wait for these weights in a server that is reborn, and
            # not before the pings: a first load takes its time.
            return member.actor.load.options(concurrency_group="orders").remote(*self._weights)
        member.turned_at = time.monotonic()
        return member.actor.run.remote(self._incarnations.draw(), self._peers)

    def _read_order(self, member: Member):
        """Where an order has ended: a worker's run never should, and any may have failed."""
        if member.order is None or not _ready(member.order):
            return
        order, member.order = member.order, None
        if member.kind == "worker":
            member.told = None
        try:
            ray.get(order, timeout=1.0)
        except RayTaskError as error:
            member.told = None
            self._fail(f"{member.name} failed: {_line(error)}")
        except RayError:
            member.told = None  # It died, which the pings find and count.

    def _judge(self):
        """Give the run up where it goes on failing, or does nothing at all."""
        status = next((m.status for m in self.members if m.kind == "replay"), {})
        games, positions = status.get("games", self._games), status.get("positions", 0)
        if games > self._games:
            self._games, self._failures = games, 0
        held = self._allowance is not None and positions >= self._allowance
        progress = (self._games, self.counters["evaluations"])
        now = time.monotonic()
        if progress != self._progress or held or self._weights is None:
            self._progress, self._progress_at = progress, now
        if self._failures >= self._patience.failures:
            self.failure = self.failure or (
                f"{self._failures} failures without a finished game between them, "
                f"the last one: {self._reason}"
            )
        elif now - self._progress_at > self._patience.stall:
            self.failure = f"self-play made no progress for {self._patience.stall:.0f} s"


def _ready(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])


def _line(error: RayError) -> str:
    """The cause in one line; Ray's own texts run over a page."""
    if isinstance(error, RayTaskError):
        return f"{type(error.cause).__name__}: {error.cause}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else lines[0]
