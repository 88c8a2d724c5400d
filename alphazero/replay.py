"""The replay buffer: finished games on disk in append-only shards, the newest positions in memory.

All games ever stored are on disk; the positions that may still be sampled are in memory, in a ring
buffer. The window of these positions grows sublinearly with the run, as in KataGo: the weak games
of the beginning leave it soon, and later it is long.
"""

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import sealed, wire
from alphazero.config import ReplaySettings
from alphazero.types import GameRecord
from games.base import Game, States

SHARD_BYTES = 64 * 2**20
"""A shard of at least this size is closed, and the next one is begun."""


class Samples(NamedTuple):
    """``n`` stored positions, as states rather than observations, with their records."""

    states: States
    """``[n]``."""
    symmetry: NDArray[np.int64]
    """``[n]``, the index into ``game.symmetries()`` of the symmetry to apply."""
    policy: NDArray[np.float32]
    """``[n, A]``, before the symmetry is applied; sums to one up to the rounding of float16."""
    value: NDArray[np.float32]
    """``[n]`` in [-1, 1], the value of the search from the mover's point of view."""
    outcome: NDArray[np.float32]
    """``[n]`` in {-1, 0, +1}, the result of the game from the mover's point of view."""


class Batch(NamedTuple):
    """Inputs and targets of ``n`` positions for the learner, with symmetries applied."""

    observations: NDArray[np.float32]
    """``[n, C, H, W]``."""
    legal: NDArray[np.bool_]
    """``[n, A]``."""
    policy: NDArray[np.float32]
    """``[n, A]``, sums to one."""
    wdl: NDArray[np.float32]
    """``[n, 3]``, probabilities of a win, a draw and a loss of the mover."""
    weight: NDArray[np.float32] | None = None
    """``[n]``, weights of the positions in the loss, 1 on average over a game; None: all are 1."""
    auxiliary: Mapping[str, NDArray[np.float32]] = MappingProxyType({})
    """``[n, ...]`` by the name of the head; NaN where a position has no target."""


def to_batch(game: Game, samples: Samples, value_mixing: float) -> Batch:
    """Apply each sample's symmetry and build the targets.

    The value target mixes outcome and search value ``q`` as distributions over win, draw and loss,
    ``(1 - m) * onehot(outcome) + m * (max(q, 0), 1 - |q|, max(-q, 0))`` with ``m`` =
    ``value_mixing``, so that its expectation is ``(1 - m) * outcome + m * q``. A won game with
    ``q`` = 0.5 and ``m`` = 0.2 gives 0.8 * (1, 0, 0) + 0.2 * (0.5, 0.5, 0) = (0.9, 0.1, 0).

    Policies are normalised again here, in float32: their sums in float16 are off by up to 1e-3.
    """
    count = len(samples.states)
    assert samples.policy.shape == (count, game.num_actions)
    assert samples.symmetry.shape == samples.value.shape == samples.outcome.shape == (count,)
    observations = game.observe(samples.states)
    flat = observations.reshape(*observations.shape[:2], -1)
    legal = game.legal(samples.states)
    policy = samples.policy / samples.policy.sum(1, keepdims=True)
    symmetries = game.symmetries()
    for index in np.unique(samples.symmetry):
        rows = np.flatnonzero(samples.symmetry == index)
        cells, actions = symmetries[index]
        flat[rows] = flat[rows][:, :, cells]
        legal[rows] = legal[rows][:, actions]
        policy[rows] = policy[rows][:, actions]
    observations = flat.reshape(observations.shape)
    return Batch(observations, legal, policy, _wdl(samples, value_mixing))


def _wdl(samples: Samples, mixing: float) -> NDArray[np.float32]:
    outcome, value = samples.outcome[:, None], samples.value[:, None]
    certain = outcome == np.array([1, 0, -1])
    estimated = np.hstack([np.maximum(value, 0), 1 - np.abs(value), np.maximum(-value, 0)])
    return ((1 - mixing) * certain + mixing * estimated).astype(np.float32)


def window_size(settings: ReplaySettings, positions: int) -> int:
    """The number of newest positions to sample from when ``positions`` were ever stored.

    All ``n`` positions up to ``n = c``, then ``c * (1 + beta * ((n / c)**alpha - 1) / alpha)``,
    with ``c`` = ``window_min``, ``alpha`` = ``window_exponent`` and ``beta`` = ``window_scale``
    (Wu 2019, "Accelerating Self-Play Learning in Go", appendix C). At ``n = c`` the window grows by
    beta positions per new position, later as ``n**alpha``. With ``alpha`` = 0 it is the limit
    ``c * (1 + beta * log(n / c))``.

    Example with the defaults, ``c`` = 20,000, ``alpha`` = 0.75, ``beta`` = 0.4:

        n =    20,000: (n / c)**0.75 =  1, window =  20,000
        n =   320,000: (n / c)**0.75 =  8, window =  20,000 * (1 + 0.4 *  7 / 0.75) =  94,667
        n = 5,120,000: (n / c)**0.75 = 64, window =  20,000 * (1 + 0.4 * 63 / 0.75) = 692,000

    So 16 times as many games make the window longer by a factor that tends to 8.
    """
    start, alpha = settings.window_min, settings.window_exponent
    if positions <= start:
        return positions
    growth = math.log(positions / start)
    # ((n / c)**alpha - 1) / alpha, without loss of digits where alpha is close to 0.
    tapered = math.expm1(alpha * growth) / alpha if alpha else growth
    return min(positions, int(start * (1 + settings.window_scale * tapered) + 0.5))


EMPTY = {"games": 0, "positions": 0, "shard": 0, "offset": 0}
"""The ``Replay.state`` of a buffer without games."""


class Replay:
    """Finished games, all kept on disk; their newest positions are sampled uniformly.

    A record is written to the file, unbuffered, before it is counted: if this process is killed, no
    accepted record is lost. ``state`` and the end of a shard also fsync: if the machine loses power
    all games that a checkpoint refers to are kept. Not for several threads at once.

    A game is identified by its ``game_id`` alone: a second record with a known id is skipped, even
    if its moves differ. So a sender that got no acknowledgement may send again: after games 1, 2
    and 3, an ``extend`` with games 2, 3 and 4 stores game 4 only and returns 1.

    Memory: at most 9/8 of the rows of the window (36 bytes each in Connect Four), and the ids.
    """

    positions: int
    """Number of positions ever stored."""

    def __init__(
        self,
        game: Game,
        directory: Path,
        settings: ReplaySettings,
        report: Callable[[str], object] = print,
        lock_timeout: float = 0.0,
    ):
        """Lock ``directory`` (made if missing), read its shards and fill the window.

        The lock is held until ``close`` or the end of this process. ``ValueError`` if another
        process holds it for ``lock_timeout`` seconds, because two runs must not share a directory,
        and for shards of another game. Damaged records are skipped; ``report`` gets one line each.
        """
        self.game = game
        self.directory = Path(directory)
        self.settings = settings
        self._report = report
        self._symmetries = len(game.symmetries()) if settings.symmetries else 1
        self._row = np.dtype(
            [
                ("state", game.dtype),
                ("policy", np.float16, (game.num_actions,)),
                ("value", np.float16),
                ("outcome", np.float32),
            ]
        )
        self._lock = _acquire_lock(self.directory, lock_timeout)
        try:
            self._read_shards()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def games(self) -> int:
        """Number of games ever stored."""
        return len(self._ids)

    @property
    def window(self) -> int:
        """Number of the newest positions that ``sample`` draws from now."""
        return window_size(self.settings, self.positions)

    def extend(self, records: Iterable[GameRecord]) -> int:
        """Store finished games, skip those with a known ``game_id``; the number of new games.

        Raises ``OSError`` (one line) if a record cannot be written: neither this record nor the
        following ones are stored, not even in part. Raises ``ValueError`` for a malformed record.
        """
        accepted = 0
        for record in records:
            if record.game_id not in self._ids:
                self._append(wire.encode(self.game, record))
                self._add_to_window(record)
                accepted += 1
        return accepted

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """``size`` positions, uniform over the window, each with a uniformly drawn symmetry.

        The same contents and generator give the same samples. ``ValueError`` if there are none.
        """
        if not self.positions:
            raise ValueError(f"no position is stored in {self.directory} yet")
        age = rng.integers(1, self.window + 1, size)
        symmetry = rng.integers(self._symmetries, size=size)
        rows = self._rows(age)
        return Samples(
            states=np.ascontiguousarray(rows["state"]),
            symmetry=symmetry,
            policy=rows["policy"].astype(np.float32),
            value=rows["value"].astype(np.float32),
            outcome=np.ascontiguousarray(rows["outcome"]),
        )

    def state(self) -> dict:
        """The description of the present contents for ``restore``, in plain types."""
        os.fsync(self._file)
        return {
            "games": self.games,
            "positions": self.positions,
            "shard": self._shard,
            "offset": self._offset,
        }

    def restore(self, state: dict, truncate: bool):
        """Return to the contents that ``state()`` described.

        ``truncate``: drop the games stored since, because the fleet will play them again bit for
        bit; else keep them. If games of ``state`` are missing (lost or damaged shards), ``report``
        gets a line.
        """
        if truncate and (self._shard, self._offset) > (state["shard"], state["offset"]):
            self._close_shard()
            for number, path in self._shards():
                if number > state["shard"]:
                    path.unlink()
                elif number == state["shard"]:
                    os.truncate(path, min(state["offset"], path.stat().st_size))
            self._read_shards()
        if self.games < state["games"]:
            self._report(
                f"{self.directory} holds {self.games} games where the checkpoint counted "
                f"{state['games']}: training continues with these, not bit for bit"
            )

    def close(self):
        """Flush to disk and release the lock; the object cannot be used afterwards."""
        self._close_shard()
        os.close(self._lock)

    def _close_shard(self):
        os.fsync(self._file)
        os.close(self._file)

    def _read_shards(self):
        """Read every shard, oldest first, and open the last one for appending."""
        self.positions = 0
        self._ids: set[int] = set()
        self._ring = np.empty(self.settings.window_min, self._row)
        self._head = 0
        self._shard = self._offset = 0
        for number, path in self._shards():
            self._shard, self._offset = number, 0
            for end, record in wire.read_shard(self.game, path, self._report):
                self._offset = end
                if record.game_id not in self._ids:
                    self._add_to_window(record)
        self._open(self._shard, self._offset)

    def _shards(self) -> list[tuple[int, Path]]:
        paths = self.directory.glob("shard_*.bin")
        return sorted((int(path.stem.removeprefix("shard_")), path) for path in paths)

    def _open(self, shard: int, end: int):
        """Append to ``shard`` from byte ``end`` on; a half-written record there is cut off."""
        path = self.directory / f"shard_{shard:06}.bin"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.ftruncate(self._file, end)
        sealed.sync_folder(self.directory)
        self._shard, self._offset = shard, end

    def _append(self, frame: bytes):
        """Write all of ``frame`` or nothing; unbuffered, so that it survives a killed process."""
        if self._offset >= SHARD_BYTES:
            full = self._file
            self._open(self._shard + 1, 0)
            os.fsync(full)
            os.close(full)
        rest = data = frame if self._offset else wire.header(self.game) + frame
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            os.ftruncate(self._file, self._offset)
            raise OSError(
                f"a game could not be stored in {self.directory}: {error.strerror}; "
                "it is not counted; all games before it are safe"
            ) from None
        self._offset += len(data)

    def _add_to_window(self, record: GameRecord):
        self._ids.add(int(record.game_id))
        self._grow(window_size(self.settings, self.positions + len(record)))
        slots = np.arange(self._head, self._head + len(record)) % len(self._ring)
        self._ring["state"][slots] = record.states
        self._ring["policy"][slots] = record.policy
        self._ring["value"][slots] = record.value
        self._ring["outcome"][slots] = record.outcome
        self._head = (self._head + len(record)) % len(self._ring)
        self.positions += len(record)

    def _grow(self, needed: int):
        """Enlarge a ring of fewer than ``needed`` rows to ``needed`` rows and an eighth more."""
        if needed <= len(self._ring):
            return
        held = self._rows(np.arange(min(self.positions, len(self._ring)), 0, -1))
        self._ring = np.empty(needed + needed // 8, self._row)
        self._ring[: len(held)] = held
        self._head = len(held)

    def _rows(self, age: NDArray[np.integer]) -> np.ndarray:
        """The rows by age; the newest position has age 1.

        In a ring of 8 rows whose next free row is 3, age 1 is row 2 and age 4 is row -1 % 8 = 7.
        """
        return self._ring[(self._head - age) % len(self._ring)]


def _acquire_lock(directory: Path, timeout: float) -> int:
    """Lock ``directory`` against other writers until the returned file handle is closed."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise ValueError(f"another run writes to {directory}; end it first") from None
            time.sleep(0.1)
