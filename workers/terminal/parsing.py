"""The parser of commands: argparse with messages that name the nearest right thing.

Each message is one line under the usage of the command that was meant.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, takewhile
from textwrap import fill
from typing import Any

from games.spec import closest, shown, suggest

MISSING = re.compile("the following arguments are required|one of the arguments .* is required")
"""The beginning of argparse's messages about missing arguments."""
OPTION = re.compile("--?[a-zA-Z]")
"""The beginning of an option, unlike that of a negative number."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Fits prose to the terminal; indented lines, such as examples, stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = groupby(text.splitlines(), lambda line: line.startswith(" ") or not line)
        return "\n".join(
            "\n".join(lines) if kept else fill(" ".join(lines), width) for kept, lines in blocks
        )


class Parser(argparse.ArgumentParser):
    """A command's parser; it refuses unknown words itself, so that its own usage is shown.

    Settings, ``key=value``, may stand between and after other options where the command has an
    argument ``overrides``.
    """

    settings: Callable[[], Sequence[str]] | None = None
    """A function that returns the keys of all settings that ``overrides`` may name."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Formatter} | options)
        self._words: Sequence[str] = ()  # the last ones that were parsed, for messages

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        self._words = sys.argv[1:] if args is None else list(args)
        options, rest = super().parse_known_args(args, namespace)
        takes_settings = hasattr(options, "overrides")
        for place, word in enumerate(rest):
            if word.startswith("-"):
                self.error(self._unknown(word, _value_after(word, self._words, rest[place + 1 :])))
        if rest and not takes_settings:
            self.error(f"unrecognized arguments: {' '.join(map(shown, rest))}")
        if rest:  # argparse stops collecting key=value words at the first option between them
            options.overrides = [*options.overrides, *rest]
        return options, []

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            hint = _suggestion(str(value), list(action.choices), _inner_commands(action))
            raise argparse.ArgumentError(action, f"there is no {shown(value)}; {hint}")

    def error(self, message: str) -> Any:
        example = re.search(r"examples?:\n +(.*?)(?:  +#.*)?\n", f"{self.epilog}\n")
        if MISSING.match(message):
            # A mistyped option is why the right one is missing.
            if wrong := self._first_unknown():
                message = self._unknown(wrong, _value_after(wrong, self._words, ()))
            elif example:
                message = f"{message}; for example: {example[1]}"
        super().error(message)

    def _first_unknown(self) -> str | None:
        """The first word that is written as an option and is none of this command's."""
        options = takewhile(lambda word: word != "--", self._words)
        known = self._option_string_actions
        unknown = (word for word in options if word.partition("=")[0] not in known)
        return next(filter(OPTION.match, unknown), None)

    def _unknown(self, word: str, value: str) -> str:
        """The message about an option that does not exist; ``value`` stands behind it."""
        name = word.lstrip("-").partition("=")[0]
        keys = self._settings_like(name)
        exact = any(key.rpartition(".")[2] == name.replace("-", "_") for key in keys)
        near = None if exact else self._option_like(name)
        if near:
            hint = f"did you mean {near}?"
        elif keys:
            written = " or ".join(f"{key}={value or 'VALUE'}" for key in keys)
            hint = f"settings are written without dashes: {written}"
        else:
            hint = f"`{self.prog} --help` lists all"
        return f"there is no option {shown(word)[1:-1]}; {hint}"

    def _settings_like(self, name: str) -> Sequence[str]:
        from alphazero import config_file  # pydantic, which only settings need

        return config_file.meant(name.replace("-", "_"), self.settings()) if self.settings else ()

    def _option_like(self, name: str) -> str | None:
        """The option whose name is similar, else the one whose help has ``name`` as a word."""
        helps = {
            option.lstrip("-"): f" {action.help or ''} "
            for action in self._actions
            for option in action.option_strings
            if option.startswith("--")
        }
        near = closest(name, helps)
        if near is None and len(name) > 2:
            pattern = re.compile(rf"\b{re.escape(name)}\b", re.IGNORECASE)
            near = next((option for option, text in helps.items() if pattern.search(text)), None)
        return near and f"--{near}"


def _inner_commands(action: argparse.Action) -> dict[str, str]:
    """The commands of an argument's commands, each with its whole text: ``alphazero a b``."""
    if not isinstance(action, argparse._SubParsersAction):
        return {}
    return {
        name: f"{command.prog} {name}"
        for command in action.choices.values()
        for inner in command._actions
        if isinstance(inner, argparse._SubParsersAction)
        for name in inner.choices
    }


def _suggestion(word: str, known: Sequence[str], inner: Mapping[str, str]) -> str:
    """``suggest`` for the unknown ``word``, which may also be one of the ``inner`` commands."""
    near = closest(word, [*known, *inner])
    if near is None or near in known:
        return suggest(word, known)
    return f"did you mean {inner[near]!r}?"


def _value_after(word: str, args: Sequence[str], rest: Sequence[str]) -> str:
    """The value of an unknown option: behind its ``=``, or the next word."""
    _, equals, value = word.partition("=")
    if equals:
        return value
    words = [*args] if word in args else [word, *rest]
    after = words[words.index(word) + 1 :][:1]
    return "".join(text for text in after if not text.startswith("-") and "=" not in text)
