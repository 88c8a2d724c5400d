"""``alphazero uci``: an agent as an engine for programs that speak UCI."""

import argparse

from workers.commands.gtp import add_player, engine
from workers.terminal.options import PLAYERS, game

HELP = "let a chess program play by the Universal Chess Interface (UCI)"
EPILOG = f"""\
examples:
  alphazero uci --player runs/chess
  alphazero uci --player checkpoint:path=runs/chess,seconds=5
  alphazero uci breakthrough

Cute Chess and other programs start this command themselves; see
docs/engine_protocols.md.

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "game", type=game, metavar="GAME", nargs="?", default="chess",
        help="default: chess; the other one is breakthrough",
    )  # fmt: skip
    add_player(parser)


def run(options: argparse.Namespace) -> int:
    import games
    from alphazero.judging.engines import notation
    from workers.engines.streams import protocol
    from workers.engines.uci import Uci

    board = games.make(options.game)
    if notation.uci_variant(board) is None:
        raise ValueError(f"GAME: UCI has no variant for {board.name}; there is `alphazero gtp`")
    with protocol() as (inbox, say):
        Uci(engine(options), inbox, say).serve()
    return 0
