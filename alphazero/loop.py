"""The training loop, the same on a laptop and on a cluster: play, store, train, publish, save."""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from alphazero import checkpoint, errors, sealed
from alphazero.batches import Batches
from alphazero.config import Config
from alphazero.errors import reading
from alphazero.limiter import Limiter
from alphazero.nn.divergence import Diverged
from alphazero.parts import game_of
from alphazero.protocols import Collected, FleetRole, LearnerRole, ReplayRole
from alphazero.replay import EMPTY
from alphazero.types import Ending


@dataclass(frozen=True)
class Run:
    """The parts of one training run."""

    config: Config
    directory: Path
    learner: LearnerRole
    replay: ReplayRole
    fleet: FleetRole

    @cached_property
    def rules_version(self) -> str:
        """The version of the game's rules; computing it takes seconds where these are slow."""
        return game_of(self.config).rules_version


@dataclass(frozen=True)
class Hooks:
    """Functions that ``train`` calls; by default they do nothing."""

    log: Callable[[int, dict[str, float]], None] = lambda step, metrics: None
    """Called every ``tracking.log_every`` steps with the step and its metrics."""
    games: Callable[[Collected], None] = lambda collected: None
    """Called after each ``collect`` with its result; there may be no games in it."""
    saved: Callable[[int, Path], None] = lambda step, path: None
    """Called after each checkpoint with its step and its folder."""
    seconds: Callable[[], float] = lambda: 0.0
    """Returns the seconds spent on the run so far, including those before it was resumed."""
    stop: Callable[[], bool] = lambda: False
    """Called before each step and each ``collect``; True saves a checkpoint and ends the run."""


def train(run: Run, hooks: Hooks, time_limit: float = math.inf) -> None:
    """Train for ``training.steps`` optimizer steps, or until ``time_limit`` seconds have passed.

    Checkpoints are saved during the run and at its end. The result depends only on the states of
    learner, replay and fleet and, if there is a time limit, on the clock. A run resumed from a
    checkpoint therefore continues as if it had not been interrupted: bit for bit if the fleet is
    reproducible and there is no time limit.

    ``RunFailed``, one line that names the last good checkpoint, where the training diverges.
    ``PartLost``, where fleet or learner has lost a process; ``save_last`` can save the rest then.
    """
    learner, replay, fleet, training = run.learner, run.replay, run.fleet, run.config.training
    limiter, played = Limiter(run.config.replay, training.batch_size), _Played()
    checkpoints = _Checkpoints(run, hooks)
    if fleet.version is None:
        fleet.publish(learner.weights(), learner.step)
    with Batches(run.config, replay) as batches:
        while not hooks.stop():
            progress = max(learner.step / training.steps, hooks.seconds() / time_limit)
            if progress >= 1:
                break
            fleet.allow(limiter.allowance(learner.step))
            if not limiter.due(replay.positions, learner.step):
                collected = fleet.collect()
                played.add(collected, learner.step)
                hooks.games(collected)
                continue
            # If the next step is due already, no game is stored before it, so that its batch can
            # be drawn during this step.
            ahead = limiter.due(replay.positions, learner.step + 1)
            try:
                metrics = learner.train_step(batches.take(learner.step, ahead), progress)
            except Diverged as error:
                good = sealed.set_aside(run.directory / "checkpoints", error.step)
                raise errors.diverged(error, good) from error
            step = learner.step
            if step % training.publish_every == 0:
                fleet.publish(learner.weights(), step)
            if step % run.config.tracking.log_every == 0:
                hooks.log(step, metrics | _counts(run) | played.metrics() | fleet.stats())
            if checkpoints.due(step):
                checkpoints.save()
    checkpoints.save()


class _Checkpoints:
    """When checkpoints of a run are due: by steps, and by time.

    None is saved while the loss is above its limit, so that the newest one is good.
    """

    def __init__(self, run: Run, hooks: Hooks):
        self._run, self._hooks = run, hooks
        # A run that starts after step 0 was resumed from a checkpoint.
        self._step = run.learner.step or None
        self._seconds = hooks.seconds()

    def due(self, step: int) -> bool:
        """Whether one is due after ``step``.

        Saving one empties the caches of evaluations, on which rounding depends. Those that are due
        by time, which differ from run to run, are therefore saved with a publication: it empties
        the caches, too.
        """
        training = self._run.config.training
        if step % training.checkpoint_every == 0:
            return True
        minutes = (self._hooks.seconds() - self._seconds) / 60
        late = training.checkpoint_minutes is not None and minutes >= training.checkpoint_minutes
        return late and step % training.publish_every == 0

    def save(self) -> None:
        """Save one, unless this step has been saved or its loss is above the limit."""
        learner = self._run.learner
        if learner.step == self._step or learner.losses.jumped:
            return
        self._seconds = self._hooks.seconds()
        self._step = learner.step
        self._hooks.saved(learner.step, save(self._run, self._seconds))


def save(run: Run, seconds: float) -> Path:
    """Save a checkpoint for ``resume``; ``seconds`` is how long the run has lasted."""
    learner, keep = run.learner, run.config.training.keep_checkpoints
    state = {
        "learner": learner.state(),
        "replay": run.replay.state(),
        "fleet": run.fleet.state(),
        "seconds": seconds,
    }
    return checkpoint.save(
        run.directory,
        learner.step,
        learner.weights(),
        state,
        run.config,
        keep,
        learner.losses.jump,
        run.rules_version,
    )


def save_last(run: Run, seconds: float) -> None:
    """Save a checkpoint of a run that ends before its time, unless its last step has been saved."""
    step, newest = run.learner.step, checkpoint.newest(run.directory, report=lambda line: None)
    if step and (newest is None or checkpoint.describe(newest).step != step):
        save(run, seconds)


def resume(run: Run, path: Path | None) -> float:
    """Restore learner, replay and fleet from the checkpoint at ``path``; returns its ``seconds``.

    ``path`` is None if the run was stopped before its first checkpoint: it starts again, and the
    games that it stored are kept, unless the fleet is reproducible and will play the same games
    again. ``ValueError`` if the checkpoint does not fit the run's parts; the stored games are
    unchanged then.
    """
    if path is None:
        run.replay.restore(EMPTY, truncate=run.fleet.reproducible)
        return 0.0
    state = checkpoint.load_state(path)
    with reading(path / checkpoint.TRAINING):
        replay = {key: operator.index(state["replay"][key]) for key in EMPTY}
        seconds = float(state["seconds"])
        if not (0 <= seconds < math.inf and min(replay.values()) >= 0):
            raise ValueError("its counts and times are not 0 or more")
        run.learner.restore(state["learner"])
        run.fleet.restore(state["fleet"])
    run.replay.restore(replay, truncate=run.fleet.reproducible)
    return seconds


def _counts(run: Run) -> dict[str, float]:
    replay, samples = run.replay, run.learner.step * run.config.training.batch_size
    return {
        "games": float(replay.games),
        "positions": float(replay.positions),
        "window": float(replay.window),
        "samples_per_position": samples / max(1, replay.positions),
    }


ENDED = {
    Ending.RULES: "ended_by_rules",
    Ending.PROVEN: "ended_by_proof",
    Ending.RESIGNED: "ended_by_resignation",
    Ending.LENGTH: "ended_by_length",
}
"""The metric of each ending: its share of the games."""


class _Played:
    """Metrics of the collected games.

    Example: 3 games ended by the rules and 1 at ``max_plies`` since the last logged step. The next
    one has the metrics ``ended_by_rules`` 0.75, ``ended_by_length`` 0.25 and 0 for the others. In 2
    of them a player would have resigned and could not; one of these did not lose:
    ``resignation_mistakes`` is 0.5. Without such games it is left out. All 4 have 60 plies
    together, ``plies_per_game`` 15; who began won 1 and drew 2: ``won_by_first`` 0.25, ``drawn``
    0.5.
    """

    def __init__(self) -> None:
        self._staleness = 0.0
        self._endings, self._results = np.zeros(len(Ending), np.int64), np.zeros(3, np.int64)
        self._plies = self._would_resign = self._mistaken = 0

    def add(self, collected: Collected, step: int) -> None:
        """Count games that were collected when the learner had taken ``step`` steps."""
        self._endings += collected.endings
        self._results += collected.results
        self._plies += collected.plies
        self._would_resign += collected.would_resign
        self._mistaken += collected.mistaken
        if collected.games:
            self._staleness = float(step - np.mean(collected.versions))

    def metrics(self) -> dict[str, float]:
        """The staleness and, if games were added since the last call, how they went."""
        figures = {"staleness": self._staleness}
        if games := int(self._endings.sum()):
            figures |= {name: float(self._endings[how] / games) for how, name in ENDED.items()}
            figures |= {
                "won_by_first": float(self._results[2] / games),
                "drawn": float(self._results[1] / games),
                "plies_per_game": self._plies / games,
            }
        if self._would_resign:
            figures["resignation_mistakes"] = self._mistaken / self._would_resign
        self._endings, self._results = np.zeros_like(self._endings), np.zeros_like(self._results)
        self._plies = self._would_resign = self._mistaken = 0
        return figures
