"""The replay buffer: finished games on disk in append-only shards, the newest positions in memory.

On disk lies everything ever stored; in memory a ring of the positions that may still be sampled.
The window grows sublinearly with the run, as in KataGo: early games are soon forgotten, later the
window is long.
"""

import fcntl
import math
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import sealed, wire
from alphazero.config import ReplaySettings
from alphazero.types import GameRecord
from games.base import Game, States

SHARD_BYTES = 64 * 2**20
"""A shard that has grown to this size is closed and the next one begun."""


class Samples(NamedTuple):
    """``n`` stored positions as they travel: states, not observations."""

    states: States
    """``[n]``."""
    symmetry: NDArray[np.int64]
    """``[n]``, which of ``game.symmetries()`` to apply."""
    policy: NDArray[np.float32]
    """``[n, A]``, in the untransformed position; sums to one up to float16's rounding."""
    value: NDArray[np.float32]
    """``[n]``, the search's value for the mover."""
    outcome: NDArray[np.float32]
    """``[n]`` in {-1, 0, +1}, how the game ended for the mover."""


class Batch(NamedTuple):
    """What the learner eats, as NumPy; symmetries are applied, every row belongs together."""

    observations: NDArray[np.float32]
    """``[n, C, H, W]``."""
    legal: NDArray[np.bool_]
    """``[n, A]``."""
    policy: NDArray[np.float32]
    """``[n, A]``, sums to one."""
    wdl: NDArray[np.float32]
    """``[n, 3]``: probabilities of a win, draw and loss for the mover."""


def to_batch(game: Game, samples: Samples, value_mixing: float) -> Batch:
    """Apply each sample's symmetry and build the targets.

    The value target mixes outcome and search value as distributions over win, draw and loss,
    ``(1 - m) * onehot(outcome) + m * (max(q, 0), 1 - |q|, max(-q, 0))``, so that its expectation is
    ``(1 - m) * outcome + m * q``. Policies are renormalised here, in float32: float16 rounds their
    sums by up to 1e-3.
    """
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
    """How many of the newest positions are sampled from when ``positions`` were ever stored.

    ``c * (1 + beta * ((n / c)**alpha - 1) / alpha)`` from ``n = c`` on, all of them before (Wu
    2019, appendix C): it starts with slope beta and then grows as ``n**alpha``.
    """
    start, alpha = settings.window_min, settings.window_exponent
    if positions <= start:
        return positions
    growth = math.log(positions / start)
    tapered = math.expm1(alpha * growth) / alpha if alpha else growth
    return min(positions, int(start * (1 + settings.window_scale * tapered) + 0.5))


EMPTY = {"games": 0, "positions": 0, "shard": 0, "offset": 0}
"""The ``Replay.state`` before the first game."""


class Replay:
    """Finished games, stored for ever, of which the newest positions are sampled uniformly.

    A record is written before it is counted, unbuffered: killing this process loses no accepted
    record. ``state`` and the end of a shard also fsync, so that a machine that loses power keeps
    all that a checkpoint refers to. Not for several threads at once.

    Memory: at most 9/8 of the window's rows (36 bytes each in Connect Four), and the ids.
    """

    positions: int
    """Ever stored."""

    def __init__(
        self,
        game: Game,
        directory: Path,
        settings: ReplaySettings,
        report: Callable[[str], object] = print,
        patience: float = 0.0,
    ):
        """Open the shards in ``directory`` (made if missing) and index what they hold.

        Nobody else can open them until ``close`` or the end of this process. ``ValueError`` where
        somebody has them open and keeps them for ``patience`` seconds: two runs would share a
        directory; and for shards of another game. Damaged records are named through ``report``
        and left out.
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
        self._lock = _lock(self.directory, patience)
        try:
            self._index()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def games(self) -> int:
        """Ever stored."""
        return len(self._ids)

    @property
    def window(self) -> int:
        """Positions that are sampled from now: the newest ones."""
        return window_size(self.settings, self.positions)

    def extend(self, records: Iterable[GameRecord]) -> int:
        """Store finished games; how many were new. A known ``game_id`` is passed over.

        Raises ``OSError`` (one line) where the disk does not take a record: that one and those
        behind it are not stored, nor is any part of them; and ``ValueError`` for a malformed one.
        """
        accepted = 0
        for record in records:
            if record.game_id not in self._ids:
                self._append(wire.encode(self.game, record))
                self._remember(record)
                accepted += 1
        return accepted

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """``size`` positions, uniform over the window, each with a uniformly drawn symmetry.

        The same contents and generator give the same samples. ``ValueError`` while empty.
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
        """What ``restore`` needs to come back to exactly these contents; plain types."""
        os.fsync(self._file)
        return {
            "games": self.games,
            "positions": self.positions,
            "shard": self._shard,
            "offset": self._offset,
        }

    def restore(self, state: dict, truncate: bool):
        """Return to the contents that ``state()`` described.

        ``truncate``: drop the games stored since, as a fleet does that plays them again bit for
        bit; else keep them. Contents that fell short of ``state`` (lost or damaged shards) are
        named through ``report``.
        """
        if truncate and (self._shard, self._offset) > (state["shard"], state["offset"]):
            self._close_shard()
            for number, path in self._shards():
                if number > state["shard"]:
                    path.unlink()
                elif number == state["shard"]:
                    os.truncate(path, min(state["offset"], path.stat().st_size))
            self._index()
        if self.games < state["games"]:
            self._report(
                f"{self.directory} holds {self.games} games where the checkpoint counted "
                f"{state['games']}: training goes on with those, not bit for bit"
            )

    def close(self):
        """Flush to disk and let others open it; the object is of no use afterwards."""
        self._close_shard()
        os.close(self._lock)

    def _close_shard(self):
        os.fsync(self._file)
        os.close(self._file)

    def _index(self):
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
                    self._remember(record)
        self._open(self._shard, self._offset)

    def _shards(self) -> list[tuple[int, Path]]:
        paths = self.directory.glob("shard_*.bin")
        return sorted((int(path.stem.removeprefix("shard_")), path) for path in paths)

    def _open(self, shard: int, end: int):
        """Append to ``shard`` from byte ``end`` on: a half-written record behind it goes."""
        path = self.directory / f"shard_{shard:06}.bin"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.ftruncate(self._file, end)
        sealed.sync_folder(self.directory)
        self._shard, self._offset = shard, end

    def _append(self, frame: bytes):
        """All of ``frame`` or nothing; straight to the kernel, where a kill cannot lose it."""
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
                "it is not counted, everything before it is safe"
            ) from None
        self._offset += len(data)

    def _remember(self, record: GameRecord):
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
        """Make the ring hold ``needed`` rows, an eighth more at a time, the oldest row first."""
        if needed <= len(self._ring):
            return
        held = self._rows(np.arange(min(self.positions, len(self._ring)), 0, -1))
        self._ring = np.empty(needed + needed // 8, self._row)
        self._ring[: len(held)] = held
        self._head = len(held)

    def _rows(self, age: NDArray[np.integer]) -> np.ndarray:
        """The rows of that age; the newest position's is 1."""
        return self._ring[(self._head - age) % len(self._ring)]


def _lock(directory: Path, patience: float) -> int:
    """Keep every other writer out of ``directory`` until the handle returned is closed."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise ValueError(f"another run writes to {directory}; end it first") from None
            time.sleep(0.1)
