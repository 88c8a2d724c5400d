"""Self-play in this process: the fleet of a run without Ray."""

import copy
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import count

from alphazero import wire
from alphazero.cache import CachedEvaluator
from alphazero.config import SelfPlaySettings
from alphazero.inference import Choice, NetworkEvaluator
from alphazero.nn.device import cores
from alphazero.nn.weights import Weights
from alphazero.search import run as drive
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluator, GameRecord, Search
from games.base import Game


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
            GroupRunner(
                game, GameGroup(game, search, settings, seed, count(group, groups)), settings
            )
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

    def _begin(self, seats: Sequence["GroupRunner"]) -> None:
        """Let these groups play on, with the newest weights."""
        if self.version is None:
            raise ValueError("the fleet has no weights; call publish(weights, version) first")
        # A copy of the evaluator keeps the weights it has when others are loaded.
        evaluate = copy.copy(self._evaluator)
        for seat in seats:
            seat.begin(self._pool, evaluate, self.version)


class GroupRunner:
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
