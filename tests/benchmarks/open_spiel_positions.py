"""Late positions of a game of OpenSpiel and the exact results of all their moves.

    python tests/benchmarks/open_spiel_positions.py clobber --plies 12 > positions.csv
    alphazero evaluate open_spiel:clobber --positions positions.csv --player policy:path=RUN

The positions are from random games, each one different, and in each there are a move that keeps the
result and one that loses it. OpenSpiel has the rules, and every position that can follow is looked
at: choose ``--plies`` so late that few enough are left. For games of two players without chance, in
which no position comes twice and OpenSpiel's text of a state says all that matters beside the
player to move.
"""

import argparse
import csv
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyspiel

import games
from games import solvers

Known = dict[str, int]
"""Results of positions by player to move and text."""
IN_PROGRESS = 2


def value(state: Any, known: Known) -> int:
    """The result for the player to move, under perfect play."""
    text = f"{state.current_player()} {state}"
    if text not in known:
        known[text] = IN_PROGRESS
        best = -1
        for action in state.legal_actions():
            best = max(best, after(state, action, known))
            if best == 1:
                break
        known[text] = best
    if known[text] == IN_PROGRESS:
        raise ValueError("a position comes twice in this game: it is not solved by this script")
    return known[text]


def after(state: Any, action: int, known: Known) -> int:
    """The result of ``action`` for the player to move, who may move again."""
    mover, child = state.current_player(), state.child(action)
    if child.is_terminal():
        return int(np.sign(child.returns()[mover]))
    return value(child, known) * (1 if child.current_player() == mover else -1)


def positions(
    game: Any, plies: int, number: int, rng: np.random.Generator
) -> Iterator[tuple[list[int], dict[int, int]]]:
    """``number`` lines of actions and the results of all actions after them.

    There are fewer where 10,000 games on end have no new position.
    """
    known, seen, fruitless = Known(), set[str](), 0
    while len(seen) < number and fruitless < 10_000:
        fruitless += 1
        state = game.new_initial_state()
        while not state.is_terminal() and state.move_number() < plies:
            state.apply_action(int(rng.choice(state.legal_actions())))
        if state.is_terminal() or str(state) in seen:
            continue
        results = {action: after(state, action, known) for action in state.legal_actions()}
        if len(set(results.values())) > 1:
            seen.add(str(state))
            fruitless = 0
            yield state.history(), results


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("game", help="as OpenSpiel names it")
    parser.add_argument("--plies", type=int, default=12, help="before each position; default 12")
    parser.add_argument("--number", type=int, default=1000, help="of positions; default 1000")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    options = parser.parse_args()
    game, rules = games.make(f"open_spiel:{options.game}"), pyspiel.load_game(options.game)
    writer = csv.writer(sys.stdout)
    writer.writerow(solvers.header(game))
    rng, count = np.random.default_rng(options.seed), 0
    drawn = positions(rules, options.plies, options.number, rng)
    for count, (line, results) in enumerate(drawn, 1):  # noqa: B007
        cells = [results.get(action, "") for action in range(game.num_actions)]
        moves = solvers.separator(game).join(str(action + 1) for action in line)
        writer.writerow([moves, max(results.values()), *cells])
    if count < options.number:
        parser.error(f"--number: after {options.plies} plies only {count} such positions exist")


if __name__ == "__main__":
    main()
