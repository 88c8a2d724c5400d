"""The runs of a folder, as the page lists them and draws their curves.

A request names a run, and the name is looked up in the list of the folder: it is never joined to a
path. Files are read as those of strangers: regular ones only, in parts of a bounded size.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import games
from alphazero import config_file, metrics_file, plain_files, plain_yaml, sealed
from alphazero.config import OBSOLETE, Config
from alphazero.errors import one_line, reason
from workers.serve.bodies import RequestError
from workers.web.labels import label

METRICS, CONFIG = "metrics.jsonl", "config.yaml"
MOST_RUNS = 200
"""Runs that are listed: the newest ones."""
MOST_CHECKPOINTS = 50
PART = 2**19
"""Bytes of metrics in one answer: 512 KiB."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the folder."""

    name: str
    path: Path
    game: str | None
    """The text of its game; None for supervised trainings, and where the game is not allowed."""
    steps: tuple[int, ...]
    """The steps of its checkpoints, ascending."""
    time: float
    """When its metrics were last written, in seconds since 1970."""
    opponent: str | None = None
    """The text of the player of its matches, where ``game`` is known."""

    def as_json(self) -> dict[str, Any]:
        """The run as the page lists it."""
        return {
            "name": self.name,
            "game": self.game,
            "steps": list(self.steps),
            "time": round(self.time),
        }


def is_run(folder: Path) -> bool:
    """Whether a folder looks like that of a run."""
    return (folder / METRICS).is_file() or (folder / CONFIG).is_file()


def listed(folder: Path | None, allow: Collection[str] = ()) -> dict[str, Run]:
    """The runs in ``folder`` by name, those written last first; none without a folder.

    A game that is not registered is named only where its address is in ``allow``.
    """
    if folder is None:
        return {}
    try:
        names = [entry.name for entry in os.scandir(folder) if _is_listed(entry)]
    except OSError:
        return {}
    runs = [_run(folder / name, tuple(allow)) for name in names]
    newest = sorted(filter(None, runs), key=lambda run: -run.time)[:MOST_RUNS]
    return {run.name: run for run in newest}


def _is_listed(entry: os.DirEntry[str]) -> bool:
    """A folder, no link, with a name that JSON and an address can hold."""
    return entry.is_dir(follow_symlinks=False) and entry.name.isprintable()


def _run(path: Path, allow: tuple[str, ...]) -> Run | None:
    try:
        time = os.lstat(path / METRICS).st_mtime
    except OSError:
        return None
    try:
        changed = os.lstat(path / CONFIG).st_mtime_ns
    except OSError:
        changed = 0
    steps = [int(step.name[5:]) for step in sealed.steps(path / "checkpoints")]
    game, opponent = _configured(path / CONFIG, changed, allow) or (None, None)
    return Run(path.name, path, game, tuple(steps[-MOST_CHECKPOINTS:]), time, opponent)


@lru_cache(maxsize=2 * MOST_RUNS)
def _configured(config: Path, changed: int, allow: tuple[str, ...]) -> tuple[str, str] | None:
    """Game and opponent in a configuration last ``changed`` then; None: see ``Run.game``."""
    try:
        plain_files.size(config)
        text = plain_yaml.read_text(config)
        parsed = config_file.parse(Config, text, str(config), obsolete=OBSOLETE)
    except (OSError, ValueError):
        return None
    address = games.address_of(parsed.game)
    known = address is None or address in allow
    return (parsed.game, one_line(parsed.evaluation.opponent)) if known else None


def curves(run: Run, after: int, step: int | None = None) -> dict[str, Any]:
    """The lines of a run's metrics from byte ``after`` on, and ``next``, the byte to go on from.

    ``labels`` has the name of each of their metrics as charts show it, see ``workers.web.labels``.
    At most ``PART`` bytes, ``more`` says whether there is more already. At the end of the file
    ``next`` is the start of its last line, because figures may be added to that line later, and
    ``step`` is the step of that line, else None. Handed back, it shows whether the file has been
    written anew: ``restarted`` says that, and the file is read from its start.
    """
    part = _part(run, after)
    lines = part.data[: part.data.rfind(b"\n") + 1].splitlines(keepends=True)
    rows = [_numbers(row) for row in map(metrics_file.parse, lines) if row is not None]
    if after > part.size or (step is not None and lines and _step(lines[0]) != step):
        return {**curves(run, 0), "restarted": True}
    place, last = len(b"".join(lines)), None if lines else step
    if not lines and len(part.data) == PART:  # a line of half a megabyte is none of ours
        place = PART
    more = after + len(part.data) < part.size
    if not more and lines and (last := _step(lines[-1])) is not None:
        place -= len(lines[-1])
    labels = {name: label(name, run.opponent) for name in set().union(*rows)}
    return {
        "rows": rows, "labels": labels, "next": after + place, "step": last, "more": more,
        "restarted": False,
    }  # fmt: skip


class _Part(NamedTuple):
    """Some bytes of a file."""

    data: bytes
    size: int
    """Bytes of the whole file."""


def _part(run: Run, start: int) -> _Part:
    """At most ``PART`` bytes of a run's metrics; ``RequestError`` (404) where there are none."""
    try:
        with plain_files.opened(run.path / METRICS, metrics_file.LARGEST) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(start)
            return _Part(file.read(PART), size)
    except (OSError, ValueError) as error:
        raise RequestError(404, f"{run.name} has no metrics: {reason(error)}", "run") from None


def _step(line: bytes) -> int | None:
    """The step of a line, where it has one that the page can hand back."""
    row = metrics_file.parse(line)
    return row["step"] if row is not None and 0 <= row["step"] < 2**53 else None


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """The finite numbers of a line."""
    return {
        key: number
        for key, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
        and (number := metrics_file.as_json_number(_bounded(value))) is not None
    }  # fmt: skip


def _bounded(value: float) -> float:
    """``value``; NaN for a whole number that no float can hold."""
    return value if isinstance(value, float) or abs(value) < 2**53 else float("nan")
