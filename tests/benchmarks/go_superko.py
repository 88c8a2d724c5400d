"""How often a bounded history of Go allows what exact superko forbids, in random games.

    python tests/benchmarks/go_superko.py [--size 9] [--games 4000] [--history 1 4 8 16 32]

Games follow exact superko; in each position the legal moves of the game with the shorter history
are compared. The players pass only where they have no other move, so that boards are crowded.
"""

import argparse

import numpy as np

import games
from games.conformance.choices import random_moves


def compare(size: int, number: int, history: int) -> tuple[int, int]:
    """Positions whose legal moves differ, and all positions."""
    exact = games.make(f"go:size={size},history={max(2 * size * size, 32)}")
    bounded = games.make(f"go:size={size},history={history}")
    rng = np.random.default_rng(0)
    states, others, differ, total = exact.initial(number), bounded.initial(number), 0, 0
    for _ in range(exact.max_plies):
        going = exact.legal(states).any(axis=1)
        states, others = states[going], others[going]
        legal = exact.legal(states)
        differ += int((legal != bounded.legal(others)).any(axis=1).sum())
        total += len(states)
        legal[legal[:, :-1].any(axis=1), -1] = False
        actions = random_moves(exact, states, legal, rng)
        states, others = exact.step(states, actions), bounded.step(others, actions)
    return differ, total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=9)
    parser.add_argument("--games", type=int, default=4000)
    parser.add_argument("--history", type=int, nargs="*", default=[1, 4, 8, 16, 32])
    options = parser.parse_args()
    for history in options.history:
        differ, total = compare(options.size, options.games, history)
        print(f"history {history:3}: {differ:,} of {total:,} positions", flush=True)


if __name__ == "__main__":
    main()
