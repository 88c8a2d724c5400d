"""One training run in its directory: who plays, where the figures go, how it ends."""

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console

import games
from alphazero import checkpoint, config, loop
from alphazero.checkpoint import Checkpoint
from alphazero.config import Config
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.loop import Hooks, LocalFleet, Run
from alphazero.nn.device import cores
from alphazero.nn.parallel import keep_memory
from alphazero.nn.weights import Weights
from alphazero.replay import Replay
from alphazero.types import GameRecord
from workers import evaluate, runs
from workers.dashboard import Dashboard
from workers.tracking import Tracker

RESOLVED = ("ray", "training.threads")
"""Settings that ``resolve`` spells out: no change when a run is resumed."""
FIXED = ("game", "network.", "seed", "optimizer.name", "training.initial_weights")
"""Settings, or what they begin with, that a resumed run keeps."""
SMALLEST_SHARE = 64
"""Rows of a batch that one thread of the learner should have at the least."""
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
        runs.describe(run_dir, config.describe(settings))
        stack.enter_context(runs.logging_to(run_dir / "log.txt", console))
        first = run.learner.step
        tracker = Tracker(run_dir, settings.tracking, config.as_dict(settings), resume, first)
        stack.callback(tracker.close)
        dashboard = Dashboard(settings.training.steps, console, limit, first, before)
        dashboard.message(f"{_summary(run)}\n{tracker.status}")
        monitor = Monitor(run, tracker, dashboard, before)
        with dashboard, runs.stop_on_signal(console) as stop:
            hooks = Hooks(
                log=monitor.log, games=monitor.games, saved=monitor.saved,
                seconds=monitor.seconds, stop=lambda: bool(stop),
            )  # fmt: skip
            loop.train(run, hooks, limit)
        path = checkpoint.resolve(run_dir)
        if stop:
            runs.say(
                console, f"stopped; {path} is saved, --resume --run-dir {run_dir} goes on from it"
            )
            return runs.INTERRUPTED
        runs.say(console, f"done: {path}")
        if not run.learner.step:
            runs.say(console, _too_short(run))
        monitor.ended(run.learner.step, path)
        player = f"--player checkpoint:path={run_dir}"
        runs.say(console, f"play against it: alphazero play {settings.game} {player} --hints")
    return 0


def _too_short(run: Run) -> str:
    settings = run.config
    needed = loop.Limiter(settings.replay, settings.training.batch_size).needed(0)
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
        # Playing and learning share all cores in one process; BatchNorm wants large shares.
        most = max(1, training.batch_size // SMALLEST_SHARE)
        threads = min(cores(), most) if ray == "off" else 1
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
    before, now = config.as_dict(found.config), config.as_dict(settings)
    if line := runs.compare(before, now, FIXED, RESOLVED):
        console.print(line)
    return found


@contextmanager
def _parts(
    settings: Config, run_dir: Path, console: Console, resumed: bool = False
) -> Iterator[Run]:
    """Learner, replay and fleet; closed in the end. ``resumed``: the weights are a checkpoint's."""
    game = games.make(settings.game)
    # Several torch threads in a process wait for each other whenever another process takes a core.
    torch.set_num_threads(1)
    keep_memory()
    learner = Learner(game, settings.network, settings.optimizer, settings.training, settings.seed)
    if settings.training.initial_weights and not resumed:
        learner.begin_with(_trained(settings, settings.training.initial_weights))
    with ExitStack() as stack:
        if settings.ray == "off":
            evaluator = NetworkEvaluator(game, settings.network, settings.inference)
            replay = Replay(game, run_dir / "games", settings.replay, console.print)
            stack.callback(replay.close)
            fleet = LocalFleet(game, settings.search, settings.selfplay, evaluator, settings.seed)
        else:
            from workers.fleet import RayFleet  # which takes Ray's seconds to import

            fleet = RayFleet(settings, run_dir, settings.ray)
            replay = fleet.replay
        stack.callback(fleet.close)
        yield Run(settings, run_dir, learner, replay, fleet)


def _trained(settings: Config, path: str) -> Weights:
    """The weights at ``path``. ``ValueError`` where they are not of these settings' network, or of
    one that has only fewer blocks."""
    try:
        found = checkpoint.load(path)
    except ValueError as error:
        raise ValueError(f"training.initial_weights: {error}") from None
    trees = config.as_dict(found.config), config.as_dict(settings)
    for key, (theirs, ours) in runs.differences(*trees).items():
        deeper = key == "network.blocks" and theirs < ours
        if key.partition(".")[0] in ("game", "network") and not deeper:
            raise ValueError(
                f"training.initial_weights: {found.path} was trained with {key} {theirs}, these "
                f"settings say {ours}"
            )
    return found.weights


def _summary(run: Run) -> str:
    settings = run.config
    where = "in this process" if settings.ray == "off" else f"on Ray ({settings.ray})"
    first = settings.training.initial_weights
    began = f"\nthe first weights are those of {first}" if first else ""
    return (
        f"{settings.game}: self-play {where}; learner {run.learner.precision}, "
        f"{settings.training.threads} threads{began}"
    )


class Monitor:
    """Turns what the loop reports into figures, examples and matches."""

    def __init__(self, run: Run, tracker: Tracker, dashboard: Dashboard, before: float):
        """``before``: how many seconds the run had lasted when it was resumed."""
        self._settings, self._learner = run.config, run.learner
        self._tracker, self._dashboard = tracker, dashboard
        self._window_began = time.monotonic()
        self._began = self._window_began - before
        self._played = self._rows = self._steps = 0
        self._rates: dict[str, float] = {}
        self._matches = run.learner.step // max(1, run.config.evaluation.every)
        self._matched: Path | None = None
        self._example: GameRecord | None = None
        self._sample_due, self._sample = math.inf, None
        if run.config.evaluation.suite_every_minutes:
            try:
                self._sample, self._sample_due = evaluate.Sample(run.config), 0.0
            except ValueError as error:
                dashboard.message(f"mistakes are not counted: {error}")

    def seconds(self) -> float:
        """How long the run has lasted, its earlier parts included."""
        return time.monotonic() - self._began

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
        spent = {"minutes": self.seconds() / 60, "cpu_minutes": time.process_time() / 60}
        metrics = metrics | self._rates | spent
        if self.seconds() >= self._sample_due:
            metrics |= self._mistakes(step)
        self._tracker.log(step, metrics)
        self._dashboard.update(step, metrics)

    def _mistakes(self, step: int) -> dict[str, float]:
        """The sample of the suite, and when it is time for the next."""
        assert self._sample is not None
        began = self.seconds()
        figures = self._sample.figures(self._learner.weights(), step)
        took = self.seconds() - began
        pause = 60 * self._settings.evaluation.suite_every_minutes
        self._sample_due = began + max(pause, 100 * took)
        return figures

    def saved(self, step: int, path: Path) -> None:
        """A new checkpoint: show a game and, when it is time again, let it play a match."""
        if self._example is not None:
            game = games.make(self._settings.game)
            self._tracker.text(step, "example_game", evaluate.as_text(game, self._example))
        every = self._settings.evaluation.every
        if every and step // every > self._matches:
            self._matches = step // every
            self.match(step, path)

    def ended(self, step: int, path: Path) -> None:
        """The last figures of a run that has come to its end."""
        if self._sample is not None:
            self._tracker.log(step, self._mistakes(step))
        self.match(step, path)

    def match(self, step: int, path: Path) -> None:
        """Let the checkpoint meet the opponent of the settings, unless it just has."""
        if self._settings.evaluation.games == 0 or path == self._matched:
            return
        self._matched = path
        result = evaluate.match(path, self._settings)
        self._tracker.log(step, evaluate.figures(result))
        self._dashboard.message(f"step {step:,}: {evaluate.sentence(result)}")
