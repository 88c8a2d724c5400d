"""Self-play against the ceiling that the network sets it."""

from dataclasses import replace
from typing import Any

import games
from alphazero.config import Config
from alphazero.inference import NetworkEvaluator
from alphazero.loop import LocalFleet
from alphazero.types import Evaluation
from games.base import States
from workers.bench.measuring import (
    BenchSettings,
    Figures,
    Work,
    circumstances,
    measure,
    midgame,
    weights,
)


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Self-play as a run does it, against the same network fed with ready batches."""
    game = games.make(chosen.game)
    groups = max(chosen.selfplay.groups, settings.threads)
    play = replace(
        chosen.selfplay,
        groups=groups,
        workers=settings.threads,
        random_opening_plies=game.max_plies // 4,  # so that the games stand at different plies
    )
    evaluator = _Counting(game, chosen.network, chosen.inference)
    alone = NetworkEvaluator(game, chosen.network, chosen.inference)
    for each in (evaluator, alone):
        each.choice = evaluator.choice  # the same for both, made once
        each.load(weights(chosen, game), 0)
    fleet = LocalFleet(game, chosen.search, play, evaluator, chosen.seed)
    states = midgame(game, play.games)

    def collect(_: int) -> int:
        fleet.collect()
        return play.groups * play.games

    def ceiling(_: int) -> int:
        return len(alone(states).value)

    collect(0)
    evaluator.batches.clear()
    works = [Work(collect, threads=1), Work(ceiling, settings.threads)]
    played, ready = measure(works, settings.seconds, warm=False)
    fleet.close()
    evaluations = sum(evaluator.batches) / played.seconds
    return {
        "simulations_per_second": played.rate * chosen.search.simulations,
        "positions_per_second": played.rate,
        "evaluations_per_second": evaluations,
        "ceiling_evaluations_per_second": ready.rate,
        "fraction_of_ceiling": evaluations / ready.rate,
        **circumstances(chosen, settings),
        "games": groups * play.games,
        "simulations": chosen.search.simulations,
        "backend": evaluator.description,
    }


class _Counting(NetworkEvaluator):
    """Remembers the size of every batch it was asked for."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.batches: list[int] = []

    def __call__(self, states: States) -> Evaluation:
        self.batches.append(len(states))  # atomic, where adding to a sum would not be
        return super().__call__(states)
