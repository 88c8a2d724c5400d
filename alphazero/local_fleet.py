"""Self-play in this process: the fleet of a run without Ray."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import count

from alphazero import wire
from alphazero.cache import EvaluationCache
from alphazero.config import Config
from alphazero.game_time import GameTime
from alphazero.inference import Choice, NetworkEvaluator
from alphazero.nn.device import cores
from alphazero.nn.weights import Weights
from alphazero.packing import count_game
from alphazero.parts import encoder_of, game_of, memory_of, search_of
from alphazero.protocols import Collected, GameStore, summarize
from alphazero.search import run as drive
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluator, GameRecord, Search
from games.base import Game


class LocalFleet:
    """Self-play in this process, on threads: torch and the kernels release the GIL.

    Each ``collect`` plays one ply in every game and stores the games that ended. A fleet that plays
    ahead starts a group's next ply as soon as the last one is collected, with the weights published
    last. It then runs while the caller trains, so that self-play and training together keep all
    cores busy. The games depend on the seed and on the order of the calls, never on timing.
    """

    reproducible = True

    def __init__(
        self,
        config: Config,
        store: GameStore,
        evaluator: NetworkEvaluator,
        ahead: bool,
        search: Search | None = None,
        game_time: GameTime | None = None,
    ):
        """``ahead``: play one ply ahead of ``collect``. ``search`` replaces the one of ``config``.
        ``game_time`` measures the game, whose share is then among ``stats``.

        Of ``config`` the game, the search, ``selfplay`` and the seed are used.
        """
        game, settings, key = game_of(config), config.selfplay, encoder_of(config).key
        algorithm = search_of(config) if search is None else search
        capacity = memory_of(config, search=algorithm).cache
        self._store, self._evaluator, self._ahead = store, evaluator, ahead
        self._game, self._resign_value = game, settings.resign_value
        self._game_time = game_time
        if game_time is not None:
            game_time.watch(game)
        # Group 1 of the groups 0 to 2 plays the games 1, 4, 7, ...: which group plays which game
        # does not depend on their speed.
        self._groups = [
            GroupRunner(
                game,
                GameGroup(game, algorithm, settings, config.seed, count(group, settings.groups)),
                EvaluationCache(game, capacity, key),
                game_time.measured if game_time is not None else nullcontext,
            )
            for group in range(settings.groups)
        ]
        threads = settings.threads if settings.threads != "auto" else cores()
        self._pool = ThreadPoolExecutor(min(threads, settings.groups), "self-play")
        self._allowance = math.inf
        self._weights: Weights = {}
        self.version: int | None = None
        self._counted = time.perf_counter(), 0, 0
        self._rates = {"evaluations_per_second": 0.0, "cache_hits": 0.0}

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from the next ply on; a ply in progress keeps the old ones."""
        self._evaluator.load(weights, version)
        self._weights, self.version = weights, version

    def collect(self) -> Collected:
        """Play one ply in every game; store the games that ended and summarize them.

        No ply is played where the limit set by ``allow`` is reached. ``ValueError`` before the
        first ``publish``.
        """
        finished: list[GameRecord] = []
        if self._store.positions < self._allowance:
            self._begin(self._groups)
            for group in self._groups:
                finished += group.end()
                if self._ahead:
                    self._begin([group])
            self._store.extend(finished)
        counts = [count_game(self._game, game, self._resign_value) for game in finished]
        return summarize(counts, finished[-1] if finished else None)

    def allow(self, positions: int) -> None:
        """Set the limit: ``collect`` plays only while fewer ``positions`` than that are stored."""
        self._allowance = positions

    def stats(self) -> dict[str, float]:
        """Network evaluations per second and the caches' hit rate, updated once per second; the
        share of self-play that was spent in the game, where it is measured."""
        then, lookups_then, misses_then = self._counted
        now, lookups = time.perf_counter(), sum(group.lookups for group in self._groups)
        if now > then + 1 and lookups > lookups_then:
            misses = sum(group.misses for group in self._groups)
            self._rates = {
                "evaluations_per_second": (misses - misses_then) / (now - then),
                "cache_hits": 1 - (misses - misses_then) / (lookups - lookups_then),
            }
            self._counted = now, lookups, misses
        if self._game_time is not None:
            self._rates["game_share"] = self._game_time.share
        return dict(self._rates)

    def state(self) -> dict:
        """Everything that ``restore`` needs, with the weights; waits for plies in progress."""
        choice = self._evaluator.choice
        return {
            "seats": [group.state() for group in self._groups],
            "inference": list(choice) if choice else None,
            "weights": self._weights,
            "version": self.version,
        }

    def restore(self, state: dict) -> None:
        """Continue bit for bit from a ``state`` of a LocalFleet.

        ``ValueError`` if that fleet had another number of groups or was not a LocalFleet.
        """
        groups = state.get("seats", ())
        if len(groups) != len(self._groups):
            before = f"{len(groups)} groups in one process" if groups else "several processes"
            raise ValueError(
                f"this run was played by {before}; with these settings it would be played by "
                f"{len(self._groups)} groups in one process: resume with the run's own "
                "selfplay.groups and --ray"
            )
        if state["inference"]:  # another timing might choose a backend that rounds differently
            self._evaluator.set_choice(Choice(*state["inference"]))
        for group, stored in zip(self._groups, groups, strict=True):
            group.restore(stored)
        if state["version"] is not None:
            self.publish(state["weights"], state["version"])

    def close(self) -> None:
        """End the threads; each finishes its current ply first."""
        self._pool.shutdown(cancel_futures=True)

    def _begin(self, groups: Sequence["GroupRunner"]) -> None:
        """Start the next ply of these groups, with the newest weights."""
        if self.version is None:
            raise ValueError("the fleet has no weights; call publish(weights, version) first")
        evaluate = self._evaluator.snapshot()
        for group in groups:
            group.begin(self._pool, evaluate, self.version)


class GroupRunner:
    """One group of games with its evaluation cache and its ply in progress.

    Each group has its own cache: the contents of a shared one would depend on which thread was
    faster.
    """

    def __init__(
        self,
        game: Game,
        group: GameGroup,
        cache: EvaluationCache,
        measured: Callable[[], AbstractContextManager[None]],
    ):
        """Each ply is played within ``measured()``."""
        self.group, self._measured = group, measured
        self._game, self._cache = game, cache
        self._version: int | None = None  # of the weights of the last ply
        self._ply: Future[list[GameRecord]] | None = None
        self.lookups = self.misses = 0
        """Positions that the searches requested, and those that the network evaluated, up to the
        last ply that was collected."""

    def begin(self, pool: Executor, evaluate: Evaluator, version: int) -> None:
        """Play the next ply on a thread of ``pool``, unless one is in progress or not collected."""
        if self._ply is None:
            if version != self._version:
                self._cache.clear()
                self._version = version
            self._ply = pool.submit(self._play, evaluate)

    def _play(self, evaluate: Evaluator) -> list[GameRecord]:
        with self._measured():
            return drive(self._cache.wrap(self.group.move()), evaluate)

    def played(self) -> list[GameRecord] | None:
        """Wait for the current ply; returns the games that it ended, or None if there is no ply."""
        return None if self._ply is None else self._ply.result()

    def end(self) -> list[GameRecord]:
        """Collect the current ply: the games that it ended. The next ply may begin afterwards."""
        records, self._ply = self.played(), None
        self.lookups, self.misses = self._cache.lookups, self._cache.misses
        return records or []

    def state(self) -> dict:
        """Everything that ``restore`` needs to continue bit for bit; waits for the current ply."""
        played = self.played()
        # A resumed run starts with an empty cache, so the running one must empty its own, too: hits
        # make the network's batches smaller, and batches of different sizes may round differently.
        self._cache.clear()
        return {
            "group": self.group.state(),
            "played": played and [wire.encode(self._game, record) for record in played],
        }

    def restore(self, state: dict) -> None:
        """Continue from a ``state``; ``ValueError`` in the cases of ``GameGroup.restore``."""
        self.group.restore(state["group"])
        if state["played"] is not None:
            self._ply = Future()
            self._ply.set_result([wire.decode(self._game, frame) for frame in state["played"]])
