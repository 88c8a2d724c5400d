"""``alphazero gtp``: an agent as an engine for programs that speak the Go Text Protocol."""

import argparse
from typing import TYPE_CHECKING

from workers.terminal.options import PLAYERS, add_allow, add_game, add_seed, player

if TYPE_CHECKING:
    from workers.engines.engine import Engine

HELP = "let a program play by the Go Text Protocol (GTP)"
EPILOG = f"""\
examples:
  alphazero gtp go:size=9 --player runs/go
  alphazero gtp othello --player checkpoint:seconds=2 --resign 0.95
  echo 'genmove b' | alphazero gtp connect_four

Sabaki, GoGui and gogui-twogtp start this command themselves; see
docs/engine_protocols.md.

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_game(parser)
    add_player(parser)
    parser.add_argument(
        "--resign", type=loss, metavar="LOSS",
        help="resign where the agent's value is -LOSS or less, 0 < LOSS <= 1; default: never",
    )  # fmt: skip


def add_player(parser: argparse.ArgumentParser) -> None:
    """The options of every command that is an engine."""
    parser.add_argument(
        "--player", metavar="PLAYER", type=player,
        help="default: the agent that comes with the program, where GAME has one, else "
        "mcts:seconds=1.5; a checkpoint searches with puct unless it has search=gumbel",
    )  # fmt: skip
    add_seed(parser)
    add_allow(parser)


def loss(text: str) -> float:
    """A number above 0, at most 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return value


def engine(options: argparse.Namespace) -> "Engine":
    """The engine of a command with these options and ``game``."""
    import games
    from workers.engines.engine import Engine, load_player

    return Engine(
        games.make(options.game),
        lambda game: load_player(game, options.player, options.allow),
        options.seed,
        bounded=options.player is not None,
    )


def run(options: argparse.Namespace) -> int:
    from workers.engines import gtp
    from workers.engines.gtp_commands import Gtp
    from workers.engines.streams import protocol

    with protocol() as (inbox, say):
        commands = Gtp(engine(options), inbox, say, options.resign)
        gtp.serve(commands.commands, commands.begin, inbox, say)
    return 0
