"""Replacements of network, learner and game store in measurements of the others. Imports no torch.

The evaluator takes as long as a device would but uses no core, the learner does nothing, and the
store counts only; the rest of a run is unchanged.
"""

import threading
import time
from collections.abc import Iterable
from itertools import count

import numpy as np

from alphazero import evaluators, search
from alphazero.config import Config, SelfPlaySettings
from alphazero.nn.divergence import Losses
from alphazero.nn.weights import Weights
from alphazero.parts import game_of
from alphazero.replay import Batch
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation, GameRecord
from games.base import Game, States

ANSWERS = 4096
"""Number of different answers; a hash of the position selects one."""


class SleepingEvaluator:
    """Random answers, always the same for the same position, from a device that sleeps.

    A batch takes ``latency`` seconds, and the device computes one batch at a time.
    """

    def __init__(self, config: Config, latency: float):
        self._latency = latency
        actions = game_of(config).num_actions
        rng = np.random.default_rng(config.seed)
        self._logits = rng.standard_normal((ANSWERS, actions)).astype(np.float32)
        self._value = rng.uniform(-1, 1, ANSWERS).astype(np.float32)
        self._device = threading.Lock()
        self._version = -1

    def load(self, weights: Weights, version: int) -> None:
        self._version = version

    def __call__(self, states: States) -> Evaluation:
        rows = states.view(np.uint8).reshape(len(states), -1)
        answer = rows @ np.arange(1, 2 * rows.shape[1], 2) % ANSWERS
        if self._latency:
            with self._device:
                time.sleep(self._latency)
        return Evaluation(self._logits[answer], self._value[answer], self._version)


class IdleLearner:
    """A learner whose steps change nothing."""

    precision = "none"

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
            self.games += 1
            self.positions += record.positions
        return self.games - before


def play_games(game: Game, number: int) -> list[GameRecord]:
    """``number`` games of an untrained agent; the same ones at every call."""
    settings = SelfPlaySettings(games=64, random_opening_plies=game.max_plies // 4)
    group = GameGroup(game, Gumbel(simulations=2), settings, 0, count())
    records: list[GameRecord] = []
    while len(records) < number:
        records += search.run(group.move(), evaluators.uniform(game))
    return records[:number]
