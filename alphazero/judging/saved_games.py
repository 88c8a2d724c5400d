"""Games in files: a session as JSON, written and read again; also as SGF and PGN.

A file may come from a stranger. It is read for a game that the user has named, so that nothing
which it names is imported.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphazero.errors import reason
from alphazero.judging import pgn, session, sgf
from alphazero.judging.session import Session
from games.base import Game

LARGEST_BYTES = 2**20
"""Larger files are not read."""


def path(name: str) -> Path:
    """The path of a file, ``~`` expanded; ``ValueError``, one line: there is no such user."""
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{name}: {error}") from None


def writer(game: Game, path: Path) -> Callable[[dict[str, Any]], str]:
    """The function that makes the text of a game, a ``Session.as_dict``, for the file ``path``.

    Texts of several games may follow one another: SGF and PGN where the name ends so, else a line
    of JSON. ``ValueError``, one line: the format is not one for ``game``.
    """
    if path.suffix.lower() == ".sgf":
        sgf.kind_of(game)
        return lambda played: sgf.text(game, played)
    if path.suffix.lower() == ".pgn":
        pgn.check(game)
        return lambda played: pgn.text(game, played)
    return lambda played: json.dumps(played) + "\n"


def write(played: Session, path: Path, replace: bool = False) -> None:
    """Write the game to ``path``; ``ValueError``, one line: that cannot be done.

    As SGF or PGN where the name ends so. A file that exists stays unless ``replace``.
    """
    if path.suffix.lower() in (".sgf", ".pgn"):
        text = writer(played.game, path)(played.as_dict())
    else:
        text = json.dumps(played.as_dict(), indent=2) + "\n"
    try:
        with open(path, "w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{path} exists already: give another name") from None
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path} cannot be written: {reason(error)}") from None


def begin(game: Game, moves: str, file: str | None) -> Session:
    """A game after ``moves``, or the first one of a file with this name, where there is one.

    ``ValueError``, one line, as those of ``session.after``, ``path`` and ``read``.
    """
    return session.after(game, moves) if file is None else read(path(file), game)


def read(path: Path, game: Game) -> Session:
    """The first game of the file, as ``read_first``."""
    return read_first(path, game)[0]


def read_first(path: Path, game: Game) -> tuple[Session, bool]:
    """The first game of the file, and whether the file holds nothing else that would be lost.

    Its clock runs on from now. ``ValueError``, one line that names the file: it cannot be read, is
    no regular file, is larger than ``LARGEST_BYTES``, or holds no game of these rules.
    """
    try:
        return parse_first(content_of(path), path.suffix, game)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {reason(error)}") from None


def parse_first(content: bytes, suffix: str, game: Game) -> tuple[Session, bool]:
    """The same of the content of a file, whose name ends with ``suffix``: ``.sgf``, ``.pgn`` or
    another one, for JSON. ``ValueError``, one line, without a name."""
    if reader := _READERS.get(suffix.lower()):  # only the main line is read
        return reader(content, game), False
    try:
        saved, alone = _first_value(content)
    except RecursionError:
        raise ValueError("this is no saved game") from None
    except ValueError as error:  # no JSON, no text, or a number of thousands of digits
        raise ValueError(f"this is no saved game: {reason(error)}") from None
    return session.load(saved, game), alone


_READERS = {".sgf": sgf.load, ".pgn": pgn.load}


def _first_value(content: bytes) -> tuple[Any, bool]:
    """The first value of a text of JSON, and whether it is the only one; others follow in lines."""
    text = content.decode(json.detect_encoding(content))
    value, end = json.JSONDecoder().raw_decode(text, len(text) - len(text.lstrip()))
    rest = text[end:].lstrip(" \t\r")
    if rest and not rest.startswith("\n"):
        raise json.JSONDecodeError("Extra data", text, end)
    return value, not rest.strip()


def content_of(path: Path) -> bytes:
    """The bytes of the file; ``ValueError`` and ``OSError`` as in ``read``."""
    if not path.is_file():  # reading a pipe would wait for ever
        problem = "this is not a regular file" if path.exists() else "there is no such file"
        raise ValueError(problem)
    with open(path, "rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"a saved game has at most {LARGEST_BYTES:,} bytes")
    return content
