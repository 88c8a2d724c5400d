"""The actor of a machine: it owns the machine's ``Node`` and delivers what that has played."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from alphazero.config import Config
from alphazero.errors import RunFailed, reason
from alphazero.nn.weights import Weights, lengthened
from alphazero.packing import PackedGame
from workers.cluster.connection import identity, versions
from workers.cluster.messages import Messages
from workers.node.evaluator import LoadableEvaluator
from workers.node.fleet import Rates, task_of
from workers.node.node import Node, NodeTimeouts
from workers.node.plan import Plan

GAMES = 32
"""Finished games that are delivered together, where they come within ``DELIVERY_SECONDS``."""
DELIVERY_SECONDS = 0.5
HELD_SECONDS = 0.25
"""Seconds after which play that is held finds out whether it may go on."""
ANSWER_SECONDS = 10.0
"""Seconds without an answer after which a delivery is repeated."""
LAST_SECONDS = 30.0
"""Seconds for which a node whose play was given up repeats its last delivery: the replay actor may
be restarting."""
GAMES_UNACKNOWLEDGED = 4
"""Deliveries, in games of all groups, that wait for their acknowledgement before play is held."""

OTHER_VERSIONS = "the machine has"
"""Begins the message about a machine that cannot play with this run, which others can."""

QUIET_SECONDS = 2.0
"""Seconds without a finished game after which a machine that is being drained has delivered all of
them: moves that have begun are played to their end."""

LIVES = 2**12
"""Incarnation numbers that a node has for its search processes, and those that replace them: with
64 processes each of them may be replaced 60 times."""


class NodeLost(RuntimeError):
    """The end of play on one machine, for a reason of this machine; one line."""


class NodeActor:
    """Plays on its machine from the first ``publish`` on; ``run`` delivers the games."""

    def __init__(
        self,
        config: Config,
        plan: Plan,
        make_evaluator: Callable[[Config], LoadableEvaluator],
        incarnation: int,
        expected: str,
        timeouts: NodeTimeouts = NodeTimeouts(),  # noqa: B008 - frozen
    ):
        """``incarnation``: the first of the numbers of this node's search processes. ``expected``:
        the driver's ``versions``; ``ValueError`` where this machine has others."""
        if (here := versions()) != expected:
            raise ValueError(f"{OTHER_VERSIONS} {here}, but the run has {expected}")
        self._messages = Messages()
        numbers = iter(range(incarnation, incarnation + LIVES))
        task = task_of(config, plan, make_evaluator)
        self._node = Node(plan, task, numbers, timeouts, self._messages.add)
        self._bound = GAMES_UNACKNOWLEDGED * plan.players * plan.groups * config.selfplay.games
        self._iterations = self._pushes = 0
        self._rates = Rates(["games"])
        self._leaving, self._delivered = threading.Event(), threading.Event()
        self._holding = threading.Lock()
        self._delivered.set()  # until ``run`` begins

    def publish(self, weights: Weights, version: int) -> int:
        """Play with these weights from now on; the first call starts the processes.

        ``NodeLost``, one line, where this machine has too little memory.
        """
        try:
            self._publish(weights, version)
        except OSError as error:
            raise NodeLost(reason(error)) from None
        return version

    def _publish(self, weights: Weights, version: int) -> None:
        arrays = {name: np.asarray(array) for name, array in weights.items()}
        self._node.publish(lengthened(arrays), version)

    def run(self, replay: Any) -> None:
        """Deliver finished games to the actor ``replay`` until the process is killed.

        A game is kept until its acknowledgement, that is, until it is on disk. A delivery without
        an answer is repeated; the replay actor skips the games that it has stored already. If games
        1, 2, 3 were stored but their acknowledgement was lost, they are sent again together with
        game 4, and only game 4 is added.

        Returns only after ``drain``. ``RunFailed`` where an error of the program or a game ended
        play, ``NodeLost`` where anything else did, with the traceback of the process as a note; an
        error of the replay actor as it is.
        """
        self._delivered.clear()
        try:
            self._deliver(replay)
        finally:
            self._delivered.set()

    def _deliver(self, replay: Any) -> None:
        games: list[PackedGame] = []
        held, quiet_since = False, time.monotonic()
        while not self._node.failure:
            self._iterations += 1
            if not self._leaving.is_set():
                quiet_since = time.monotonic()
            elif not games and time.monotonic() - quiet_since > QUIET_SECONDS:
                return
            games += self._node.take_games(GAMES, HELD_SECONDS if held else DELIVERY_SECONDS)
            if games:
                quiet_since = time.monotonic()
            elif not held:
                continue
            if (answer := self._push(replay, games)) is not None:
                held, games = answer, []
            self._hold(held or len(games) >= self._bound)
        self._deliver_last(replay, games)
        error = (RunFailed if self._node.raised else NodeLost)(self._node.failure)
        if self._node.traceback:
            error.add_note(self._node.traceback)
        raise error

    def _deliver_last(self, replay: Any, games: list[PackedGame]) -> None:
        """Deliver ``games`` and those that finished until play was given up."""
        games += self._node.take_games(0, 0.0)
        end = time.monotonic() + LAST_SECONDS
        while games and time.monotonic() < end:
            if self._push(replay, games) is not None:
                return

    def _push(self, replay: Any, games: list[PackedGame]) -> bool | None:
        """Deliver ``games``: whether play is to be held, None where no acknowledgement came."""
        self._pushes += 1
        try:
            return bool(ray.get(replay.push.remote(games), timeout=ANSWER_SECONDS))
        except RayTaskError:
            raise  # It could not store the games (full disk).
        except RayError:
            time.sleep(HELD_SECONDS)
            return None

    def _hold(self, waits: bool) -> None:
        """Hold play where it ``waits``, and for ever once the node leaves."""
        with self._holding:
            self._node.allow(0 if waits or self._leaving.is_set() else math.inf)

    def drain(self) -> dict:
        """Begin no move any more, deliver what is finished, and end all processes; the counts."""
        self._leaving.set()
        self._hold(True)
        self._delivered.wait()
        status = self.status()
        self._node.close()
        return status

    def status(self) -> dict:
        """Counts since the start of this process, and rates over the last second or more; the last
        messages about processes that were replaced and their number, and the ids of the present
        ones by kind.

        ``iterations`` advances at least once per ``ANSWER_SECONDS`` and a second.
        """
        counts = self._node.status()
        return {
            **identity(),
            **counts,
            "rates": self._rates.update(counts, self._node.plan.sharing),
            "iterations": self._iterations,
            "pushes": self._pushes,
            **self._messages.status(),
            "pids": {kind: self._node.pids(kind) for kind in ("player", "evaluator")},
        }

    def close(self) -> None:
        """End all processes of this machine."""
        self._node.close()
