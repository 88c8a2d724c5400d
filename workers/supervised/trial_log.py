"""The finished trials of a search for settings on disk, so that none is run twice."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from alphazero import file_locks, plain_files
from alphazero.supervised.tuning import Score

FILE = "trials.jsonl"
LARGEST = 2**28
"""Bytes of the file, at most: a million trials."""


class TrialLog:
    """A folder's ``trials.jsonl``: one score per line, appended as soon as its trial is finished.

    Reading it writes nothing; ``add`` is for use within ``with``.
    """

    def __init__(self, folder: Path):
        """``ValueError``: ``folder`` holds something else, or a line of the file is damaged.

        ``with`` raises it where another process writes to ``folder``.
        """
        self._path = folder / FILE
        empty = file_locks.is_empty(folder)
        if not (empty or self._path.is_file()):
            raise ValueError(f"--to: {folder} holds something else already: give a new folder")
        content = b"" if empty else plain_files.read(self._path, LARGEST)
        # A process that was killed while writing leaves a last line without an end. ``__enter__``
        # cuts it off, so that the next score gets a line of its own. Of the 17 bytes
        # '{"key": "a"}\n{"ke' the first 13 are kept.
        self._size = content.rfind(b"\n") + 1
        self.scores: dict[str, Score] = _by_key(self._path, content[: self._size].splitlines())
        """Every score in the file, by its trial's key."""

    def add(self, score: Score) -> None:
        """Append ``score``; it is on the disk when this returns."""
        self._file.write(json.dumps(score._asdict()).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.scores[score.key] = score

    def __enter__(self) -> "TrialLog":
        self._lock = file_locks.acquire(self._path.parent)
        self._file = self._path.open("ab")
        self._file.truncate(self._size)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        os.close(self._lock)


def _by_key(path: Path, lines: Iterable[bytes]) -> dict[str, Score]:
    scores = {}
    for number, line in enumerate(lines, 1):
        try:
            score = Score(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            raise ValueError(f"{path}:{number}: not a finished trial: delete the line") from None
        scores[score.key] = score
    return scores
