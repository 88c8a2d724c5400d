"""The replay buffer as an actor, and the face it has in the driver.

A finished game is safe when this actor has acknowledged it: it is then in a shard on disk, which
the death of any process leaves whole. Deliveries may be repeated freely, a known game id is passed
over; so nothing is lost and nothing counted twice, whoever dies when.

The order of storage is the log that ``fresh`` reads: the driver asks for everything behind the
games it has seen, and an actor that was killed and has reopened its files gives the same answer.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

import games
from alphazero import wire
from alphazero.config import Config
from alphazero.replay import Replay, Samples
from alphazero.types import GameRecord, RunFailed

CACHED = 10_000
"""Newest games that ``fresh`` finds in memory; it reads older ones from the shards."""
AT_ONCE = 2_000
"""Games in one answer of ``fresh``."""
PATIENCE = 30.0
"""Seconds a reborn actor waits for the one that died to let go of the files."""


class Totals(NamedTuple):
    games: int
    positions: int
    window: int


Report = Callable[[str], object]


def stored_games(config: Config, directory: Path, report: Report) -> Replay:
    """The store of one run, opened in the actor's own process."""
    return Replay(games.make(config.game), directory, config.replay, report, PATIENCE)


class ReplayStore:
    """``Replay`` with what distance asks for: a log to read on from, and a brake on self-play."""

    def __init__(self, make_replay: Callable[[Report], Replay], directory: Path):
        self._directory = Path(directory)
        self._reports: list[str] = []
        self._replay = make_replay(self._reports.append)
        self._allowance: int | None = None
        self._flaw: str | None = None
        self._calls = {"pushes": 0, "reads": 0, "samples": 0}
        self._forget()

    def push(self, records: list[GameRecord]) -> bool:
        """Store finished games; True asks the sender to hold play.

        Returning means that they are on disk. An ``OSError`` (a full disk) is raised and kept for
        ``status``; nothing is acknowledged then.
        """
        self._calls["pushes"] += 1
        try:
            for record in records:
                if self._replay.extend([record]):
                    self._newest.append(_own(record))
        except OSError as error:
            self._flaw = str(error)
            raise
        return self._allowance is not None and self._replay.positions >= self._allowance

    def fresh(self, seen: int) -> tuple[list[GameRecord], Totals]:
        """The games stored after the first ``seen`` ones, oldest first, a bounded number."""
        self._calls["reads"] += 1
        first = self._replay.games - len(self._newest)
        if seen >= first:
            found = list(self._newest)[seen - first :]
        else:
            found = list(self._from_shards(seen))
        return found[:AT_ONCE], self.totals()

    def allow(self, positions: int):
        """Self-play is to hold while more than this many positions are stored."""
        self._allowance = positions

    def totals(self) -> Totals:
        return Totals(self._replay.games, self._replay.positions, self._replay.window)

    def sample(self, size: int, seed: int) -> Samples:
        self._calls["samples"] += 1
        return self._replay.sample(size, np.random.default_rng(seed))

    def state(self) -> dict:
        return self._replay.state()

    def restore(self, state: dict, truncate: bool) -> Totals:
        self._replay.restore(state, truncate)
        self._forget()
        return self.totals()

    def close(self):
        self._replay.close()

    def status(self) -> dict:
        return {
            "pid": os.getpid(),
            "games": self._replay.games,
            "positions": self._replay.positions,
            "flaw": self._flaw,
            "reports": list(self._reports),
            **self._calls,
        }

    def _forget(self):
        self._newest: deque[GameRecord] = deque(maxlen=CACHED)

    def _from_shards(self, seen: int) -> Iterator[GameRecord]:
        """Only after this actor was killed: the games on disk from number ``seen`` on."""
        known: set[int] = set()
        for path in sorted(self._directory.glob("shard_*.bin")):
            for _, record in wire.read_shard(self._replay.game, path, report=lambda line: None):
                if record.game_id not in known and len(known) >= seen:
                    yield record
                known.add(record.game_id)


class RemoteReplay:
    """``alphazero.replay.Replay`` for a driver whose games are stored by an actor.

    A call outlives the actor's death: it is repeated until the actor has reopened its files, and
    every one of them may run twice without harm. ``RunFailed`` after ``timeout`` seconds.
    """

    def __init__(self, actor: Any, check: Callable[[], None], timeout: float = 300.0):
        """``check`` is called while waiting and raises what ends the run."""
        self._actor = actor
        self._check = check
        self._timeout = timeout
        self._seen, self.positions, self.window = self._call("totals")
        self.games = self._seen
        """Ever stored; like ``positions`` and ``window`` as of the last call."""

    def fresh(self) -> list[GameRecord]:
        """The games stored since the last call, each exactly once."""
        records, totals = self._call("fresh", self._seen)
        self._seen += len(records)
        self.games, self.positions, self.window = totals
        return [_own(record) for record in records]

    def extend(self, records: Sequence[GameRecord]) -> int:
        """Nothing is left to do: what ``fresh`` returned is stored, and new; how many."""
        return len(records)

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        samples = self._call("sample", size, int(rng.integers(2**63)))
        return Samples(*(np.array(column) for column in samples))

    def state(self) -> dict:
        return self._call("state")

    def restore(self, state: dict, truncate: bool):
        """As ``Replay.restore``; what is stored then counts as seen."""
        self._seen, self.positions, self.window = self._call("restore", state, truncate)
        self.games = self._seen

    def close(self):
        """Flush to disk; the actor is of no use afterwards."""
        self._call("close")

    def _call(self, method: str, *args: Any) -> Any:
        deadline = time.monotonic() + self._timeout
        while time.monotonic() < deadline:
            self._check()
            try:
                return self._answer(getattr(self._actor, method).remote(*args), deadline)
            except RayTaskError as error:
                raise error.cause from None
            except RayError:
                time.sleep(0.2)
        raise RunFailed(f"the replay actor did not answer {method} in {self._timeout:g} s")

    def _answer(self, reference: Any, deadline: float) -> Any:
        while not ray.wait([reference], timeout=1.0)[0]:
            self._check()
            if time.monotonic() > deadline:
                raise GetTimeoutError
        return ray.get(reference, timeout=10.0)


def _own(record: GameRecord) -> GameRecord:
    """A copy outside Ray's memory, which a kept view would pin."""
    return GameRecord(
        game_id=record.game_id,
        version=record.version,
        actions=np.array(record.actions),
        states=np.array(record.states),
        policy=np.array(record.policy),
        value=np.array(record.value),
        outcome=np.array(record.outcome),
    )
