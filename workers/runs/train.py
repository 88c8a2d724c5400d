"""Train an agent in a run directory: choose the parts, run the loop, report the result."""

import importlib.util
import math
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import torch
from rich.console import Console

from alphazero import checkpoint, config_file, local_run, loop
from alphazero.checkpoint import Checkpoint
from alphazero.config import Config
from alphazero.limiter import Limiter
from alphazero.loop import Run
from alphazero.nn import extras
from alphazero.nn.device import cores
from alphazero.parts import game_of, memory_of
from alphazero.resuming import FIXED, RESOLVED
from alphazero.selfplay import shortened_openings
from alphazero.targets import TARGETS
from workers.runs import run_directory
from workers.runs.monitoring import Monitor
from workers.runs.tracking import Tracker
from workers.terminal.dashboard import Dashboard

SMALL_MACHINE = 4
"""CPU cores up to which a machine without a GPU trains faster in one process than on Ray."""


def main(settings: Config, run_dir: Path, resume: bool, ray: str, time_limit: float | None) -> int:
    """Train in ``run_dir`` and return the process's exit status.

    ``resume`` continues the run there. ``ray`` is ``off``, ``local``, an address or ``auto``;
    ``time_limit`` in minutes replaces that of ``settings``. ``ValueError``, one line: the run's
    checkpoint cannot be continued with these settings.
    """
    console = Console()
    start = newest_checkpoint(run_dir, settings, console) if resume else None
    ray = start.config.ray if start and ray == "auto" else ray
    settings = local_run.resolve(settings, choose_ray() if ray == "auto" else ray)
    minutes = time_limit or settings.training.time_limit_minutes
    limit = minutes * 60 if minutes else math.inf
    with ExitStack() as stack:
        run = stack.enter_context(_parts(settings, run_dir, console, start is not None))
        before = loop.resume(run, start.path if start else None) if resume else 0.0
        run_directory.write_settings(run_dir, config_file.as_yaml(settings))
        stack.enter_context(run_directory.log_to_file(run_dir / "log.txt", console))
        first = run.learner.step
        resolved = config_file.as_dict(settings)
        tracker = stack.enter_context(Tracker(run_dir, settings.tracking, resolved, resume, first))
        dashboard = Dashboard(settings.training.steps, console, limit, first, before)
        dashboard.message(f"{_summary(run)}\n{tracker.status}")
        monitor = Monitor(run, tracker, dashboard, before)
        with dashboard, run_directory.stop_on_signal(console) as signals:
            loop.train(run, monitor.hooks(stop=lambda: bool(signals)), limit)
        path = checkpoint.resolve(run_dir)
        if signals:
            run_directory.report(
                console, f"stopped; {path} is saved, --resume --run-dir {run_dir} continues from it"
            )
            return run_directory.INTERRUPTED
        _finish(run, path, monitor, console)
    return 0


def newest_checkpoint(run_dir: Path, settings: Config, console: Console) -> Checkpoint | None:
    """The checkpoint to continue from; None where the run was stopped before its first one.

    Prints which settings differ from the run's; ``ValueError`` for one that cannot change, and for
    other rules of the game.
    """
    start = local_run.newest_checkpoint(run_dir, lambda line: console.print(line, markup=False))
    if start is not None:
        before, now = config_file.as_dict(start.config), config_file.as_dict(settings)
        if line := run_directory.describe_changes(before, now, FIXED, RESOLVED):
            console.print(line)
        checkpoint.check_rules(start, game_of(settings))
    return start


def choose_ray() -> str:
    """``off`` on a small machine without a GPU, where it is faster, else ``local``."""
    small = cores() <= SMALL_MACHINE and not torch.cuda.is_available()
    return "off" if small else "local"


@contextmanager
def _parts(
    settings: Config, run_dir: Path, console: Console, resumed: bool = False
) -> Iterator[Run]:
    """The run's learner, replay and fleet, closed at the end.

    ``resumed``: a checkpoint's weights will be loaded, so the initial weights are not needed.
    """
    if settings.ray == "off":
        console.print(str(memory_of(settings)), markup=False, highlight=False)
        with local_run.local_run(settings, run_dir, None, resumed, console.print) as run:
            yield run
        return
    if importlib.util.find_spec("ray") is None:
        raise ValueError(extras.missing(f"ray={settings.ray} needs Ray", "cluster"))
    console.print("starting self-play on Ray, which takes up to half a minute")
    from workers.cluster.fleet import RayFleet  # Ray takes seconds to import

    learner = local_run.make_learner(settings, resumed)
    with closing(RayFleet(settings, run_dir, settings.ray)) as fleet:
        console.print(f"each process of {fleet.memory}", markup=False, highlight=False)
        yield Run(settings, run_dir, learner, fleet.replay, fleet)


def _summary(run: Run) -> str:
    settings = run.config
    place = "in this process" if settings.ray == "off" else f"on Ray ({settings.ray})"
    source = settings.training.initial_weights
    initial = f"\nthe initial weights are those of {source}" if source else ""
    cut = shortened_openings(game_of(settings), settings.selfplay.random_opening_plies)
    openings = f"\n{cut}" if cut else ""
    return (
        f"{settings.game}: self-play {place}; learner {run.learner.precision}, "
        f"{settings.training.threads} threads{initial}{_untaught_heads(settings)}{openings}"
    )


def _untaught_heads(settings: Config) -> str:
    """A line that names the heads without a target in games that end by a proof, if there are any
    and games may end so."""
    heads = [name for name in settings.network.heads if not TARGETS[name].of_proven]
    if not heads or not settings.selfplay.stop_when_proven:
        return ""
    return (
        f"\ngames that end by a proof teach nothing to the heads {', '.join(heads)}; "
        "selfplay.stop_when_proven=false plays all games to their end"
    )


def _finish(run: Run, path: Path, monitor: Monitor, console: Console) -> None:
    """Report the last checkpoint, let it play the last match, and print how to play against it."""
    run_directory.report(console, f"done: {path}")
    if not run.learner.step:
        run_directory.report(console, _too_short(run))
    monitor.ended(run.learner.step, path)
    player = f"--player checkpoint:path={run.directory}"
    command = f"alphazero play {run.config.game} {player} --hints"
    run_directory.report(console, f"play against it: {command}")


def _too_short(run: Run) -> str:
    needed = Limiter(run.config.replay, run.config.training.batch_size).needed(0)
    return (
        f"nothing was learned: {run.replay.positions:,} positions are stored, the first step needs "
        f"{needed:,}"
    )
