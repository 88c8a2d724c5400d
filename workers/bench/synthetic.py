"""Replacements of network, learner and game store in measurements of the others. Imports no torch.

The evaluator takes as long as a device would but uses no core, the learner does nothing, and the
store counts only; the rest of a run is unchanged.
"""

import threading
import time
from collections.abc import Iterable
from itertools import count

import numpy as np
from numpy.typing import NDArray

from alphazero import evaluators, search
from alphazero.config import Config, SelfPlaySettings
from alphazero.nn.divergence import Losses
from alphazero.nn.weights import Weights
from alphazero.packing import PackedGame
from alphazero.parts import game_of
from alphazero.replay import Batch
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation, GameRecord
from games.base import Game, States

ANSWER_BITS = 12
ANSWERS = 2**ANSWER_BITS
"""Number of different answers; a hash of the position selects one."""


class SleepingEvaluator:
    """Random answers, always the same for the same position, from a device that is simulated.

    A batch takes ``latency`` seconds, and the device computes one batch at a time, in the order of
    the calls. With 0.3 ms: of two calls at 0.0 and 0.1 ms the first ends at 0.3 and the second, for
    which the device begins then, at 0.6 ms. A thread may wake up later than that; the device's time
    is not lost by it, because the next batch may be waiting already.
    """

    def __init__(self, config: Config, latency: float):
        self._latency = latency
        game = game_of(config)
        actions, words = game.num_actions, -(-game.dtype.itemsize // 8)
        rng = np.random.default_rng(config.seed)
        self._logits = rng.standard_normal((ANSWERS, actions)).astype(np.float32)
        self._value = rng.uniform(-1, 1, ANSWERS).astype(np.float32)
        self._factors = rng.integers(2**63, size=words, dtype=np.uint64) * 2 + 1
        self._lock = threading.Lock()
        self._ends = 0.0  # when the device has computed all batches, on the clock of perf_counter
        self._version = -1

    def load(self, weights: Weights, version: int) -> None:
        self._version = version

    def __call__(self, states: States) -> Evaluation:
        answer = self._hash(states)
        if self._latency:
            self._compute()
        return Evaluation(self._logits.take(answer, 0), self._value.take(answer), self._version)

    def _hash(self, states: States) -> NDArray[np.int64]:
        """The number of each position's answer: the highest bits of a sum of products, modulo 2^64.

        It has to be quick, because it counts as CPU time of the evaluator.
        """
        rows = np.zeros((len(states), 8 * len(self._factors)), np.uint8)
        rows[:, : states.itemsize] = states.view(np.uint8).reshape(len(states), -1)
        mixed = rows.view(np.uint64) @ self._factors
        return (mixed >> np.uint64(64 - ANSWER_BITS)).astype(np.int64)

    def _compute(self) -> None:
        with self._lock:
            ends = self._ends = max(time.perf_counter(), self._ends) + self._latency
        time.sleep(max(0.0, ends - time.perf_counter()))


class IdleLearner:
    """A learner whose steps change nothing."""

    description = "idle"

    def __init__(self, weights: Weights):
        self._weights = weights
        self.step, self.losses = 0, Losses()

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        self.step += 1
        return {}

    def weights(self) -> Weights:
        return self._weights

    def state(self) -> dict:
        return {"step": self.step}

    def restore(self, state: dict) -> None:
        self.step = state["step"]


class CountingStore:
    """A store that counts games and positions and keeps none of them."""

    def __init__(self) -> None:
        self.games = self.positions = 0

    def extend(self, records: Iterable[GameRecord]) -> int:
        before = self.games
        for record in records:
            self._count(record.positions)
        return self.games - before

    def store(self, games: Iterable[PackedGame]) -> int:
        before = self.games
        for game in games:
            self._count(game.counts.positions)
        return self.games - before

    def _count(self, positions: int) -> None:
        self.games += 1
        self.positions += positions


def play_games(game: Game, number: int) -> list[GameRecord]:
    """``number`` games of an untrained agent; the same ones at every call."""
    settings = SelfPlaySettings(games=64, random_opening_plies=game.max_plies // 4)
    group = GameGroup(game, Gumbel(simulations=2), settings, 0, count())
    records: list[GameRecord] = []
    while len(records) < number:
        records += search.run(group.move(), evaluators.uniform(game))
    return records[:number]
