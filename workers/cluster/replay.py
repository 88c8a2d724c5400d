"""The replay buffer as an actor, and the object that stands for it in the driver.

A finished game is safe once this actor has acknowledged it: it is then in a shard on disk, which
stays whole whatever process dies. A delivery may be repeated; games with a known id are skipped. So
nothing is lost and nothing is counted twice.

The order of storage is a log: the driver reads version, length and end of the games behind those
that it has read, and an actor that was restarted and has reopened its files gives the same answer.
Example: games 7, 9, 8 were stored in this order and the driver has read two of them. The actor dies
and is restarted; a worker, which got no acknowledgement for game 8, sends 8 and 10. Game 8 is
skipped, 10 is appended, and the driver, which reads the log from position 2 on, receives the
entries of 8 and 10, and game 10 as an example.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from alphazero import wire
from alphazero.config import Config
from alphazero.errors import FleetLost, RunFailed, reason
from alphazero.packing import GameCounts, PackedGame, count_game
from alphazero.parts import game_of
from alphazero.protocols import Collected, summarize
from alphazero.replay import Replay, Samples
from alphazero.types import GameRecord
from workers.cluster.connection import identity
from workers.cluster.control_plane import patiently
from workers.cluster.messages import Messages

LOCK_TIMEOUT = 30.0
"""Seconds that a restarted actor waits for the lock of the process that died."""


class Totals(NamedTuple):
    """Numbers of games and positions ever stored, and of positions in the window."""

    games: int
    positions: int
    window: int


Report = Callable[[str], object]


def stored_games(config: Config, directory: Path, report: Report) -> Replay:
    """The replay buffer of one run, opened in the process of the actor."""
    heads = tuple(config.network.heads)
    return Replay(game_of(config), directory, config.replay, report, LOCK_TIMEOUT, heads)


class ReplayStore:
    """``Replay`` as an actor: with a log of games for the driver, and a limit on self-play."""

    def __init__(
        self,
        make_replay: Callable[[Report], Replay],
        directory: Path,
        resign_value: float | None = None,
    ):
        """``resign_value``: that of ``selfplay``, for the log."""
        self._directory, self._resign_value = Path(directory), resign_value
        self._messages = Messages()
        self._replay = make_replay(self._messages.add)
        self._allowance: int | None = None
        self._storage_error: str | None = None
        self._calls = {"pushes": 0, "reads": 0, "example_positions": 0, "samples": 0}
        # The newest entries of the log, those that the driver has not read yet. It reads older ones
        # after a restart of this process only, and then from the shards.
        self._log: deque[GameCounts] = deque()
        self._example = b""  # the frame of the newest game

    def push(self, games: list[PackedGame]) -> bool:
        """Store finished games; True means that the sender is to hold play.

        All of them are on disk when this returns. An ``OSError`` (a full disk) is raised and kept
        for ``status``; nothing is acknowledged then.
        """
        self._calls["pushes"] += 1
        try:
            for game in games:
                if self._replay.store([game]):
                    self._log.append(game.counts)
                    self._example = game.frame
        except OSError as error:
            self._storage_error = reason(error)
            raise
        return self._allowance is not None and self._replay.positions >= self._allowance

    def stored_after(self, count: int) -> tuple[Collected, Totals]:
        """Summarize the games stored after the first ``count`` ones, which the driver has read."""
        read = count - (self._replay.games - len(self._log))
        for _ in range(min(read, len(self._log))):
            self._log.popleft()
        collected = self._summarize_log() if read >= 0 else self._summarize_shards(count)
        self._calls["reads"] += 1
        self._calls["example_positions"] += len(collected.example or ())
        return collected, self.totals()

    def allow(self, positions: int):
        """Hold self-play while at least this many positions are stored."""
        self._allowance = positions

    def totals(self) -> Totals:
        return Totals(self._replay.games, self._replay.positions, self._replay.window)

    def sample(self, size: int, seed: int) -> Samples:
        """Call ``Replay.sample`` with a generator made from ``seed``."""
        self._calls["samples"] += 1
        return self._replay.sample(size, np.random.default_rng(seed))

    def state(self) -> dict:
        """Return ``Replay.state()``."""
        return self._replay.state()

    def restore(self, state: dict, truncate: bool) -> Totals:
        """Call ``Replay.restore``; return the totals afterwards."""
        self._replay.restore(state, truncate)
        self._log.clear()
        return self.totals()

    def close(self):
        self._replay.close()

    def status(self) -> dict:
        """Numbers of stored games and positions, messages, and counts of what was sent so far."""
        return {
            **identity(),
            "games": self._replay.games,
            "positions": self._replay.positions,
            "storage_error": self._storage_error,
            **self._messages.status(),
            **self._calls,
        }

    def _summarize_log(self) -> Collected:
        example = wire.decode(self._replay.game, self._example) if self._log else None
        return summarize(self._log, example)

    def _summarize_shards(self, count: int) -> Collected:
        counts, example = [], None
        for example in self._read_shards(count):
            counts.append(count_game(self._replay.game, example, self._resign_value))
        return summarize(counts, example)

    def _read_shards(self, count: int) -> Iterator[GameRecord]:
        """The games on disk behind the first ``count`` ones: needed after a restart only."""
        game, known, unread = self._replay.game, set(), []
        for path in sorted(self._directory.glob("shard_*.bin")):
            for _, stored in wire.unpack_shard(game, path, report=lambda line: None):
                if isinstance(stored, str) or stored.game_id not in self._replay:
                    continue
                if stored.game_id not in known and len(known) >= count:
                    unread.append(stored)
                known.add(stored.game_id)
        return (record for record in wire.rebuild(game, unread) if not isinstance(record, str))


class RemoteReplay:
    """The ``protocols.ReplayRole`` in a driver whose games an actor stores.

    If the actor dies during a call, the call is repeated until the actor has reopened its files;
    every call may run twice without harm. ``RunFailed`` after ``timeout`` seconds.
    """

    def __init__(self, actor: Any, check: Callable[[], None], timeout: float = 300.0):
        """``check`` is called while waiting and raises the error that ends the run, if any."""
        self._actor = actor
        self._check = check
        self._timeout = timeout
        self._games_read, self.positions, self.window = self._call("totals")
        self._state = self._call("state")
        self.games = self._games_read
        """Ever stored; like ``positions`` and ``window`` as of the last call."""

    def collect(self) -> Collected:
        """Summarize the games stored since the last call, each of them exactly once."""
        collected, totals = self._call("stored_after", self._games_read)
        self._games_read += collected.games
        self.games, self.positions, self.window = totals
        return _copied_summary(collected)

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """Call ``Replay.sample`` in the actor, with one draw from ``rng`` as the seed."""
        samples = self._call("sample", size, int(rng.integers(2**63)))
        return Samples(*(np.array(column) for column in samples))

    def state(self) -> dict:
        """Return the ``Replay.state()`` of the actor; after ``FleetLost`` the one before that.

        Games that were stored after it are on disk and are kept when the run is resumed.
        """
        with suppress(FleetLost):
            self._state = self._call("state")
        return self._state

    def restore(self, state: dict, truncate: bool):
        """Call ``Replay.restore`` in the actor; ``collect`` counts only games stored later."""
        self._games_read, self.positions, self.window = self._call("restore", state, truncate)
        self.games = self._games_read

    def _call(self, method: str, *args: Any) -> Any:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            self._check()
            try:
                call = partial(self._result, method, args, deadline)
                return patiently(self._check, call)
            except RayTaskError as error:
                raise error.cause from None
            except RayError:
                time.sleep(0.2)
        raise RunFailed(f"the replay actor did not answer {method} in {self._timeout:g} s")

    def _result(self, method: str, args: tuple, deadline: float) -> Any:
        reference = getattr(self._actor, method).remote(*args)
        while not ray.wait([reference], timeout=1.0)[0]:
            self._check()
            if time.monotonic() > deadline:
                raise GetTimeoutError
        return ray.get(reference, timeout=10.0)


def _copied_summary(collected: Collected) -> Collected:
    """A copy in the sense of ``_copied``."""
    return collected._replace(
        versions=np.array(collected.versions),
        endings=np.array(collected.endings),
        example=collected.example and _copied(collected.example),
    )


def _copied(record: GameRecord) -> GameRecord:
    """A copy whose arrays are no views into Ray's memory, which would keep it allocated."""
    return replace(record, actions=np.array(record.actions), rows=np.array(record.rows))
