"""The time of a simulation by its parts: one group of self-play on one core.

    python tests/benchmarks/simulation.py [CONFIG] [key=value ...]

Plays as the configuration says, with its network (random weights) behind an evaluation cache, and
times the parts of a simulation. ``rest`` is the Python code between them.
"""

import argparse
import time
from collections import Counter
from itertools import count

import torch

import games
from alphazero import config, network
from alphazero.cache import CachedEvaluator
from alphazero.inference import NetworkEvaluator
from alphazero.nn.weights import arrays
from alphazero.search import kernels, run
from alphazero.selfplay import GameGroup

MOVES = 20


class Stopwatch:
    """Seconds by name, for calls that do not contain each other."""

    def __init__(self):
        self.seconds: Counter[str] = Counter()

    def wrap(self, owner, attribute: str, name: str):
        function = getattr(owner, attribute)

        def timed(*arguments):
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds[name] += time.perf_counter() - start

        setattr(owner, attribute, timed)


class Player:
    """A group of games, its cache and its network."""

    def __init__(self, chosen: config.Config):
        game = games.make(chosen.game)
        self.network = NetworkEvaluator(game, chosen.network, chosen.inference)
        module = network.build(game, chosen.network, chosen.seed)
        self.network.load(arrays(module.state_dict()), 0)
        self.evaluate = self.call_network
        self.cached = CachedEvaluator(game, lambda states: self.evaluate(states), 2**16)
        self.group = GameGroup(game, chosen.search, chosen.selfplay, chosen.seed, count())
        self.game = game

    def call_network(self, states):
        return self.network(states)

    def look_up(self, states):
        return self.cached(states)

    def move(self):
        run(self.group.move(), lambda states: self.look_up(states))


def main(arguments: list[str]) -> None:
    torch.set_num_threads(1)
    name = arguments[0] if arguments else "connect_four_large"
    chosen = config.load(name, ["search.proofs=false", *arguments[1:]])
    player, watch = Player(chosen), Stopwatch()
    for _ in range(3):
        player.move()
    for name in ("puct", "gumbel", "attach", "expand"):
        watch.wrap(kernels, name, "select" if name in ("puct", "gumbel") else name)
    watch.wrap(player.game, "advance", "game.advance")
    watch.wrap(player, "call_network", "network")
    player.evaluate = player.call_network
    watch.wrap(player, "look_up", "cache")
    cache = player.cached.cache
    start, lookups, misses = time.perf_counter(), cache.lookups, cache.misses
    for _ in range(MOVES):
        player.move()
    total = time.perf_counter() - start
    seconds = watch.seconds
    seconds["cache"] -= seconds["network"]
    seconds["rest"] = total - sum(seconds.values())
    simulations = MOVES * chosen.selfplay.games * chosen.search.simulations
    print(
        f"{chosen.selfplay.games} games, {chosen.search.simulations} simulations per move, one core"
    )
    print(f"{player.network.description}")
    lookups, misses = cache.lookups - lookups, cache.misses - misses
    print(
        f"per simulation: {lookups / simulations:.2f} cache lookups, "
        f"{misses / simulations:.2f} network evaluations"
    )
    for name, spent in seconds.most_common():
        print(f"{name:14} {1e6 * spent / simulations:7.3f} us per simulation {spent / total:7.1%}")
    print(f"{'in all':14} {1e6 * total / simulations:7.3f} us per simulation")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="as above")
    main(parser.parse_args().words)
