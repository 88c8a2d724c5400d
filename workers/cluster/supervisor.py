"""The supervisor of a Ray fleet: finds lost and new machines, and keeps all actors up to date.

Ray does not detect an actor that hangs (its state stays ALIVE), and starts nothing on a machine
that joins the cluster. So a thread of the driver compares the machines that play with those of the
cluster, and the state that each actor reports with the state that it should have, and corrects the
differences.

Reconciliation by example. Every member has a *desired* setting, which is the newest one published,
and an *applied* one, which was sent last. If the two differ, one call is sent. Here is a node of a
fleet in which weights version 7 was published:

    event                                           desired  applied  call sent
    the node answers a ping                            7        7     none
    version 8 is published                             8        7     publish(weights, 8)
    the call returns                                   8        8     none
    its machine is lost, and a ping fails              -        -     none: it is no member any more
    another machine joins and answers                  8       None   publish(weights, 8), run

A node repairs its own processes. The loss of a whole node is one failure, and the others play on.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import ray
from ray import exceptions
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayError, RayTaskError

from alphazero.cluster_settings import NodeLimits
from alphazero.errors import FleetLost
from workers.cluster import messages
from workers.cluster.answers import (
    cause,
    first_line,
    hanging,
    is_creation,
    process_stopped,
    ready,
    remedy,
    traceback_there,
)
from workers.cluster.autoscaler import Demand
from workers.cluster.connection import this_node
from workers.cluster.control_plane import (
    LONGEST_CHECK,
    RAYLET,
    RAYLET_ENDED,
    Clock,
    ControlPlane,
    Loss,
)
from workers.cluster.leaving import Leaving
from workers.cluster.machines import ClusterNode, draining, largest, list_all, list_nodes
from workers.cluster.members import TOTALS, Desired, Member, Timeouts, add_up
from workers.cluster.node_actor import OTHER_VERSIONS, NodeLost
from workers.cluster.progress import Progress
from workers.node.tracebacks import log_traceback

logger = logging.getLogger(__name__)

SECONDS_PER_CHECK = 0.004
"""The least time between two checks, per actor; a check takes up to a tenth of it."""
QUIET = 2.5
"""Seconds of silence of Ray's own processes after which no actor is ended: the call would wait."""
AFTER_LOSS = 2.0
"""Seconds between two looks at the cluster's machines after the loss of a node, or without one."""


class Supervisor:
    """Keeps the members of a fleet alive and up to date, on a thread of its own."""

    def __init__(
        self,
        replay: Member,
        start_node: Callable[[ClusterNode], Member],
        timeouts: Timeouts,
        demand: Demand | None = None,
    ):
        """``demand``: the numbers of machines that are wanted; None: all that there are."""
        self.replay = replay
        self.nodes: dict[str, Member] = {}
        """The nodes that play, by the ids of their machines."""
        self.failure: str | None = None
        """The reason why the run was given up, in one line; None while it continues."""
        self.lost: str | None = None
        """The process of Ray itself whose loss is the reason: calls may not return then."""
        self.losses = 0
        """Nodes that were lost, and restarts of the replay actor."""
        self._start_node, self._refused = start_node, set[str]()
        self._timeouts = timeouts
        self._past = dict.fromkeys(TOTALS, 0.0)  # of nodes that were lost or have left
        self._demand = demand or Demand(NodeLimits())
        self._limits = self._demand.limits
        self._desired, self._progress = Desired(), Progress(timeouts)
        self._leaving = Leaving()
        self._clock = Clock(max(LONGEST_CHECK, 2 * timeouts.interval))
        self._control = ControlPlane(list_all)
        self._warned, self._waiting, self._looked_at = False, False, 0.0
        self._here = this_node()
        self._lock, self._stop = threading.Lock(), threading.Event()
        try:
            self._look_for_nodes()
        except BaseException:
            self._control.close()
            raise
        for node in self.nodes.values():
            node.is_first = True
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    @property
    def members(self) -> list[Member]:
        return [self.replay, *self.nodes.values()]

    @property
    def ready(self) -> int:
        """The number of nodes that have answered."""
        return sum(node.alive for node in list(self.nodes.values()))

    def totals(self) -> dict[str, float]:
        """Counts since the start, over all nodes that ever played."""
        statuses = [node.status for node in list(self.nodes.values())]
        return add_up([self._past, *statuses, *self._leaving.statuses])

    def raise_failure(self) -> None:
        """Raise ``FleetLost``, one line, if the run was given up."""
        if self.failure is None and not self._control.has_raylet():
            self._lose(Loss(RAYLET, RAYLET_ENDED))
        if self.failure:
            raise FleetLost(self.failure)

    def publish(self, weights: Any, version: int) -> None:
        """Send ``weights`` (a Ray reference) to all nodes; the first call starts play."""
        with self._lock:
            self._desired.weights = weights, version
            self._reconcile(*self.nodes.values())

    def allow(self, positions: int) -> None:
        """Hold self-play while at least this many positions are stored."""
        with self._lock:
            self._desired.allowance = positions
            self._reconcile(self.replay)

    def stop(self) -> None:
        """Check and call nothing any more."""
        self._stop.set()
        self._thread.join(timeout=10)
        self._control.close()

    def _run(self) -> None:
        while not self.failure:
            if self._stop.wait(max(self._timeouts.interval, SECONDS_PER_CHECK * len(self.members))):
                return
            try:
                self._clock.advance()
                self._check_control_plane()
                with self._lock:
                    self._check_members()
            except Exception as error:
                if not self._stop.is_set():
                    self._fail(f"the supervisor failed: {error!r}")

    def _check_members(self) -> None:
        if self.failure:
            return
        for member in self.members:
            self._check_member(member)
        soon = self._progress.failures or len(self.nodes) < max(1, self._limits.min or 0)
        pause = AFTER_LOSS if soon else self._timeouts.membership
        if self._clock.now - self._looked_at >= pause and self._answers:
            self._look_for_nodes()
        if self._answers:
            ended = self._leaving.update(self.nodes, self._control.nodes, self._clock.now)
            self._past = add_up([self._past, ended])
            playing = [node.machine for node in self.nodes.values()]
            joined = [node.machine for node in self.nodes.values() if node.node != self._here]
            self._demand.update(self._clock.now, self._held, playing, joined)
        self._reconcile(*self.members)
        for node in self._leaving.members:
            self._finish_call(node)
        self._check_progress()

    def _look_for_nodes(self) -> None:
        """Compare the nodes with the machines of the cluster; start one on each new machine."""
        self._looked_at = self._clock.now
        machines = self._control.nodes  # which another thread replaces
        listed = {node.id: node for node in list_nodes(machines)}
        for id_ in self.nodes.keys() - listed.keys() - draining(machines, 0).keys():
            self._lose_node(self.nodes[id_], "its machine has left the cluster")
        others = [listed[id_] for id_ in listed.keys() - self.nodes.keys() - self._refused]
        for node in largest(others, self._limits.max and self._limits.max - len(self.nodes)):
            self.nodes[node.id] = started = self._start_node(node)
            started.last_answer = self._clock.now
        if not self.nodes and not self._waiting:
            logger.warning("the cluster has no machine with a free core: waiting for one to join")
        self._waiting = not self.nodes

    def _check_control_plane(self) -> None:
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

    def _fail(self, reason: str, where: str = "", traceback: str = "") -> None:
        """Give up the run; the first reason is the one that is reported, at once in the log.

        ``traceback``: of the process ``where``; it is in the log only.
        """
        if self.failure is None:
            log_traceback(logger, where, traceback)
            self.failure = reason
            logger.error(reason)

    def _lose(self, loss: Loss) -> None:
        """Give up the run because of a process of Ray itself."""
        self.lost = self.lost or loss.name
        self._fail(loss.reason)

    def _check_member(self, member: Member) -> None:
        """Process the answer to the last ping, kill an actor that hangs, and ping again."""
        if member.pending_ping is not None and ready(member.pending_ping):
            ping, member.pending_ping = member.pending_ping, None
            if not self._on_status(member, ping):
                return
        reason = hanging(
            member, self._clock.now, self._timeouts, partial(process_stopped, self._here)
        )
        if reason and self._answers:
            self._kill(member, reason)
        elif member.pending_ping is None:
            member.pending_ping = member.request_status()

    def _on_status(self, member: Member, ping: Any) -> bool:
        """Take the answer to a ping; False where the member is lost."""
        try:
            status: Any = ray.get(ping, timeout=1.0)
        except ActorUnavailableError:
            return True  # for now: the next ping says whether it has died, or the silence grows
        except RayError as error:
            reason = first_line(error)
            log_traceback(logger, member.name, traceback_there(error))
            if member.kind == "node":
                if isinstance(error, ActorDiedError) and is_creation(error):
                    self._refuse(member, reason)
                else:
                    self._lose_node(member, reason)
                return False
            if isinstance(error, ActorDiedError):
                self._fail(f"{member.name} cannot run: {reason}")
            elif member.alive:
                self._mark_down(member, f"{member.name} died: {reason}")
            return True
        if member.alive and member.pid != status["pid"]:
            self._mark_down(member, f"{member.name} died and was restarted between two checks")
        self._update(member, status)
        return True

    def _update(self, member: Member, status: dict) -> None:
        if member.kind == "replay" and status["storage_error"]:
            self._fail(status["storage_error"])
        for report in messages.new(member.status, status):
            line, _, traceback = report.partition("\n")
            logger.warning(line if member.kind == "replay" else f"{member.name}: {line}")
            log_traceback(logger, member.name, traceback)
        if status.get("iterations") != member.status.get("iterations"):
            member.last_advance = self._clock.now
        if member.kind == "node" and member.pid is None:
            member.report_join()
        member.pid, member.status, member.last_answer = status["pid"], status, self._clock.now

    def _refuse(self, member: Member, reason: str) -> None:
        """Leave out a machine with other versions; other errors would come on all machines."""
        others = reason.rpartition("ValueError: ")[2].startswith(OTHER_VERSIONS)
        if not others or member.node == self._here:
            self._fail(f"{member.name} cannot play: {reason}{remedy(reason)}")
            return
        logger.warning(f"{member.name} is left out: {reason.rpartition('ValueError: ')[2]}")
        self._refused.add(member.node)
        del self.nodes[member.node]

    def _kill(self, member: Member, reason: str) -> None:
        if member.pid is None:
            resources = ray.available_resources() if ray.is_initialized() else {}
            free = ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
            reason = f"{reason} since it was started; the cluster has {free} free"
        ray.kill(member.actor, no_restart=member.kind == "node")
        if member.kind == "node":
            self._lose_node(member, reason)
            return
        member.pending_ping = member.pending_look = None
        self._mark_down(member, reason)

    def _lose_node(self, member: Member, reason: str) -> None:
        """Go on without a node, whatever became of it; its counts stay."""
        del self.nodes[member.node]
        self._past = add_up([self._past, member.status])
        if self._answers:
            with suppress(RayError):  # it may still run where only its answers are lost
                ray.kill(member.actor)
        self._record_failure(f"{member.name} is lost: {reason}")

    def _mark_down(self, member: Member, reason: str) -> None:
        """Treat the member as down until its next answer, and its setting as not applied."""
        member.status, member.applied, member.pending_call = {}, None, None
        member.last_answer = self._clock.now
        self._record_failure(reason)

    def _record_failure(self, reason: str) -> None:
        """Report a loss and count it."""
        logger.warning(reason)
        self.losses += 1
        self._progress.fail(reason, self._held)

    @property
    def _answers(self) -> bool:
        """Whether Ray's own processes answer; where they do not, many calls would wait for them."""
        return self._control.silence(self._clock.now)[1] <= QUIET

    @property
    def _held(self) -> bool:
        """Whether play is held because enough positions are stored."""
        positions, allowance = self.replay.status.get("positions", 0), self._desired.allowance
        return allowance is not None and positions >= allowance

    def _reconcile(self, *members: Member) -> None:
        """Send live members their desired setting if it is not applied, one call at a time each."""
        for member in members:
            self._finish_call(member)
            desired = self._desired.of(member)
            changed = desired not in (None, member.applied)
            if member.alive and member.pending_call is None and changed:
                # If the member's queue of calls is full, it may hang; the pings detect that.
                with suppress(exceptions.PendingCallsLimitExceeded):
                    call = self._desired.send(member, self.replay.actor, self._clock.now)
                    member.pending_call, member.applied = call, desired

    def _finish_call(self, member: Member) -> None:
        """Take the results of calls that have returned; if one failed, nothing counts as applied.

        A node's ``run`` returns only if it failed. An error of its games, or of an evaluation, ends
        the run: the games in which it happens would be missing from what is learned.
        """
        for call in (member.pending_call, member.running):
            if call is None or not ready(call):
                continue
            if call is member.pending_call:
                member.pending_call = None
            else:
                member.running = None
            try:
                ray.get(call, timeout=1.0)
            except RayTaskError as error:
                member.applied = None
                traceback = traceback_there(error)
                if isinstance(cause(error), NodeLost) and member.node in self.nodes:
                    log_traceback(logger, member.name, traceback)
                    self._lose_node(member, str(cause(error)))
                elif not isinstance(cause(error), NodeLost):
                    self._fail(f"{member.name}: {first_line(error)}", member.name, traceback)
            except RayError:
                member.applied = None  # The actor died; the pings detect and count that.

    def _check_progress(self) -> None:
        """Give up the run after too many failures without a finished game, or without progress."""
        self._progress.games(self.replay.status.get("games", -1))
        waits = self._held or self._desired.weights is None or not self.nodes
        playing = any(node.status.get("evaluations") for node in self.nodes.values())
        evaluated = self.totals()["evaluations"]
        if problem := self._progress.problem(self._clock.now, evaluated, waits, playing):
            self._fail(problem)
