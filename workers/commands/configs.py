"""``alphazero configs``: the configurations that come with the program."""

import argparse
from collections.abc import Mapping
from importlib.resources.abc import Traversable

HELP = "configurations that come with the program, and their text"
EPILOG = """\
examples:
  alphazero configs
  alphazero configs connect_four_quick > mine.yaml
  alphazero train mine.yaml

a configuration names only what differs from the defaults; every setting is described
on the pages `Settings` and `Settings of supervised models` of the documentation"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="show this one; none: list all")


def run(options: argparse.Namespace) -> int:
    from alphazero import config, config_file, config_folder
    from alphazero.supervised import config as supervised

    folders = {"train": config.FOLDER, "supervised train": supervised.FOLDER}
    if options.name is None:
        return _list(folders)
    known = {name: folder for folder in folders.values() for name in config_folder.names(folder)}
    if options.name not in known:
        hint = config_file.nearest(options.name, known) or f"; the names are {', '.join(known)}"
        raise ValueError(f"there is no configuration {options.name!r}{hint}")
    _, text = config_folder.find(options.name, known[options.name])
    print(text, end="")
    return 0


def _list(folders: Mapping[str, Traversable]) -> int:
    from alphazero import config_folder
    from workers.terminal import tables

    table = tables.make(None, "command", "name", "description", justify="left")
    for command, folder in folders.items():
        for name in config_folder.names(folder):
            _, text = config_folder.find(name, folder)
            table.add_row(command, name, _description(text))
    return tables.report(table)


def _description(text: str) -> str:
    """The first sentence of the comment at the beginning of a configuration."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#") or line.startswith("#   "):  # the latter is a command
            break
        lines.append(line.removeprefix("#").strip())
    first, _, _ = " ".join(lines).partition(". ")
    return first.rstrip(".:")
