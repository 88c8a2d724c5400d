"""Game records as bytes: how they travel between processes and lie on disk.

A *frame* holds one record: 4 bytes marker, 4 bytes length, 4 bytes CRC-32, then that many bytes of
zlib over a msgpack list of numbers and binary arrays. A *shard* is a header line naming the game,
then frames, appended for ever and never rewritten.

The CRC begins with the game's layout, so a frame of another game, or of another encoding of the
same game, never passes. The marker lets a reader find the next frame behind damaged bytes.

zlib works a record at a time (24 bytes a Connect Four position with dense policies, 1.4 us to pack;
21 bytes if it spanned a shard), so that each append is whole and one flipped bit costs one game.
"""

import functools
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import numpy as np

from alphazero.types import GameRecord
from games.base import Game

FORMAT = 1
MARKER = b"\xa5GR1"
HEADER_BYTES = 4096
"""No shard header is longer."""
_PREFIX = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_FLAWED = (zlib.error, msgpack.UnpackException, ValueError, TypeError)


class WireError(ValueError):
    """Bytes that are not what they should be; the message is one line."""


def encode(game: Game, record: GameRecord) -> bytes:
    """One frame; ``decode`` gives the same record back bit for bit.

    Raises ``WireError`` if an array's shape or dtype is not what ``GameRecord`` promises.
    """
    flaw = _flaw(game, record)
    if flaw:
        raise WireError(f"game {record.game_id} cannot be stored: {flaw}")
    arrays = [
        array.tobytes()
        for array in (record.actions, record.states, record.policy, record.value, record.outcome)
    ]
    fields = [int(record.game_id), int(record.version), *arrays]
    payload = zlib.compress(msgpack.Packer().pack(fields))
    return _PREFIX.pack(MARKER, len(payload), _crc(game, payload)) + payload


def decode(game: Game, frame: bytes) -> GameRecord:
    """The record in one frame, its arrays read-only. Raises ``WireError`` for anything else."""
    end = _frame_end(game, frame, 0)
    if end != len(frame):
        raise WireError(f"{len(frame)} bytes are not one whole record of {game.name}")
    return _unpack(game, frame)


def header(game: Game) -> bytes:
    """What a shard of ``game`` begins with: a line of JSON and its CRC-32."""
    text = b"alphazero games " + _layout(game) + b"\n"
    return text + _CRC.pack(zlib.crc32(text))


def read_shard(
    game: Game, path: Path, report: Callable[[str], object] = print
) -> Iterator[tuple[int, GameRecord]]:
    """``(offset behind it, record)`` for every whole record of a shard, oldest first.

    Damaged or half-written bytes are skipped and named, one line each, through ``report``. A shard
    of another game or format raises ``WireError``.
    """
    data = path.read_bytes()
    start = _header_end(game, path, data, report) if data else 0
    while start < len(data):
        end = _frame_end(game, data, start)
        if end is None:
            start, damaged = _next_frame(game, data, start), start
            what = "a damaged record" if start < len(data) else "a half-written or damaged record"
            report(f"{path}: skipped {what}, bytes {damaged} to {start}")
            continue
        yield end, _unpack(game, data[start:end])
        start = end


@functools.lru_cache(maxsize=16)
def _layout(game: Game) -> bytes:
    layout = {
        "format": FORMAT,
        "game": game.name,
        "dtype": str(game.dtype.descr),
        "num_actions": game.num_actions,
    }
    return json.dumps(layout).encode()


def _crc(game: Game, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_layout(game)))


def _limit(game: Game) -> int:
    """No record of this game is longer, unpacked or packed: the most a length may claim."""
    ply = 2 + game.dtype.itemsize + 2 * game.num_actions + 2 + 4
    # zlib adds less than a thousandth to what it cannot compress.
    return 1024 + ply * game.max_plies * 1001 // 1000


def _frame_end(game: Game, data: bytes, start: int) -> int | None:
    """Where the frame at ``start`` ends; None where there is no whole, undamaged one."""
    begin = start + _PREFIX.size
    if begin > len(data):
        return None
    marker, length, crc = _PREFIX.unpack_from(data, start)
    if marker != MARKER or length > min(_limit(game), len(data) - begin):
        return None
    return begin + length if _crc(game, data[begin : begin + length]) == crc else None


def _next_frame(game: Game, data: bytes, start: int) -> int:
    """Where the first whole frame behind ``start`` begins; the end of the data if none does."""
    candidate = data.find(MARKER, start + 1)
    while candidate >= 0 and _frame_end(game, data, candidate) is None:
        candidate = data.find(MARKER, candidate + 1)
    return candidate if candidate >= 0 else len(data)


def _header_end(game: Game, path: Path, data: bytes, report: Callable[[str], object]) -> int:
    if data.startswith(header(game)):
        return len(header(game))
    line_end = data.find(b"\n", 0, HEADER_BYTES) + 1
    text, crc = data[:line_end], data[line_end : line_end + _CRC.size]
    if line_end and crc == _CRC.pack(zlib.crc32(text)):
        raise WireError(f"{path} holds {_described(text)}, not {game.name} as this version has it")
    # The header only names the game; every frame's CRC vouches for it again.
    start = 0 if data.startswith(MARKER) else _next_frame(game, data, 0)
    report(f"{path}: the header is damaged, bytes 0 to {start}")
    return start


def _described(text: bytes) -> str:
    return text.decode(errors="replace").strip()


def _unpack(game: Game, frame: bytes) -> GameRecord:
    """The record in an undamaged frame; a flaw here means that whoever wrote it was wrong."""
    try:
        inflate = zlib.decompressobj()
        payload = inflate.decompress(frame[_PREFIX.size :], _limit(game))
        record = _record(game, msgpack.unpackb(payload))
    except _FLAWED as error:
        raise WireError(f"a record of {game.name} cannot be read: {error}") from None
    flaw = _flaw(game, record)
    if flaw:
        raise WireError(f"game {record.game_id} cannot be read: {flaw}")
    return record


def _record(game: Game, fields: list) -> GameRecord:
    game_id, version, actions, states, policy, value, outcome = fields
    return GameRecord(
        game_id=game_id,
        version=version,
        actions=np.frombuffer(actions, np.int16),
        states=np.frombuffer(states, game.dtype),
        policy=np.frombuffer(policy, np.float16).reshape(-1, game.num_actions),
        value=np.frombuffer(value, np.float16),
        outcome=np.frombuffer(outcome, np.float32),
    )


def _flaw(game: Game, record: GameRecord) -> str | None:
    """What is wrong with a record's shapes and dtypes, in one line."""
    length = len(record.states)
    expected = {
        "states": (game.dtype, (length,)),
        "policy": (np.dtype(np.float16), (length, game.num_actions)),
        "value": (np.dtype(np.float16), (length,)),
        "outcome": (np.dtype(np.float32), (length,)),
        "actions": (np.dtype(np.int16), record.actions.shape[:1]),
    }
    for name, (dtype, shape) in expected.items():
        array = getattr(record, name)
        if array.dtype != dtype or array.shape != shape:
            return f"{name} is {array.dtype}{list(array.shape)} instead of {dtype}{list(shape)}"
    if not length <= len(record.actions) <= game.max_plies:
        plies = len(record.actions)
        return f"{length} positions and {plies} moves, in a game of at most {game.max_plies} plies"
    if not (0 <= record.game_id < 2**63 and 0 <= record.version < 2**63):
        return f"version {record.version} or the game's id is not in 0 to 2**63 - 1"
    return None
