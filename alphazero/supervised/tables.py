"""Tables of texts with two labels, TSV or CSV, as people and sites write them.

A table is UTF-8, plain or compressed, see ``unpacking``. TSV has one record per line and no
quoting; where the text is the last column, it may contain tabs. CSV is that of RFC 4180; its
separator may also be a semicolon, a tab or a bar. The columns are those that the first line names,
as in IMDb's tables on Kaggle (review, sentiment) and in SST-2 (sentence, label); without such a
line they are label and text in either order, or label, id, stars, text.
"""

import contextlib
import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from alphazero import unpacking

SEPARATORS = {".tsv": "\t", ".csv": ",;\t|"}
"""Separators that a table may have, by the ending of its name; the usual one first."""
TEXT = (
    "text", "review", "sentence", "content", "comment", "tweet", "phrase", "body", "message",
    "document", "review_text", "reviewtext", "review_body", "comment_text",
)  # fmt: skip
LABEL = (
    "label", "sentiment", "polarity", "class", "target", "category", "label_text", "labels",
    "airline_sentiment", "y",
)  # fmt: skip
"""Names of columns; of several in one table the first of this list counts."""
WORDS = {
    "negative": 0, "neg": 0, "n": 0, "false": 0, "bad": 0, "no": 0,
    "positive": 1, "pos": 1, "p": 1, "true": 1, "good": 1, "yes": 1,
}  # fmt: skip
"""Labels and what they mean, 0 negative and 1 positive."""
NUMBERS = (("0", "1"), ("-1", "1"), ("1", "2"), ("0", "4"))
"""Numbers as labels, the negative one first. All of a table are of one pair."""
LISTED = "0 and 1, negative and positive, neg and pos, or false and true"
RULE = "the columns should be label and text, or label, id, stars, text, or named by the first line"

Row = tuple[int, list[str]]
"""The line of a record and its cells."""


class _Table(NamedTuple):
    """The records of a table and the meaning of its columns."""

    label: int | None
    """None: unknown."""
    text: int
    rows: Iterator[Row]


def is_table(path: Path) -> bool:
    """Whether ``path`` is a file with a table's name; a ``.zip`` counts by what it holds."""
    return unpacking.is_file(path) and _suffix(path) in SEPARATORS


def find(folder: Path, name: str) -> Path | None:
    """The table ``name`` in ``folder``, in the first format that is there; None without one."""
    paths = (folder / f"{name}{kind}{end}" for kind in SEPARATORS for end in unpacking.SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def has_labels(path: Path) -> bool:
    """Whether the table has a column of labels; errors as for ``read``."""
    return _open(path).label is not None


def read(path: Path) -> list[tuple[int, int, str]]:
    """The line, the label (0 negative, 1 positive) and the text of each record.

    ``ValueError``, one line: the file cannot be read, a record has another number of columns than
    the first line, or a label is neither in ``WORDS`` nor of the pair of numbers of the others.
    """
    table = _open(path)
    label = table.label
    if label is None:
        raise ValueError(f"{path}:1: {RULE}")
    records = [(line, _word(row[label]), row[table.text]) for line, row in table.rows]
    first_lines: dict[str, int] = {}
    for line, word, _ in records:
        first_lines.setdefault(word, line)
    meanings = _meanings(path, first_lines)
    return [(line, meanings[word], text) for line, word, text in records]


def read_texts(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of each record; errors as for ``read``, but no label is needed."""
    table = _open(path)
    return ((line, row[table.text]) for line, row in table.rows)


def _suffix(path: Path) -> str:
    return Path(unpacking.plain_name(path)).suffix.lower()


def _open(path: Path) -> _Table:
    suffix = _suffix(path)
    separator = _separator(path, SEPARATORS[suffix])
    rows = _records(path, separator, quoted=suffix == ".csv")
    line, first = next(rows, (1, []))
    if not first:
        raise ValueError(f"{path} is empty")
    label, text, named = _columns(first)
    every = rows if named else itertools.chain([(line, first)], rows)
    joined = separator if suffix == ".tsv" and text == len(first) - 1 else None
    wide = ((line, _as_wide(f"{path}:{line}", row, len(first), joined)) for line, row in every)
    return _Table(label, text, wide)


def _separator(path: Path, separators: str) -> str:
    """The separator with which the first line has the columns of a table, else the usual one."""
    for separator in separators:
        with contextlib.suppress(ValueError):  # quotation marks that this separator does not fit
            _, first = next(_records(path, separator, quoted=len(separators) > 1), (1, []))
            label, _, named = _columns(first)
            if named or (label is not None and _is_label(first[label])):
                return separator
    return separators[0]


def _columns(first: list[str]) -> tuple[int | None, int, bool]:
    """The columns of label (None: unknown) and text, and whether the first line names them.

    Without names the label is the first column or, of two, the one that is a label; the text is the
    last one or the other.
    """
    names = [name.strip().strip("\"'").lower() for name in first]
    text, label = (_position(names, known) for known in (TEXT, LABEL))
    if text is not None:
        return label, text, True
    last = len(first) - 1
    if len(first) == 2 and _is_label(first[1]) and not _is_label(first[0]):
        return 1, 0, False
    return (0 if len(first) in (2, 4) else None), last, False


def _position(names: list[str], known: Iterable[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _records(path: Path, separator: str, quoted: bool) -> Iterator[Row]:
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    lines = (text for _, text in unpacking.read_lines(path))
    reader = csv.reader(lines, strict=True, delimiter=separator, quoting=quoting)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def _as_wide(where: str, row: list[str], width: int, joined: str | None) -> list[str]:
    """A row of ``width`` columns; ``ValueError`` for any other width.

    ``joined``: the separator, where the last column is a text that may contain it, as some of
    aclImdb's contain tabs. Its parts are joined again: of width 2, ["1", "good", "or better"]
    becomes ["1", "good<TAB>or better"].
    """
    if joined and len(row) > width:
        row = [*row[: width - 1], joined.join(row[width - 1 :])]
    if len(row) != width:
        raise ValueError(f"{where}: {len(row)} columns, the first line has {width}")
    return row


def _meanings(path: Path, first_lines: dict[str, int]) -> dict[str, int]:
    """The meaning of each label; ``first_lines`` has the first line of each, in this order."""
    pairs = NUMBERS
    for word, line in first_lines.items():
        left = pairs if word in WORDS else tuple(pair for pair in pairs if word in pair)
        if not left:
            known = LISTED if pairs == NUMBERS else " or ".join(pairs[0])
            more = f"; {RULE}" if line == 1 else ""
            raise ValueError(f"{path}:{line}: label {word[:40]!r}, should be {known}{more}")
        pairs = left
    negative, positive = pairs[0]
    return WORDS | {negative: 0, positive: 1}


def _word(text: str) -> str:
    """A label in lower case, without quotation marks, 1.0 as 1."""
    word = text.strip().strip("\"'").lower()
    try:
        number = float(word)
    except ValueError:
        return word
    return str(int(number)) if number.is_integer() else word


def _is_label(text: str) -> bool:
    word = _word(text)
    return word in WORDS or any(word in pair for pair in NUMBERS)
