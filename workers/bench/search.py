"""Tree search alone."""

import numpy as np

import games
from alphazero import evaluators, search
from alphazero.config import Config
from workers.bench.measuring import BenchSettings, Figures, Work, circumstances, measure, midgame


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Tree search alone: an evaluator that answers at once and knows nothing."""
    game = games.make(chosen.game)
    states = midgame(game, chosen.selfplay.games)
    temperature = np.ones(len(states), np.float32)
    rngs = [_generators(thread, len(states)) for thread in range(settings.threads)]
    evaluate = evaluators.uniform(game)

    def work(thread: int) -> int:
        search.run(chosen.search(game, states, rngs[thread], temperature), evaluate)
        return len(states) * chosen.search.simulations

    (tally,) = measure([Work(work, settings.threads)], settings.seconds)
    return {
        "simulations_per_second": tally.rate,
        **circumstances(chosen, settings),
        "games": len(states),
        "simulations": chosen.search.simulations,
    }


def _generators(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, index]) for index in range(count)]
