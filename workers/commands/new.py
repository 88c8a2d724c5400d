"""``alphazero new``: a game to change into one's own, with its test and its configuration."""

import argparse
import builtins
import importlib.util
import keyword
import re
import sys
from pathlib import Path

HELP = "write a game of your own to start from"
EPILOG = """\
examples:
  alphazero new my_game
  alphazero check my_game:MyGame

writes my_game.py, test_my_game.py and my_game.yaml into the current folder: a complete
small game with notes where to change it, its test, and a configuration to train it"""

TEMPLATE = Path(__file__).with_name("template")
MODULE, CLASS = "my_game", "MyGame"
"""The names in the template, which are replaced."""
USED = {"Drawing", "Game", "Label", "States", "Symmetry"}
"""Names that the template imports."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="its module, as my_game; the class is MyGame")


def run(options: argparse.Namespace) -> int:
    name = options.name
    kind = class_name(name)
    check_name(name, kind)
    sources = sorted(path for path in TEMPLATE.iterdir() if path.suffix in (".py", ".yaml"))
    texts = {_renamed(path.name, name, kind): path.read_text(encoding="utf-8") for path in sources}
    if there := [file for file in texts if Path(file).exists()]:
        raise ValueError(f"here is {' and '.join(there)} already: nothing is overwritten")
    _check_hides_nothing(name)
    for file, text in texts.items():
        with open(file, "x", encoding="utf-8") as opened:
            opened.write(_renamed(text, name, kind))
    print(f"written: {', '.join(texts)}\nnext, after each change of the rules:")
    print(f"  alphazero check {name}:{kind}\n  pytest test_{name}.py")
    print(f"then:\n  alphazero train {name}.yaml --run-dir runs/{name}")
    print(f"  alphazero play {name}:{kind} --player checkpoint:path=runs/{name}")
    return 0


def class_name(name: str) -> str:
    """The name of a module as that of a class: ``my_game`` gives ``MyGame``."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def check_name(name: str, kind: str) -> None:
    """``ValueError``, one line, where a module or a class cannot have this name."""
    if not (name.isascii() and name.isidentifier() and name[0].isalpha()):
        raise ValueError(
            f"{name!r} cannot be the name of a module: letters, digits and _, a letter first, "
            "as my_game"
        )
    if keyword.iskeyword(name) or keyword.iskeyword(kind):
        raise ValueError(f"{name!r} or {kind!r} is a word of Python: choose another name")
    if kind in USED or hasattr(builtins, kind):
        raise ValueError(f"the class {kind!r} would hide another one: choose another name")


def _check_hides_nothing(name: str) -> None:
    """``ValueError``, one line, where a module or a game of this name exists already."""
    import games

    if name in games.registered():
        raise ValueError(f"there is a game {name!r} already, see `alphazero games`: choose another")
    for module in (name, f"test_{name}"):
        if module in sys.modules or importlib.util.find_spec(module):
            raise ValueError(
                f"a module {module!r} exists already and would be hidden: choose another"
            )


def _renamed(text: str, name: str, kind: str) -> str:
    """The template's text with the names of the new game."""
    names = {MODULE: name, CLASS: kind}
    return re.sub("|".join(names), lambda match: names[match[0]], text)
