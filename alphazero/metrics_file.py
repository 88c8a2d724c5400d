"""``metrics.jsonl``, the record of a run: one line of JSON per logged step.

Other files of a run with a line per step, such as ``examples.jsonl``, are written and read by the
same functions.
"""

import json
import math
import os
import time
from pathlib import Path
from typing import Any

from alphazero import plain_files

LARGEST = 2**31
"""The most bytes of a file that is read: two million lines of a kilobyte."""


class MetricsFile:
    """JSON lines with strictly increasing steps, each flushed before ``write`` returns.

    With ``resume`` the lines up to ``step`` are kept and lines beyond it removed, because the run
    is about to write them again.
    """

    def __init__(self, path: Path, resume: bool, step: int | None):
        self._path = path
        self._keep(read(path, step) if resume and path.exists() else [])

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Add a line for ``step``; a second call for the same step adds to its line."""
        if step < self._last["step"]:
            self._file.close()
            self._keep(read(self._path, step - 1))
        if step == self._last["step"]:
            self._file.seek(self._last_start)
            self._file.truncate()
            self._last = self._last | values
        else:
            self._last_start = self._file.tell()
            self._last = {"step": step, "time": round(time.time(), 3), **values}
        self._file.write(_as_line(self._last))
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        """Replace the file by ``lines``, in one step, and continue after them."""
        temporary = self._path.with_suffix(".tmp")
        temporary.write_bytes(b"".join(map(_as_line, lines)))
        temporary.replace(self._path)
        self._file = self._path.open("r+b")
        self._last: dict[str, Any] = lines[-1] if lines else {"step": -1}
        self._last_start = self._file.seek(0, os.SEEK_END) - len(_as_line(self._last))


def read(path: Path, step: int | None = None) -> list[dict[str, Any]]:
    """The valid lines of a ``metrics.jsonl`` up to ``step``; a line cut short by a crash is not.

    ``plain_files.NotPlain``: it is no regular file, or larger than ``LARGEST``.
    """
    lines: list[dict[str, Any]] = []
    for text in plain_files.read(path, LARGEST).splitlines():
        line = parse(text)
        if line is not None and (step is None or line["step"] <= step):
            lines.append(line)
    return lines


def parse(text: bytes) -> dict[str, Any] | None:
    """One line of the file; None where it is damaged."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) and type(line.get("step")) is int else None


def as_json_number(value: float) -> float | None:
    """``value``, or None where it is infinite or not a number: JSON cannot express these."""
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _as_line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, allow_nan=False).encode() + b"\n"
