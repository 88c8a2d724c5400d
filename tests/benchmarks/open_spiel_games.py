"""Every game of OpenSpiel: whether it fits, and for those that do its size, speed and conformance.

    python tests/benchmarks/open_spiel_games.py [NAME ...]

Prints the two tables of ``docs/games/open_spiel.md``, a row as soon as it is measured. Seconds are
of computing time, so that other processes matter less. Random games are played 64 at once through
``advance`` and ``observe``, as in a search, until they have made ``MOVES`` moves or taken
``SECONDS``. The check plays ``GAMES`` games of at most ``PLIES`` plies, instead of 200 whole ones.
"""

import argparse
import time
from collections import Counter

import numpy as np
import pyspiel

import games
from games.base import Game
from games.conformance import check
from games.conformance.choices import random_moves
from games.open_spiel_game import _misfit

BATCH, MOVES, SECONDS = 64, 10_000, 10
GAMES, PLIES = 20, 20


def moves_per_second(game: Game) -> float:
    """Moves of random games per second of computing time, with observations."""
    rng, made = np.random.default_rng(0), 0
    states = game.initial(BATCH)
    legal, begun = game.legal(states), time.process_time()
    while made < MOVES and time.process_time() - begun < SECONDS:
        after = game.advance(states, random_moves(game, states, legal, rng))
        made += len(states)
        going = np.isnan(game.result(after.states, after.states["plies"]))
        game.observe(after.states[going])
        states, legal = after.states[going], after.legal[going]
        if not len(states):
            states = game.initial(BATCH)
            legal = game.legal(states)
    return made / (time.process_time() - begun)


def conformance(name: str) -> str:
    """Seconds of computing time of the check, or the promise that is broken."""
    begun = time.process_time()
    try:
        check(games.make(f"open_spiel:{name},max_plies={PLIES}"), games=GAMES)
    except AssertionError as error:
        return f"fails: {error}"
    return f"{time.process_time() - begun:.1f}"


def row(name: str) -> str:
    game = games.make(f"open_spiel:{name}")
    longest = pyspiel.load_game(name).max_game_length()
    shape = " × ".join(map(str, game.observation_shape))
    return (
        f"| `{name}` | {game.num_actions:,} | {shape} | {longest:,} | {game.dtype.itemsize:,} "
        f"| {moves_per_second(game):,.0f} | {conformance(name)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that fit")
    options = parser.parse_args()
    kinds = {kind.short_name: kind for kind in pyspiel.registered_games()}
    fits = [name for name, kind in kinds.items() if not _misfit(kind)]
    print("| game | actions | planes | longest | bytes per state | moves/s | check, s |")
    print("|---|---|---|---|---|---|---|")
    for name in options.names or fits:
        print(row(name), flush=True)
    print("\n| reason | games |\n|---|---|")
    for reason, count in Counter(filter(None, map(_misfit, kinds.values()))).most_common():
        print(f"| {reason} | {count} |")


if __name__ == "__main__":
    main()
