"""``alphazero arena``: matches between players, and their Elo."""

import argparse
from dataclasses import asdict

from workers.terminal.options import PLAYERS, add_allow, add_json, add_seed, game, player

HELP = "play matches between players and rate them"
EPILOG = f"""\
example:
  alphazero arena mcts:simulations=200 minimax:depth=5 --game connect_four

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("players", metavar="PLAYER", type=player, nargs="+", help="two or more")
    parser.add_argument(
        "--game", type=game, required=True, metavar="GAME", help="see `alphazero games`"
    )
    parser.add_argument(
        "--games",
        type=int,
        default=100,
        metavar="N",
        help="games per pairing, sides swapped; default 100",
    )
    parser.add_argument(
        "--opening-plies",
        type=int,
        metavar="N",
        help="random moves at the start of each game; default 2, fewer in a tiny game",
    )
    parser.add_argument(
        "--fixed-seats",
        action="store_true",
        help="the player named first begins every game of a pair; default: each begins half",
    )
    add_allow(parser)
    add_seed(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    import games
    from alphazero.judging import arena, players
    from workers.terminal import progress, tables

    rules = games.make(options.game)
    entrants = [players.make(spec, rules, allow=options.allow) for spec in options.players]
    screen = Console(stderr=True)
    for entrant in entrants:
        if entrant.inference:
            text = f"{entrant.name}: {entrant.inference}"
            screen.print(text, markup=False, highlight=False, soft_wrap=True)
    with progress.games() as report:
        played = arena.play(
            rules, entrants, options.games, options.seed, options.opening_plies, report,
            swap=not options.fixed_seats,
        )  # fmt: skip
    result = asdict(played)
    cut = f", {played.adjudicated} adjudicated at {rules.max_plies} plies"
    table = tables.make(
        f"{played.game}, {played.games} games{cut if played.adjudicated else ''}",
        "player", "wins", "draws", "losses", "score", "Elo", "95 %",
    )  # fmt: skip
    for row in result["players"]:
        elo, low, high = (tables.signed(row[key]) for key in ("elo", "elo_low", "elo_high"))
        counts = [str(row[key]) for key in ("wins", "draws", "losses")]
        table.add_row(row["name"], *counts, f"{row['score']:.1%}", elo, f"{low} to {high}")
    return tables.report(table, result, options.json)
