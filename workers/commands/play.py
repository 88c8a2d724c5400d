"""``alphazero play``: a game against an agent in the terminal."""

import argparse
import time
from typing import TYPE_CHECKING

from workers.terminal.options import PLAYERS, add_allow, add_game, player

if TYPE_CHECKING:
    from games.base import Game

HELP = "play against an agent in the terminal"
EPILOG = f"""\
examples:
  alphazero play connect_four
  alphazero play connect_four --player mcts:simulations=400 --hints

{PLAYERS}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    add_game(parser)
    parser.add_argument(
        "--player",
        metavar="PLAYER",
        type=player,
        help="your opponent; default: the agent that comes with the program, where GAME has one, "
        "else mcts:seconds=1.5",
    )
    parser.add_argument(
        "--hints", action="store_true", help="show the agent's value and moves of each position"
    )
    parser.add_argument("--second", action="store_true", help="let the agent begin")
    add_allow(parser)
    parser.add_argument(
        "--about",
        action="store_true",
        help="show the model card of the agent that comes with GAME, and stop",
    )


def run(options: argparse.Namespace) -> int:
    import games

    game = games.make(options.game)
    return _show_card(options, game) if options.about else _play(options, game)


def _show_card(options: argparse.Namespace, game: "Game") -> int:
    if options.player or options.hints or options.second:
        raise ValueError("--about only shows the agent that comes with GAME: give it alone")
    from rich.console import Console
    from rich.markdown import Markdown

    from alphazero import agents

    Console().print(Markdown(agents.card(game.name)))
    return 0


def _play(options: argparse.Namespace, game: "Game") -> int:
    from rich.console import Console

    from alphazero import agents
    from alphazero.judging import players, terminal

    spec = options.player or players.default(game)
    if not (options.player or game.name in agents.names()):
        print(f"No agent for {game.name} comes with this program: {spec} plays instead.")
    opponent = players.make(spec, game, leaves="auto", allow=options.allow)
    settings = terminal.PlaySettings(
        begin=not options.second, hints=options.hints, seed=int(time.time())
    )
    terminal.play(game, opponent, settings, terminal.terminal_read, Console())
    return 0
