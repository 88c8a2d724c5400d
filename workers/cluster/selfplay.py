"""The self-play worker: groups of games that take turns at waiting for the inference server.

While one group's leaves are away to be evaluated the worker advances another, so that neither side
waits for the other. A finished game leaves for the replay actor at once and is kept here until that
actor has acknowledged it, which it does when the game lies on disk.
"""

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

import games
from alphazero.cache import EvaluationCache
from alphazero.config import Config
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation, GameRecord
from games.base import States
from workers.cluster.inference import unpack

PAUSE = 0.1
"""Seconds between two looks at something that is not ready; no wait in this file is longer."""


class Group(Protocol):
    """What a worker needs of ``alphazero.selfplay.GameGroup``."""

    def move(self) -> Generator[States, Evaluation, list[GameRecord]]: ...


MakeGroups = Callable[[Iterator[int]], Sequence[Group]]
"""From fresh game ids to the groups of one worker."""


class Remembering(NamedTuple):
    """A group that asks only for what it has not been told already."""

    group: Group
    memory: EvaluationCache

    def move(self) -> Generator[States, Evaluation, list[GameRecord]]:
        return self.memory.through(self.group.move())


def game_groups(config: Config, game_ids: Iterator[int]) -> list[Remembering]:
    """The groups that ``config`` asks for, to be made in the worker's own process."""
    game, settings = games.make(config.game), config.selfplay
    return [
        Remembering(
            GameGroup(game, config.search, settings, config.seed, game_ids),
            EvaluationCache(game, settings.cache),
        )
        for _ in range(settings.groups)
    ]


class Table:
    """One group of games and the move it is in the middle of."""

    def __init__(self, group: Group):
        self._group = group
        self._move: Any = None
        self.states: States | None = None
        """Waiting to be evaluated; None between two moves."""

    def begin(self) -> list[GameRecord]:
        """Start the next move; games that finish without a question are returned."""
        self._move = self._group.move()
        return self._advance(lambda: next(self._move))

    def answer(self, evaluation: Evaluation) -> list[GameRecord]:
        """Go on with the move; the games that finished with it."""
        return self._advance(lambda: self._move.send(evaluation))

    def _advance(self, step: Callable[[], States]) -> list[GameRecord]:
        try:
            self.states = step()
        except StopIteration as end:
            self.states = None
            return end.value
        return []


class Outbox:
    """Finished games until they are acknowledged; one delivery under way at a time.

    ``push`` starts a delivery and returns its reference, whose value says whether to hold play.
    A delivery that fails is repeated: the receiver knows by the games' ids what it has already.
    """

    def __init__(self, bound: int, push: Callable[[list[GameRecord]], Any] | None = None):
        self.push = push
        self._bound = bound
        self._waiting: list[GameRecord] = []
        self._sent: list[GameRecord] = []
        self._delivery: Any = None
        self._held = False
        self._not_before = 0.0

    def add(self, records: list[GameRecord]):
        self._waiting += records

    @property
    def hold(self) -> bool:
        """No new move should begin: there are positions enough, or too many games wait here."""
        return self._held or len(self._waiting) + len(self._sent) >= self._bound

    def exchange(self):
        """Take the acknowledgement if it is there and send what waits. Does not block."""
        if self._delivery is not None and not self._acknowledged():
            return
        now = time.monotonic()
        if self.push and now >= self._not_before and (self._waiting or self._sent or self._held):
            self._sent, self._waiting = self._sent + self._waiting, []
            self._delivery = self.push(self._sent)
            self._not_before = now + PAUSE if self._held else 0.0

    def _acknowledged(self) -> bool:
        """Whether the delivery is over, for good or ill."""
        if not ray.wait([self._delivery], timeout=0)[0]:
            return False
        delivery, self._delivery = self._delivery, None
        try:
            self._held = bool(ray.get(delivery, timeout=PAUSE))
            self._sent = []
        except RayTaskError:
            raise  # It was refused (a full disk): repeating it would not help.
        except RayError:
            self._not_before = time.monotonic() + PAUSE
        return True


class Peers(NamedTuple):
    """Whom a worker talks to, as actor handles; they stay valid when Ray restarts an actor."""

    servers: list[Any]
    replay: Any


class Question(NamedTuple):
    """A table whose states are with a server."""

    table: Table
    server: int


class SelfPlayWorker:
    """Plays without end. ``run`` is its life; ``status`` is asked from another thread."""

    def __init__(self, make_groups: MakeGroups, bound: int):
        """``bound``: finished games kept here at most."""
        self._make_groups = make_groups
        self._outbox = Outbox(bound)
        self._turns = self._moves = self._evaluated = 0

    def run(self, incarnation: int, peers: Peers):
        """Play until killed. Game ids begin with the ``incarnation``, unique in a run."""
        # Handles come here and not to __init__: Ray may lose what it restarts an actor with.
        self._servers = peers.servers
        self._outbox.push = peers.replay.push.remote
        self._questions: dict[Any, Question] = {}
        groups = self._make_groups(itertools.count(incarnation << 32))
        self._idle = [Table(group) for group in groups]
        self._next_server = incarnation
        while True:
            self._turn()

    def status(self) -> dict:
        """``turns`` grows at least once a ``PAUSE`` and a move's arithmetic."""
        return {
            "pid": os.getpid(),
            "turns": self._turns,
            "moves": self._moves,
            "evaluated": self._evaluated,
        }

    def _turn(self):
        self._turns += 1
        self._outbox.exchange()
        if not self._outbox.hold:
            idle, self._idle = self._idle, []
            for table in idle:
                self._go_on(table, table.begin())
        if not self._questions:
            time.sleep(PAUSE / 10)
            return
        for reference in ray.wait(list(self._questions), timeout=PAUSE)[0]:
            self._receive(reference)

    def _go_on(self, table: Table, finished: list[GameRecord], server: int | None = None):
        """Send a table's next question, to the server it asked before where it has one."""
        self._outbox.add(finished)
        if table.states is None:
            self._idle.append(table)
            self._moves += 1
            return
        if server is None:
            self._next_server += 1
            server = self._next_server % len(self._servers)
        reference = self._servers[server].ask.remote(table.states.tobytes())
        self._questions[reference] = Question(table, server)

    def _receive(self, reference: Any):
        """Pass an answer on; a question that a dying server dropped goes to the next one."""
        table, server = self._questions.pop(reference)
        try:
            answer: Any = ray.get(reference, timeout=PAUSE)
        except RayTaskError:
            raise  # The evaluation itself failed, and would again.
        except RayError:
            time.sleep(PAUSE)
            self._go_on(table, [], (server + 1) % len(self._servers))
            return
        assert table.states is not None
        evaluation = unpack(answer, len(table.states))
        self._evaluated += len(table.states)
        self._go_on(table, table.answer(evaluation), server)
