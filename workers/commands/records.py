"""``alphazero records``: the games of a run's self-play as a file."""

import argparse

from workers.terminal.options import add_allow, count, new_file, path
from workers.terminal.output import warn

HELP = "write the games of a run's self-play to a file"
EPILOG = """\
example:
  alphazero records runs/MY_RUN --to games.sgf --last 20

SGF for Go, Othello, Gomoku and Hex where FILE ends in .sgf, PGN for chess in .pgn, else
a line of JSON per game"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory")
    parser.add_argument("--to", type=new_file, required=True, metavar="FILE", help="a new file")
    parser.add_argument(
        "--last", type=count, default=100, metavar="N", help="the newest N games; default 100"
    )
    add_allow(parser)


def run(options: argparse.Namespace) -> int:
    from alphazero.judging import saved_games
    from workers.runs import game_files
    from workers.terminal.output import counted

    game = game_files.game_of(options.run_dir, options.allow)
    text = saved_games.writer(game, options.to)
    played = list(game_files.newest(game, options.run_dir, options.last, warn))
    if not played:
        raise ValueError(f"{options.run_dir} has no games of self-play")
    with options.to.open("x", encoding="utf-8") as file:
        file.writelines(map(text, played))
    print(f"{options.to} holds {counted(len(played), 'game')} of {game.name}")
    return 0
