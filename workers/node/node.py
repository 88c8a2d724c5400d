"""Node: the search processes and evaluators of one machine, started, watched and restarted.

search processes <-> slots <-> evaluators;  search processes -> finished games -> ``take_games``

One thread starts, watches and replaces the processes; each process has another one, which receives
its messages.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from alphazero.nn.weights import Weights
from alphazero.packing import PackedGame
from games.base import Game
from workers.node.child import Child, Failure, Warned
from workers.node.clock import LONGEST_CHECK, Clock
from workers.node.counters import Counters
from workers.node.evaluator import LoadableEvaluator, Shared, Work, evaluate
from workers.node.plan import Plan
from workers.node.player import Playing, play
from workers.node.published import PublishedWeights
from workers.node.slots import WAITING, Sizes, Slots
from workers.node.tracebacks import log_traceback, traceback_of

logger = logging.getLogger(__name__)

TOTALS = ("evaluations", "requests", "batches", "room", "busy_nanoseconds")
"""Counts of evaluators that ``status`` adds up over all processes."""
MOST_WARNED = 20
"""Different warnings of processes that are reported."""


@dataclass(frozen=True)
class NodeTimeouts:
    """When a process of a node counts as failed; in seconds."""

    interval: float = 0.2
    """Between two checks of every process."""
    stopped: float = 3.0
    """Without progress where the system says that the process is stopped: no load does so."""
    stuck: float = 180.0
    """Without progress otherwise; its start, with imports and compilation, included."""
    max_failures: int = 6
    """Failures in a row without a finished game between them that end play on this node; a count,
    not seconds."""


class Task(NamedTuple):
    """The game, network and groups that a node plays with; everything is pickled."""

    game: Game
    make_evaluator: Callable[[int], LoadableEvaluator]
    """Called with the evaluator's number."""
    playing: Playing
    capacity: int
    """Positions per slot."""
    batch_size: int
    """Positions that an evaluator evaluates at once, at most."""


@dataclass
class Member:
    """One process of a node and what is known of its progress."""

    kind: str
    """``player`` or ``evaluator``."""
    number: int
    child: Child | None = None
    iterations: int = -1
    """As counted by the process when it was last seen to advance."""
    advanced: float = 0.0
    """When that was, on the node's ``Clock``."""

    @property
    def name(self) -> str:
        return f"{'search process' if self.kind == 'player' else 'evaluator'} {self.number}"


class Node:
    """Self-play on one machine; begins with the first ``publish``, ends with ``close``."""

    def __init__(
        self,
        plan: Plan,
        task: Task,
        incarnations: Iterator[int],
        timeouts: NodeTimeouts = NodeTimeouts(),
        report: Callable[[str], object] | None = None,
    ):
        """``incarnations``: a number per search process that is started, never the same twice in a
        run. ``report`` is called with a line about each process that is replaced, and further lines
        where it has left a traceback; None: they are logged."""
        self.plan, self.restarts = plan, 0
        self.failure = ""
        """Why play on this node was given up, in one line; empty while it goes on."""
        self.raised, self.traceback = False, ""
        """Whether an error of the program or a game is the reason: it would come everywhere; the
        end of its traceback."""
        self._task, self._incarnations = task, incarnations
        self._timeouts, self._report = timeouts, report or _log
        self._shared: Shared | None = None
        self._members = [Member("evaluator", n) for n in range(plan.evaluators)]
        self._members += [Member("player", n) for n in range(plan.players)]
        self._games: list[PackedGame] = []
        self._allowance, self._waiting_positions = math.inf, 0
        self._clock = Clock(max(LONGEST_CHECK, 2 * timeouts.interval))
        self._received = self._failures = self._games_before = 0
        self._failed_at = -1.0
        self._warned = set[str]()
        self._arrived, self._stop = threading.Condition(), threading.Event()
        self._watching = threading.Thread(target=self._watch, name="watches a node", daemon=True)

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; the first call starts the processes.

        ``OSError``, one line, where there is too little shared memory.
        """
        if self._shared is not None:
            self._shared.weights.publish(weights, version)
            return
        self._shared = self._make_shared(weights)
        self._shared.weights.publish(weights, version)
        self._hold()
        self._watching.start()

    def allow(self, positions: float) -> None:
        """Begin no new move while the games that wait to be taken have so many positions; 0: none
        at all."""
        with self._arrived:
            self._allowance = positions
            self._hold()

    def take_games(self, number: int, timeout: float) -> list[PackedGame]:
        """The games that have finished since the last call; waits up to ``timeout`` seconds for so
        many, or until the node has failed."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._games) >= number or self.failure, timeout)
            games, self._games = self._games, []
            self._waiting_positions = 0
        return games

    def status(self) -> dict[str, float]:
        """Sums over all processes since the node's start, and the numbers of live ones and of
        requests that wait for an evaluator."""
        alive = [m.kind for m in self._members if m.child is not None and m.iterations > 0]
        totals, moves, version, waiting = [0] * len(TOTALS), 0, -1, 0
        if (shared := self._shared) is not None:
            evaluators = shared.counters.evaluators
            totals = [int(evaluators[name].sum()) for name in TOTALS]
            moves, version = shared.counters.players["moves"].sum(), evaluators["version"].min()
            waiting = np.count_nonzero(shared.slots.memory["state"] == WAITING)
        counts = dict(zip(TOTALS, totals, strict=True))
        busy_seconds = counts.pop("busy_nanoseconds") / 1e9
        return {
            **counts,
            "busy_seconds": busy_seconds,
            "moves": int(moves),
            "version": int(version),
            "games": self._received,
            "waiting_requests": int(waiting),
            "lanes": self.plan.sharing,
            "players": alive.count("player"),
            "evaluators": alive.count("evaluator"),
            "restarts": self.restarts,
        }

    def pids(self, kind: str) -> list[int]:
        """The ids of the live processes of a kind, ``player`` or ``evaluator``."""
        children = [m.child for m in self._members if m.kind == kind]
        return [child.pid for child in children if child is not None]

    def close(self) -> None:
        """End all processes, also those that are stopped, and free the shared memory."""
        self._stop.set()
        if self._watching.ident is not None:
            self._watching.join()
        for member in self._members:
            if member.child is not None:
                member.child.close()
                member.child = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None

    def _make_shared(self, weights: Weights) -> Shared:
        plan, task = self.plan, self._task
        sizes = Sizes(plan.players, plan.groups, task.capacity, task.game.num_actions)
        with ExitStack() as made:  # closes the parts that fit where another one does not
            try:
                slots = made.enter_context(closing(Slots(sizes, task.game.dtype)))
                counters = Counters(plan.players, plan.evaluators)
                made.callback(counters.memory.close)
                shared = Shared(slots, counters, PublishedWeights(weights))
            except OSError as error:
                raise OSError(
                    f"too little memory for {plan.players * plan.groups} requests of "
                    f"{task.capacity} positions between processes: {error.strerror}"
                ) from None
            made.pop_all()
        return shared

    def _watch(self) -> None:
        """Start the processes and replace those that ended or hang, until ``close``."""
        try:
            while not self._stop.is_set() and not self.failure:
                self._clock.advance()
                for member in self._members:
                    if not self.failure:
                        self._check(member)
                self._stop.wait(self._timeouts.interval)
        except Exception as error:
            self._fail(f"the node could not be watched: {error!r}", traceback_of(error))

    def _check(self, member: Member) -> None:
        if member.child is None:
            self._start(member)
            return
        if not member.child.is_alive:
            self._replace(member, "")
            return
        member.child.trim()
        if reason := self._hangs(member):
            self._replace(member, reason)

    def _hangs(self, member: Member) -> str:
        """Why the process counts as one that hangs; empty where it does not."""
        assert member.child
        assert self._shared
        counters = self._shared.counters.of_kind(member.kind)
        iterations, now = int(counters["iterations"][member.number]), self._clock.now
        if iterations != member.iterations:
            member.iterations, member.advanced = iterations, now
            return ""
        silence = now - member.advanced
        if silence > self._timeouts.stopped and member.child.is_stopped:
            return f"{member.name} is stopped: no progress for {silence:.0f} s"
        if silence > self._timeouts.stuck:
            return f"{member.name} has made no progress for {silence:.0f} s"
        return ""

    def _start(self, member: Member) -> None:
        """Start a member's process; messages are received by ``_on_message``."""
        assert self._shared
        shared, number, task, plan = self._shared, member.number, self._task, self.plan
        if member.kind == "player":
            if (incarnation := next(self._incarnations, None)) is None:
                self._fail("its search processes have used up their numbers")
                return
            arguments = number, shared, task.playing, incarnation
            target: Callable[..., None] = play
        else:
            work = Work(task.make_evaluator, task.batch_size, plan.lanes, plan.sharing)
            target, arguments = evaluate, (number, shared, work)
        member.iterations, member.advanced = -1, self._clock.now
        receive = partial(self._on_message, member)
        member.child = Child(target, arguments, shared.descriptors, receive)

    def _on_message(self, member: Member, message: Any) -> None:
        """Keep finished games and report a warning; an error of any process ends play here."""
        if isinstance(message, Failure):
            with self._arrived:  # several evaluators may fail with the same weights
                self.raised = self.raised or not self.failure
            self._fail(f"{member.name} failed: {message.text}", message.traceback)
            return
        if isinstance(message, Warned):
            self._warn(member, message.text)
            return
        with self._arrived:
            self._games += message
            self._received += len(message)
            self._waiting_positions += sum(game.counts.positions for game in message)
            self._hold()
            self._arrived.notify_all()

    def _warn(self, member: Member, text: str) -> None:
        """Report a warning of a process, once, whichever of them have it, too."""
        with self._arrived:
            known = text in self._warned or len(self._warned) >= MOST_WARNED
            self._warned.add(text)
        if not known:
            self._report(f"{member.name}: {text}")

    def _replace(self, member: Member, reason: str) -> None:
        """Give back what the process held and count the failure; the next check starts another."""
        assert member.child
        assert self._shared
        end, traceback, member.child = member.child.close(), member.child.traceback, None
        self._give_back(member)
        self._shared.counters.restart(member.kind, member.number)
        if self.failure:  # the process has sent its error
            return
        reason = reason or f"{member.name} ended: {end}"
        self.restarts += 1
        if self._failed_at != self._clock.now:  # what ends between two looks has one cause
            self._failed_at = self._clock.now
            self._failures = 1 if self._received > self._games_before else self._failures + 1
            self._games_before = self._received
        self._report("\n".join(filter(None, (reason, traceback))))
        if self._failures >= self._timeouts.max_failures:
            self._fail(
                f"{self._failures} failures without a finished game between them, the last one: "
                f"{reason}",
                traceback,
            )

    def _hold(self) -> None:
        if self._shared is not None:
            self._shared.counters.held = self._waiting_positions >= self._allowance

    def _give_back(self, member: Member) -> None:
        """Return the slots of a process that has ended.

        One that was stopped while it had their lock, for microseconds, is ended first.
        """
        assert self._shared
        slots = self._shared.slots
        give_back = slots.abandon if member.kind == "player" else slots.resubmit
        try:
            give_back(member.number)
        except TimeoutError:
            children = [other.child for other in self._members if other.child is not None]
            for child in children:
                if child.is_stopped:
                    child.close()
            give_back(member.number)

    def _fail(self, reason: str, traceback: str = "") -> None:
        """Give up play on this node; the first reason is the one that is reported."""
        with self._arrived:
            if not self.failure:
                self.traceback, self.failure = traceback, reason
            self._arrived.notify_all()


def _log(report: str) -> None:
    """Log a report: its first line as a warning, the others, of a traceback, as information."""
    line, _, traceback = report.partition("\n")
    logger.warning(line)
    log_traceback(logger, line, traceback)
