"""The self-play worker: groups of games that take turns while their leaves are being evaluated.

While the inference server evaluates the leaves of one group, the worker advances another group, so
that neither side is idle. A finished game is sent to the replay actor at once. The worker keeps it
until the replay actor has acknowledged it, that is, until the game is on disk.
"""

import itertools
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from alphazero.cache import EvaluationCache
from alphazero.config import Config
from alphazero.errors import RunFailed
from alphazero.parts import encoder_of, game_of, memory_of, search_of
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation, GameRecord
from games.base import States
from workers.cluster.inference import unpack
from workers.cluster.connection import identity

PAUSE = 0.1
"""Seconds between two checks of anything that is not ready; no wait in this file is longer."""


class Group(Protocol):
    """The part of ``alphazero.selfplay.GameGroup`` that a worker uses."""

    def move(self) -> Generator[States, Evaluation, list[GameRecord]]:
        """Play one move in every game: yields states, receives evaluations, returns records."""
        ...


MakeGroups = Callable[[Iterator[int]], Sequence[Group]]
"""Makes the groups of one worker; their games take ids from the iterator."""


class CachedGroup(NamedTuple):
    """A group whose requests hold only the positions that are not in its evaluation cache."""

    group: Group
    cache: EvaluationCache

    def move(self) -> Generator[States, Evaluation, list[GameRecord]]:
        return self.cache.wrap(self.group.move())


def game_groups(config: Config, game_ids: Iterator[int], processes: int = 1) -> list[CachedGroup]:
    """The groups of one worker as ``config`` describes them; called in the worker's process.

    ``processes``: workers that share the machine's memory.
    """
    game, search, settings = game_of(config), search_of(config), config.selfplay
    key, capacity = encoder_of(config).key, memory_of(config, processes).cache
    return [
        CachedGroup(
            GameGroup(game, search, settings, config.seed, game_ids),
            EvaluationCache(game, capacity, key),
        )
        for _ in range(settings.groups)
    ]


class PendingMove:
    """The current move of one group of games; the object is reused for the group's next move."""

    def __init__(self, group: Group):
        self._group = group
        self._move: Any = None
        self.states: States | None = None
        """Positions that wait for their evaluation; None between two moves."""

    def begin(self) -> list[GameRecord]:
        """Start the next move; returns games that finish without an evaluation."""
        self._move = self._group.move()
        return self._advance(lambda: next(self._move))

    def resume(self, evaluation: Evaluation) -> list[GameRecord]:
        """Continue with the evaluation of ``states``; returns the games that finish with it."""
        return self._advance(lambda: self._move.send(evaluation))

    def _advance(self, step: Callable[[], States]) -> list[GameRecord]:
        try:
            self.states = step()
        except StopIteration as end:
            self.states = None
            return end.value
        return []


class Outbox:
    """A queue of finished games that are not acknowledged yet; one delivery at a time.

    ``push`` starts a delivery and returns its reference, whose value is True if play must pause. A
    delivery that fails is repeated. The replay actor skips games whose ids it has stored already:
    if games 1, 2, 3 were stored but their acknowledgement was lost, they are sent again together
    with game 4, and only game 4 is added.
    """

    def __init__(self, bound: int, push: Callable[[list[GameRecord]], Any] | None = None):
        """``bound``: play pauses while at least this many games are unacknowledged."""
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
        """Whether play pauses: enough positions are stored, or too many games are unacknowledged.

        No new move begins during a pause.
        """
        return self._held or len(self._waiting) + len(self._sent) >= self._bound

    def exchange(self):
        """Take the acknowledgement if it has arrived, and send waiting games. Does not block.

        During a pause a delivery without games finds out whether play may continue.
        """
        if self._delivery is not None and not self._finish_delivery():
            return
        now = time.monotonic()
        if self.push and now >= self._not_before and (self._waiting or self._sent or self._held):
            self._sent, self._waiting = self._sent + self._waiting, []
            self._delivery = self.push(self._sent)
            self._not_before = now + PAUSE if self._held else 0.0

    def _finish_delivery(self) -> bool:
        """Take the result of the current delivery; returns False if there is none yet."""
        if not ray.wait([self._delivery], timeout=0)[0]:
            return False
        delivery, self._delivery = self._delivery, None
        try:
            self._held = bool(ray.get(delivery, timeout=PAUSE))
            self._sent = []
        except RayTaskError:
            raise  # The replay actor could not store the games (full disk): do not repeat.
        except RayError:
            self._not_before = time.monotonic() + PAUSE
        return True


class Peers(NamedTuple):
    """The actor handles that a worker calls; they stay valid when Ray restarts an actor."""

    servers: list[Any]
    replay: Any


class PendingRequest(NamedTuple):
    """A move whose states are being evaluated by a server."""

    move: PendingMove
    server: int


class SelfPlayWorker:
    """Plays games in ``run``, without end; ``status`` runs on another thread."""

    def __init__(self, make_groups: MakeGroups, bound: int):
        """``bound``: no new move begins while at least this many games are unacknowledged."""
        self._make_groups = make_groups
        self._outbox = Outbox(bound)
        self._iterations = self._games = self._moves = self._evaluated = 0

    def run(self, incarnation: int, peers: Peers):
        """Play until the process is killed.

        Game ids begin at ``incarnation * 2**32``; no two calls in a run have the same incarnation.
        Incarnation 3 gives the ids 12884901888, 12884901889, ... up to the first of incarnation 4.
        """
        # The handles are arguments of this method, not of __init__: when Ray restarts an actor, it
        # may have lost the arguments of __init__.
        self._servers = peers.servers
        self._outbox.push = peers.replay.push.remote
        self._requests: dict[Any, PendingRequest] = {}
        self._next_server = incarnation
        try:
            groups = self._make_groups(itertools.count(incarnation << 32))
            self._idle = [PendingMove(group) for group in groups]
            while True:
                self._iterate()
        except RayError:
            raise  # an error of another process
        except Exception as error:
            raise RunFailed(_with_place(error)) from error

    def status(self) -> dict:
        """Counters since the start of this process.

        ``iterations`` grows at least once per ``PAUSE`` plus the computation of one move.
        """
        return {
            **identity(),
            "iterations": self._iterations,
            "games": self._games,
            "moves": self._moves,
            "evaluated": self._evaluated,
        }

    def _iterate(self):
        self._iterations += 1
        self._outbox.exchange()
        if not self._outbox.hold:
            idle, self._idle = self._idle, []
            for move in idle:
                self._submit(move, move.begin())
        if not self._requests:
            time.sleep(PAUSE / 10)
            return
        for reference in ray.wait(list(self._requests), timeout=PAUSE)[0]:
            self._receive(reference)

    def _submit(self, move: PendingMove, finished: list[GameRecord], server: int | None = None):
        """Send the states of a move to a server; all requests of one move go to the same server.

        ``finished``: games to deliver. A move without states has ended and becomes idle.
        """
        self._outbox.add(finished)
        self._games += len(finished)
        if move.states is None:
            self._idle.append(move)
            self._moves += 1
            return
        if server is None:
            self._next_server += 1
            server = self._next_server % len(self._servers)
        reference = self._servers[server].evaluate_bytes.remote(move.states.tobytes())
        self._requests[reference] = PendingRequest(move, server)

    def _receive(self, reference: Any):
        """Resume a move with its evaluation; if the server died, send the request to the next."""
        move, server = self._requests.pop(reference)
        try:
            answer: Any = ray.get(reference, timeout=PAUSE)
        except RayTaskError:
            raise  # The evaluation itself failed and would fail again.
        except RayError:
            time.sleep(PAUSE)
            self._submit(move, [], (server + 1) % len(self._servers))
            return
        assert move.states is not None
        evaluation = unpack(answer, len(move.states))
        self._evaluated += len(move.states)
        self._submit(move, move.resume(evaluation), server)


def _with_place(error: Exception) -> str:
    """The error in one line, with the file and line where it was raised, outside of libraries.

    For instance ``IndexError: list index out of range (walk.py, line 31)``.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"{text} ({Path(own[-1].filename).name}, line {own[-1].lineno})"
