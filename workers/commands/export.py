"""``alphazero export``: a run's agent as a folder of its own."""

import argparse
from typing import TYPE_CHECKING

from workers.terminal.options import add_allow, count, path
from workers.terminal.output import warn

if TYPE_CHECKING:
    from pathlib import Path

    from games.base import Game

HELP = "write a run's agent to a folder, to keep or to give away"
EPILOG = """\
example:
  alphazero export runs/MY_RUN --to my_agent
  alphazero play connect_four --player checkpoint:path=my_agent

the folder holds the averaged weights, the configuration, their checksums and a model
card; nothing that only training needs"""

GAMES = 100
"""Games against each opponent with ``--measure``, where no number is given."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory or a checkpoint")
    parser.add_argument(
        "--to", type=path, required=True, metavar="FOLDER", help="an agent in it is replaced"
    )
    parser.add_argument(
        "--half", action="store_true", help="weights as float16: half the size, almost the same"
    )
    parser.add_argument(
        "--measure",
        nargs="?",
        type=count,
        const=GAMES,
        metavar="GAMES",
        help="play so many games against each of a few opponents, and write the results into the "
        f"model card; {GAMES} without a number",
    )
    add_allow(parser)


def run(options: argparse.Namespace) -> int:
    from workers.runs import export

    game = _game(options) if options.measure else None
    card = export.export(options.run_dir, options.to, options.half, warn)
    size = (card.parent / export.WEIGHTS).stat().st_size
    print(f"{options.to} holds the agent ({size / 1e6:.2f} MB) and its model card, {card}")
    if game:
        _measure(game, options, card)
    return 0


def _game(options: argparse.Namespace) -> "Game":
    """The game of the agent to be measured; ``ValueError``, before anything is written."""
    from workers.runs import strength

    return strength.game_of(options.run_dir, options.allow)


def _measure(game: "Game", options: argparse.Namespace, card: "Path") -> None:
    from workers.runs import export, strength
    from workers.terminal import progress

    with progress.bars() as report:
        measured = strength.measure(game, options.to, options.measure, report, options.allow)
    export.write_strength(card, measured)
    print(f"{card} states how strong it is")
