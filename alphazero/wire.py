"""Game records as bytes, as they travel between processes and lie on disk.

A *frame* holds one record: 4 bytes marker, 4 bytes length, 4 bytes CRC-32, then a payload of this
length: zlib of a msgpack list of numbers and binary arrays. A *shard* is a header (one line that
names the game, and its CRC-32), then frames. Frames are appended and never rewritten.

A frame by example: a tic-tac-toe game with id 3, played with weights version 1, of 7 plies, all of
them recorded. Numbers are little-endian; ``itemsize`` of a state is 9, and there are 9 actions.

    offset  bytes  content
         0      4  marker   a5 47 52 31
         4      4  length   be 00 00 00: 190 bytes of payload
         8      4  CRC-32   f3 22 ed de: of the layout (game, dtype, actions), then of the payload
        12    190  payload  zlib of 258 bytes: [3, 1, actions, states, policy, value, outcome]
                   as int16 7 * 2 = 14 bytes, state 7 * 9 = 63, float16 7 * 9 * 2 = 126,
                   float16 7 * 2 = 14, float32 7 * 4 = 28, and 13 bytes of msgpack
       202      -  the next frame begins here

The CRC starts with the layout of the game, so a frame of another game, or of another encoding of
the same game, is never accepted. The marker allows a reader to find the next frame behind damaged
bytes: with a flipped bit at offset 100 the CRC is wrong, the reader searches for the next marker
whose frame has a correct CRC, finds it at 202, and only this game is lost.

zlib compresses every record by itself, so that each append is complete and one flipped bit costs
one game: 24 bytes per Connect Four position with dense policies, 1.4 us to pack. One stream over a
whole shard would take 21 bytes per position.
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
"""The longest header of a shard."""
_PREFIX = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_DECODING_ERRORS = (zlib.error, msgpack.UnpackException, ValueError, TypeError)


class WireError(ValueError):
    """Bytes that are not a record or shard of the game, or a malformed record; one line."""


def encode(game: Game, record: GameRecord) -> bytes:
    """The frame of ``record``; ``decode`` returns the same record bit for bit.

    Raises ``WireError`` if an array does not have the shape or dtype that ``GameRecord`` documents.
    """
    problem = _find_problem(game, record)
    if problem:
        raise WireError(f"game {record.game_id} cannot be stored: {problem}")
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
    """The first bytes of a shard of ``game``: a line with its layout as JSON, and its CRC-32."""
    text = b"alphazero games " + _layout(game) + b"\n"
    return text + _CRC.pack(zlib.crc32(text))


def read_shard(
    game: Game, path: Path, report: Callable[[str], object] = print
) -> Iterator[tuple[int, GameRecord]]:
    """Yield ``(end offset, record)`` for every undamaged record of a shard, oldest first.

    Damaged or half-written bytes are skipped; ``report`` gets one line for each such piece. Raises
    ``WireError`` for a shard of another game or format.
    """
    data = path.read_bytes()
    start = _header_end(game, path, data, report) if data else 0
    while start < len(data):
        end = _frame_end(game, data, start)
        if end is None:
            start, damaged = _next_frame(game, data, start), start
            kind = "damaged" if start < len(data) else "half-written or damaged"
            report(f"{path}: skipped a {kind} record, bytes {damaged} to {start}")
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
    """The largest number of bytes of a payload of this game, compressed or not.

    A damaged length above it is rejected before anything is read or inflated. Connect Four: 2,621.
    """
    ply = 2 + game.dtype.itemsize + 2 * game.num_actions + 2 + 4
    # zlib adds less than a thousandth to data that it cannot compress.
    return 1024 + ply * game.max_plies * 1001 // 1000


def _frame_end(game: Game, data: bytes, start: int) -> int | None:
    """The end offset of the frame at ``start``; None if there is no whole, undamaged frame."""
    begin = start + _PREFIX.size
    if begin > len(data):
        return None
    marker, length, crc = _PREFIX.unpack_from(data, start)
    if marker != MARKER or length > min(_limit(game), len(data) - begin):
        return None
    return begin + length if _crc(game, data[begin : begin + length]) == crc else None


def _next_frame(game: Game, data: bytes, start: int) -> int:
    """The offset of the first undamaged frame behind ``start``; ``len(data)`` if there is none."""
    candidate = data.find(MARKER, start + 1)
    while candidate >= 0 and _frame_end(game, data, candidate) is None:
        candidate = data.find(MARKER, candidate + 1)
    return candidate if candidate >= 0 else len(data)


def _header_end(game: Game, path: Path, data: bytes, report: Callable[[str], object]) -> int:
    """The offset behind the header; that of the first frame if the header is damaged."""
    if data.startswith(header(game)):
        return len(header(game))
    line_end = data.find(b"\n", 0, HEADER_BYTES) + 1
    text, crc = data[:line_end], data[line_end : line_end + _CRC.size]
    if line_end and crc == _CRC.pack(zlib.crc32(text)):
        layout = text.decode(errors="replace").strip()
        raise WireError(f"{path} holds {layout}, not {game.name} in the encoding of this version")
    # The header can be dispensed with: the CRC of every frame covers the layout of the game again.
    start = 0 if data.startswith(MARKER) else _next_frame(game, data, 0)
    report(f"{path}: the header is damaged, bytes 0 to {start}")
    return start


def _unpack(game: Game, frame: bytes) -> GameRecord:
    """The record of an undamaged frame; an error here means that it was written wrongly."""
    try:
        inflate = zlib.decompressobj()
        payload = inflate.decompress(frame[_PREFIX.size :], _limit(game))
        record = _record(game, msgpack.unpackb(payload))
    except _DECODING_ERRORS as error:
        raise WireError(f"a record of {game.name} cannot be read: {error}") from None
    problem = _find_problem(game, record)
    if problem:
        raise WireError(f"game {record.game_id} cannot be read: {problem}")
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


def _find_problem(game: Game, record: GameRecord) -> str | None:
    """A line about a wrong shape, dtype or range in ``record``; None if there is none."""
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
