"""The replay buffer as an actor, and the object that stands for it in the driver.

A finished game is safe once this actor has acknowledged it: it is then in a shard on disk, which
stays whole whatever process dies. A delivery may be repeated; games with a known id are skipped. So
nothing is lost and nothing is counted twice.

The order of storage is a log: the driver reads the games behind those that it has read, and an
actor that was restarted and has reopened its files gives the same answer. Example: games 7, 9, 8
were stored in this order and the driver has read two of them. The actor dies and is restarted; a
worker, which got no acknowledgement for game 8, sends 8 and 10. Game 8 is skipped, 10 is appended,
and the driver, which reads the log from position 2 on, receives 8 and 10.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

import games
from alphazero import wire
from alphazero.config import Config
from alphazero.errors import RunFailed
from alphazero.replay import Replay, Samples
from alphazero.types import GameRecord

CACHED_GAMES = 10_000
"""The newest games, kept in memory; ``games_after`` reads older ones from the shards."""
MAX_GAMES_PER_REPLY = 2_000
"""Games in one reply of ``games_after``."""
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
    return Replay(games.make(config.game), directory, config.replay, report, LOCK_TIMEOUT)


class ReplayStore:
    """``Replay`` as an actor: with a log of games for the driver, and a limit on self-play."""

    def __init__(self, make_replay: Callable[[Report], Replay], directory: Path):
        self._directory = Path(directory)
        self._reports: list[str] = []
        self._replay = make_replay(self._reports.append)
        self._allowance: int | None = None
        self._storage_error: str | None = None
        self._calls = {"pushes": 0, "reads": 0, "samples": 0}
        self._clear_cache()

    def push(self, records: list[GameRecord]) -> bool:
        """Store finished games; True means that the sender is to hold play.

        All of them are on disk when this returns. An ``OSError`` (a full disk) is raised and kept
        for ``status``; nothing is acknowledged then.
        """
        self._calls["pushes"] += 1
        try:
            for record in records:
                if self._replay.extend([record]):
                    self._newest.append(_copied(record))
        except OSError as error:
            self._storage_error = str(error)
            raise
        return self._allowance is not None and self._replay.positions >= self._allowance

    def games_after(self, count: int) -> tuple[list[GameRecord], Totals]:
        """The games stored after the first ``count`` ones, oldest first, a bounded number."""
        self._calls["reads"] += 1
        first = self._replay.games - len(self._newest)
        if count >= first:
            records = list(self._newest)[count - first :]
        else:
            records = list(self._read_shards(count))
        return records[:MAX_GAMES_PER_REPLY], self.totals()

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
        self._clear_cache()
        return self.totals()

    def close(self):
        self._replay.close()

    def status(self) -> dict:
        """Numbers of stored games and positions, messages, and counts of calls so far."""
        return {
            "pid": os.getpid(),
            "games": self._replay.games,
            "positions": self._replay.positions,
            "storage_error": self._storage_error,
            "reports": list(self._reports),
            **self._calls,
        }

    def _clear_cache(self):
        self._newest: deque[GameRecord] = deque(maxlen=CACHED_GAMES)

    def _read_shards(self, count: int) -> Iterator[GameRecord]:
        """The games on disk behind the first ``count`` ones: needed after a restart only."""
        known: set[int] = set()
        for path in sorted(self._directory.glob("shard_*.bin")):
            for _, record in wire.read_shard(self._replay.game, path, report=lambda line: None):
                if record is None:
                    continue
                if record.game_id not in known and len(known) >= count:
                    yield record
                known.add(record.game_id)


class RemoteReplay:
    """The interface of ``alphazero.replay.Replay`` in a driver whose games an actor stores.

    If the actor dies during a call, the call is repeated until the actor has reopened its files;
    every call may run twice without harm. ``RunFailed`` after ``timeout`` seconds.
    """

    def __init__(self, actor: Any, check: Callable[[], None], timeout: float = 300.0):
        """``check`` is called while waiting and raises the error that ends the run, if any."""
        self._actor = actor
        self._check = check
        self._timeout = timeout
        self._games_read, self.positions, self.window = self._call("totals")
        self.games = self._games_read
        """Ever stored; like ``positions`` and ``window`` as of the last call."""

    def new_games(self) -> list[GameRecord]:
        """The games stored since the last call, each exactly once."""
        records, totals = self._call("games_after", self._games_read)
        self._games_read += len(records)
        self.games, self.positions, self.window = totals
        return [_copied(record) for record in records]

    def extend(self, records: Sequence[GameRecord]) -> int:
        """Count ``records``; they came from ``new_games``, so they are stored and new already."""
        return len(records)

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """Call ``Replay.sample`` in the actor, with one draw from ``rng`` as the seed."""
        samples = self._call("sample", size, int(rng.integers(2**63)))
        return Samples(*(np.array(column) for column in samples))

    def state(self) -> dict:
        """Return the ``Replay.state()`` of the actor."""
        return self._call("state")

    def restore(self, state: dict, truncate: bool):
        """Call ``Replay.restore`` in the actor; ``new_games`` returns only games stored later."""
        self._games_read, self.positions, self.window = self._call("restore", state, truncate)
        self.games = self._games_read

    def close(self):
        """Flush to disk; the actor cannot be used afterwards."""
        self._call("close")

    def _call(self, method: str, *args: Any) -> Any:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            self._check()
            try:
                return self._result(getattr(self._actor, method).remote(*args), deadline)
            except RayTaskError as error:
                raise error.cause from None
            except RayError:
                time.sleep(0.2)
        raise RunFailed(f"the replay actor did not answer {method} in {self._timeout:g} s")

    def _result(self, reference: Any, deadline: float) -> Any:
        while not ray.wait([reference], timeout=1.0)[0]:
            self._check()
            if time.monotonic() > deadline:
                raise GetTimeoutError
        return ray.get(reference, timeout=10.0)


def _copied(record: GameRecord) -> GameRecord:
    """A copy whose arrays are no views into Ray's memory, which would keep it allocated."""
    return replace(record, actions=np.array(record.actions), rows=np.array(record.rows))
