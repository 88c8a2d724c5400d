"""Options that several commands share, and the types of their values."""

import argparse
import re
from pathlib import Path

PLAYERS = """\
a player is kind[:key=value,...]:
  random                                          any legal move
  mcts:simulations=800                            tree search with random rollouts
  minimax:depth=5                                 full-width search to a depth
  solver:slack=0,errors=0                         perfect play, where a solver exists; slack: also
                                                  moves that keep the result so many stones later
                                                  or sooner; errors: share of random moves
  checkpoint:path=runs/x,simulations=200          a trained agent; a run directory means its
                                                  newest valid checkpoint, no path the agent
                                                  that comes with the program
  policy:path=runs/x                              a trained network without search
mcts, minimax and checkpoint also take seconds=S: the time for each move, or in matches for the
moves of all games at a time; reuse_tree=false: a checkpoint begins each search anew.
checkpoint and policy also take backend=torch|openvino, precision=float32|bfloat16 and
device=cpu|cuda|mps, so that another machine can repeat a match; else a timing chooses"""


def add_game(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("game", metavar="GAME", help="see `alphazero games`")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The options of every command that trains."""
    parser.add_argument(
        "overrides", metavar="key.sub=value", nargs="*", help="settings that replace the file's"
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="default: runs/CONFIG-DATE-TIME"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in DIR or, without --run-dir, the newest run of CONFIG",
    )
    parser.add_argument(
        "--time-limit", type=minutes, metavar="60m", help="stop in time: 90s, 60m, 2h"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", type=json_destination, metavar="FILE", help="write the figures; - for stdout"
    )


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def minutes(text: str) -> float:
    """A duration such as 90s, 60m or 2h, in minutes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 60m or 2h")
    return float(match[1]) * {"s": 1 / 60, "m": 1.0, "h": 60.0}[match[2]]


def json_destination(text: str) -> str:
    """Refuse a missing folder before the work, not after it."""
    if text != "-" and not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{Path(text).parent} is not a folder")
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, not a file")
    return text


def file_path(text: str) -> Path:
    """A file in a folder that exists; not standard output."""
    if text == "-":
        raise argparse.ArgumentTypeError("standard output cannot be used here: give a file")
    return Path(json_destination(text))


def new_file(text: str) -> Path:
    """A file that does not exist yet, in a folder that does."""
    path = file_path(text)
    if path.exists():
        raise argparse.ArgumentTypeError(f"{text} exists already: give a new file")
    return path
