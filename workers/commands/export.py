"""``alphazero export``: a run's agent as a folder of its own."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from workers.terminal.options import add_allow, count, new_file, path, path_or_address
from workers.terminal.output import warn

if TYPE_CHECKING:
    from alphazero.hub import Address
    from games.base import Game

HELP = "write a run's agent to a folder, to keep or to give away"
EPILOG = """\
example:
  alphazero export runs/MY_RUN --to my_agent
  alphazero play connect_four --player checkpoint:path=my_agent
  alphazero export runs/MY_RUN --onnx my_network.onnx
  alphazero export runs/MY_RUN --to hf://MY_NAME/my_agent

the folder holds the averaged weights, the configuration, their checksums and a model
card; nothing that only training needs. hf://USER/AGENT is a repository of the Hugging
Face hub, which is made if there is none; an exported agent keeps its card there"""

GAMES = 100
"""Games against each opponent with ``--measure``, where no number is given."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=path, metavar="RUN", help="a run directory or a checkpoint")
    parser.add_argument(
        "--to",
        type=path_or_address,
        metavar="FOLDER|hf://USER/AGENT",
        help="an agent in FOLDER is replaced; hf:// uploads it to the Hugging Face hub",
    )
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
    if not isinstance(options.to, Path):
        return _upload(options, options.to)
    from alphazero import sealed

    card = _write(options, options.to)
    size = (card.parent / sealed.WEIGHTS).stat().st_size
    print(f"{options.to} holds the agent ({size / 1e6:.2f} MB) and its model card, {card}")
    if options.measure:
        print(f"{card} states how strong it is")
    return 0


def _upload(options: argparse.Namespace, address: "Address") -> int:
    """Write the agent to a temporary folder, and send that."""
    from alphazero import hub
    from alphazero.agents import CARD
    from workers.runs import agent_files

    hub.check_target(address)
    with tempfile.TemporaryDirectory(prefix="alphazero-") as name:
        folder = Path(name) / "agent"
        if (options.run_dir / CARD).exists() and not (options.half or options.measure):
            agent_files.copy(options.run_dir, folder)
            agent_files.complete_card(folder)
        else:
            _write(options, folder, str(address))
        url = hub.upload(folder, address)
    print(f"{address} holds the agent and its model card: {url}")
    return 0


def _write(options: argparse.Namespace, folder: Path, named: str | None = None) -> Path:
    """Write the agent to ``folder``, and measure it if asked to; its card."""
    from workers.runs import export, strength
    from workers.terminal import progress

    game = _game(options) if options.measure else None
    card = export.export(options.run_dir, folder, options.half, warn)
    if game:
        with progress.bars() as report:
            measured = strength.measure(game, folder, options.measure, report, options.allow, named)
        export.write_strength(card, game.name, *measured)
    return card


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
