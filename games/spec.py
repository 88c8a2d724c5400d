"""Texts of the form ``name:key=value,...`` that name a game or a player, and spelling suggestions.

``othello:size=6`` is the name ``othello`` with one option, ``size``, whose value is the text ``6``.
Which names and keys exist, and what type a value has, is checked by the caller.
"""

import difflib
from collections.abc import Iterable
from typing import NamedTuple


class Option(NamedTuple):
    """One ``key=value`` of a text, spaces around the key and the value removed."""

    key: str
    value: str | None
    """Everything behind the first ``=``; None where the text has no ``=``."""
    text: str
    """The option as it was written."""


def split(text: str) -> tuple[str, str]:
    """The part before the first colon and the part behind it: ``("othello", "size=6")``."""
    name, _, options = text.strip().partition(":")
    return name, options


def parse_options(text: str) -> list[Option]:
    """The options of ``key=value,...`` in order; none for an empty text.

    ``"path=a=b, leaves"`` gives ``("path", "a=b")`` and ``("leaves", None)``.
    """
    return [_parse_option(part) for part in text.split(",")] if text else []


def _parse_option(text: str) -> Option:
    key, equals, value = text.partition("=")
    return Option(key.strip(), value.strip() if equals else None, text)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name most similar to ``word``; None where no name is similar."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return matches[0] if matches else None


def nearest(word: str, known: Iterable[str], most: int) -> list[str]:
    """At most ``most`` of the known texts, those most like ``word`` first; case is ignored.

    Those that begin with ``word`` come before all others. Example: of ``a1-b2``, ``e1-c3`` and
    ``e1-d2``, the text ``E1`` is nearest to the last two.
    """
    key = word.casefold()
    matcher = difflib.SequenceMatcher(b=key, autojunk=False)

    def distance(text: str) -> tuple[bool, float]:
        matcher.set_seq1(text.casefold())
        return not text.casefold().startswith(key), -matcher.ratio()

    return sorted(known, key=distance)[:most]


def suggest(word: str, known: Iterable[str], listing: str = "choose from") -> str:
    """The end of a message about the unknown ``word``.

    ``did you mean 'othello'?`` where a known name is similar, else ``listing`` and all known names,
    or ``it takes none`` where there are none.
    """
    names = list(known)
    match = closest(word, names)
    if match:
        return f"did you mean {match!r}?"
    return f"{listing} {', '.join(names)}" if names else "it takes none"
