"""One training run in its directory: who plays, where the figures go, how it ends."""

import json
import logging
import os
import platform
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import torch
from rich.console import Console

import games
from alphazero import checkpoint, config, loop
from alphazero.config import Config
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.loop import Hooks, LocalFleet, Run
from alphazero.replay import Replay
from alphazero.types import GameRecord
from workers import evaluate
from workers.dashboard import Dashboard
from workers.tracking import Tracker

log = logging.getLogger(__name__)

PACKAGES = ("torch", "ray", "numpy", "numba", "wandb", "openvino")
SMALL_MACHINE = 4
"""CPU cores up to which a machine without a GPU trains faster in one process than on Ray."""


def main(settings: Config, run_dir: Path, resume: bool, ray: str, time_limit: float | None) -> int:
    """Train in ``run_dir``; ``time_limit`` in minutes. The process's exit status.

    ``ValueError`` where ``resume`` finds no checkpoint or one of another game or network.
    """
    console = Console()
    ray = choose_ray(ray)
    settings = with_threads(settings, ray)
    limit = time_limit or settings.training.time_limit_minutes
    start = newest_checkpoint(run_dir, settings, console) if resume else None
    _describe_run(run_dir, settings)
    with ExitStack() as stack:
        stack.enter_context(_log_file(run_dir / "log.txt"))
        run = stack.enter_context(_parts(settings, run_dir, ray, console))
        if start:
            loop.resume(run, start)
        first = run.learner.step
        tracker = Tracker(run_dir, settings.tracking, config.as_dict(settings), resume, first)
        stack.callback(tracker.close)
        stop = stack.enter_context(_stop_on_signal(console))
        seconds = limit * 60 if limit else None
        dashboard = Dashboard(settings.training.steps, console, seconds, first)
        where = "in this process" if ray == "off" else f"on Ray ({ray})"
        dashboard.message(
            f"{settings.game}: self-play {where}; learner {run.learner.precision}, "
            f"{settings.training.threads} threads\n{tracker.status}"
        )
        with dashboard:
            monitor = Monitor(settings, run_dir, tracker, dashboard, seconds)
            hooks = Hooks(
                log=monitor.log, games=monitor.games, saved=monitor.saved,
                time_used=monitor.time_used, stop=lambda: bool(stop),
            )  # fmt: skip
            loop.train(run, hooks)
        _farewell(settings, run_dir, monitor, console, interrupted=bool(stop))
    return 130 if stop else 0


def choose_ray(ray: str) -> str:
    """``auto`` spelled out: ``off`` on a small machine without a GPU, else ``local``."""
    if ray != "auto":
        return ray
    small = (os.cpu_count() or 1) <= SMALL_MACHINE and not torch.cuda.is_available()
    return "off" if small else "local"


def with_threads(settings: Config, ray: str) -> Config:
    """``training.threads: auto`` spelled out: all cores where playing and learning take turns."""
    if settings.training.threads != "auto":
        return settings
    threads = (os.cpu_count() or 1) if ray == "off" else 1
    return replace(settings, training=replace(settings.training, threads=threads))


def newest_checkpoint(run_dir: Path, settings: Config, console: Console) -> Path | None:
    """Where to go on from. Says which settings differ from the run's, and refuses those that
    cannot. None when the run was stopped before its first checkpoint."""
    path = checkpoint.newest(run_dir, report=lambda line: console.print(line, markup=False))
    if path is None:
        console.print(f"{run_dir} holds no checkpoint yet: starting from step 0")
        return None
    before, now = config.as_dict(checkpoint.load(path).config), config.as_dict(settings)
    for key in ("game", "network", "seed"):
        if before[key] != now[key]:
            raise ValueError(f"--resume: {key} was {before[key]} and cannot become {now[key]}")
    changed = sorted(key for key in now if before[key] != now[key])
    if changed:
        console.print(f"resuming with changed settings: {', '.join(changed)}")
    return path


@contextmanager
def _parts(settings: Config, run_dir: Path, ray: str, console: Console) -> Iterator[Run]:
    """Learner, replay and fleet; closed in the end."""
    game = games.make(settings.game)
    # Several torch threads in a process wait for each other whenever another process takes a core.
    torch.set_num_threads(1)
    learner = Learner(game, settings.network, settings.optimizer, settings.training, settings.seed)
    with ExitStack() as stack:
        if ray == "off":
            replay = Replay(game, run_dir / "games", settings.replay, console.print)
            stack.callback(replay.close)
            evaluator = NetworkEvaluator(game, settings.network, settings.inference)
            fleet = LocalFleet(game, settings.search, settings.selfplay, evaluator, settings.seed)
        else:
            from workers.fleet import RayFleet  # which takes Ray's seconds to import

            fleet = RayFleet(settings, run_dir, ray)
            replay = fleet.replay
        stack.callback(fleet.close)
        yield Run(settings, run_dir, learner, replay, fleet)


class Monitor:
    """Turns what the loop reports into figures, examples and matches."""

    def __init__(
        self,
        settings: Config,
        run_dir: Path,
        tracker: Tracker,
        dashboard: Dashboard,
        seconds: float | None,
    ):
        self._settings, self._run_dir = settings, run_dir
        self._tracker, self._dashboard, self._seconds = tracker, dashboard, seconds
        self._began = self._window_began = time.monotonic()
        self._played = self._rows = self._steps = 0
        self._rates: dict[str, float] = {}
        self._evaluated = 0
        self._example: GameRecord | None = None

    def time_used(self) -> float:
        """Share of the time limit that is gone; 0 where there is none."""
        return (time.monotonic() - self._began) / self._seconds if self._seconds else 0.0

    def games(self, records: list[GameRecord]) -> None:
        self._played += len(records)
        self._rows += sum(map(len, records))
        self._example = records[-1] if records else self._example

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self._steps += 1
        seconds = time.monotonic() - self._window_began
        if seconds > 5:
            batch = self._settings.training.batch_size * self._settings.tracking.log_every
            self._rates = {
                "games_per_second": self._played / seconds,
                "positions_per_second": self._rows / seconds,
                "samples_per_second": self._steps * batch / seconds,
            }
            self._window_began, self._played, self._rows, self._steps = time.monotonic(), 0, 0, 0
        metrics = metrics | self._rates | {"minutes": (time.monotonic() - self._began) / 60}
        self._tracker.log(step, metrics)
        self._dashboard.update(step, metrics)

    def saved(self, step: int, path: Path) -> None:
        """A new checkpoint: show a game and, when it is time again, let it play a match."""
        if self._example is not None:
            game = games.make(self._settings.game)
            self._tracker.text(step, "example_game", evaluate.as_text(game, self._example))
        every = self._settings.evaluation.every
        if every and step // every > self._evaluated:
            self._evaluated = step // every
            result = evaluate.match(path, self._settings)
            self._tracker.log(step, evaluate.figures(result))
            self._dashboard.message(f"step {step:,}: {evaluate.sentence(result)}")


def _farewell(
    settings: Config, run_dir: Path, monitor: Monitor, console: Console, interrupted: bool
) -> None:
    path = checkpoint.resolve(run_dir)
    if interrupted:
        console.print(f"stopped; {path} is saved, --resume --run-dir {run_dir} goes on from it")
        return
    console.print(f"done: {path}")
    if settings.evaluation.games:
        console.print(evaluate.sentence(evaluate.match(path, settings)), soft_wrap=True)
    console.print(
        f"play against it: alphazero play {settings.game} --player checkpoint:path={run_dir}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def _describe_run(run_dir: Path, settings: Config) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "config.yaml").write_text(config.describe(settings), encoding="utf-8")
    (run_dir / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n")


def environment() -> dict[str, object]:
    """Versions, machine and git revision, so that a run can be explained later."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": versions,
        "git": revision.stdout.strip() or None,
    }


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("workers")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


@contextmanager
def _stop_on_signal(console: Console) -> Iterator[list[int]]:
    """A list that fills when Ctrl-C or SIGTERM asks to stop; a second one stops at once."""
    asked: list[int] = []

    def handle(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        console.print("stopping after this step; a checkpoint will be saved")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
