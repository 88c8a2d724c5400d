"""``alphazero web``: the page to play, analyse and watch runs."""

import argparse

from workers.commands.serve import port
from workers.terminal.options import PLAYERS, add_allow, player

HELP = "play, analyse and watch runs in a browser"
EPILOG = f"""\
examples:
  alphazero web                      # every game, and the runs in runs/
  alphazero web connect_four
  alphazero web runs/MY_RUN          # its curves, its checkpoints as players
  alphazero web chess --player 'uci:cmd=stockfish,skill=3'

Only this machine can reach the page. It needs the extra `serve`.

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="GAME|RUN|FOLDER",
        nargs="?",
        help="a game, a run, a folder of runs, or an exported agent; default: the runs in runs/",
    )
    parser.add_argument("--port", type=port, default=8080, help="default 8080; 0: any free one")
    parser.add_argument(
        "--player",
        metavar="PLAYER",
        type=player,
        action="append",
        default=[],
        help="an opponent beside those of the page; may be repeated",
    )
    add_allow(parser)


def run(options: argparse.Namespace) -> int:
    from workers.web import main

    return main.run(options.what, options.port, options.player, options.allow)
