"""Self-play in this process: the fleet of a run without Ray."""

import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import count

from alphazero import wire
from alphazero.cache import EvaluationCache
from alphazero.config import SelfPlaySettings
from alphazero.inference import Choice, NetworkEvaluator
from alphazero.nn.device import cores
from alphazero.nn.weights import Weights
from alphazero.search import run as drive
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluator, GameRecord, Search
from games.base import Game


class LocalFleet:
    """Self-play in this process, on threads: torch and the kernels release the GIL.

    A ``collect`` is one ply in every game. After the first ``allow`` the fleet plays ahead: as soon
    as a group's ply is collected its next one begins, with the weights published last, and runs
    while the caller trains, so that both together keep all cores busy. The games are a function of
    the seed and of the order of the calls, never of time.
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
        # Group 1 of 3 plays the games 1, 4, 7, ...: no id depends on which group is faster.
        self._groups = [
            GroupRunner(
                game,
                GameGroup(game, search, settings, seed, count(group, settings.groups)),
                EvaluationCache(game, settings.cache),
            )
            for group in range(settings.groups)
        ]
        threads = settings.workers if settings.workers != "auto" else cores()
        self._pool = ThreadPoolExecutor(min(threads, settings.groups), "self-play")
        self._ahead = False
        self._weights: Weights = {}
        self.version: int | None = None
        self._counted = time.perf_counter(), 0, 0
        self._rates = {"evaluations_per_second": 0.0, "cache_hits": 0.0}

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from the next ply on; a ply under way keeps the old ones."""
        self._evaluator.load(weights, version)
        self._weights, self.version = weights, version

    def collect(self) -> list[GameRecord]:
        """One ply in every game; the games that ended with it.

        ``ValueError`` before the first ``publish``.
        """
        self._begin(self._groups)
        finished = []
        for group in self._groups:
            finished += group.end()
            if self._ahead:
                self._begin([group])
        return finished

    def allow(self, positions: int) -> None:
        """From now on play one ply ahead of ``collect``; ``positions`` sets no limit here."""
        self._ahead = True

    def stats(self) -> dict[str, float]:
        """Network evaluations per second and the caches' share of hits, renewed each second."""
        then, lookups_then, misses_then = self._counted
        now, lookups = time.perf_counter(), sum(group.lookups for group in self._groups)
        if now > then + 1 and lookups > lookups_then:
            misses = sum(group.misses for group in self._groups)
            self._rates = {
                "evaluations_per_second": (misses - misses_then) / (now - then),
                "cache_hits": 1 - (misses - misses_then) / (lookups - lookups_then),
            }
            self._counted = now, lookups, misses
        return dict(self._rates)

    def state(self) -> dict:
        """All that ``restore`` needs, with the weights; waits for the plies under way."""
        choice = self._evaluator.choice
        return {
            "seats": [group.state() for group in self._groups],
            "inference": list(choice) if choice else None,
            "weights": self._weights,
            "version": self.version,
        }

    def restore(self, state: dict) -> None:
        """Continue bit for bit from a ``state`` of a LocalFleet.

        ``ValueError`` where that fleet had another number of groups, or was no LocalFleet.
        """
        groups = state.get("seats", ())
        if len(groups) != len(self._groups):
            raise ValueError(
                f"this run was played by {len(groups) or 'Ray actors, not by'} "
                f"groups in one process; these settings have {len(self._groups)}: resume with the "
                "run's own selfplay.groups and --ray"
            )
        if state["inference"]:  # a new timing might choose otherwise, and round otherwise
            self._evaluator.set_choice(Choice(*state["inference"]))
        for group, stored in zip(self._groups, groups, strict=True):
            group.restore(stored)
        if state["version"] is not None:
            self.publish(state["weights"], state["version"])

    def close(self) -> None:
        """End the threads, each after the ply it is in."""
        self._pool.shutdown(cancel_futures=True)

    def _begin(self, groups: Sequence["GroupRunner"]) -> None:
        """Begin the next ply of these groups, with the newest weights."""
        if self.version is None:
            raise ValueError("the fleet has no weights; call publish(weights, version) first")
        evaluate = self._evaluator.snapshot()
        for group in groups:
            group.begin(self._pool, evaluate, self.version)


class GroupRunner:
    """One group of games with its cache of evaluations and its ply under way.

    Each group has a cache of its own: in one that several threads share, the contents would depend
    on which thread came first.
    """

    def __init__(self, game: Game, group: GameGroup, cache: EvaluationCache):
        self.group = group
        self._game, self._cache = game, cache
        self._version: int | None = None  # of the weights of the last ply
        self._ply: Future[list[GameRecord]] | None = None
        self.lookups = self.misses = 0
        """Positions that the searches requested, and those that the network evaluated, up to the
        last ply that has ended."""

    def begin(self, pool: Executor, evaluate: Evaluator, version: int) -> None:
        """Play the next ply on a thread of ``pool``, unless one has begun that is not ended."""
        if self._ply is None:
            if version != self._version:
                self._cache.clear()
                self._version = version
            self._ply = pool.submit(drive, self._cache.wrap(self.group.move()), evaluate)

    def played(self) -> list[GameRecord] | None:
        """The games that ended with the ply begun last, for which this waits. None: none begun."""
        return None if self._ply is None else self._ply.result()

    def end(self) -> list[GameRecord]:
        """The games that ended with the ply begun last; after this call the next one may begin."""
        records, self._ply = self.played(), None
        self.lookups, self.misses = self._cache.lookups, self._cache.misses
        return records or []

    def state(self) -> dict:
        """All that ``restore`` needs to continue bit for bit; waits for the ply under way."""
        played = self.played()
        # A resumed run begins with an empty cache, and the running one must do the same: hits make
        # the network's batches smaller, and a batch of another size may be rounded otherwise.
        self._cache.clear()
        return {
            "group": self.group.state(),
            "played": played and [wire.encode(self._game, record) for record in played],
        }

    def restore(self, state: dict) -> None:
        """Continue from a ``state``; ``ValueError`` as in ``GameGroup.restore``."""
        self.group.restore(state["group"])
        if state["played"] is not None:
            self._ply = Future()
            self._ply.set_result([wire.decode(self._game, frame) for frame in state["played"]])
