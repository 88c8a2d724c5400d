"""PUCT with reuse of its tree against PUCT without, in Connect Four with the bundled network.

    python tests/benchmarks/tree_reuse.py [--games N] [--simulations N] [--seconds S] [--at-once N]

Two matches from varied openings, each played twice with seats swapped: one in which both players
have the same number of simulations per move, all games at once, and one in which they have the same
seconds per call, ``--at-once`` games at a time, so that the time counts. The two players have the
same network and a cache of evaluations each. Kept visits count towards the simulations, so that at
equal simulations the player that reuses its tree has the same number of visits from fewer
evaluations; at equal time it has more visits. Printed are the points of the player with reuse with
Wilson's 95 % interval and, for both players, per move: the visits of the root (median), the
evaluations that its search needed and those of them that the network computed, the others being in
the cache. The last line is the same as JSON. Run nothing else meanwhile.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from alphazero.config import InferenceSettings
from alphazero.judging import agent, lock_step
from alphazero.judging.decisions import Decision, Player, agent_player
from alphazero.judging.mistakes import wilson
from alphazero.judging.openings import draw_openings
from alphazero.search.puct import PUCT
from alphazero.types import Limits
from games.base import Game

GAME = "connect_four"
INFERENCE = InferenceSettings(backend="torch", precision="float32")
"""The same backend for both players, whatever a timing would find."""


@dataclass
class Counted:
    """A player, and the visits of the root for each of its moves."""

    player: Player
    visits: list[int] = field(default_factory=list)

    def counting(self) -> Player:
        """The player, whose calls are counted here."""

        def decide(*call) -> Decision:
            decision = self.player.decide(*call)
            self.visits += decision.visits.sum(axis=1).tolist()
            return decision

        return replace(self.player, decide=decide)

    def per_move(self) -> dict[str, float]:
        needed, computed = self.player.evaluations()
        counts = {"needed": needed, "computed": computed}
        per_move = {key: round(count / len(self.visits), 1) for key, count in counts.items()}
        # The median: a search by time visits finished games thousands of times near a game's end.
        return {"visits": float(np.median(self.visits)), **per_move}


def contestants(simulations: int, limits: Limits) -> tuple[Game, list[Counted]]:
    """The player with and the one without reuse, each with a network and a cache of its own."""
    both, path = [], agent.find(GAME)
    for reuse in (True, False):
        loaded = agent.load(path, simulations=simulations, search=PUCT(), inference=INFERENCE)
        name = "with reuse" if reuse else "without"
        both.append(Counted(agent_player(name, loaded, limits, reuse_tree=reuse)))
    return loaded.game, both


def match(
    limits: Limits, simulations: int, at_once: int, options: argparse.Namespace
) -> dict[str, object]:
    """Play ``options.games`` games with these limits, ``at_once`` at a time."""
    game, both = contestants(simulations, limits)
    openings = draw_openings(game, -(-options.games // 2), options.seed, options.opening_plies)
    starts = [opening for opening in openings for _ in (0, 1)][: options.games]
    pair, results = (both[0].counting(), both[1].counting()), []
    began = time.perf_counter()
    for first in range(0, len(starts), at_once):
        chunk = starts[first : first + at_once]
        seeds = [[options.seed, first + place] for place in range(len(chunk))]
        results.append(lock_step.play_match(game, pair, chunk, seeds, lambda done: None).result)
        print(f"{first + len(chunk)} of {len(starts)} games, {limits}", file=sys.stderr)
    result = np.concatenate(results)
    points = float((result == 1).sum() + (result == 0).sum() / 2)
    low, high = wilson(points, len(result))
    return {
        "limits": {"simulations": limits.simulations, "seconds": limits.seconds},
        "games": len(result),
        "wins": int((result == 1).sum()),
        "draws": int((result == 0).sum()),
        "losses": int((result == -1).sum()),
        "score": points / len(result),
        "low": low,
        "high": high,
        "minutes": round((time.perf_counter() - began) / 60, 2),
        **{one.player.name: one.per_move() for one in both},
    }


def show(title: str, row: dict) -> None:
    print(
        f"{title}: {row['wins']} won, {row['draws']} drawn, {row['losses']} lost with reuse, "
        f"{row['score']:.1%} of the points ({row['low']:.1%} to {row['high']:.1%}), "
        f"{row['minutes']} minutes"
    )
    for name in ("with reuse", "without"):
        one = row[name]
        print(
            f"  {name:10}  per move: {one['visits']:8,.1f} visits, {one['needed']:8,.1f} "
            f"evaluations needed, {one['computed']:8,.1f} computed"
        )


def main(arguments: Sequence[str]) -> dict[str, dict]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", type=int, default=400, help="in each match (400)")
    parser.add_argument("--simulations", type=int, default=200, help="per move (200)")
    parser.add_argument("--seconds", type=float, default=0.2, help="per call (0.2)")
    parser.add_argument("--at-once", type=int, default=4, help="games per call of a time (4)")
    parser.add_argument("--opening-plies", type=int, default=6, help="random moves (6)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    options = parser.parse_args(arguments)
    if options.at_once % 2:
        parser.error("--at-once: an even number, so that both games of an opening are in a batch")
    by_simulations = Limits(simulations=options.simulations)
    by_time = Limits(seconds=options.seconds)
    # What a first call compiles would be counted as time of the search.
    match(Limits(simulations=8), 8, 2, argparse.Namespace(**vars(options) | {"games": 2}))
    rows = {
        "equal simulations": match(by_simulations, options.simulations, options.games, options),
        "equal time": match(by_time, options.simulations, options.at_once, options),
    }
    for title, row in rows.items():
        show(title, row)
    print(json.dumps(rows))
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
