"""The training loop, laptop and cluster alike: play, store, learn, publish, save."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np

import games
from alphazero import checkpoint, wire
from alphazero.config import Config, ReplaySettings, SelfPlaySettings
from alphazero.evaluators import CachedEvaluator
from alphazero.inference import Choice, NetworkEvaluator
from alphazero.learner import Learner
from alphazero.nn.device import cores
from alphazero.nn.weights import Weights
from alphazero.replay import EMPTY, Batch, Samples, to_batch
from alphazero.search import run as drive
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluator, GameRecord, Search, Stream
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
    """Self-play in this process, on threads, which torch and the kernels free of the GIL.

    A ``collect`` is one ply in every game. From the first ``allow`` on each group begins its next
    ply when its last one is collected, with the weights published last, and plays it while the
    caller does something else: to learn and to play fill all cores together. What is played is a
    function of the seed and of the order of the calls, never of time.
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
        groups = settings.groups
        self._seats = [
            _Seat(game, GameGroup(game, search, settings, seed, count(group, groups)), settings)
            for group in range(groups)
        ]
        threads = settings.workers if settings.workers != "auto" else cores()
        self._pool = ThreadPoolExecutor(min(threads, groups), "self-play")
        self._ahead = False
        self._weights: Weights = {}
        self.version: int | None = None
        self._counted = time.perf_counter(), 0, 0
        self._rates = {"evaluations_per_second": 0.0, "cache_hits": 0.0}

    def publish(self, weights: Weights, version: int) -> None:
        self._evaluator.load(weights, version)
        self._weights, self.version = weights, version

    def collect(self) -> list[GameRecord]:
        self._begin(self._seats)
        finished = []
        for seat in self._seats:
            finished += seat.end()
            if self._ahead:
                self._begin([seat])
        return finished

    def allow(self, positions: int) -> None:
        """From now on play one ply ahead of ``collect``; ``positions`` sets no limit here."""
        self._ahead = True

    def stats(self) -> dict[str, float]:
        """Evaluations a second, and the share that caches answered; renewed each second."""
        before, asked_before, missed_before = self._counted
        now, asked = time.perf_counter(), sum(seat.asked for seat in self._seats)
        if now > before + 1 and asked > asked_before:
            missed = sum(seat.missed for seat in self._seats)
            self._rates = {
                "evaluations_per_second": (missed - missed_before) / (now - before),
                "cache_hits": 1 - (missed - missed_before) / (asked - asked_before),
            }
            self._counted = now, asked, missed
        return dict(self._rates)

    def state(self) -> dict:
        """As ``Fleet.state``; waits for the plies under way."""
        choice = self._evaluator.choice
        return {
            "seats": [seat.state() for seat in self._seats],
            "inference": list(choice) if choice else None,
            "weights": self._weights,
            "version": self.version,
        }

    def restore(self, state: dict) -> None:
        """As ``Fleet.restore``, bit for bit; only for a state of as many groups, of LocalFleet."""
        seats = state.get("seats", ())
        if len(seats) != len(self._seats):
            raise ValueError(
                f"this run was played by {len(seats) or 'Ray actors, not by'} "
                f"groups in one process; these settings have {len(self._seats)}: resume with the "
                "run's own selfplay.groups and --ray"
            )
        if state["inference"]:  # a new timing might choose otherwise, and round otherwise
            self._evaluator.prefer(Choice(*state["inference"]))
        for seat, stored in zip(self._seats, seats, strict=True):
            seat.restore(stored)
        if state["version"] is not None:
            self.publish(state["weights"], state["version"])

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _begin(self, seats: Sequence["_Seat"]) -> None:
        """Let these groups play on, with the newest weights."""
        if self.version is None:
            raise ValueError("the fleet has no weights; call publish(weights, version) first")
        # A copy of the evaluator keeps the weights it has when others are loaded.
        evaluate = copy.copy(self._evaluator)
        for seat in seats:
            seat.begin(self._pool, evaluate, self.version)


class _Seat:
    """One group of games, what it remembers of evaluations, and its ply under way."""

    def __init__(self, game: Game, group: GameGroup, settings: SelfPlaySettings):
        self.group = group
        self._game, self._capacity = game, settings.cache
        self._version: int | None = None
        self.asked = self.missed = 0
        """Positions that the searches asked for, and those that the network evaluated."""
        # One a group: shared by threads, who asks first would decide what is in it.
        self._cache: CachedEvaluator | None = None
        self._ply: Future[list[GameRecord]] | None = None

    def begin(self, pool: Executor, evaluate: Evaluator, version: int) -> None:
        """Play the next ply on a thread of ``pool``, unless one is under way or played already."""
        if self._ply is None:
            if version != self._version or self._cache is None:
                self._cache = CachedEvaluator(self._game, evaluate, self._capacity)
                self._version = version
            self._ply = pool.submit(drive, self.group.move(), self._cache)

    def played(self) -> list[GameRecord] | None:
        """The games that the ply begun last has finished; waits for it. None when none is begun."""
        return None if self._ply is None else self._ply.result()

    def end(self) -> list[GameRecord]:
        """As ``played``; the next ply may begin then."""
        records, self._ply = self.played(), None
        if self._cache:
            self.asked += self._cache.asked
            self.missed += self._cache.missed
            self._cache.asked = self._cache.missed = 0
        return records or []

    def state(self) -> dict:
        """What ``restore`` goes on from, bit for bit; waits for the ply under way."""
        played = self.played()
        # What goes on from here asks anew: batches of other sizes may round otherwise.
        self._cache = None
        return {
            "group": self.group.state(),
            "played": played and [wire.encode(self._game, record) for record in played],
        }

    def restore(self, state: dict) -> None:
        self.group.restore(state["group"])
        if state["played"] is not None:
            self._ply = Future()
            self._ply.set_result([wire.decode(self._game, frame) for frame in state["played"]])


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
