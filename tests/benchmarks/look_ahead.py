"""The cost of ``search.look_ahead``: CPU time per new position, by game and size of the batch.

    python tests/benchmarks/look_ahead.py [GAME ...] [--batches 1 192]

The positions are those of random games; for each all legal moves are played, as the search does.
Beside it stands the time of one ``game.advance`` of the same positions, which a search needs in any
case. In games of other libraries the calls after the first find their positions in a cache.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

import games
from alphazero.evaluators import random_actions
from alphazero.search.tree import _winning_moves
from games.base import Game, States
from workers.terminal.options import count, game

GAMES = ["connect_four", "othello", "hex:size=7", "breakthrough", "go:size=7", "go:size=9",
         "gomoku:size=9", "chess", "gomoku:size=15"]  # fmt: skip
SECONDS = 0.3


def positions(game: Game, number: int, rng: np.random.Generator) -> States:
    """Unfinished positions of ``number`` random games after up to 40 plies."""
    states = game.initial(number)
    for _ in range(40):
        after = game.step(states, random_actions(game.legal(states), rng))
        going = np.isnan(game.outcome(after)) & (rng.random(number) < 0.9)
        states[going] = after[going]
    return states


def microseconds(function: Callable[[], object], number: int) -> float:
    """CPU time of one call per position, the mean over ``SECONDS``."""
    function()
    began, calls = time.process_time(), 0
    while time.process_time() - began < SECONDS:
        function()
        calls += 1
    return (time.process_time() - began) / calls / number * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("games", nargs="*", type=game, default=GAMES, metavar="GAME")
    parser.add_argument("--batches", type=count, nargs="+", default=[1, 192])
    options = parser.parse_args()
    print("| game | batch | legal moves | look ahead, us per position | advance |")
    print("|---|---|---|---|---|")
    for name in options.games:
        rules, rng = games.make(name), np.random.default_rng(0)
        for number in options.batches:
            states = positions(rules, max(number, 16), rng)[:number]
            legal, mover = rules.legal(states), rules.to_move(states)
            actions = random_actions(legal, rng).astype(np.int32)
            ahead = microseconds(partial(_winning_moves, rules, states, legal, mover), number)
            once = microseconds(partial(rules.advance, states, actions), number)
            print(f"| {name} | {number} | {legal.sum() / number:.0f} | {ahead:.1f} | {once:.2f} |")


if __name__ == "__main__":
    main()
