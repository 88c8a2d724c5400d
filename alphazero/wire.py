"""Game records as bytes, as they travel between processes and lie on disk.

A *frame* holds one record: 4 bytes marker, 4 bytes length, 4 bytes CRC-32, then a payload of this
length: zlib of a msgpack list of numbers and binary arrays. A *shard* is a header (one line that
names the game and the version of its rules, and its CRC-32), then frames. Frames are appended and
never rewritten.

A game stores its actions, not its states: they are built again with the rules when it is read, and
so are the legal actions of each position, to which the weights of the policies belong in order. A
checksum of both says that the rules are still those of the game. Positions that are not trained on
have a surprise of -1 and no weights.

A frame by example: a tic-tac-toe game with id 3, played with weights version 1, of 7 plies, all of
them recorded; player 0 has won by the rules. Numbers are little-endian. The positions have 9, 8,
..., 3 legal moves, 42 in all.

    offset  bytes  content
         0      4  marker   a5 47 52 32
         4      4  length   94 00 00 00: 148 bytes of payload
         8      4  CRC-32   46 f4 5e 67: of the layout (game, dtype, actions), then of the payload
        12    148  payload  zlib of 137 bytes: [3, 1, ending 0, result 1, actions, weights, values,
                   surprises, checksum] as uint8 7 bytes, float16 42 * 2 = 84, float16 7 * 2 = 14,
                   float16 7 * 2 = 14, and 18 bytes of msgpack and numbers
       160      -  the next frame begins here

The CRC starts with the layout of the game, so a frame of another game, or of another encoding of
the same game, is never accepted. The marker allows a reader to find the next frame behind damaged
bytes: with a flipped bit at offset 100 the CRC is wrong, the reader searches for the next marker
whose frame has a correct CRC, finds it at 160, and only this game is lost.

zlib compresses every record by itself, so that each append is complete and one flipped bit costs
one game. Format 1, of earlier versions, had states, dense policies and outcomes instead; it is read
and no longer written. A game of Connect Four takes half the bytes that it took there.
"""

import functools
import json
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgpack
import numpy as np

from alphazero import rebuilding, records
from alphazero.rebuilding import Stored
from alphazero.types import Ending, GameRecord
from games.base import Game

FORMAT = 2
MARKERS = {1: b"\xa5GR1", 2: b"\xa5GR2"}
"""The first bytes of a frame, by its format."""
MARKER = MARKERS[FORMAT]
HEADER_BYTES = 4096
"""The longest header of a shard."""
BATCH_GAMES, BATCH_BYTES = 1000, 2**25
"""The games of a shard that are built again together, and the bytes of their rows."""
REPORTED = 10
"""The games of a shard that are named if they are left out; the others are counted."""
_TITLE = b"alphazero games "
MOST_SEARCHED = 64
"""How many times the bytes of a shard may be read in search of undamaged frames."""
_PREFIX = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_DECODING_ERRORS = (zlib.error, msgpack.UnpackException, ValueError, TypeError, OverflowError)

Report = Callable[[str], object]
Read = TypeVar("Read", Stored, Stored | str)


class WireError(ValueError):
    """Bytes that are not a record or shard of the game, or a malformed record; one line."""


def encode(game: Game, record: GameRecord) -> bytes:
    """The frame of ``record``; ``decode`` returns the same record bit for bit.

    Raises ``WireError`` for a record that does not hold what ``GameRecord`` documents: a wrong
    dtype, an illegal move, a number that is not finite, a policy that does not sum to one.
    """
    problem = rebuilding.find_problem_of_record(game, record)
    if problem:
        raise WireError(f"game {record.game_id} cannot be stored: {problem}")
    rows = record.rows
    used = rebuilding.weights_stored(game, rows)
    states, slots = rows["state"], rows["policy_action"]
    fields = [
        int(record.game_id),
        int(record.version),
        int(record.ending),
        rebuilding.result(game, rows),
        record.actions.astype(records.action_type(game)).tobytes(),
        rows["policy_weight"][used].tobytes(),
        rows["value"].tobytes(),
        rows["surprise"].tobytes(),
        zlib.crc32(slots.tobytes(), zlib.crc32(states.tobytes())),
    ]
    payload = zlib.compress(msgpack.Packer().pack(fields))
    return _PREFIX.pack(MARKER, len(payload), _crc(game, payload)) + payload


def decode(game: Game, frame: bytes) -> GameRecord:
    """The record in one frame, of any format. Raises ``WireError`` for anything else."""
    number = next((n for n in MARKERS if frame.startswith(MARKERS[n])), FORMAT)
    if _frame_end(game, frame, 0, number) != len(frame):
        raise WireError(f"{len(frame)} bytes are not one whole record of {game.name}")
    (record,) = rebuilding.rebuild(game, [_unpack(game, frame, number)])
    if isinstance(record, str):
        raise WireError(record)
    return record


def header(game: Game, number: int = FORMAT) -> bytes:
    """The first bytes of a shard of ``game``: a line of JSON with its layout and its
    ``rules_version``, and the line's CRC-32. Format 1 has no version.
    """
    rules = {} if number == 1 else {"rules": game.rules_version}
    text = _TITLE + json.dumps(_layout(game, number) | rules).encode() + b"\n"
    return text + _CRC.pack(zlib.crc32(text))


def is_current(game: Game, path: Path) -> bool:
    """Whether the shard at ``path`` is one of ``game`` in the current format."""
    current = header(game)
    with path.open("rb") as file:
        return file.read(len(current)) == current


def read_shard(
    game: Game, path: Path, report: Report = print, last: int | None = None
) -> Iterator[tuple[int, GameRecord | None]]:
    """Yield ``(end offset, record)`` for every undamaged frame of a shard, oldest first; for the
    ``last`` of them alone where that is given.

    Damaged or half-written bytes are skipped; ``report`` gets one line for each such piece. The
    record is None where an undamaged frame holds no valid record: it has an illegal move, for
    example. ``report`` gets a line for each of the first ``REPORTED`` of them, and one for the
    others. Raises ``WireError`` for a shard of another game or an unknown format.
    """
    left_out = 0
    for batch in _batches(game, unpack_shard(game, path, report, last)):
        rebuilt = iter(rebuild(game, [read for _, read in batch if isinstance(read, Stored)]))
        for end, read in batch:
            record = next(rebuilt) if isinstance(read, Stored) else read
            if isinstance(record, str):
                left_out += 1
                if left_out <= REPORTED:
                    report(f"{path}: left out a game: {record}")
            yield end, None if isinstance(record, str) else record
    if left_out > REPORTED:
        report(f"{path}: left out {left_out - REPORTED} more games")


def rebuild(game: Game, stored: Iterable[Stored]) -> Iterator[GameRecord | str]:
    """The record of each stored game, or a line that says what is wrong in it."""
    for batch in _batches(game, enumerate(stored)):
        yield from rebuilding.rebuild(game, [read for _, read in batch])


def _batches(game: Game, games: Iterable[tuple[int, Read]]) -> Iterator[list[tuple[int, Read]]]:
    """``games`` in batches, each of one format: at most ``BATCH_GAMES`` games and, unless it is one
    game, ``BATCH_BYTES`` of rows."""
    batch, size, old = [], 0, False
    for end, read in games:
        stored = isinstance(read, Stored)
        more = len(read.value) * records.row(game).itemsize if stored else 0
        other = stored and (read.ending is None) != old
        if batch and (len(batch) == BATCH_GAMES or size + more > BATCH_BYTES or other):
            yield batch
            batch, size = [], 0
        batch.append((end, read))
        size, old = size + more, (read.ending is None) if stored else old
    if batch:
        yield batch


def unpack_shard(
    game: Game, path: Path, report: Report = print, last: int | None = None
) -> Iterator[tuple[int, Stored | str]]:
    """Yield for every undamaged frame of a shard its end offset, and its game as it was stored or
    what is wrong with it. That the game keeps the rules is not known before it is rebuilt.
    ``report``, ``last`` and ``WireError`` as for ``read_shard``."""
    frames = _frames(game, path, report)
    for frame, end, number in frames if last is None else deque(frames, last):
        yield end, _unpacked(game, frame, number)


def _frames(game: Game, path: Path, report: Report) -> Iterator[tuple[bytes, int, int]]:
    """Every undamaged frame of a shard, with its end offset and the number of its format."""
    data = path.read_bytes()
    search = _Search(game, data)
    start, number = _header_end(game, path, data, search, report) if data else (0, FORMAT)
    while start < len(data):
        end = _frame_end(game, data, start, number)
        if end is None:
            start, damaged = search.next_frame(start, number), start
            kind = "damaged" if start < len(data) else "half-written or damaged"
            report(f"{path}: skipped a {kind} record, bytes {damaged} to {start}")
            continue
        yield data[start:end], end, number
        start = end


@functools.lru_cache(maxsize=32)
def _layout(game: Game, number: int) -> dict[str, object]:
    """All that an encoding depends on; the rules have no part in it."""
    return {
        "format": number,
        "game": game.name,
        "dtype": str(game.dtype.descr),
        "num_actions": game.num_actions,
    }


@functools.lru_cache(maxsize=32)
def _layout_crc(game: Game, number: int) -> int:
    return zlib.crc32(json.dumps(_layout(game, number)).encode())


def _crc(game: Game, payload: bytes, number: int = FORMAT) -> int:
    return zlib.crc32(payload, _layout_crc(game, number))


@functools.lru_cache(maxsize=32)
def _limit(game: Game, number: int = FORMAT) -> int:
    """The largest number of bytes of a payload of this game, compressed or not.

    A damaged length above it is rejected before anything is read or inflated. Connect Four: 1,823.
    """
    if number == 1:  # int16 action, state, dense float16 policy, float16 value, float32 outcome
        ply = 2 + game.dtype.itemsize + 2 * game.num_actions + 2 + 4
    else:  # action, float16 weight of each legal action, float16 value and surprise
        ply = records.action_type(game).itemsize + 2 * game.max_legal + 2 + 2
    # zlib adds less than a thousandth to data that it cannot compress.
    return 1024 + ply * game.max_plies * 1001 // 1000


def _frame_length(game: Game, data: bytes, start: int, number: int) -> int | None:
    """The bytes of the payload of the frame at ``start``; None if there is no whole frame."""
    begin = start + _PREFIX.size
    if begin > len(data):
        return None
    marker, length, _ = _PREFIX.unpack_from(data, start)
    whole = marker == MARKERS[number] and length <= min(_limit(game, number), len(data) - begin)
    return length if whole else None


def _frame_end(game: Game, data: bytes, start: int, number: int = FORMAT) -> int | None:
    """The end offset of the frame at ``start``; None if there is no whole, undamaged frame."""
    length = _frame_length(game, data, start, number)
    if length is None:
        return None
    _, _, crc = _PREFIX.unpack_from(data, start)
    begin = start + _PREFIX.size
    return begin + length if _crc(game, data[begin : begin + length], number) == crc else None


class _Search:
    """Finds undamaged frames behind damaged bytes, with bounded work per shard.

    Every marker may be the beginning of a frame, and each candidate's checksum is computed. In
    bytes that someone has filled with markers this would take the square of their number."""

    def __init__(self, game: Game, data: bytes):
        self._game, self._data = game, data
        self._left = MOST_SEARCHED * len(data)

    def next_frame(self, start: int, number: int) -> int:
        """The offset of the first undamaged frame behind ``start``; the end of the data if there is
        none, or if more than ``MOST_SEARCHED`` times the shard has been read for it."""
        data, marker = self._data, MARKERS[number]
        candidate = data.find(marker, start + 1)
        while candidate >= 0 and self._left > 0:
            self._left -= _frame_length(self._game, data, candidate, number) or 0
            if _frame_end(self._game, data, candidate, number) is not None:
                return candidate
            candidate = data.find(marker, candidate + 1)
        return len(data)


def _header_end(
    game: Game, path: Path, data: bytes, search: _Search, report: Report
) -> tuple[int, int]:
    """The offset behind the header and the format; that of the first frame if it is damaged."""
    line_end = data.find(b"\n", 0, HEADER_BYTES) + 1
    text, crc = data[:line_end], data[line_end : line_end + _CRC.size]
    if line_end and crc == _CRC.pack(zlib.crc32(text)):
        return line_end + _CRC.size, _format_of(game, path, text.removeprefix(_TITLE))
    # The header can be dispensed with: the CRC of every frame covers the layout of the game again.
    starts = {
        number: 0 if data.startswith(marker) else search.next_frame(0, number)
        for number, marker in MARKERS.items()
    }
    number = min(starts, key=lambda number: (starts[number], -number))
    report(f"{path}: the header is damaged, bytes 0 to {starts[number]}")
    return starts[number], number


def _format_of(game: Game, path: Path, text: bytes) -> int:
    """The format that an undamaged header names; ``WireError`` for other games or other rules.

    Headers of earlier versions do not name the rules.
    """
    try:
        layout = json.loads(text)
        rules = layout.pop("rules", game.rules_version)
        number = next(number for number in MARKERS if layout == _layout(game, number))
    except (ValueError, AttributeError, TypeError, StopIteration, RecursionError):
        shown = ascii(text.decode(errors="replace").strip())[1:-1]  # no escape codes
        raise WireError(
            f"{path} holds {shown}, not {game.name} in the encoding of this version"
        ) from None
    if rules != game.rules_version:
        raise WireError(
            f"{path}: its games were played by other rules of {game.name}: their rules_version is "
            f"{ascii(rules)[:40]}, now it is {game.rules_version!r}; start a new run"
        )
    return number


def _unpacked(game: Game, frame: bytes, number: int) -> Stored | str:
    """The game in an undamaged frame, or a line that says why it cannot be read."""
    try:
        return _unpack(game, frame, number)
    except WireError as error:
        return str(error)


def _unpack(game: Game, frame: bytes, number: int) -> Stored:
    """The game in an undamaged frame; an error here means that it was written wrongly."""
    try:
        inflate = zlib.decompressobj()
        payload = inflate.decompress(frame[_PREFIX.size :], _limit(game, number))
        fields = msgpack.unpackb(payload)
        stored = (_fields_of_format_1 if number == 1 else _fields)(game, fields)
    except _DECODING_ERRORS as error:
        line = " ".join(str(error).split())
        raise WireError(f"a record of {game.name} cannot be read: {line}") from None
    problem = rebuilding.find_problem(game, stored)
    if problem:
        raise WireError(f"game {stored.game_id} cannot be read: {problem}")
    return stored


def _fields(game: Game, fields: list) -> Stored:
    game_id, version, ending, result, actions, weights, values, surprise, checksum = fields
    return Stored(
        game_id=game_id,
        version=version,
        ending=Ending(ending),
        result=result,
        actions=np.frombuffer(actions, records.action_type(game)),
        weights=np.frombuffer(weights, np.float16),
        value=np.frombuffer(values, np.float16),
        surprise=np.frombuffer(surprise, np.float16),
        checksum=checksum,
    )


def _fields_of_format_1(game: Game, fields: list) -> Stored:
    """A game of format 1: states, dense policies, and an outcome per position, but no ending."""
    game_id, version, actions, states, policy, value, outcome = fields
    states = np.frombuffer(states, game.dtype)
    outcomes, value = np.frombuffer(outcome, np.float32), np.frombuffer(value, np.float16)
    if not len(outcomes) == len(states) == len(value):
        raise ValueError(f"{len(outcomes)} outcomes of {len(states)} positions")
    return Stored(
        game_id=game_id,
        version=version,
        ending=None,
        result=outcomes,
        actions=np.frombuffer(actions, np.int16),
        weights=np.frombuffer(policy, np.float16).reshape(-1, game.num_actions),
        value=value,
        surprise=np.zeros(len(value), np.float16),
        checksum=zlib.crc32(states.tobytes()),
    )
