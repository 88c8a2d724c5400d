"""The numbers of the lives of search processes, from which the ids of games begin."""

import os
from collections.abc import Iterator
from pathlib import Path

from alphazero import plain_files
from alphazero.durable import sync_folder

LARGEST = 2**30
"""The largest number: ids of games have 63 bits, 32 of them for those of one search process."""


class Incarnations:
    """Numbers that are never used for two search processes, in all sessions of a run; from 1 on.

    The next number is on disk before it is used. It is not part of the checkpoint: games stored
    after the newest checkpoint keep their ids when the run is resumed from that checkpoint.
    """

    def __init__(self, path: Path):
        """``ValueError``, one line, where the file at ``path`` holds no such number."""
        self._path = path
        self.next = _read(path) if path.exists() else 1

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return self.draw()

    def draw(self, count: int = 1) -> int:
        """The first of ``count`` new numbers, after the one behind them was written to disk."""
        number, self.next = self.next, self.next + count
        part = self._path.with_suffix(".part")
        with part.open("w") as file:
            file.write(str(self.next))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        sync_folder(self._path.parent)
        return number

    def state(self) -> dict:
        """The state of a fleet in a checkpoint: the next number."""
        return {"incarnation": self.next}

    def restore(self, state: dict) -> None:
        """Go on behind the numbers of a fleet's ``state``, and behind those on disk.

        A run that any fleet began can continue: LocalFleet, whose state has no number, gives ids
        below those of any incarnation. ``ValueError``: there is another thing in its place.
        """
        self.next = max(self.next, _checked(state.get("incarnation", 1), "incarnation"))


def _read(path: Path) -> int:
    """The number in a run's folder, which may come from anyone."""
    text = plain_files.read(path).decode("ascii", "replace").strip()
    short = text.isdecimal() and len(text) <= len(str(LARGEST))
    return _checked(int(text) if short else None, path)


def _checked(number: object, where: object) -> int:
    if not isinstance(number, int) or not 1 <= number <= LARGEST:
        raise ValueError(f"{where} should be a whole number from 1 to {LARGEST:,}")
    return number
