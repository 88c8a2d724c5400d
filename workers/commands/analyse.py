"""``alphazero analyse``: positions of other programs, analysed as lines of JSON."""

import argparse

from workers.commands.gtp import add_player
from workers.terminal.options import PLAYERS, add_game, count

HELP = "analyse positions: lines of JSON in and out"
EPILOG = f"""\
examples:
  echo '{{"id":"a","moves":["d3","c5"]}}' | alphazero analyse othello
  alphazero analyse connect_four <requests.jsonl >answers.jsonl
  alphazero analyse go:size=9 --player runs/go --points 20

The fields are those of KataGo's analysis engine; see docs/engine_protocols.md.

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_game(parser)
    add_player(parser)
    parser.add_argument(
        "--batch", type=count, default=16, metavar="N",
        help="positions that are searched at once, at most; default 16",
    )  # fmt: skip
    parser.add_argument(
        "--points", type=count, default=0, metavar="N",
        help="report a scoreLead of N times the value, for programs such as KaTrain that cannot "
        "do without one; it is no estimate of points",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    import games
    from workers.engines.analysis import Analysis
    from workers.engines.engine import load_player, warm
    from workers.engines.streams import protocol

    with protocol() as (inbox, say):
        game = games.make(options.game)
        player, _ = warm(load_player(game, options.player, options.allow, fresh=True), game)
        analysis = Analysis(game, player, inbox, say, options.batch)
        analysis.points, analysis.seed = options.points, options.seed
        analysis.serve()
    return 0
