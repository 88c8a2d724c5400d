"""Games in files: a session as JSON, written and read again.

A file may come from a stranger. It is read for a game that the user has named, so that nothing
which it names is imported.
"""

import json
from pathlib import Path

from alphazero.judging import session
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


def write(played: Session, path: Path, replace: bool = False) -> None:
    """Write the game to ``path``; ``ValueError``, one line: that cannot be done.

    A file that exists stays unless ``replace``.
    """
    text = json.dumps(played.as_dict(), indent=2) + "\n"
    try:
        with open(path, "w" if replace else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ValueError(f"{path} exists already: give another name") from None
    except (OSError, UnicodeError) as error:
        raise ValueError(f"the game cannot be written: {error}") from None


def read(path: Path, game: Game) -> Session:
    """The game of the file; its clock runs on from now.

    ``ValueError``, one line that names the file: it cannot be read, is no regular file, is larger
    than ``LARGEST_BYTES``, or holds no game of these rules.
    """
    try:
        if not path.is_file():  # reading a pipe would wait for ever
            problem = "this is not a regular file" if path.exists() else "there is no such file"
            raise ValueError(problem)
        with open(path, "rb") as file:
            content = file.read(LARGEST_BYTES + 1)
        if len(content) > LARGEST_BYTES:
            raise ValueError(f"a saved game has at most {LARGEST_BYTES:,} bytes")
        return session.load(json.loads(content), game)
    except RecursionError:
        raise ValueError(f"{path}: this is no saved game") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: this is no saved game: {error}") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}: {error}") from None
