"""The speed of the search's kernels against the same search in NumPy.

    python tests/benchmarks/search_against_numpy.py

Both run in turns in one process, on one core, with an evaluator that takes no time, in Connect
Four positions of ten random plies. The NumPy search is the tests' batched reference.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import games
from alphazero.evaluators import random_actions, uniform
from alphazero.search import run
from alphazero.search.puct import PUCT

sys.path.append(str(Path(__file__).parents[1]))
import slow_numpy_search

TURNS = 5


def midgame(game, number: int):
    rng = np.random.default_rng(0)
    states = game.initial(number)
    while True:
        for _ in range(10):
            states = game.step(states, random_actions(game.legal(states), rng))
            over = ~game.legal(states).any(axis=1)
            states[over] = game.initial(int(over.sum()))
        if game.legal(states).any(axis=1).all():
            return states


def measure(number: int, simulations: int) -> tuple[float, float]:
    """Simulations per second of (kernels, NumPy) with ``number`` games."""
    game = games.make("connect_four")
    states, evaluate = midgame(game, number), uniform(game)
    search = PUCT(simulations=simulations, dirichlet_fraction=0.0, proofs=False)
    rngs, temperature = [np.random.default_rng(0)] * number, np.zeros(number, np.float32)

    def kernels():
        run(search(game, states, rngs, temperature), evaluate)

    def plain():
        slow_numpy_search.search(game, states, search, evaluate)

    seconds = {kernels: 0.0, plain: 0.0}
    for turn in range(TURNS + 1):
        for work in seconds:
            start = time.perf_counter()
            work()
            if turn:  # the first one compiles
                seconds[work] += time.perf_counter() - start
    units = TURNS * number * simulations
    return units / seconds[kernels], units / seconds[plain]


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for number in (16, 256):
        fast, slow = measure(number, 64)
        print(
            f"{number:4} games, 64 simulations: {fast:12,.0f} simulations/s with kernels, "
            f"{slow:10,.0f} in NumPy, ratio {fast / slow:.1f}"
        )


if __name__ == "__main__":
    main()
