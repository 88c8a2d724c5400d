"""The command ``alphazero``: finds the commands in ``workers/commands``, runs one, reports errors.

A command is one module of ``workers/commands`` named after it, with

* ``HELP``: its purpose in a few words, for the list of commands;
* ``EPILOG``: examples and notes for the end of its own help;
* ``add_options(parser)``: its arguments;
* ``run(options) -> int``: does the work and returns the process's exit status.

Modules that take seconds to import are imported inside ``run``, so that a mistake on the command
line is reported at once.
"""

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper
from pkgutil import iter_modules
from types import ModuleType
from typing import TextIO

import alphazero
from alphazero.errors import RunFailed
from games import compiling
from workers import commands
from workers.terminal.parsing import Parser

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
EPILOG = """\
examples:
  alphazero train connect_four_quick
  alphazero play connect_four

ALPHAZERO_TRACEBACK=1 in the environment shows where an error came from."""
RAISING = "strict", "surrogateescape"
"""The error handlers, one of which every output has by default, that raise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the process's exit status: 0, 1 (failed), 2 (bad input) or 130 (Ctrl-C)."""
    # A user's own game lies in the folder in which the command is run, as for `python -m`.
    with suppress(OSError):  # the folder was removed
        sys.path.append(os.getcwd())
    tolerate_encodings(sys.stdout, sys.stderr)
    modules = command_modules()
    options = build_parser(modules).parse_args(arguments)
    command = modules[options.command]
    try:
        compiling.announce(logging.getLogger("workers").warning)
        status = command.run(options)
        if sys.stdout is not None:  # it is None where the process was started without an output
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of a pipe has ended; without this Python would report it again while it exits.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("\nalphazero: stopped", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, OSError, RunFailed) as error:
        return _report(error)


def tolerate_encodings(*streams: TextIO) -> None:
    """Let characters that an output cannot show appear as ``?`` instead of ending the command."""
    for stream in streams:
        if isinstance(stream, TextIOWrapper) and stream.errors in RAISING:
            with suppress(OSError):  # the output was replaced by one of another kind
                stream.reconfigure(errors="replace")


def command_modules() -> dict[str, ModuleType]:
    """Every command by its name, in alphabetical order."""
    names = sorted(module.name for module in iter_modules(commands.__path__))
    return {name: import_module(f"{commands.__name__}.{name}") for name in names}


def build_parser(modules: dict[str, ModuleType]) -> Parser:
    """The parser of the whole command line; ``options.command`` is the chosen command's name."""
    parser = Parser(
        prog="alphazero",
        description="Train, play and compare AlphaZero agents for board games.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"alphazero {alphazero.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in modules.items():
        command = subparsers.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=module.EPILOG,
        )
        module.add_options(command)
        command.set_defaults(command=name)
    return parser


def _report(error: Exception) -> int:
    """Print the error as lines without a traceback; the exit status that belongs to it."""
    if os.environ.get("ALPHAZERO_TRACEBACK"):
        traceback.print_exc()
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    for line in text.splitlines() or [type(error).__name__]:
        print(f"alphazero: error: {line}", file=sys.stderr)
    return BAD_INPUT if isinstance(error, ValueError) else 1


if __name__ == "__main__":
    sys.exit(main())
