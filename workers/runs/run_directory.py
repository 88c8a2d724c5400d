"""A training in its directory: what every kind of training needs around it."""

import json
import logging
import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.highlighter import NullHighlighter
from rich.logging import RichHandler

from alphazero import resuming

log = logging.getLogger(__name__)

PACKAGES = ("torch", "ray", "numpy", "numba", "wandb", "openvino")
INTERRUPTED = 130
"""A process's exit status."""


def directory(config_name: str, asked: Path | None, resume: bool) -> Path:
    """Where the run lives; ``ValueError`` where a new one would mix with what is there already."""
    if asked is None and resume:
        runs = sorted(Path("runs").glob(f"{config_name}-????????-??????"))
        if not runs:
            raise ValueError(f"--resume: there is no run of {config_name} in runs/ yet")
        print(f"resuming {runs[-1]}")
        return runs[-1]
    run_dir = asked or Path("runs") / f"{config_name}-{time.strftime('%Y%m%d-%H%M%S')}"
    if resume and not run_dir.is_dir():
        raise ValueError(f"--resume: there is no run directory {run_dir}")
    if not resume and run_dir.exists() and (not run_dir.is_dir() or any(run_dir.iterdir())):
        raise ValueError(f"{run_dir} holds something already: --resume goes on with a run")
    return run_dir


def compare(before: dict, now: dict, fixed: tuple[str, ...], resolved: tuple[str, ...] = ()) -> str:
    """A line on the settings that a resumed run changes, empty where there are none.

    ``fixed``, ``resolved`` and ``ValueError``: see ``resuming.compare``.
    """
    try:
        changed = resuming.compare(before, now, fixed, resolved)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    return f"resuming with changed settings: {', '.join(changed)}" if changed else ""


def say(console: Console, line: str) -> None:
    """On the terminal as one line, however long, and in log.txt."""
    console.print(line, markup=False, soft_wrap=True, highlight=False)
    log.info(line)


def describe(run_dir: Path, settings: str) -> None:
    """Write down what the run is told, as YAML, and where it runs."""
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(settings, encoding="utf-8")
    (run_dir / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")


def environment() -> dict[str, object]:
    """Versions, machine and git revision, so that a run can be explained later."""
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
    """Of the source, where it is a checkout and git is installed."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


@contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Everything to a file, warnings to the terminal too."""
    handler = logging.FileHandler(path, encoding="utf-8")
    screen = RichHandler(
        logging.WARNING, console, show_time=False, show_level=False, show_path=False,
        highlighter=NullHighlighter(),
    )  # fmt: skip
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("workers")
    root.addHandler(handler)
    root.addHandler(screen)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.removeHandler(screen)
        handler.close()


@contextmanager
def stop_on_signal(console: Console) -> Iterator[list[int]]:
    """A list that fills when Ctrl-C or SIGTERM asks to stop; a second one stops at once."""
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        console.print("stopping after this step")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
