"""The directory of a run: its choice, settings, environment and log, for every kind of training."""

import contextlib
import itertools
import json
import logging
import logging.handlers
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

from alphazero import file_locks, resuming
from alphazero.errors import FleetLost, one_line

log = logging.getLogger(__name__)

PACKAGES = ("torch", "ray", "numpy", "numba", "wandb", "openvino")
INTERRUPTED = 130
"""The exit status of a process that was stopped by a signal."""


@contextmanager
def opened(config_name: str, directory: Path | None, resume: bool) -> Iterator[Path]:
    """The run's directory: ``directory``, or one in ``runs/`` that is named after ``config_name``.

    To resume, the newest such directory; else a new one with the date and time. It is locked
    meanwhile, and a new one into which nothing was written is removed at the end, with ``runs/`` if
    that was made for it. ``ValueError``: a new run's directory is not empty, there is no run to
    resume, or another run writes to it.
    """
    run_dir = _to_resume(config_name, directory) if resume else None
    if directory is not None and not resume and not file_locks.is_empty(directory):
        raise ValueError(f"{directory} is not empty: --resume continues the run in it")
    new = not resume and (directory is None or not directory.exists())
    made = Path("runs") if not (run_dir or directory or Path("runs").exists()) else None
    run_dir = run_dir or directory or _create(Path("runs"), config_name)
    with file_locks.held(run_dir):
        try:
            yield run_dir
        finally:
            # While it is locked: the run that holds the lock of a directory may still be empty.
            if new and run_dir.is_dir() and file_locks.is_empty(run_dir):
                shutil.rmtree(run_dir, ignore_errors=True)  # Windows removes no file that is open
                with contextlib.suppress(OSError):  # another run has begun there
                    if made:
                        made.rmdir()


def _to_resume(config_name: str, directory: Path | None) -> Path:
    if directory is not None:
        if not directory.is_dir():
            raise ValueError(f"--resume: there is no run directory {directory}")
        return directory
    pattern = re.compile(rf"{re.escape(config_name)}-(\d{{8}}-\d{{6}})(?:-(\d+))?")
    runs = [
        (match[1], int(match[2] or 1), path)
        for path in Path("runs").glob("*")
        if (match := pattern.fullmatch(path.name))
    ]
    if not runs:
        raise ValueError(f"--resume: there is no run of {config_name} in runs/ yet")
    newest = max(runs)[-1]
    print(f"resuming {newest}")
    return newest


def _create(folder: Path, config_name: str) -> Path:
    """A new directory, named after the date and time; the second of the same second ends in -2."""
    folder.mkdir(parents=True, exist_ok=True)  # FileExistsError: a link that leads nowhere
    name = f"{config_name}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(1):
        run_dir = folder / (name if number == 1 else f"{name}-{number}")
        with contextlib.suppress(FileExistsError):
            run_dir.mkdir()
            return run_dir
    raise AssertionError("unreachable")


def describe_changes(
    before: dict[str, Any],
    now: dict[str, Any],
    fixed: tuple[str, ...],
    resolved: tuple[str, ...] = (),
) -> str:
    """One line with the settings that a resumed run changes, and how; empty where there are none.

    ``before`` and ``now`` are trees of settings. Keys that begin with any of ``resolved`` are not
    named; ``ValueError``, one line, for a changed one that begins with any of ``fixed``.
    """
    try:
        changed = resuming.compare(before, now, fixed, resolved)
    except ValueError as error:
        raise ValueError(f"--{error}") from None  # "resume: ..." becomes the option's name
    values = resuming.differences(before, now)
    shown = (
        f"{one_line(key)} {' -> '.join(one_line(str(one)) for one in values[key])}"
        for key in changed
    )
    return f"resuming with changed settings: {', '.join(shown)}" if changed else ""


def resuming_options(run_dir: Path | str) -> str:
    """The options with which the run's command continues it, quoted for a shell."""
    return f"--resume --run-dir {shlex.quote(str(run_dir))}"


def report(console: Console, line: str) -> None:
    """Print ``line`` unbroken, however long it is, and write it to log.txt."""
    console.print(line, markup=False, soft_wrap=True, highlight=False)
    log.info(line)


def write_settings(run_dir: Path, settings: str) -> None:
    """Write the run's settings, as YAML, and its environment into the directory."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(settings, encoding="utf-8")
    (run_dir / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")


def environment() -> dict[str, object]:
    """Versions, machine and git revision, so that a run's results can be explained later."""
    from alphazero.nn.device import cores  # torch, which takes seconds to import

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": cores(),
        "packages": versions,
        "git": _revision(Path(__file__).parents[2]),
    }


def _revision(folder: Path) -> str | None:
    """The revision of the source, where it is a checkout and git is installed."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() or None


BEGAN = "the process began"
ENDED = ("done: ", "stopped; ")
MOST_EARLY = 1000
"""Lines that are kept until the log is written."""


def describe_last_end(log: Path) -> str:
    """One line on how the run's last process ended, from its ``log.txt``; empty where it was meant.

    Example: the last process wrote ``... ERROR workers.cluster.supervisor: Ray's gcs_server has
    ended`` and then that a checkpoint is saved: the line has that error. One that wrote neither an
    error nor its end was killed.
    """
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith(f": {BEGAN}")]
    if not starts:
        return ""
    records = [line.split(" ", 4) for line in lines[starts[-1] :]]
    last = [(record[2], record[4]) for record in records if len(record) == 5]
    errors = [text for level, text in last if level == "ERROR"]
    if errors:
        return f"this run ended before with an error: {one_line(errors[-1])}"
    if any(text.startswith(ENDED) for _, text in last):
        return ""
    return "this run ended before without a word: its process was killed, or the machine stopped"


@contextmanager
def log_to_file(path: Path, console: Console) -> Iterator[Callable[[], None]]:
    """Show this program's warnings on the terminal, and write its log to a file.

    The file is written from the call of the function that this yields, earlier lines included: a
    run that fails while it starts leaves nothing in its directory.
    """
    screen = RichHandler(
        logging.WARNING, console, show_time=False, show_level=False, show_path=False,
        highlighter=NullHighlighter(),
    )  # fmt: skip
    early = logging.handlers.MemoryHandler(MOST_EARLY, flushLevel=sys.maxsize, flushOnClose=False)
    root = logging.getLogger("workers")
    handlers: list[logging.Handler] = [screen, early]
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)

    def begin() -> None:
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root.removeHandler(early)
        root.addHandler(handler)
        handlers.append(handler)
        log.info(BEGAN)
        early.setTarget(handler)
        early.flush()

    try:
        yield begin
    except BaseException as error:
        root.removeHandler(screen)  # the command prints the error
        if not isinstance(error, FleetLost):  # whose reason is in the log since it was noticed
            log.error(str(error).partition("\n")[0] or type(error).__name__)
        raise
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
