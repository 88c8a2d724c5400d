"""A training run in this process, without Ray: its parts put together, and trained."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import games
from alphazero import checkpoint, config_file, file_locks, loop, resuming
from alphazero.checkpoint import Description
from alphazero.config import Config
from alphazero.errors import PartLost, one_line
from alphazero.game_time import GameTime
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.learner_processes import ProcessLearner
from alphazero.local_fleet import LocalFleet
from alphazero.loop import Hooks, Run
from alphazero.metrics_file import MetricsFile, as_json_number
from alphazero.network import check_weights
from alphazero.nn.device import cores
from alphazero.nn.parallel import keep_memory
from alphazero.parts import game_of
from alphazero.protocols import Collected
from alphazero.ranges import MOST_MINUTES
from alphazero.replay import Replay
from alphazero.selfplay import shortened_openings
from alphazero.types import Ending, Search

log = logging.getLogger(__name__)

SMALLEST_SHARE = 64
"""Rows of a batch that one thread of the learner should have at the least."""
INITIAL_WEIGHTS = "training.initial_weights"
"""The beginning of messages about them."""
NO_STAGE = "YOUR_FIRST_STAGE"
"""The initial weights in configurations of later stages: a name to be replaced."""


def train(
    settings: Config,
    directory: str | Path,
    *,
    resume: bool = False,
    search: Search | None = None,
    time_limit_minutes: float | None = None,
    on_log: Callable[[int, dict[str, float]], object] | None = None,
    on_checkpoint: Callable[[int, Path], object] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Path:
    """Train an agent by self-play in this process; the path of the last checkpoint.

    ``directory`` becomes a run's: ``config.yaml``, ``metrics.jsonl``, ``games/`` and
    ``checkpoints/``. ``load_agent(directory)`` and the commands accept it. ``resume`` continues the
    run in ``directory`` from its newest checkpoint, bit for bit where there is no time limit.

    ``search`` replaces ``settings.search``; it is not written down, so pass it again on resuming
    and to ``load_agent``. ``time_limit_minutes``, earlier parts of the run included, replaces
    ``training.time_limit_minutes``. ``settings.ray`` is ignored. ``on_log(step, metrics)`` is
    called each ``tracking.log_every`` steps, ``on_checkpoint(step, path)`` after each checkpoint.
    ``stop`` is called between two steps; True saves a checkpoint and ends the training. No match is
    played at the end, and nothing is sent to Weights & Biases.

    ``ValueError``, one line: ``directory`` is not empty and ``resume`` is False, another run writes
    to it, the run there cannot be resumed with these settings, or the time limit is not above 0.
    ``RunFailed``: the training diverged, or a process of the learner was lost; then the last step
    is saved.
    """
    if time_limit_minutes is not None and not 0 < time_limit_minutes <= MOST_MINUTES:
        raise ValueError(
            f"time_limit_minutes must be above 0 and at most {MOST_MINUTES:,}, "
            f"not {time_limit_minutes}"
        )
    directory = Path(directory)
    _check_processes(settings)
    settings = with_time_limit(resolve(settings, "off"), time_limit_minutes)
    _check_directory(directory, resume)
    limit = 60 * (settings.training.time_limit_minutes or math.inf)
    openings = shortened_openings(game_of(settings), settings.selfplay.random_opening_plies)
    if openings:
        log.warning(openings)
    with ExitStack() as stack:
        stack.enter_context(file_locks.held(directory))
        start = _start(directory, settings) if resume else None
        stack.enter_context(_torch_threads_restored())
        parts = local_run(settings, directory, search, start is not None, log.warning)
        run = stack.enter_context(parts)
        before = loop.resume(run, start.path if start else None) if resume else 0.0
        (directory / "config.yaml").write_text(config_file.as_yaml(settings), encoding="utf-8")
        metrics = MetricsFile(directory / "metrics.jsonl", resume, run.learner.step)
        with closing(metrics):
            hooks = _hooks(metrics, before, on_log, on_checkpoint, stop)
            try:
                loop.train(run, hooks, limit)
            except PartLost:
                loop.save_last(run, hooks.seconds())
                raise
    return checkpoint.resolve(directory, log.warning)


def with_time_limit(settings: Config, minutes: float | None) -> Config:
    """``settings`` that end after these minutes; None: after their own."""
    if minutes is None:
        return settings
    return replace(settings, training=replace(settings.training, time_limit_minutes=minutes))


@contextmanager
def local_run(
    settings: Config,
    directory: Path,
    search: Search | None = None,
    resumed: bool = False,
    report: Callable[[str], object] = print,
) -> Iterator[Run]:
    """The parts of a run in this process; closed at the end.

    ``search`` replaces ``settings.search``. ``resumed``: a checkpoint's weights will be loaded, so
    ``training.initial_weights`` are not needed. ``report`` is called with a line for each damaged
    file of games. ``ValueError``, one line: another run stores games in ``directory``, the initial
    weights do not fit, or a device is not available.
    """
    with ExitStack() as stack:
        learner = stack.enter_context(closing(make_learner(settings, resumed, report)))
        game, evaluated = game_of(settings), game_of(settings)
        game_time = None
        if settings.game.partition(":")[0] not in games.registered():
            # The author of a game can make it faster.
            game_time = GameTime()
            game_time.watch(evaluated)
        evaluator = NetworkEvaluator(evaluated, settings.network, settings.inference)
        heads = tuple(settings.network.heads)
        replay = Replay(game, directory / "games", settings.replay, report, heads=heads)
        stack.enter_context(closing(replay))
        fleet = LocalFleet(settings, replay, evaluator, True, search, game_time)
        stack.enter_context(closing(fleet))
        yield Run(settings, directory, learner, replay, fleet)


def make_learner(
    settings: Config, resumed: bool, report: Callable[[str], object] = print
) -> Learner:
    """The learner of a run, in a process prepared for it: torch then uses one thread per call.

    ``close`` ends the other processes of ``training.processes``, which are started here.

    ``report`` is called with a line for what the initial weights have or lack.
    """
    game = game_of(settings)
    # Several torch threads in a process wait for each other whenever another process takes a core.
    torch.set_num_threads(1)
    keep_memory()
    training = settings.training
    if training.processes == 1:
        learner = Learner(game, settings.network, settings.optimizer, training, settings.seed)
    else:
        learner = ProcessLearner(settings)
    if settings.training.initial_weights and not resumed:
        try:
            _begin(settings, learner, lambda line: report(f"{INITIAL_WEIGHTS}: {line}"))
        except ValueError as error:
            raise ValueError(f"{INITIAL_WEIGHTS}: {error}{_of_stage(settings)}") from None
    if isinstance(learner, ProcessLearner):
        learner.start()
    return learner


def learner_threads(batch_size: int, available: int) -> int:
    """How many threads share a batch where playing and learning share ``available`` cores.

    Each has at least ``SMALLEST_SHARE`` rows: BatchNorm needs large shares.
    """
    return min(available, max(1, batch_size // SMALLEST_SHARE))


def resolve(settings: Config, ray: str) -> Config:
    """``settings`` without the ``auto`` values that a resumed run must not choose again.

    ``ray``: where the run plays, ``off`` on this machine. Where self-play has processes of its own,
    the learner has one thread: they need the other cores.
    """
    training, play = settings.training, settings.selfplay
    if ray == "off" and play.processes == "auto":
        play = replace(play, processes=0)
    if training.threads == "auto":
        rows, available = training.batch_size, cores()
        rows, available = rows // training.processes, available // training.processes
        here = ray == "off" and play.processes == 0
        threads = learner_threads(rows, max(1, available)) if here else 1
        training = replace(training, threads=threads)
    return replace(settings, ray=ray, training=training, selfplay=play)


def newest_checkpoint(directory: Path, report: Callable[[str], object]) -> Description | None:
    """The checkpoint from which a run continues; None where it was stopped before its first one.

    ``report`` is called with a line for each damaged checkpoint, and where there is none.
    ``ValueError``: a file of the run is a link, a FIFO, or anything else but a regular file.
    """
    resuming.check_folder(directory)
    path = checkpoint.newest(directory, report)
    if path is None:
        report(f"{directory} holds no checkpoint yet: starting from step 0")
        return None
    return checkpoint.describe(path)


def check_start(start: Description, settings: Config) -> None:
    """Compare the rules of the game and the shapes of the network with those of the checkpoint.

    ``ValueError``, one line: they have changed, as where a game of one's own has other planes now.
    Nothing of the run has been opened by then.
    """
    game = game_of(settings)
    checkpoint.check_rules(start, game)
    check_weights(game, settings.network, start.shapes, start.path)


def _check_processes(settings: Config) -> None:
    """``ValueError`` where self-play is to have processes of its own, which commands start."""
    if settings.selfplay.processes not in (0, "auto"):
        raise ValueError(
            "selfplay.processes: alphazero.train plays in this process; `alphazero train` starts "
            "others"
        )


def _check_directory(directory: Path, resume: bool) -> None:
    """``ValueError`` for a new run's directory that is not empty, and a missing one to resume."""
    if not resume and not file_locks.is_empty(directory):
        raise ValueError(f"{directory} is not empty: resume=True continues the run there")
    if resume and not directory.is_dir():
        raise ValueError(f"resume: there is no run directory {directory}")


def _start(directory: Path, settings: Config) -> Description | None:
    """The checkpoint from which a run resumes; None where it was stopped before its first one."""
    start = newest_checkpoint(directory, log.warning)
    if start is not None:
        resuming.compare(config_file.as_dict(start.config), config_file.as_dict(settings))
        check_start(start, settings)
    return start


def _begin(settings: Config, learner: Learner, report: Callable[[str], object]) -> None:
    """Give ``learner`` the initial weights of ``settings``.

    ``ValueError`` where they are not of these settings' network, or of one that differs in having
    fewer blocks, other auxiliary heads, or other parameters of the same game, such as the size of
    its board. ``report`` is called with a line for what differs.
    """
    assert settings.training.initial_weights
    first = checkpoint.describe(settings.training.initial_weights)
    trees = config_file.as_dict(first.config), config_file.as_dict(settings)
    for key, (theirs, ours) in resuming.differences(*trees).items():
        if key.partition(".")[0] in ("game", "network") and not _may_differ(key, theirs, ours):
            raise ValueError(
                f"{first.path} was trained with {key} {one_line(str(theirs))}, these settings say "
                f"{ours}"
            )
    check_start(first, first.config)
    _check_board(game_of(settings).observation_shape, game_of(first.config).observation_shape)
    if not games.same(first.config.game, settings.game):
        report(f"trained as {one_line(first.config.game)}")
    learner.initialize_from(checkpoint.complete(first).weights, report)


def _of_stage(settings: Config) -> str:
    """The end of a message where the file's own name of a first stage was left as it is."""
    if settings.training.initial_weights != NO_STAGE:
        return ""
    return (
        "; the comment at the top of the configuration says where a first stage comes from "
        "(`alphazero configs` prints those of this program)"
    )


def _check_board(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    """``ValueError`` for planes of as many cells in other rows: the weights of dense layers would
    fit, but belong to other cells."""
    if ours != theirs and math.prod(ours) == math.prod(theirs):
        raise ValueError(f"the planes there are {theirs}, not {ours}: cells in another order")


def _may_differ(key: str, theirs: Any, ours: Any) -> bool:
    """Whether initial weights may come from a run whose setting ``key`` is ``theirs``."""
    if key == "game":
        return games.without_parameters(theirs) == games.without_parameters(ours)
    return (key == "network.blocks" and theirs < ours) or key.startswith("network.heads.")


def _hooks(
    metrics: MetricsFile,
    before: float,
    on_log: Callable[[int, dict[str, float]], object] | None,
    on_checkpoint: Callable[[int, Path], object] | None,
    stop: Callable[[], bool] | None,
) -> Hooks:
    """``before``: the seconds that earlier parts of the run have lasted."""
    began = time.monotonic() - before

    def seconds() -> float:
        return time.monotonic() - began

    cut = 0

    def games(collected: Collected) -> None:
        nonlocal cut
        if not cut and (cut := int(collected.endings[Ending.LENGTH])):
            log.warning("%d games reached max_plies and ended by adjudication", cut)

    def write(step: int, values: dict[str, float]) -> None:
        spent = {"minutes": seconds() / 60, "cpu_minutes": time.process_time() / 60}
        values = values | spent
        metrics.write(step, {name: as_json_number(value) for name, value in values.items()})
        if on_log is not None:
            on_log(step, values)

    def saved(step: int, path: Path) -> None:
        if on_checkpoint is not None:
            on_checkpoint(step, path)

    def is_stopped() -> bool:
        return stop is not None and stop()

    return Hooks(log=write, games=games, saved=saved, seconds=seconds, stop=is_stopped)


@contextmanager
def _torch_threads_restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
