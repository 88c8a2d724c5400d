"""Options that several commands share, and the types of their values."""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from workers.terminal.parsing import Parser

if TYPE_CHECKING:
    from alphazero.hub import Address
    from alphazero.judging.sprt import Test

PLAYERS = """\
a player is kind[:key=value,...]:
  random                any legal move
  mcts:simulations=800  tree search with random rollouts
  minimax:depth=5       full-width search to a depth
  solver:slack=0,errors=0
                        perfect play, where there is a
                        solver; slack: also moves that
                        keep the result so many stones
                        later or sooner; errors: share
                        of random moves
  checkpoint:path=RUN,simulations=200
                        a trained agent: a run means its
                        newest valid checkpoint, no path
                        the agent of this program
  policy:path=RUN       a trained network, no search
  RUN                   the same as checkpoint:path=RUN
  hf://USER/AGENT       an agent of the Hugging Face
                        hub, which is downloaded
  gtp:cmd='gnugo --mode gtp'
                        a program that speaks GTP
  uci:cmd=stockfish,skill=0,nodes=1000
                        a program that speaks UCI; in
                        arena, play and ladder only
a path with a comma stands in quotes: "checkpoint:path='a,b'"

mcts, minimax and checkpoint also take seconds=S: the time for each move, or in
matches for the moves of all games at a time; reuse_tree=false: a checkpoint
begins each search anew. checkpoint and policy also take backend=torch|openvino,
precision=float32|bfloat16 and device=cpu|cuda|mps, so that another machine can
repeat a match; else a timing chooses"""


def add_game(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("game", type=game, metavar="GAME", help="see `alphazero games`")


def add_allow(parser: argparse.ArgumentParser) -> None:
    """For a command that loads checkpoints; ``alphazero.addresses`` has the reason."""
    parser.add_argument(
        "--allow", action="append", default=[], metavar="module:Class",
        help="a search, network or encoder outside this program that a checkpoint may use; it is "
        "imported, which runs its code; may be repeated",
    )  # fmt: skip


def add_settings(parser: Parser, known: Callable[[], Sequence[str]], meaning: str) -> None:
    """The argument for ``key.sub=value``; ``known`` returns the keys that there are."""
    parser.settings = known
    parser.add_argument("overrides", metavar="key.sub=value", nargs="*", default=[], help=meaning)


def self_play_keys() -> Sequence[str]:
    """The keys of all settings of self-play."""
    from alphazero import config, config_file

    return config_file.paths(config.Config)


def supervised_keys() -> Sequence[str]:
    """The keys of all settings of supervised models."""
    from alphazero import config_file
    from alphazero.supervised import config

    return config_file.paths(config.SupervisedConfig)


def add_run(parser: Parser, known: Callable[[], Sequence[str]], urls: bool = False) -> None:
    """The options of every command that trains; ``known`` as in ``add_settings``.

    ``urls``: the run may be kept in a storage, at a URL.
    """
    add_settings(parser, known, "settings that replace the file's")
    parser.add_argument(
        "--run-dir",
        type=path_or_url if urls else local_path,
        metavar="DIR|URL" if urls else "DIR",
        help="default: runs/CONFIG-DATE-TIME",
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


def sequential_test(text: str) -> "Test":
    """``elo0=0,elo1=20,alpha=0.05,beta=0.05``, each of which may be left out."""
    from alphazero.judging.sprt import Test
    from games.spec import parse_options, shown, suggest

    known = [field.name for field in fields(Test)]
    values: dict[str, float] = {}
    for key, value, written in parse_options(text):
        if key not in known:
            hint = f"there is no {shown(key)}; {suggest(key, known)}"
            raise argparse.ArgumentTypeError(hint)
        if key in values:
            raise argparse.ArgumentTypeError(f"{key} is given twice")
        try:
            values[key] = float(value or "")
        except ValueError:
            usual = f"{key}={getattr(Test(), key):g}"
            problem = f"{shown(written)}: {key} is a number, as in {usual}"
            raise argparse.ArgumentTypeError(problem) from None
    if not values:
        raise argparse.ArgumentTypeError("it is empty: elo0=0,elo1=20 are the usual values")
    try:
        return Test(**values)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    from alphazero.ranges import MOST_MINUTES  # pydantic, which takes a while to import

    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 60m or 2h")
    number = float(match[1]) * {"s": 1 / 60, "m": 1.0, "h": 60.0}[match[2]]
    if number > MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_MINUTES:,} minutes")
    return number


def game(text: str) -> str:
    """The text of a registered game that can be made, or of one of the user's own, unchecked."""
    import games

    return text if ":" in games.named(text)[0] else _checked(text, games.make)


def player(text: str) -> str:
    """The text of a player of a known kind with known options."""
    from alphazero.judging import players  # torch, which takes seconds to import

    return _checked(text, players.parse)


def ray(text: str) -> str:
    """``off``, ``local``, ``auto`` or the address of a cluster."""
    from alphazero import config_checks

    return _checked(text, config_checks.check_ray)


def _checked(text: str, check: Callable[[str], object]) -> str:
    """``text``, whose ``ValueError`` becomes argparse's own, with the option's name."""
    try:
        check(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def path(text: str) -> Path:
    """A path, ``~`` expanded: a shell expands it only at the beginning of a word."""
    return Path(os.path.expanduser(text))


def local_path(text: str) -> Path:
    """A path of this machine; a URL would become a folder of a strange name."""
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{text!r} is a URL: this command needs a folder")
    return path(text)


def path_or_address(text: str) -> "Path | Address":
    """A path of this machine, or an agent of the Hugging Face hub, ``hf://USER/AGENT``."""
    from alphazero import hub

    if not hub.is_address(text):
        return local_path(text)
    _checked(text, hub.parse)
    return hub.parse(text)


def path_or_url(text: str) -> Path | str:
    """A URL as a text, without slashes at its end; anything else as a path."""
    return re.sub(r"(?<=[^:/])/+$", "", text) if is_url(text) else path(text)


def is_url(text: str) -> bool:
    """Whether a text names a place as a URL, such as ``s3://bucket/run``, rather than as a path."""
    return re.match(r"[a-z][a-z0-9+.-]+://", text) is not None


def json_destination(text: str) -> str:
    """Refuse a missing folder before the work, not after it; ``-`` is standard output."""
    return text if text == "-" else str(file_path(text))


def file_path(text: str) -> Path:
    """A file in a folder that exists; not standard output."""
    if text == "-":
        raise argparse.ArgumentTypeError("standard output cannot be used here: give a file")
    file = path(text)
    if not file.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{file.parent} is not a folder")
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, not a file")
    return file


def new_file(text: str) -> Path:
    """A file that does not exist yet, in a folder that does."""
    file = file_path(text)
    if file.exists():
        raise argparse.ArgumentTypeError(f"{text} exists already: give a new file")
    return file
