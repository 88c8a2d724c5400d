"""The replay buffer: finished games on disk in append-only shards, the newest positions in memory.

All games ever stored are on disk; the positions that may still be sampled are in memory, in a ring
buffer. The window of these positions grows sublinearly with the run, as in KataGo: the weak games
of the beginning leave it soon, and later it is long.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from alphazero import file_locks, records, targets, wire
from alphazero.config import ReplaySettings
from alphazero.durable import sync_folder
from alphazero.encoders import Encoder
from alphazero.packing import PackedGame, Packing
from alphazero.rebuilding import Stored
from alphazero.types import GameRecord
from games.base import Game

MOST_MALFORMED = 10
"""Malformed games in a row with which the storing ends."""
BINARY = getattr(os, "O_BINARY", 0)
"""The flag with which Windows leaves line ends in a file as they are."""
SHARD_BYTES = 64 * 2**20
"""A shard of at least this size is closed, and the next one is begun."""

G = TypeVar("G", GameRecord, Stored)
Read = Callable[[Game, Path, Callable[[str], object]], Iterator[tuple[int, G | str | None]]]
"""``wire.read_shard`` or ``wire.unpack_shard``."""


class Samples(NamedTuple):
    """``n`` stored positions, as states rather than observations, with their targets."""

    rows: NDArray
    """``[n]`` of ``targets.columns``, before the symmetry is applied."""
    symmetry: NDArray[np.int64]
    """``[n]``, the index into ``game.symmetries()`` of the symmetry to apply."""


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


def to_batch(game: Game, samples: Samples, encoder: Encoder | None = None) -> Batch:
    """Make the network's inputs and apply each sample's symmetry to them and to all targets.

    ``encoder`` makes the observations; None: ``game.observe``. Policies are normalised again here,
    in float32: their sums in float16 are off by up to 1e-3.
    """
    rows, encoder = samples.rows, encoder or Encoder(game)
    assert samples.symmetry.shape == rows.shape
    observations = encoder(records.states_of(rows))
    flat = observations.reshape(*observations.shape[:2], -1)
    legal, policy = records.unpack_policy(game, rows["policy_action"], rows["policy_weight"])
    policy = policy / policy.sum(1, keepdims=True)
    auxiliary = targets.auxiliary(game, rows)
    over = {axis: [auxiliary[n] for n in auxiliary if targets.TARGETS[n].axis == axis]
            for axis in ("cells", "actions")}  # fmt: skip
    planes = encoder.symmetries()
    for index, (cells, actions) in enumerate(game.symmetries()):
        chosen = np.flatnonzero(samples.symmetry == index)
        if index and len(chosen):  # the first symmetry changes nothing
            flat[chosen] = flat[chosen][:, :, planes[index]]
            for array in (legal, policy, *over["actions"]):
                array[chosen] = array[chosen][:, actions]
            for array in over["cells"]:
                array[chosen] = array[chosen][:, cells]
    return Batch(
        observations=flat.reshape(observations.shape),
        legal=legal,
        policy=policy,
        wdl=rows["wdl"].copy(),
        weight=rows["weight"].copy() if "weight" in (rows.dtype.names or ()) else None,
        auxiliary=auxiliary,
    )


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
    # ((n / c)**alpha - 1) / alpha without loss of digits; the smallest numbers have few themselves.
    tapered = math.expm1(alpha * growth) / alpha if alpha > 1e-15 else growth
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

    Memory: at most 9/8 of the window's rows (57 bytes each in Connect Four), and the ids.
    """

    positions: int
    """Number of positions ever stored that are trained on; the others count nowhere here."""

    def __init__(
        self,
        game: Game,
        directory: Path,
        settings: ReplaySettings,
        report: Callable[[str], object] = print,
        lock_timeout: float = 0.0,
        heads: Sequence[str] = (),
    ):
        """Lock ``directory`` (made if missing), read its shards and fill the window.

        ``heads``: the names of the auxiliary targets that are stored beside each position.

        The lock is held until ``close`` or the end of this process. ``ValueError`` if another
        process holds it for ``lock_timeout`` seconds, because two runs must not share a directory,
        for shards of another game and for a head without a target. Damaged records are skipped;
        ``report`` gets one line each.
        """
        self.game = game
        self.directory = Path(directory)
        self.settings = settings
        self._report = report
        self._symmetries = len(game.symmetries()) if settings.symmetries else 1
        self._pack = Packing(game, settings, tuple(heads))
        self._row = targets.columns(game, settings, heads)
        self._malformed = 0  # records in a row that were left out
        self._lock = file_locks.acquire(self.directory, lock_timeout)
        try:
            self._read_shards()
        except BaseException:
            os.close(self._lock)
            raise

    @property
    def games(self) -> int:
        """Number of games ever stored."""
        return len(self._ids)

    def __contains__(self, game_id: int) -> bool:
        """Whether a game of this id is stored."""
        return game_id in self._ids

    @property
    def window(self) -> int:
        """Number of the newest positions that ``sample`` draws from now."""
        return window_size(self.settings, self.positions)

    def extend(self, records: Iterable[GameRecord]) -> int:
        """Store finished games, skip those with a known ``game_id``; the number of new games.

        A malformed record is left out, and ``report`` gets a line; ``ValueError`` once
        ``MOST_MALFORMED`` have come in a row, because then no game is ever stored. Raises
        ``OSError`` (one line) if a record cannot be written: neither this record nor the following
        ones are stored, not even in part.
        """
        return self.store(self._pack(record) for record in records if record.game_id not in self)

    def store(self, games: Iterable[PackedGame]) -> int:
        """Store games that are packed already with this buffer's settings; see ``extend``."""
        before = self.games
        for game in games:
            if game.game_id not in self and self._is_whole(game):
                self._append(game.frame)
                self._count(game.game_id, game.counts.positions)
                self._add_to_window(game.rows)
        return self.games - before

    def _is_whole(self, game: PackedGame) -> bool:
        """False, and a report, for a malformed game."""
        self._malformed = self._malformed + 1 if game.problem else 0
        if self._malformed == MOST_MALFORMED:
            raise wire.WireError(game.problem)
        if game.problem:
            self._report(f"left out a game: {game.problem}")
        return not game.problem

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """``size`` positions, uniform over the window, each with a uniformly drawn symmetry.

        The same contents and generator give the same samples. ``ValueError`` if there are none.
        """
        if not self.positions:
            raise ValueError(f"no position is stored in {self.directory} yet")
        age = rng.integers(1, self.window + 1, size)
        symmetry = rng.integers(self._symmetries, size=size)
        return Samples(self._rows(age), symmetry)

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
        """Read every shard, oldest first, and open the last one for appending.

        Only the games of the window are rebuilt, which takes most of the time. Where one of them
        breaks the rules, or any game cannot be read, all are rebuilt: none of these is counted.
        """
        lines: list[str] = []
        stored = self._read_games(wire.unpack_shard, lines.append)
        if stored is not None and self._fill_window(wire.rebuild(self.game, stored)):
            for line in lines:
                self._report(line)
        else:
            self._fill_window(self._read_games(wire.read_shard, self._report) or ())
        self._open(self._shard, self._offset)

    def _read_games(self, read: Read[G], report: Callable[[str], object]) -> deque[G] | None:
        """Count the games of every shard as ``read`` gives them; return those of the window.

        None where one is a text, which says why it cannot be read.
        """
        self.positions = self._held = self._head = 0
        self._ids: set[int] = set()
        self._ring = np.empty(self.settings.window_min, self._row)
        self._shard = self._offset = 0
        newest: deque[G] = deque()
        held = 0
        for number, path in self._shards():
            self._shard, self._offset = number, 0
            for end, game in read(self.game, path, report):
                if isinstance(game, str):
                    return None
                self._offset = end
                if game is not None and game.game_id not in self:
                    self._count(game.game_id, game.positions)
                    newest.append(game)
                    held += game.positions
                # Positions that have left the window never return to it: no targets for them.
                while newest and held - newest[0].positions >= self.window:
                    held -= newest.popleft().positions
            if self._offset and not wire.is_current(self.game, path):
                self._shard, self._offset = number + 1, 0  # no two formats in one shard
        return newest

    def _fill_window(self, games: Iterable[GameRecord | str]) -> bool:
        """Write counted games into the window; False at the first one that could not be rebuilt."""
        for record in games:
            if isinstance(record, str):
                return False
            self._add_to_window(
                targets.rows_to_store(self.game, record, self.settings, self._pack.heads)
            )
        return True

    def _shards(self) -> list[tuple[int, Path]]:
        paths = self.directory.glob("shard_*.bin")
        return sorted((int(path.stem.removeprefix("shard_")), path) for path in paths)

    def _open(self, shard: int, end: int):
        """Append to ``shard`` from byte ``end`` on; a half-written record there is cut off."""
        path = self.directory / f"shard_{shard:06}.bin"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | BINARY, 0o644)
        os.ftruncate(self._file, end)
        sync_folder(self.directory)
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

    def _count(self, game_id: int, positions: int):
        self._ids.add(int(game_id))
        self.positions += positions

    def _add_to_window(self, rows: NDArray):
        """Write the ``rows`` of a counted game into the ring."""
        self._grow(self.window)
        slots = np.arange(self._head, self._head + len(rows)) % len(self._ring)
        records.as_items(self._ring)[slots] = records.as_items(rows)
        self._head = (self._head + len(rows)) % len(self._ring)
        self._held = min(self._held + len(rows), len(self._ring))

    def _grow(self, needed: int):
        """Enlarge a ring of fewer than ``needed`` rows to ``needed`` rows and an eighth more."""
        if needed <= len(self._ring):
            return
        held = self._rows(np.arange(self._held, 0, -1))
        self._ring = np.empty(needed + needed // 8, self._row)
        self._ring[: len(held)], self._head = held, len(held)

    def _rows(self, age: NDArray[np.integer]) -> np.ndarray:
        """The rows by age: where row 3 of 8 is the next free one, age 4 is row -1 % 8 = 7."""
        return records.as_items(self._ring)[(self._head - age) % len(self._ring)].view(self._row)
