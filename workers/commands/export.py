"""``alphazero export``: a run's agent as a folder of its own."""

import argparse
from typing import TYPE_CHECKING

from workers.terminal.options import add_allow, count, new_file, path
from workers.terminal.output import warn

if TYPE_CHECKING:
    from pathlib import Path

    from games.base import Game

HELP = "write a run's agent to a folder, to keep or to give away"
EPILOG = """\
example:
  alphazero export runs/MY_RUN --to my_agent
  alphazero play connect_four --player checkpoint:path=my_agent
  alphazero export runs/MY_RUN --onnx my_network.onnx

the folder holds the averaged weights, the configuration, their checksums and a model
card; nothing that only training needs"""

GAMES = 100
"""Games against each opponent with ``--measure``, where no number is given."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory or a checkpoint")
    parser.add_argument("--to", type=path, metavar="FOLDER", help="an agent in it is replaced")
    parser.add_argument(
        "--onnx",
        type=new_file,
        metavar="FILE",
        help="write the network to a new file of ONNX, for other programs; alone or with --to",
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
    if options.to is None and (options.onnx is None or options.half or options.measure):
        raise ValueError("--to FOLDER is missing: the folder for the agent")
    if options.onnx:
        _write_onnx(options)
    return _export(options) if options.to else 0


def _export(options: argparse.Namespace) -> int:
    from workers.runs import export

    game = _game(options) if options.measure else None
    card = export.export(options.run_dir, options.to, options.half, warn)
    size = (card.parent / export.WEIGHTS).stat().st_size
    print(f"{options.to} holds the agent ({size / 1e6:.2f} MB) and its model card, {card}")
    if game:
        _measure(game, options, card)
    return 0


def _write_onnx(options: argparse.Namespace) -> None:
    from alphazero import checkpoint, onnx_file
    from workers.runs import strength

    onnx_file.check_packages()
    game = strength.game_of(options.run_dir, options.allow)
    difference = onnx_file.write(checkpoint.load(options.run_dir), game, options.onnx)
    size = options.onnx.stat().st_size
    print(
        f"{options.onnx} holds the network ({size / 1e6:.2f} MB, ONNX with operators of version "
        f"{onnx_file.OPSET}); on {onnx_file.POSITIONS:,} positions its logits differ from torch's "
        f"by at most {difference.policy:.1g}, its values by {difference.value:.1g}"
    )


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
