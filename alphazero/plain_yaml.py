"""The part of YAML that configurations need: words, numbers, lists and sections, within bounds.

A configuration may come from anyone. So there are no anchors, aliases and tags, with which a few
lines grow to gigabytes or name types; texts, depth and the number of entries are limited. Words
and numbers are those of YAML 1.2: ``off`` is a word, ``1e-4`` a number, ``010`` is ten.
"""

import re
from pathlib import Path
from typing import Any

import yaml

LARGEST = 2**18
"""Characters of a text, and bytes of a file."""
DEEPEST = 20
"""Sections and lists inside of one another."""
MOST = 20_000
"""Keys and values of a text."""
LONGEST_NUMBER = 100
"""Characters of a number; a longer one is a word."""

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_DECIMAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(?:(inf|Inf|INF)|nan|NaN|NAN)")


class NotPlainYaml(ValueError):
    """A text that cannot be read; ``line`` is counted from 1, None where there is none."""

    def __init__(self, problem: str, line: int | None = None):
        self.line = line
        super().__init__(problem)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte-order mark.

    ``OSError``: it cannot be read. ``NotPlainYaml``: it is no text, or larger than ``LARGEST``.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise NotPlainYaml(f"is larger than {LARGEST >> 10} KiB, too large for a configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotPlainYaml(f"cannot be read as text in UTF-8: {error.reason}") from None


def compose(text: str) -> yaml.Node | None:
    """The nodes of a text with their places, for ``plain``; None where it is empty.

    ``NotPlainYaml`` with the line: it is not YAML, or holds what is not allowed.
    """
    if len(text) > LARGEST:
        raise NotPlainYaml(f"is longer than {LARGEST:,} characters")
    try:
        return yaml.compose(text, _Loader)
    except yaml.reader.ReaderError as error:
        where = text.count("\n", 0, error.position) + 1
        raise NotPlainYaml(f"the character {error.character:#x} is not allowed", where) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotPlainYaml(error.problem or error.context or "", mark and mark.line + 1) from None
    except (ValueError, OverflowError):  # the parser's own, of an escape such as "\UFFFFFFFF"
        raise NotPlainYaml("an escape names no character") from None


def plain(node: yaml.Node | None) -> Any:
    """The value of a node: dictionaries, lists, texts, numbers, truth values or None.

    ``NotPlainYaml``: a key is a list or a section.
    """
    if isinstance(node, yaml.SequenceNode):
        return [plain(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {_key(key): plain(value) for key, value in node.value}
    if not isinstance(node, yaml.ScalarNode):
        return None
    return node.value if node.style else scalar(node.value)


def load(text: str) -> Any:
    """The value of a text; errors as in ``compose`` and ``plain``."""
    return plain(compose(text))


def dump(value: Any) -> str:
    """A text of plain values that ``load`` reads back unchanged."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False)


def scalar(text: str) -> str | float | bool | None:
    """The value of an unquoted text.

    ``"5"``, ``"1e-4"`` and ``"0x1f"`` are numbers, ``"~"`` is None, ``"off"`` is a text.
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > LONGEST_NUMBER:
        return text
    if _WHOLE.fullmatch(text):
        return int(text.replace("_", ""))
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _DECIMAL.fullmatch(text):
        return float(text.replace("_", ""))
    if special := _SPECIAL.fullmatch(text):
        return float(f"{special[1]}{'inf' if special[2] else 'nan'}")
    return text


def _key(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        raise NotPlainYaml("a key should be a word", node.start_mark.line + 1)
    return plain(node)


class _Loader(yaml.SafeLoader):
    """A parser that refuses what ``compose`` refuses before it builds anything of it."""

    depth = count = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self.count, self.depth = self.count + 1, self.depth + 1
        if problem := self._problem(event):
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _problem(self, event: yaml.Event) -> str:
        """The reason for which what begins with ``event`` is refused, or nothing."""
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            return "anchors and aliases (& and *) are not allowed; quote a text that begins so"
        if getattr(event, "tag", None):
            return "tags (!) are not allowed; quote a text that begins so"
        if isinstance(event, yaml.ScalarEvent) and not _is_text(event.value):
            return "an escape names no character of a text"
        if self.depth > DEEPEST:
            return f"more than {DEEPEST} lists or sections inside of one another"
        return f"more than {MOST:,} keys and values" if self.count > MOST else ""


def _is_text(value: str) -> bool:
    """Whether it can be written to a file and be part of a path."""
    return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that ``scalar`` would read as something else."""


def _represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if scalar(text) is text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent)
_Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
