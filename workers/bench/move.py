"""The time per move in a single game, as in ``alphazero play``."""

import time
from dataclasses import dataclass, field

import numpy as np

from alphazero.config import Config
from alphazero.evaluators import random_actions
from alphazero.inference import NetworkEvaluator
from alphazero.judging import agent, decisions
from alphazero.parts import game_of, search_of
from alphazero.types import Evaluation, Search
from games.base import Game, States
from workers.bench.measuring import BenchSettings, Figures, Work, circumstances, measure, weights

DEFAULTS = ("search.simulations=800",)


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure milliseconds per move in games against a random opponent.

    Two players take turns, always on one thread: one evaluates several leaves per batch, the other
    a single leaf. Each game begins with a new player, whose caches are empty.
    """
    game, search = game_of(chosen), search_of(chosen)
    simulations = search.simulations
    evaluator = NetworkEvaluator(game, chosen.network, chosen.inference)
    evaluator.load(weights(chosen, game), 0)
    leaves = agent.leaves_for_single_game(simulations)
    several, single = (
        _Games(game, search.without_noise(simulations, leaves_per_batch), evaluator)
        for leaves_per_batch in (leaves, 1)
    )
    measure(
        [Work(player.move, threads=1) for player in (several, single)], settings.seconds, warm=False
    )
    return {
        "milliseconds_per_move": several.milliseconds(50),
        "milliseconds_95th_percentile": several.milliseconds(95),
        "evaluations_per_move": several.evaluations / len(several.seconds),
        "single_leaf_milliseconds_per_move": single.milliseconds(50),
        "ratio_to_single_leaf": single.milliseconds(50) / several.milliseconds(50),
        **circumstances(chosen, settings),
        "threads": 1,
        "moves": len(several.seconds),
        "simulations": simulations,
        "leaves": leaves,
        "backend": evaluator.description,
    }


@dataclass
class _Games:
    """Games of one player against random moves, and the seconds of each of its moves."""

    game: Game
    algorithm: Search
    evaluator: NetworkEvaluator
    seconds: list[float] = field(default_factory=list)
    evaluations: int = 0
    """Positions evaluated by the network."""

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._begin()
        self.move(0)  # compiles
        self.seconds.clear()
        self.evaluations = 0
        self._begin()

    def move(self, _: int) -> int:
        """One move of the player and, where the game goes on, one of its opponent."""
        start = time.perf_counter()
        action = self._player(self._states, [self._rng]).action
        self.seconds.append(time.perf_counter() - start)
        self._play(action)
        if self._going():
            self._play(random_actions(self.game.legal(self._states), self._rng))
        if not self._going():
            self._begin()
        return 1

    def milliseconds(self, percentile: float) -> float:
        return 1000 * float(np.percentile(self.seconds, percentile))

    def _begin(self) -> None:
        self._states = self.game.initial(1)
        self._player = decisions.search_player("bench", self.algorithm, self._evaluate, self.game)

    def _evaluate(self, states: States) -> Evaluation:
        self.evaluations += len(states)
        return self.evaluator(states)

    def _play(self, action: np.ndarray) -> None:
        self._states = self.game.step(self._states, action)

    def _going(self) -> bool:
        return bool(self.game.legal(self._states).any())
