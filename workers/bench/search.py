"""The rate of tree search by itself."""

import numpy as np

from alphazero import evaluators
from alphazero import search as searches
from alphazero.config import Config
from alphazero.parts import game_of, search_of
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Search
from games.base import Game
from workers.bench.measuring import BenchSettings, Figures, Work, circumstances, measure, midgame

ONE_CORE_GAMES = (16, 256)
"""Games searched in lock step on one core: a small group and a large one."""


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure tree search with an evaluator that takes no time: uniform policies, values of 0.

    The configured search runs on all threads. In turns with it, each algorithm runs with default
    constants on one core.
    """
    game, search, number = game_of(chosen), search_of(chosen), chosen.selfplay.games
    works = [_search_work(game, search, number, settings.threads)]
    one_core, simulations = {}, max(2, search.simulations)  # Gumbel's least
    for kind in (PUCT, Gumbel):
        for count in ONE_CORE_GAMES:
            name = f"{kind.kind}, {count} games, {simulations} simulations"
            one_core[name] = len(works)
            plain = kind(simulations=simulations)
            works.append(_search_work(game, plain, count, threads=1))
    tallies = measure(works, settings.seconds)
    return {
        "simulations_per_second": tallies[0].rate,
        "one_core": {name: tallies[index].rate for name, index in one_core.items()},
        **circumstances(chosen, settings),
        "search": chosen.search.kind,
        "games": number,
        "simulations": search.simulations,
    }


def _search_work(game: Game, algorithm: Search, number: int, threads: int) -> Work:
    """Searches of ``number`` positions, with root noise and drawn moves as in self-play."""
    states, evaluate = midgame(game, number), evaluators.uniform(game)
    temperature = np.ones(number, np.float32)
    rngs = [
        [np.random.default_rng([thread, index]) for index in range(number)]
        for thread in range(threads)
    ]

    def repeat(thread: int) -> int:
        searches.run(algorithm(game, states, rngs[thread], temperature), evaluate)
        return number * algorithm.simulations

    return Work(repeat, threads)
