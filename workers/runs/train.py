"""Train an agent in a run directory: choose the parts, run the loop, report the result."""

import importlib.util
import math
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from alphazero import addresses, checkpoint, config_checks, config_file, local_run, loop
from alphazero.checkpoint import Description
from alphazero.config import Config
from alphazero.errors import PartLost, one_line, reason
from alphazero.limiter import Limiter
from alphazero.loop import Run
from alphazero.nn import extras
from alphazero.parts import addresses_of, game_of, memory_of
from alphazero.replay import Replay
from alphazero.resuming import FIXED, RESOLVED
from alphazero.selfplay import shortened_openings
from alphazero.targets import of_finished_games
from games.spec import quoted
from workers.node.fleet import NodeFleet
from workers.node.plan import make_plan, this_machine
from workers.runs import export, run_directory
from workers.runs.monitoring import Monitor
from workers.runs.run_copy import RunCopy
from workers.runs.tracking import Tracker
from workers.runs.upload import AGENT
from workers.terminal import signals
from workers.terminal.dashboard import Dashboard
from workers.terminal.output import counted

SMALL_MACHINE = 4
"""CPU cores up to which a machine without a GPU trains faster in one process than in several."""
MOSTLY = 0.5
"""A share of self-play spent in a game of the user's own above which it is worth a line."""


def main(
    settings: Config,
    run_dir: Path,
    resume: bool,
    ray: str,
    time_limit: float | None,
    copy: RunCopy | None = None,
) -> int:
    """Train in ``run_dir`` and return the process's exit status.

    ``resume`` continues the run there. ``ray`` is ``off``, ``local``, an address or ``auto``;
    ``time_limit`` in minutes replaces that of ``settings``. ``copy`` copies ``run_dir`` to a
    storage. ``ValueError``, one line: the run's checkpoint cannot be continued with these settings.
    """
    console, settings = Console(), local_run.with_time_limit(settings, time_limit)
    start = newest_checkpoint(run_dir, settings, console) if resume else None
    followed = resume and (copy is None or not copy.is_fetched)
    if followed and (ended := run_directory.describe_last_end(run_dir / "log.txt")):
        console.print(ended, markup=False, soft_wrap=True, highlight=False)
    settings = _resolve(settings, start, ray)
    if line := config_checks.check_nodes(settings.cluster.nodes, settings.ray):
        console.print(line, markup=False, highlight=False)
    limit = 60 * (settings.training.time_limit_minutes or math.inf)
    with ExitStack() as stack:
        begin_log = stack.enter_context(run_directory.log_to_file(run_dir / "log.txt", console))
        run = stack.enter_context(_parts(settings, run_dir, console, start is not None))
        before = loop.resume(run, start.path if start else None) if resume else 0.0
        run_directory.write_settings(run_dir, config_file.as_yaml(settings))
        begin_log()
        first = run.learner.step
        dashboard = Dashboard(settings.training.steps, console, limit, first, before)
        dashboard.message(_summary(run))
        tracker = stack.enter_context(
            Tracker(run_dir, settings.tracking, dashboard.message, resume, first)
        )
        monitor = Monitor(run, tracker, dashboard, before)
        monitor.fill()
        if copy is not None:
            copy.start(first, run.learner.losses.jump, settings.training.keep_checkpoints)
        named = copy.url if copy else run_dir
        with dashboard, signals.stop_on_signal(console) as received:
            try:
                loop.train(run, _hooks(monitor, run, copy, lambda: bool(received)), limit)
            except PartLost:
                run_directory.report(console, _save_at_end(run, monitor.seconds(), named))
                raise
        path = checkpoint.resolve(run_dir)
        if run.learner.losses.jumped:
            run_directory.report(console, _jumped(run, path))
        if received:
            run_directory.report(
                console,
                f"stopped; {path} is saved, the same command with "
                f"{run_directory.resuming_options(named)} continues from it",
            )
            return run_directory.INTERRUPTED
        _finish(run, path, monitor, console)
        if tracker.is_mirrored:
            _export(path, run_dir / AGENT, dashboard)
    return 0


def newest_checkpoint(run_dir: Path, settings: Config, console: Console) -> Description | None:
    """The checkpoint to continue from; None where the run was stopped before its first one.

    Prints which settings differ from the run's; ``ValueError`` for one that cannot change, and for
    other rules of the game.
    """
    start = local_run.newest_checkpoint(run_dir, lambda line: console.print(line, markup=False))
    if start is not None:
        before, now = config_file.as_dict(start.config), config_file.as_dict(settings)
        if line := run_directory.describe_changes(before, now, FIXED, RESOLVED):
            run_directory.report(console, line)
        local_run.check_start(start, settings)
    return start


def _stored_ray(start: Description) -> str:
    """Where the run played; instead of a cluster's address the one in ``RAY_ADDRESS``.

    A run's folder may come from anyone, and what a cluster sends is executed here. ``ValueError``
    for a cluster where the environment names none.
    """
    if start.config.ray in ("off", "local"):
        return start.config.ray
    if (here := choose_ray()) != "off":
        return here
    raise ValueError(
        f"--resume: the run played on Ray at {one_line(start.config.ray)}: say --ray off, "
        "--ray local or the cluster's address, or set RAY_ADDRESS"
    )


def _resolve(settings: Config, start: Description | None, ray: str) -> Config:
    """``settings`` without ``auto`` for the place of self-play and its numbers of processes."""
    ray = _stored_ray(start) if start and ray == "auto" else ray
    ray = choose_ray() if ray == "auto" else ray
    settings = choose_processes(settings) if ray == "off" else settings
    return local_run.resolve(settings, ray)


def choose_ray() -> str:
    """The cluster that ``RAY_ADDRESS`` names, as for Ray's own commands; ``off`` without one.

    ``ValueError``, one line, where it is no address that a run can join.
    """
    address = os.environ.get("RAY_ADDRESS") or "off"
    with suppress(ValueError):
        config_checks.check_ray(address)
        if address != "auto":
            return address
    raise ValueError(f"RAY_ADDRESS={one_line(address)}: should be an address host:port")


def choose_processes(settings: Config) -> Config:
    """``settings`` with a number of search processes for a run on this machine alone.

    0, which is threads of this process, on a small machine without a GPU, where it is faster.
    """
    play = settings.selfplay
    if play.processes != "auto":
        return settings
    machine = this_machine()
    small = machine.cpus <= SMALL_MACHINE and not machine.gpus
    processes = 0 if small else make_plan(settings, machine).players
    return replace(settings, selfplay=replace(play, processes=processes))


def check_ray(settings: Config) -> None:
    """``ValueError``, one line, where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ValueError(extras.missing(f"ray={settings.ray} needs Ray", "cluster"))


@contextmanager
def _parts(
    settings: Config, run_dir: Path, console: Console, resumed: bool = False
) -> Iterator[Run]:
    """The run's learner, replay and fleet, closed at the end.

    ``resumed``: a checkpoint's weights will be loaded, so the initial weights are not needed.
    """
    # Lines may quote texts of others, such as the game of an agent: brackets in them are no markup.
    report = partial(console.print, markup=False, highlight=False)
    if settings.ray == "off" and settings.selfplay.processes:
        with _node_run(settings, run_dir, report, resumed) as run:
            yield run
        return
    if settings.ray == "off":
        report(str(memory_of(settings)))
        with local_run.local_run(settings, run_dir, None, resumed, report) as run:
            yield run
        return
    check_ray(settings)
    if settings.selfplay.memory is not None:
        memory_of(settings, 1)  # what cannot fit is refused before Ray is started
    report("starting self-play on Ray, which takes up to half a minute")
    from workers.cluster.fleet import RayFleet  # Ray takes seconds to import

    with closing(local_run.make_learner(settings, resumed, report)) as learner:
        with signals.hangup_blocked():
            fleet = RayFleet(settings, run_dir, settings.ray)
        with closing(fleet):
            # The wait has no end; a scheduler that ends it must not leave a request for machines.
            with signals.handled(signals.interrupt, ("SIGTERM", "SIGHUP")):
                fleet.await_nodes(report)
            for line in fleet.describe():
                report(line)
            yield Run(settings, run_dir, learner, fleet.replay, fleet)


@contextmanager
def _node_run(
    settings: Config, run_dir: Path, report: Callable[[str], object], resumed: bool
) -> Iterator[Run]:
    """The parts of a run whose self-play has processes of its own on this machine."""
    game, heads = game_of(settings), tuple(settings.network.heads)
    with ExitStack() as stack:
        learner = local_run.make_learner(settings, resumed, report)
        stack.enter_context(closing(learner))
        replay = Replay(game, run_dir / "games", settings.replay, report, heads=heads)
        stack.enter_context(closing(replay))
        fleet = stack.enter_context(closing(NodeFleet(settings, run_dir, replay)))
        report(f"{fleet.plan.describe()}; each search process of {fleet.memory}")
        yield Run(settings, run_dir, learner, replay, fleet)


def _hooks(
    monitor: Monitor, run: Run, copy: RunCopy | None, stop: Callable[[], bool]
) -> loop.Hooks:
    """The monitor's functions; a checkpoint is copied first, for a match may take minutes."""
    hooks = monitor.hooks(stop)
    if copy is None:
        return hooks

    def saved(step: int, path: Path) -> None:
        copy.saved(step, run.learner.losses.jump)
        monitor.saved(step, path)

    return replace(hooks, saved=saved)


def _save_at_end(run: Run, seconds: float, named: Path | str) -> str:
    """Save what was learned after the loss of a part; a line that says what became of that.

    ``named``: the run's place as the user gave it.
    """
    step = run.learner.step
    try:
        loop.save_last(run, seconds)
    except (OSError, ValueError, RuntimeError) as error:
        return f"step {step:,} could not be saved: {reason(error)}"
    options = run_directory.resuming_options(named)
    return f"step {step:,} is saved; the same command with {options} continues the run"


def _summary(run: Run) -> str:
    settings, threads = run.config, run.config.training.threads
    assert threads != "auto"  # ``local_run.resolve`` has replaced it
    if settings.ray != "off":
        place = f"on Ray ({settings.ray})"
    else:
        players = settings.selfplay.processes
        number = counted(int(players), "search process", "es")
        place = f"in {number}" if players else "in this process"
    count = settings.training.processes
    processes = f"{count} processes of " if count > 1 else ""
    source = settings.training.initial_weights
    initial = f"\nthe initial weights are those of {source}" if source else ""
    cut = shortened_openings(game_of(settings), settings.selfplay.random_opening_plies)
    openings = f"\n{cut}" if cut else ""
    return (
        f"{settings.game}: self-play {place}; learner {run.learner.description}, "
        f"{processes}{counted(threads, 'thread')}"
        f"{initial}{_untaught_heads(settings)}{openings}"
    )


def _untaught_heads(settings: Config) -> str:
    """A line that names the heads without a target in games that end by a proof, if there are any
    and games may end so."""
    heads = of_finished_games(settings.network.heads)
    if not heads or not settings.selfplay.stop_when_proven:
        return ""
    return (
        f"\ngames that end by a proof teach nothing to the heads {', '.join(heads)}; "
        "selfplay.stop_when_proven=false plays all games to their end"
    )


def _finish(run: Run, path: Path, monitor: Monitor, console: Console) -> None:
    """Report the last checkpoint, let it play the last match, and print how to play against it."""

    def report(line: str) -> None:
        run_directory.report(console, line)

    report(f"done: {path}")
    if not run.learner.step:
        report(_too_short(run))
    elif run.learner.step < run.config.training.steps:
        report(
            f"the time limit is used up, earlier parts of the run included: step "
            f"{run.learner.step:,} of {run.config.training.steps:,}; the same command with "
            "--resume and a longer --time-limit goes on"
        )
    monitor.ended(run.learner.step, path)
    share = run.fleet.stats().get("game_share", 0.0)
    if share > MOSTLY:
        report(f"{share:.0%} of self-play was spent in {run.config.game}".replace("%", " %"))
    if run.learner.step:
        report(f"play against it: {_play_command(run)}")


def _play_command(run: Run) -> str:
    """The command that plays against the run's agent, quoted for a shell."""
    player = f"checkpoint:path={quoted(str(run.directory))}"
    command = ["alphazero", "play", run.config.game, "--player", player, "--hints"]
    named = addresses_of(run.config)
    named.pop("game", None)  # its address is typed as the game
    return " ".join(filter(None, (shlex.join(command), addresses.options(named.values()))))


def _jumped(run: Run, path: Path) -> str:
    return (
        f"the loss jumped at step {run.learner.losses.jump:,} and had not come back at step "
        f"{run.learner.step:,}: {path} is from before; a lower optimizer.learning_rate may help"
    )


def _export(path: Path, folder: Path, dashboard: Dashboard) -> None:
    """Export the agent with its card, so that Weights & Biases gets it."""
    try:
        export.export(path, folder)
    except (ValueError, OSError) as error:
        dashboard.message(f"the agent is not sent to Weights & Biases: {reason(error)}")


def _too_short(run: Run) -> str:
    needed = Limiter(run.config.replay, run.config.training.batch_size).needed(0)
    return (
        f"nothing was learned: {run.replay.positions:,} positions are stored, the first step needs "
        f"{needed:,}"
    )
