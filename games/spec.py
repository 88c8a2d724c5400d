"""Texts of the form ``name:key=value,...`` that name a game or a player, and spelling suggestions.

``othello:size=6`` is the name ``othello`` with one option, ``size``, whose value is the text ``6``.
Which names and keys exist, and what type a value has, is checked by the caller.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

SHOWN = 80
"""Characters of an input that a message shows, at most."""
LONGEST_WORD = 50
"""Characters of a word that is compared with known ones."""
_PART = re.compile(r"""([^,=]*=\s*(?:"[^"]*"|'[^']*')\s*|[^,]*)(?:,|$)""")

_repr = reprlib.Repr()
_repr.maxlevel, _repr.maxdict, _repr.maxlist, _repr.maxtuple = 2, 4, 6, 6
_repr.maxstring = _repr.maxother = _repr.maxlong = SHOWN


class Option(NamedTuple):
    """One ``key=value`` of a text, spaces around the key and the value removed."""

    key: str
    value: str | None
    """Everything behind the first ``=``, quotes around it removed; None where the text has no
    ``=``."""
    text: str
    """The option as it was written."""


def split(text: str) -> tuple[str, str]:
    """The part before the first colon and the part behind it: ``("othello", "size=6")``."""
    name, _, options = text.strip().partition(":")
    return name, options


def parse_options(text: str, calls: bool = False) -> list[Option]:
    """The options of ``key=value,...`` in order; none for an empty text.

    ``"path=a=b, leaves"`` gives ``("path", "a=b")`` and ``("leaves", None)``. A value with a comma
    stands in quotes: ``path='a,b'``.

    ``calls``: commas and equals signs between parentheses belong to what is around them:
    ``"hex(swap=true,board_size=5),max_plies=9"`` gives ``("hex(swap=true,board_size=5)", None)``
    and ``("max_plies", "9")``.
    """
    split_parts = _PART.findall(text)
    parts = (part.strip() for part in (_balanced(split_parts[:-1]) if calls else split_parts))
    return [_parse_option(part, calls) for part in parts if part]  # a comma too many is no mistake


def _balanced(parts: list[str]) -> Iterator[str]:
    """``parts`` of a text that was split at commas; joined where the comma was in parentheses.

    A parenthesis that is not closed reaches to the end of the text.
    """
    depth, pieces = 0, []
    for part in parts:
        pieces.append(part)
        depth = max(0, depth + part.count("(") - part.count(")"))
        if not depth:
            yield ",".join(pieces)
            pieces = []
    if pieces:
        yield ",".join(pieces)


def _parse_option(text: str, calls: bool) -> Option:
    key, equals, value = text.partition("=")
    if not equals or (calls and "(" in key):
        return Option(text, None, text)
    return Option(key.strip(), _unquoted(value.strip()), text)


def parse_call(text: str) -> tuple[str, dict[str, str]]:
    """``"hex(board_size=5)"`` as ``("hex", {"board_size": "5"})``, ``"hex"`` as ``("hex", {})``.

    ``ValueError``, one line: parentheses that do not match, an argument without a key or given
    twice.
    """
    name, opened, rest = text.strip().partition("(")
    closed = rest.endswith(")") or not opened
    if not closed or set(rest[:-1]) & {"(", ")"} or ")" in name:
        raise ValueError(f"{shown(text)}: parentheses are written NAME(key=value,...)")
    arguments: dict[str, str] = {}
    for key, value, written in parse_options(rest[:-1]):
        if not (key and value) or key in arguments:
            raise ValueError(f"{shown(text)}: {shown(written)} must be key=value, each key once")
        arguments[key] = value
    return name.strip(), arguments


def plain_call(text: str) -> str:
    """One way of writing a call: no spaces, no empty parentheses, arguments in alphabetical order.

    ``"hex( swap=true, board_size=5 )"`` gives ``"hex(board_size=5,swap=true)"``. What is no call
    stays as it is.
    """
    try:
        name, arguments = parse_call(text)
    except ValueError:
        return text
    inside = ",".join(f"{key}={arguments[key]}" for key in sorted(arguments))
    return f"{name}({inside})" if inside else name


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value


def quoted(value: str) -> str:
    """A value as ``parse_options`` reads it back: in quotes where it has a comma or a quote."""
    if not set(value) & {",", '"', "'"}:
        return value
    return f'"{value}"' if '"' not in value else f"'{value}'"


def shown(value: object) -> str:
    """An input as a message shows it: its ``repr``, in one line; of a long one the ends."""
    return _repr.repr(value)


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known name most similar to ``word`` or abbreviated by it; None where there is none.

    ``"learning_rte"`` and ``"lr"`` give ``"learning_rate"``, ``"sims"`` gives ``"simulations"``.
    """
    names = list(known)
    if len(word) > LONGEST_WORD:
        return None
    plain = word.lower().replace("-", "_")
    matches = difflib.get_close_matches(plain, names, n=1)
    return next(iter(matches or (name for name in names if _abbreviates(plain, name))), None)


def _abbreviates(word: str, name: str) -> bool:
    """Whether ``word`` is made of the initials of ``name``, or begins like it: ``lr``, ``sims``."""
    initials = "".join(part[:1] for part in re.split(r"[_\W]", name))
    return (len(word) > 1 and word == initials) or (len(word) > 2 and name.startswith(word[:3]))


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
