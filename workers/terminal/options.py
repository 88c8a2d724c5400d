"""What commands have in common on the command line: options, and how their words are read."""

import argparse
import re
from pathlib import Path
from typing import Any


def add_command(commands: Any, name: str, purpose: str, more: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=more,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(command=name)
    return command


def add_run(command: argparse.ArgumentParser) -> None:
    """The options of every kind of training."""
    command.add_argument(
        "overrides", metavar="key.sub=value", nargs="*", help="settings that replace the file's"
    )
    command.add_argument(
        "--run-dir", type=Path, metavar="DIR", help="default: runs/CONFIG-DATE-TIME"
    )
    command.add_argument(
        "--resume",
        action="store_true",
        help="go on with DIR or, without --run-dir, with the newest run of CONFIG",
    )
    command.add_argument(
        "--time-limit", type=minutes, metavar="60m", help="stop in time: 90s, 60m, 2h"
    )


def add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--json", type=json_destination, metavar="FILE", help="write the figures; - for stdout"
    )


def count(text: str) -> int:
    """A whole number above 0."""
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def minutes(text: str) -> float:
    """A duration such as 90s, 60m or 2h, in minutes."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 60m or 2h")
    return float(match[1]) * {"s": 1 / 60, "m": 1.0, "h": 60.0}[match[2]]


def json_destination(text: str) -> str:
    """Refuse a folder that is not there before the work, not after it."""
    if text != "-" and not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{Path(text).parent} is not a folder")
    if Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder, not a file")
    return text


def file_path(text: str) -> Path:
    """As ``json_destination``, but for standard output."""
    if text == "-":
        raise argparse.ArgumentTypeError("standard output will not do: give a file")
    return Path(json_destination(text))


def new_file(text: str) -> Path:
    """Refuse what is there already, and a folder that is not."""
    path = file_path(text)
    if path.exists():
        raise argparse.ArgumentTypeError(f"{text} exists already: give a new file")
    return path
