"""``alphazero play``: a game against an agent in the terminal."""

import argparse
import math
import time
from typing import TYPE_CHECKING

from workers.commands.arena import entrants
from workers.terminal.options import PLAYERS, add_allow, add_game, minutes, player

if TYPE_CHECKING:
    from alphazero.judging.session import Session
    from games.base import Game

HELP = "play against an agent in the terminal"
EPILOG = f"""\
examples:
  alphazero play connect_four
  alphazero play connect_four --player mcts:simulations=400 --hints
  alphazero play connect_four --moves 4453 --seconds 2
  alphazero play connect_four --load game.json

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
        "--seconds", type=seconds, metavar="S", help="the time of your opponent for each move"
    )
    parser.add_argument(
        "--clock",
        type=clock,
        metavar="TIME",
        help="the time of each side for the whole game, as 5m, or 5m+3s with 3 s more per move",
    )
    parser.add_argument(
        "--moves",
        metavar="MOVES",
        help="begin after these moves: 4453 in connect_four, 'd3 c5' in games of ten moves or more",
    )
    parser.add_argument(
        "--load",
        metavar="FILE",
        help="go on with the first game of FILE, which `save FILE` or `arena --games-out FILE` "
        "wrote, or of SGF or PGN where its name ends in .sgf or .pgn",
    )
    parser.add_argument(
        "--about",
        action="store_true",
        help="show the model card of the agent that comes with GAME, and stop",
    )


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def clock(text: str) -> tuple[float, float]:
    """The seconds of a side and its increment: ``5m+3s`` is (300, 3)."""
    time_of_side, plus, increment = text.partition("+")
    try:
        return 60 * minutes(time_of_side), 60 * minutes(increment) if plus else 0.0
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; with an increment 5m+3s") from None


def run(options: argparse.Namespace) -> int:
    import games

    game = games.make(options.game)
    return _show_card(options, game) if options.about else _play(options, game)


def _show_card(options: argparse.Namespace, game: "Game") -> int:
    alone = {"game", "about", "command"}
    if any(value for name, value in vars(options).items() if name not in alone):
        raise ValueError("--about only shows the agent that comes with GAME: give it alone")
    from rich.console import Console
    from rich.markdown import Markdown

    from alphazero import agents

    Console().print(Markdown(agents.card(agents.fitting(game.name) or game.name)))
    return 0


def _play(options: argparse.Namespace, game: "Game") -> int:
    from rich.console import Console

    from alphazero import agents
    from alphazero.judging import players, screen, terminal

    session = _session(options, game)
    spec = opponent(options.player, players.default(game, fitting=True), options.seconds)
    if not (options.player or agents.fitting(game.name)):
        print(f"No agent for {game.name} comes with this program: {spec} plays instead.")
        if others := agents.related(game.name):
            print(f"There is one for {', '.join(others)}.")
    console = Console()
    settings = terminal.PlaySettings(
        begin=not options.second,
        hints=options.hints,
        seed=int(time.time()),
        redraw=screen.is_interactive(console),
    )
    screen.edit_lines()
    with entrants([spec], game, options.allow, leaves="auto", fitting=True) as (rival,):
        terminal.play(rival, session, settings, screen.read_line, console)
    return 0


def _session(options: argparse.Namespace, game: "Game") -> "Session":
    """The game to play: a new one, one after some moves, or one of a file."""
    from alphazero.judging import saved_games
    from alphazero.judging.clock import Clock

    if options.load is not None and (options.moves or options.second):
        raise ValueError("--load: the file says which moves were played, and by whom")
    started = saved_games.begin(game, options.moves or "", options.load)
    if options.clock:
        time_of_side, increment = options.clock
        started.clock = Clock((time_of_side, time_of_side), increment)
    elif started.clock:
        started.clock.stop()  # until the opponent is loaded
    return started


def opponent(player: str | None, default: str, seconds: float | None) -> str:
    """The text of the player, with its time per move in place of other limits of the default.

    ``ValueError``: the player's text has a time of its own.
    """
    from alphazero.judging import players

    if seconds is None:
        return player or default
    spec = player or default.partition(":")[0]
    if own := players.parse(spec)[1].get("seconds"):
        raise ValueError(f"--seconds: the player has seconds={own} already; leave one of them out")
    return f"{spec}{',' if ':' in spec else ':'}seconds={seconds:g}"
