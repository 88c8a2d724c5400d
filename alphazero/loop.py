"""The training loop, laptop and cluster alike: play, store, learn, publish, save."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np

import games
from alphazero import checkpoint
from alphazero.config import Config, ReplaySettings, SelfPlaySettings
from alphazero.evaluators import CachedEvaluator
from alphazero.inference import Choice, NetworkEvaluator
from alphazero.learner import Learner
from alphazero.nn.device import cores
from alphazero.replay import Batch, Samples, to_batch
from alphazero.search import run as drive
from alphazero.selfplay import GameGroup
from alphazero.types import GameRecord, Search, Stream, Weights
from games.base import Game


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


class LocalFleet:
    """Self-play in this process: one thread a group, which torch and the kernels free of the GIL.

    A ``collect`` is one ply in every game, so that nothing is in flight between two calls and
    games are a function of the seed and the published weights alone.
    """

    reproducible = True

    def __init__(
        self,
        game: Game,
        search: Search,
        settings: SelfPlaySettings,
        evaluator: NetworkEvaluator,
        seed: int,
    ):
        self._evaluator = evaluator
        self._groups = [
            GameGroup(game, search, settings, seed, count(group, settings.groups))
            for group in range(settings.groups)
        ]
        # One a group: shared by threads, who asks first would decide what is in it.
        self._caches = [CachedEvaluator(game, evaluator, settings.cache) for _ in self._groups]
        threads = settings.workers if settings.workers != "auto" else cores()
        self._pool = ThreadPoolExecutor(min(threads, settings.groups), "self-play")
        self._seconds, self._rates = 0.0, {"evaluations_per_second": 0.0, "cache_hits": 0.0}
        self._weights: Weights = {}
        self.version: int | None = None

    def publish(self, weights: Weights, version: int) -> None:
        self._evaluator.load(weights, version)
        self._weights, self.version = weights, version
        self._forget()

    def collect(self) -> list[GameRecord]:
        began = time.perf_counter()
        moves = [group.move() for group in self._groups]
        played = self._pool.map(drive, moves, self._caches)
        records = [record for records in played for record in records]
        self._seconds += time.perf_counter() - began
        return records

    def allow(self, positions: int) -> None:
        """Nothing to do: play stops whenever ``collect`` is not called."""

    def stats(self) -> dict[str, float]:
        """While playing: evaluations a second, and the share that caches answered; renewed after
        each second of play."""
        if self._seconds > 1:
            asked = sum(cache.asked for cache in self._caches)
            missed = sum(cache.missed for cache in self._caches)
            self._rates = {
                "evaluations_per_second": missed / self._seconds,
                "cache_hits": 1 - missed / max(1, asked),
            }
            self._seconds = 0.0
            for cache in self._caches:
                cache.asked = cache.missed = 0
        return dict(self._rates)

    def state(self) -> dict:
        # What goes on from here asks anew: batches of other sizes may round otherwise.
        self._forget()
        choice = self._evaluator.choice
        return {
            "groups": [group.state() for group in self._groups],
            "inference": list(choice) if choice else None,
            "weights": self._weights,
            "version": self.version,
        }

    def restore(self, state: dict) -> None:
        """As ``Fleet.restore``, bit for bit; only for a state of as many groups, of LocalFleet."""
        if len(state.get("groups", ())) != len(self._groups):
            raise ValueError(
                f"this run was played by {len(state.get('groups', ())) or 'Ray actors, not by'} "
                f"groups in one process; these settings have {len(self._groups)}: resume with the "
                "run's own selfplay.groups and --ray"
            )
        if state["inference"]:  # a new timing might choose otherwise, and round otherwise
            self._evaluator.prefer(Choice(*state["inference"]))
        for group, stored in zip(self._groups, state["groups"], strict=True):
            group.restore(stored)
        if state["version"] is not None:
            self.publish(state["weights"], state["version"])

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _forget(self) -> None:
        for cache in self._caches:
            cache.clear()


@dataclass(frozen=True)
class Limiter:
    """Keeps playing and learning in balance: ``samples_per_position`` of training a position."""

    settings: ReplaySettings
    batch_size: int

    def due(self, positions: int, step: int) -> bool:
        """Whether optimizer step ``step`` (counted from 0) may be taken yet."""
        needed = (step + 1) * self.batch_size / self.settings.samples_per_position
        return positions >= max(needed, self.settings.min_positions)

    def allowance(self, step: int) -> int:
        """How many positions self-play may have stored before it waits for the learner.

        Above what ``due`` asks for by construction, so that the two never wait for each other.
        """
        ahead = 0.05 * step + 20  # steps: within 5 % of the balance once the run is under way
        needed = (step + 1 + ahead) * self.batch_size / self.settings.samples_per_position
        return int(max(needed, self.settings.min_positions)) + 1


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
    limiter = Limiter(run.config.replay, training.batch_size)
    batches, staleness = _batches(run), 0.0
    saved = learner.step or None  # a run that does not begin with step 0 comes from a checkpoint
    if fleet.version is None:
        fleet.publish(learner.weights(), learner.step)
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
        metrics = learner.train_step(next(batches), progress)
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


def resume(run: Run, path: Path) -> float:
    """Put the run's parts back to where the checkpoint at ``path`` was saved; its ``seconds``.

    ``ValueError`` where the parts cannot follow it; no stored game is touched then.
    """
    state = checkpoint.load_state(path)
    run.fleet.restore(state["fleet"])
    run.learner.restore(state["learner"])
    run.replay.restore(state["replay"], truncate=run.fleet.reproducible)
    return state["seconds"]


def _batches(run: Run) -> Iterator[Batch]:
    """Training batches; the one of step ``n`` is drawn with a generator of its own."""
    config, game = run.config, games.make(run.config.game)
    while True:
        rng = np.random.default_rng([config.seed, Stream.BATCH, run.learner.step])
        samples = run.replay.sample(config.training.batch_size, rng)
        yield to_batch(game, samples, config.replay.value_mixing)


def _counts(run: Run) -> dict[str, float]:
    replay, samples = run.replay, run.learner.step * run.config.training.batch_size
    return {
        "games": float(replay.games),
        "positions": float(replay.positions),
        "window": float(replay.window),
        "samples_per_position": samples / max(1, replay.positions),
    }
