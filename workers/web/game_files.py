"""Games as files: the text that a page saves, and a file that it has read and sends for loading.

A file comes in the address of a GET: packed, because addresses are short. It may come from a
stranger, so both its sizes, packed and unpacked, are bounded, and it is read as the game on the
board: nothing that it names is imported.
"""

import base64
import binascii
import re
import zlib
from pathlib import Path
from typing import Any

from alphazero.errors import one_line
from alphazero.judging import saved_games
from alphazero.judging.session import FORFEITED, OUT_OF_TIME, Reason, Session
from games.base import Game
from workers.serve.bodies import RequestError

MOST_PACKED = 24_000
"""Characters of a packed file in an address."""
MOST_BYTES = 2**16
"""Bytes of a file, 64 KiB: a reader takes 0.15 s for as many bytes of moves, at most."""
MOST_NAME = 60
"""Characters of a player's name."""
ENDING = "^(time|resignation|forfeit)-[01]$"
"""How a game has ended before the end by its rules, and the side that has lost."""
MEDIA_TYPES = {
    "sgf": "application/x-go-sgf; charset=utf-8",
    "pgn": "application/vnd.chess-pgn; charset=utf-8",
    "json": "application/json",
}
"""The media types of the formats."""
_WORDS = {"time": OUT_OF_TIME, "forfeit": FORFEITED, "resignation": ""}


def formats(game: Game) -> list[str]:
    """The formats in which games of ``game`` are saved and loaded, the usual one first."""
    usual = []
    for name in ("sgf", "pgn"):
        try:
            saved_games.writer(game, Path(f"x.{name}"))
            usual.append(name)
        except ValueError:  # the format is not for this game
            pass
    return [*usual, "json"]


def end(played: Session, ending: str) -> None:
    """End the game as ``ending`` says; ``RequestError`` (422) where it is over by its rules."""
    if not ending:
        return
    if played.over():
        raise RequestError(422, "the game is over by its rules", "end")
    how, _, side = ending.partition("-")
    played.resigned, played.forfeit = int(side), _WORDS[how]


def ending_of(played: Session) -> str:
    """The inverse of ``end``; empty for a game that goes on or is over by its rules."""
    reason = played.reason()
    if reason not in (Reason.TIME, Reason.FORFEIT, Reason.RESIGNATION):
        return ""
    side = 0 if played.result(0) == -1 else 1
    if played.forfeit == OUT_OF_TIME:
        return f"time-{side}"
    return f"{reason}-{side}"


def text(played: Session, name: str) -> str:
    """The game in the format ``name``; ``RequestError`` (422) where that is not for the game."""
    if name not in formats(played.game):
        raise RequestError(422, f"{played.game.name} is not saved as {name}", "format")
    return saved_games.writer(played.game, Path(f"x.{name}"))(played.as_dict())


def file_name(game: Game, name: str) -> str:
    """A name for a file of ``game``: ``go_size_9.sgf``."""
    return f"{re.sub('[^A-Za-z0-9]+', '_', game.name).strip('_')}.{name}"


def unpack(packed: str) -> bytes:
    """The bytes of a file that was compressed (deflate without a header) and written in base64url.

    ``RequestError`` (422): it was not, or has more than ``MOST_BYTES``.
    """
    try:
        compressed = base64.b64decode(packed, altchars=b"-_", validate=True)
        unpacking = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        content = unpacking.decompress(compressed, MOST_BYTES + 1)
    except (ValueError, binascii.Error, zlib.error):
        raise RequestError(422, "this is no packed file", "file") from None
    if len(content) > MOST_BYTES:
        raise RequestError(422, f"a saved game has at most {MOST_BYTES:,} bytes", "file")
    if not unpacking.eof:
        raise RequestError(422, "this is no whole packed file", "file")
    return content


def load(game: Game, name: str, packed: str) -> dict[str, Any]:
    """The first game of a file as the page reads it; ``RequestError`` (422), one line.

    ``more``: whether the file may hold more than that, which is not read.
    """
    try:
        played, alone = saved_games.parse_first(unpack(packed), Path(name).suffix, game)
    except ValueError as error:
        raise RequestError(
            422, f"the file cannot be loaded: {one_line(str(error))}", "file"
        ) from None
    return {
        "moves": [action + 1 for action in played.actions],
        "end": ending_of(played),
        "seats": [one_line(seat, MOST_NAME) for seat in played.seats],
        "more": not alone,
    }
