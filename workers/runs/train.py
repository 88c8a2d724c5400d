"""One training run in its directory: who plays, where the figures go, how it ends."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

from alphazero import checkpoint, config_file, local_run, loop
from alphazero.checkpoint import Checkpoint
from alphazero.config import Config
from alphazero.limiter import Limiter
from alphazero.loop import Hooks, Run
from alphazero.nn.device import cores
from alphazero.resuming import FIXED, RESOLVED
from workers.runs import monitoring, run_directory
from workers.runs.tracking import Tracker
from workers.terminal.dashboard import Dashboard

SMALL_MACHINE = 4
"""CPU cores up to which a machine without a GPU trains faster in one process than on Ray."""


def main(settings: Config, run_dir: Path, resume: bool, ray: str, time_limit: float | None) -> int:
    """Train in ``run_dir``; ``time_limit`` in minutes. The process's exit status.

    ``ValueError`` where ``resume`` finds a checkpoint that these settings cannot follow.
    """
    console = Console()
    start = newest_checkpoint(run_dir, settings, console) if resume else None
    settings = resolve(settings, start.config.ray if start and ray == "auto" else ray)
    minutes = time_limit or settings.training.time_limit_minutes
    limit = minutes * 60 if minutes else math.inf
    with ExitStack() as stack:
        run = stack.enter_context(_parts(settings, run_dir, console, start is not None))
        before = loop.resume(run, start.path if start else None) if resume else 0.0
        run_directory.describe(run_dir, config_file.as_yaml(settings))
        stack.enter_context(run_directory.logging_to(run_dir / "log.txt", console))
        first = run.learner.step
        tracker = Tracker(run_dir, settings.tracking, config_file.as_dict(settings), resume, first)
        stack.callback(tracker.close)
        dashboard = Dashboard(settings.training.steps, console, limit, first, before)
        dashboard.message(f"{_summary(run)}\n{tracker.status}")
        monitor = monitoring.Monitor(run, tracker, dashboard, before)
        with dashboard, run_directory.stop_on_signal(console) as stop:
            hooks = Hooks(
                log=monitor.log, games=monitor.games, saved=monitor.saved,
                seconds=monitor.seconds, stop=lambda: bool(stop),
            )  # fmt: skip
            loop.train(run, hooks, limit)
        path = checkpoint.resolve(run_dir)
        if stop:
            run_directory.say(
                console, f"stopped; {path} is saved, --resume --run-dir {run_dir} goes on from it"
            )
            return run_directory.INTERRUPTED
        run_directory.say(console, f"done: {path}")
        if not run.learner.step:
            run_directory.say(console, _too_short(run))
        monitor.ended(run.learner.step, path)
        player = f"--player checkpoint:path={run_dir}"
        run_directory.say(
            console, f"play against it: alphazero play {settings.game} {player} --hints"
        )
    return 0


def _too_short(run: Run) -> str:
    settings = run.config
    needed = Limiter(settings.replay, settings.training.batch_size).needed(0)
    return (
        f"nothing was learned: {run.replay.positions:,} positions are stored, the first step asks "
        f"for {needed:,}"
    )


def resolve(settings: Config, ray: str) -> Config:
    """``settings`` with every ``auto`` spelled out that decides how a run goes on after a break."""
    if ray == "auto":
        ray = choose_ray()
    training = settings.training
    if training.threads == "auto":
        local = ray == "off"
        threads = local_run.learner_threads(training.batch_size, cores()) if local else 1
        training = replace(training, threads=threads)
    return replace(settings, ray=ray, training=training)


def choose_ray() -> str:
    """``off`` on a small machine without a GPU, where it is faster, else ``local``."""
    small = cores() <= SMALL_MACHINE and not torch.cuda.is_available()
    return "off" if small else "local"


def newest_checkpoint(run_dir: Path, settings: Config, console: Console) -> Checkpoint | None:
    """Where to go on from. Says which settings differ from the run's, and refuses those that
    cannot. None when the run was stopped before its first checkpoint."""
    path = checkpoint.newest(run_dir, report=lambda line: console.print(line, markup=False))
    if path is None:
        console.print(f"{run_dir} holds no checkpoint yet: starting from step 0")
        return None
    found = checkpoint.load(path)
    before, now = config_file.as_dict(found.config), config_file.as_dict(settings)
    if line := run_directory.compare(before, now, FIXED, RESOLVED):
        console.print(line)
    return found


@contextmanager
def _parts(
    settings: Config, run_dir: Path, console: Console, resumed: bool = False
) -> Iterator[Run]:
    """Learner, replay and fleet; closed in the end. ``resumed``: the weights are a checkpoint's."""
    if settings.ray == "off":
        with local_run.local_run(settings, run_dir, None, resumed, console.print) as run:
            yield run
        return
    from workers.cluster.fleet import RayFleet  # which takes Ray's seconds to import

    learner = local_run.make_learner(settings, resumed)
    with closing(RayFleet(settings, run_dir, settings.ray)) as fleet:
        yield Run(settings, run_dir, learner, fleet.replay, fleet)


def _summary(run: Run) -> str:
    settings = run.config
    where = "in this process" if settings.ray == "off" else f"on Ray ({settings.ray})"
    first = settings.training.initial_weights
    began = f"\nthe first weights are those of {first}" if first else ""
    return (
        f"{settings.game}: self-play {where}; learner {run.learner.precision}, "
        f"{settings.training.threads} threads{began}"
    )
