"""All 4,520 unfinished positions of tic-tac-toe and their exact scores, for another game.

    python tests/benchmarks/tic_tac_toe_positions.py > positions.csv
    alphazero evaluate pettingzoo:pettingzoo.classic.tictactoe_v3 --positions positions.csv \
        --player policy:path=RUN

A position is a line of moves to it, numbered as ours are. PettingZoo numbers columns where we
number rows: that is the same game, mirrored.
"""

import argparse
import csv
import sys

import numpy as np

import games
from games import solvers


def lines(game: games.Game) -> dict[bytes, list[int]]:
    """A line of moves, numbered from 1, to each unfinished position, by its identity."""
    reached, level = {}, [(game.initial(1), [])]
    while level:
        after = []
        for states, line in level:
            key = game.identity(states).tobytes()
            if key not in reached and np.isnan(game.outcome(states)[0]):
                reached[key] = line
                after += [
                    (game.step(states, np.array([action])), [*line, action + 1])
                    for action in np.flatnonzero(game.legal(states)[0])
                ]
        level = after
    return reached


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    game = games.make("tic_tac_toe")
    texts = ["".join(map(str, line)) for line in lines(game).values()]
    writer = csv.writer(sys.stdout)
    writer.writerow(solvers.header(game))
    writer.writerows(solvers.label(game, texts))


if __name__ == "__main__":
    main()
