"""The training loop, laptop and cluster alike: play, store, learn, publish, save."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

import games
from alphazero import checkpoint
from alphazero.config import Config, ReplaySettings
from alphazero.learner import Learner
from alphazero.nn.weights import Weights
from alphazero.replay import EMPTY, Batch, Samples, to_batch
from alphazero.types import GameRecord, Stream


class Fleet(Protocol):
    """Whoever plays the games. The only difference between a laptop and a cluster."""

    reproducible: bool
    """Whether ``restore`` plays the same games again bit for bit."""
    version: int | None
    """Of the weights published last; None before the first."""

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on."""

    def collect(self) -> list[GameRecord]:
        """The games finished since the last call; waits a bounded while for some, may be empty."""
        ...

    def allow(self, positions: int) -> None:
        """Play on until the replay holds about this many positions in all, then wait."""

    def stats(self) -> dict[str, float]:
        """Rates and counts for the log; cheap."""
        ...

    def state(self) -> dict: ...

    def restore(self, state: dict) -> None:
        """Continue from a ``state``; ``ValueError`` for one of a fleet that this cannot follow."""

    def close(self) -> None: ...


class Buffer(Protocol):
    """``replay.Replay``, or an actor that holds one."""

    @property
    def games(self) -> int: ...
    @property
    def positions(self) -> int: ...
    @property
    def window(self) -> int: ...
    def extend(self, records: Sequence[GameRecord]) -> int: ...
    def sample(self, size: int, rng: np.random.Generator) -> Samples: ...
    def state(self) -> dict: ...
    def restore(self, state: dict, truncate: bool) -> None: ...


@dataclass(frozen=True)
class Limiter:
    """Keeps playing and learning in balance: ``samples_per_position`` of training a position."""

    settings: ReplaySettings
    batch_size: int

    def due(self, positions: int, step: int) -> bool:
        """Whether optimizer step ``step`` (counted from 0) may be taken yet."""
        return positions >= self.needed(step)

    def needed(self, step: float) -> int:
        """The positions that must be stored before step ``step``."""
        balanced = (step + 1) * self.batch_size / self.settings.samples_per_position
        return math.ceil(max(balanced, self.settings.min_positions))

    def allowance(self, step: int) -> int:
        """How many positions self-play may have stored before it waits for the learner.

        Above what ``due`` asks for by construction, so that the two never wait for each other.
        """
        ahead = 0.05 * step + 20  # steps: within 5 % of the balance once the run is under way
        return self.needed(step + ahead) + 1


@dataclass(frozen=True)
class Run:
    """The parts of one training run."""

    config: Config
    directory: Path
    learner: Learner
    replay: Buffer
    fleet: Fleet


@dataclass(frozen=True)
class Hooks:
    """What the run tells its surroundings, and what it asks them."""

    log: Callable[[int, dict[str, float]], None] = lambda step, metrics: None
    games: Callable[[list[GameRecord]], None] = lambda records: None
    saved: Callable[[int, Path], None] = lambda step, path: None
    seconds: Callable[[], float] = lambda: 0.0
    """How long the run has lasted, its earlier parts included."""
    stop: Callable[[], bool] = lambda: False
    """Asked between two steps; True saves a checkpoint and ends the run."""


def train(run: Run, hooks: Hooks, time_limit: float = math.inf) -> None:
    """Train to ``training.steps`` optimizer steps or for ``time_limit`` seconds, saving on the way.

    What happens next depends on the state of learner, replay and fleet alone (and on the clock
    where there is a time limit), so that a run resumed from a checkpoint goes on as if nothing had
    been: bit for bit where the fleet is reproducible.
    """
    learner, replay, fleet, training = run.learner, run.replay, run.fleet, run.config.training
    limiter, staleness = Limiter(run.config.replay, training.batch_size), 0.0
    saved = learner.step or None  # a run that does not begin with step 0 comes from a checkpoint
    if fleet.version is None:
        fleet.publish(learner.weights(), learner.step)
    with _Batches(run) as batches:
        while not hooks.stop():
            progress = max(learner.step / training.steps, hooks.seconds() / time_limit)
            if progress >= 1:
                break
            fleet.allow(limiter.allowance(learner.step))
            if not limiter.due(replay.positions, learner.step):
                records = fleet.collect()
                replay.extend(records)
                hooks.games(records)
                if records:
                    staleness = learner.step - np.mean([record.version for record in records])
                continue
            ahead = limiter.due(replay.positions, learner.step + 1)
            metrics = learner.train_step(batches.take(ahead), progress)
            step = learner.step
            if step % training.publish_every == 0:
                fleet.publish(learner.weights(), step)
            if step % run.config.tracking.log_every == 0:
                counts = _counts(run) | {"staleness": float(staleness)}
                hooks.log(step, metrics | counts | fleet.stats())
            if step % training.checkpoint_every == 0:
                saved = step
                hooks.saved(step, save(run, hooks.seconds()))
    if learner.step != saved:
        hooks.saved(learner.step, save(run, hooks.seconds()))


def save(run: Run, seconds: float) -> Path:
    """A checkpoint that ``resume`` goes on from; ``seconds`` is how long the run has lasted."""
    learner, keep = run.learner, run.config.training.keep_checkpoints
    state = {
        "learner": learner.state(),
        "replay": run.replay.state(),
        "fleet": run.fleet.state(),
        "seconds": seconds,
    }
    return checkpoint.save(
        run.directory, learner.step, learner.weights(), state, run.config, keep=keep
    )


def resume(run: Run, path: Path | None) -> float:
    """Put the run's parts back to where the checkpoint at ``path`` was saved; its ``seconds``.

    None: the run was stopped before its first checkpoint and begins again, with its own games where
    they will be played again bit for bit. ``ValueError`` where the parts cannot follow the
    checkpoint; no stored game is touched then.
    """
    if path is None:
        run.replay.restore(EMPTY, truncate=run.fleet.reproducible)
        return 0.0
    state = checkpoint.load_state(path)
    run.learner.restore(state["learner"])
    run.fleet.restore(state["fleet"])
    run.replay.restore(state["replay"], truncate=run.fleet.reproducible)
    return state["seconds"]


class _Batches:
    """Training batches; the one of step ``n`` is drawn with a generator of its own.

    The next one can be prepared on a thread, beside the learner's step.
    """

    def __init__(self, run: Run):
        self._run, self._game = run, games.make(run.config.game)
        self._pool = ThreadPoolExecutor(1, "batches")
        self._next: Future[Batch] | None = None

    def __enter__(self) -> "_Batches":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def take(self, ahead: bool) -> Batch:
        """The batch of the learner's next step; ``ahead``: nothing is stored before the one after,
        whose batch can be prepared already."""
        step, ready = self._run.learner.step, self._next
        batch = ready.result() if ready else self._draw(step)
        self._next = self._pool.submit(self._draw, step + 1) if ahead else None
        return batch

    def _draw(self, step: int) -> Batch:
        config = self._run.config
        rng = np.random.default_rng([config.seed, Stream.BATCH, step])
        samples = self._run.replay.sample(config.training.batch_size, rng)
        return to_batch(self._game, samples, config.replay.value_mixing)


def _counts(run: Run) -> dict[str, float]:
    replay, samples = run.replay, run.learner.step * run.config.training.batch_size
    return {
        "games": float(replay.games),
        "positions": float(replay.positions),
        "window": float(replay.window),
        "samples_per_position": samples / max(1, replay.positions),
    }
