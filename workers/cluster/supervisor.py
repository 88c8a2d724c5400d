"""The supervisor of a Ray fleet: detects actors that died or hang, and keeps all actors up to date.

Ray restarts an actor that dies, and its handle stays valid. But Ray does not detect an actor that
hangs (its state stays ALIVE), and a restarted actor has none of its former settings. So a thread of
the driver compares the state that each actor reports with the state that it should have, and
corrects the differences.

Reconciliation by example. Every member has a *desired* setting, which is the newest one published,
and an *applied* one, which was sent last. If the two differ, one call is sent. Here is a server of
a fleet in which weights version 7 was published:

    event                                           desired  applied  call sent
    the server answers a ping                          7        7     none
    version 8 is published                             8        7     load(weights, 8); applied = 8
    the load returns                                   8        8     none
    the server is killed, and a ping fails             8       None   none: it is down
    Ray restarted it; another process id answers       8       None   load(weights, 8); applied = 8

A worker that died receives ``run`` again in the same way, with a new incarnation number, so that
its new games have ids that were never used before.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import ActorDiedError, PendingCallsLimitExceeded, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alphazero.errors import FleetLost, RunFailed
from workers.cluster.control_plane import (
    LONGEST_CHECK,
    RAYLET,
    RAYLET_ENDED,
    Clock,
    ControlPlane,
    Loss,
)
from workers.cluster.members import Incarnations, Member, Timeouts
from workers.node.processes import is_stopped
from workers.cluster.selfplay import Peers

logger = logging.getLogger(__name__)

SECONDS_PER_CHECK = 0.004
"""The least time between two checks, per actor; a check takes up to a tenth of it."""
QUIET = 2.5
"""Seconds without an answer of Ray's own processes after which no actor is ended, for the call that
ends it would wait for them."""


class Supervisor:
    """Keeps the members of a fleet alive and up to date, on a thread of its own."""

    def __init__(self, members: list[Member], incarnations: Incarnations, timeouts: Timeouts):
        self.members = members
        self.failure: str | None = None
        """The reason why the run was given up, in one line; None while it continues."""
        self.lost: str | None = None
        """The process of Ray itself whose loss is the reason: calls may not return then."""
        self.restarts = 0
        self.counters = {"evaluations": 0, "batches": 0, "busy_seconds": 0.0}
        """Sums over all servers, including processes that have died."""
        actors = {
            kind: [m.actor for m in members if m.kind == kind] for kind in ("server", "replay")
        }
        self._peers = Peers(actors["server"], actors["replay"][0])
        self._incarnations = incarnations
        self._timeouts = timeouts
        self._interval = max(timeouts.interval, SECONDS_PER_CHECK * len(members))
        self._weights: tuple[Any, int] | None = None
        self._allowance: int | None = None
        self._failures, self._reason = 0, ""
        self._games = -1
        self._clock = Clock(max(LONGEST_CHECK, 2 * self._interval))
        self._control = ControlPlane()
        self._warned = False
        self._node = ray.get_runtime_context().get_node_id()
        self._progress: tuple = ()
        self._progress_at = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def raise_failure(self):
        """Raise ``FleetLost``, one line, if the run was given up."""
        if self.failure is None and not self._control.has_raylet():
            self._lose(Loss(RAYLET, RAYLET_ENDED))
        if self.failure:
            raise FleetLost(self.failure)

    def publish(self, weights: Any, version: int):
        """Send ``weights`` (a Ray reference) to all servers; the first call starts the workers."""
        with self._lock:
            self._weights = weights, version
            self._reconcile("server")

    def allow(self, positions: int):
        """Pause self-play while at least this many positions are stored."""
        with self._lock:
            self._allowance = positions
            self._reconcile("replay")

    def stop(self):
        """Check and call nothing any more, before the actors are ended."""
        self._stop.set()
        self._thread.join(timeout=10)
        self._control.close()

    def _run(self):
        while not self._stop.wait(self._interval) and not self.failure:
            try:
                self._clock.advance()
                self._check_control_plane()
                with self._lock:
                    self._check_members()
            except Exception as error:
                if not self._stop.is_set():
                    self._fail(f"the supervisor failed: {error!r}")

    def _check_members(self):
        if self.failure:
            return
        for member in self.members:
            self._check_member(member)
        self._reconcile("replay", "server", "worker")
        self._check_progress()

    def _check_control_plane(self):
        """Give up the run where Ray's own processes ended, or have not answered for too long."""
        if loss := self._control.problem(self._clock.now, self._timeouts.control_elsewhere):
            self._lose(loss)
            return
        name, silence = self._control.silence(self._clock.now)
        if silence <= self._timeouts.control:
            self._warned = False
        elif not self._warned:
            self._warned = True
            logger.warning(f"Ray's {name} has not answered for {silence:.0f} s")

    def _fail(self, reason: str):
        """Give up the run; the first reason is the one that is reported, at once in the log."""
        if self.failure is None:
            self.failure = reason
            logger.error(reason)

    def _lose(self, loss: Loss):
        """Give up the run because of a process of Ray itself."""
        self.lost = self.lost or loss.name
        self._fail(loss.reason)

    def _check_member(self, member: Member):
        """Process the answer to the last ping, kill an actor that hangs, and ping again."""
        if member.pending_ping is not None and _ready(member.pending_ping):
            ping, member.pending_ping = member.pending_ping, None
            self._on_status(member, ping)
        reason = hanging(member, self._clock.now, self._timeouts, self._is_stopped)
        if reason and self._control.silence(self._clock.now)[1] <= QUIET:
            self._kill(member, reason)
        if member.pending_ping is None:
            member.pending_ping = member.request_status()

    def _is_stopped(self, member: Member) -> bool:
        """Whether the system reports the process as stopped; False until a distant node answers."""
        node, pid = member.status.get("node"), member.pid
        if node == self._node and pid is not None:
            return is_stopped(pid)
        if node and member.pending_look is None:
            task: Any = ray.remote(num_cpus=0, max_retries=0)(is_stopped)
            there = NodeAffinitySchedulingStrategy(node, soft=False)
            member.pending_look = task.options(scheduling_strategy=there).remote(pid)
        if member.pending_look is None or not _ready(member.pending_look):
            return False
        look, member.pending_look = member.pending_look, None
        with suppress(RayError):
            return bool(ray.get(look, timeout=1.0))
        return False

    def _on_status(self, member: Member, ping: Any):
        try:
            status: Any = ray.get(ping, timeout=1.0)
        except ActorDiedError as error:
            self._fail(f"{member.name} cannot run: {_first_line(error)}")
        except RayError as error:
            if member.alive:
                self._mark_down(member, f"{member.name} died: {_first_line(error)}")
        else:
            if member.alive and member.pid != status["pid"]:
                self._mark_down(member, f"{member.name} died and was restarted between two checks")
            self._update(member, status)

    def _update(self, member: Member, status: dict):
        now = self._clock.now
        if status.get("iterations") != member.status.get("iterations"):
            member.last_advance = now
        if member.kind == "server":
            # A server counts from the start of its process. After a failure ``member.status`` is
            # empty, so the counts of the new process are added to those of the one that died.
            for name in self.counters:
                self.counters[name] += status[name] - member.status.get(name, 0)
        if member.kind == "replay":
            if status["storage_error"]:
                self._fail(status["storage_error"])
            for line in status["reports"][len(member.status.get("reports", ())) :]:
                logger.warning(line)
        member.pid, member.status, member.last_answer = status["pid"], status, now

    def _kill(self, member: Member, reason: str):
        if member.pid is None:
            resources = ray.available_resources() if ray.is_initialized() else {}
            free = ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
            self._fail(f"{reason} since it was started; the cluster has {free} free")
        ray.kill(member.actor, no_restart=False)
        member.pending_ping = member.pending_look = None
        self._mark_down(member, reason)

    def _mark_down(self, member: Member, reason: str):
        """Treat the member as down until its next answer, and its setting as not applied."""
        if member.kind == "worker":
            member.fruitless = 0 if member.status.get("games") else member.fruitless + 1
            if member.fruitless >= self._timeouts.max_failures:
                times = f"{member.fruitless} times in a row before one of its games was finished"
                self._fail(f"{member.name} failed {times}, the last time: {reason}")
        member.status, member.applied, member.pending_call = {}, None, None
        member.last_answer = member.last_advance = self._clock.now
        self.restarts += 1
        self._record_failure(reason)

    def _record_failure(self, reason: str):
        logger.warning(reason)
        self._failures, self._reason = self._failures + 1, reason

    def _reconcile(self, *kinds: str):
        """Send live members their desired setting if it is not applied, one call at a time each."""
        for member in self.members:
            if member.kind not in kinds:
                continue
            self._finish_call(member)
            desired = self._desired(member)
            changed = desired not in (None, member.applied)
            if member.alive and member.pending_call is None and changed:
                # If the member's queue of calls is full, it may hang; the pings detect that.
                with suppress(PendingCallsLimitExceeded):
                    member.pending_call, member.applied = self._send(member), desired

    def _desired(self, member: Member) -> Any:
        """The setting that the member should have, or None if there is none yet."""
        if member.kind == "replay":
            return self._allowance
        if self._weights is None:
            return None
        return self._weights[1] if member.kind == "server" else "run"

    def _send(self, member: Member) -> Any:
        """Start the call that sends the desired setting; returns its reference."""
        if member.kind == "replay":
            return member.actor.allow.remote(self._allowance)
        if member.kind == "server":
            assert self._weights
            # ``load`` has its own concurrency group. In the group of the evaluations it could be
            # queued behind requests that wait for these weights in a restarted server; in the group
            # of the pings the first load, which is slow, would delay the answers.
            return member.actor.load.options(concurrency_group="settings").remote(*self._weights)
        member.last_advance = self._clock.now
        return member.actor.run.remote(self._incarnations.draw(), self._peers)

    def _finish_call(self, member: Member):
        """Take the result of a call that has returned; if it failed, nothing counts as applied.

        A worker's ``run`` call returns only if the worker failed. An error of its games, or of an
        evaluation, ends the run however many other games are finished: the games in which it
        happens would be missing from what is learned.
        """
        if member.pending_call is None or not _ready(member.pending_call):
            return
        call, member.pending_call = member.pending_call, None
        if member.kind == "worker":
            member.applied = None
        try:
            ray.get(call, timeout=1.0)
        except RayTaskError as error:
            member.applied = None
            reason = f"{member.name} failed: {_first_line(error)}"
            late = isinstance(_cause(error), TimeoutError)  # a server that was down for long
            self._record_failure(reason) if late else self._fail(reason)
        except RayError:
            member.applied = None  # The actor died; the pings detect and count that.

    def _check_progress(self):
        """Give up the run after too many failures without a finished game, or without progress.

        With ``max_failures`` 6: a worker that dies once an hour, with games finished in between,
        is always restarted; six failures without a finished game between them end the run.
        """
        status = next((m.status for m in self.members if m.kind == "replay"), {})
        games, positions = status.get("games", self._games), status.get("positions", 0)
        if games > self._games:
            self._games, self._failures = games, 0
        held = self._allowance is not None and positions >= self._allowance
        progress = (self._games, self.counters["evaluations"])
        now = self._clock.now
        if progress != self._progress or held or self._weights is None:
            self._progress, self._progress_at = progress, now
        if self._failures >= self._timeouts.max_failures:
            self._fail(
                f"{self._failures} failures without a finished game between them, "
                f"the last one: {self._reason}"
            )
        elif now - self._progress_at > self._timeouts.stall:
            self._fail(f"self-play made no progress for {self._timeouts.stall:.0f} s")


def hanging(
    member: Member, now: float, timeouts: Timeouts, is_stopped: Callable[[Member], bool]
) -> str:
    """Why the member counts as one that hangs; empty where it does not.

    A process may be silent for long and healthy, because its machine has too much to do. So it is
    ended after seconds only where the system says that it is stopped, which no load explains.
    """
    silence, stuck = now - member.last_answer, now - member.last_advance
    if silence > (timeouts.ping if member.alive else timeouts.start):
        return f"{member.name} did not answer for {silence:.0f} s"
    if not member.alive:
        return ""
    if silence > timeouts.stopped and is_stopped(member):
        return f"{member.name} is stopped: no answer for {silence:.0f} s"
    running = member.kind == "worker" and member.pending_call is not None
    if running and stuck > timeouts.start:
        return f"{member.name} has not advanced for {stuck:.0f} s"
    return ""


def _ready(reference: Any) -> bool:
    return bool(ray.wait([reference], timeout=0)[0])


def _cause(error: RayTaskError) -> Exception:
    """The error that code raised, in the process where it did; behind a server and a worker."""
    cause: Any = error
    while isinstance(cause, RayTaskError):
        cause = cause.cause
    return cause


def _first_line(error: RayError) -> str:
    """The cause in one line; Ray's own messages are a page long."""
    if isinstance(error, RayTaskError):
        cause = _cause(error)
        kind = "" if isinstance(cause, RunFailed) else f"{type(cause).__name__}: "
        return f"{kind}{cause}".splitlines()[0]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "creation task" in lines[0] else lines[0]
