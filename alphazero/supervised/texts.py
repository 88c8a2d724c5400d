"""Reviews and whether they are for or against: aclImdb, tables, or a made-up corpus.

aclImdb is the Large Movie Review Dataset (Maas et al. 2011): a folder with one file a review,
``train/pos/0_9.txt``, or its archive, which is read where it lies and never unpacked to disk. A
table is TSV (a record a line, quotation marks mean nothing, further tabs belong to the text if it
is the last column) or CSV (RFC 4180), UTF-8, plain, ``.gz`` or ``.xz``, with the columns label,
text or label, id, stars, text, or with a first line that names them.
"""

import csv
import gzip
import itertools
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alphazero.supervised import corpus

CLASSES = ("negative", "positive")
PARTS = ("train", "test")
WORDS = {"0": 0, "1": 1, "neg": 0, "pos": 1, "negative": 0, "positive": 1}
"""How a table may say which class."""
FOLDERS = {"neg": 0, "pos": 1}
"""How aclImdb says it."""

TABLES: dict[str, dict[str, Any]] = {
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
    ".csv": {},
}
PACKED: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
ARCHIVES = (".tar.gz", ".tgz")
RULE = (
    "should be an aclImdb folder or archive, or train and test as .tsv or .csv, plain, .gz or .xz"
)

LONGEST = 1 << 20
"""Bytes of one review in an archive; aclImdb's longest has 14 kB."""
TEST_SHARE, SPLIT_SEED = 0.2, 0
"""Of a single table, always the same rows."""
GENERATED_TRAIN, GENERATED_TEST, GENERATED_SEED = 2_000, 500, 0

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_REVIEW = re.compile(r"(?:^|/)((?:train|test)/(?:neg|pos|unsup)/[^/]+\.txt)$")
_FLAWED = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


class Texts(NamedTuple):
    texts: list[str]
    labels: NDArray[np.int64]
    """``[N]``, places in ``Reviews.classes``."""


class Reviews(NamedTuple):
    name: str
    """Of the folder or file; "generated"."""
    train: Texts
    test: Texts
    classes: tuple[str, ...]


def load(path: Path | None, report: Callable[[str], object] = print) -> Reviews:
    """The reviews at ``path``; without one, 2,000 made-up ones to train and 500 to test.

    A folder with tables has ``train`` and ``test``; of a single table a fifth is for testing, the
    same rows each time, and ``report`` is told. ``ValueError`` names the file, and the line where
    it has any, that will not do.
    """
    if path is None:
        return Reviews("generated", *_generated(), CLASSES)
    name = path.resolve().name.split(".")[0]
    if _is_table(path):
        return Reviews(name, *_split(path, report), CLASSES)
    tables = [_table_in(path, part) for part in PARTS]
    if any(tables):
        return Reviews(name, *_both(path, tables), CLASSES)
    return Reviews(name, *_imdb(path), CLASSES)


def unlabelled(path: Path | None) -> Iterator[str]:
    """Reviews without a label: ``unsup.tsv`` or such, aclImdb's, a table, or made-up ones.

    A table has text as its only or last column, or a first line that names it. Errors as ``load``.
    """
    if path is None:
        yield from corpus.generate(GENERATED_TRAIN, GENERATED_SEED + 1)[0]
        return
    table = path if _is_table(path) else _table_in(path, "unsup")
    if table is None and any(_table_in(path, part) for part in PARTS):
        raise ValueError(
            f"{path}: has no unsup.tsv or .csv, plain, .gz or .xz, for texts without labels"
        )
    if table is None:
        files = dict(_files(path, ("train/unsup",)))
        yield from (_clean(f"{path}: {name}", files[name]) for name in sorted(files))
        return
    _, names, rows = _rows(table)
    column = _lower(names).index("text") if "text" in _lower(names) else len(names) - 1
    yield from (_clean(where, row[column]) for where, row in rows)


def prepare(tokens: NDArray[np.int32], rng: np.random.Generator | None) -> Tensor:
    """Words' numbers ``[N, T]`` as a network takes them; nothing is random."""
    return torch.from_numpy(tokens.astype(np.int64))


def _generated() -> tuple[Texts, Texts]:
    texts, labels = corpus.generate(GENERATED_TRAIN + GENERATED_TEST, GENERATED_SEED)
    parts = (slice(GENERATED_TRAIN), slice(GENERATED_TRAIN, None))
    train, test = (Texts(texts[part], labels[part]) for part in parts)
    return train, test


def _kinds(path: Path) -> tuple[str, str]:
    """The endings of a table's name: of what kind it is, and how it is packed."""
    packed = path.suffix if path.suffix in PACKED else ""
    return Path(path.name.removesuffix(packed)).suffix, packed


def _is_table(path: Path) -> bool:
    return path.is_file() and _kinds(path)[0] in TABLES


def _table_in(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{kind}{packed}" for kind in TABLES for packed in PACKED)
    return next((path for path in paths if path.is_file()), None)


def _both(folder: Path, tables: list[Path | None]) -> tuple[Texts, Texts]:
    train, test = tables
    if not (train and test):
        there, missing = (train, "test") if train else (test, "train")
        raise ValueError(f"{folder}: has {there and there.name}, but no such table for {missing}")
    return _table(train), _table(test)


def _table(path: Path) -> Texts:
    where, names, rows = _rows(path)
    label, text = _columns(where, names)
    found = [(_clean(where, row[text]), _label(where, row[label])) for where, row in rows]
    return _checked(path, found)


def _split(path: Path, report: Callable[[str], object]) -> tuple[Texts, Texts]:
    texts, labels = _table(path)
    rng = np.random.default_rng(SPLIT_SEED)
    tested = np.zeros(len(labels), bool)
    for label in range(len(CLASSES)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        tested[rows[: max(1, round(TEST_SHARE * len(rows)))]] = True
    report(f"{path}: {tested.sum():,} of {len(texts):,} reviews are kept for testing")
    train, test = (
        _checked(path, [(texts[row], int(labels[row])) for row in np.flatnonzero(chosen)])
        for chosen in (~tested, tested)
    )
    return train, test


def _rows(path: Path) -> tuple[str, list[str], Iterator[tuple[str, list[str]]]]:
    """Where the first row stands, that row, and all with data: where each stands and its columns.

    The first row is among the latter, unless it names the columns.
    """
    rows = _records(path)
    where, first = next(rows, ("", []))
    if not first:
        raise ValueError(f"{path} is empty")
    names = _lower(first)
    every = rows if "text" in names else itertools.chain([(where, first)], rows)
    tabs = _kinds(path)[0] == ".tsv" and ("text" not in names or names[-1] == "text")
    return where, first, (_as_wide(where, row, len(first), tabs) for where, row in every)


def _as_wide(where: str, row: list[str], width: int, tabs: bool) -> tuple[str, list[str]]:
    """``tabs``: the last column is a text that may have some, as aclImdb's do."""
    if tabs and len(row) > width:
        row = [*row[: width - 1], "\t".join(row[width - 1 :])]
    if len(row) != width:
        raise ValueError(f"{where}: {len(row)} columns, the first line has {width}")
    return where, row


def _records(path: Path) -> Iterator[tuple[str, list[str]]]:
    reader = csv.reader(_lines(path), strict=True, **TABLES[_kinds(path)[0]])
    try:
        for row in reader:
            if row:
                yield f"{path}:{reader.line_num}", row
    except csv.Error as error:
        raise ValueError(f"{path}:{reader.line_num}: {error}") from None


def _lines(path: Path) -> Iterator[str]:
    line = 0
    try:
        with PACKED[_kinds(path)[1]](path, "rb") as file:
            for line, text in enumerate(file, 1):
                yield text.decode("utf-8-sig" if line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}:{line}: not UTF-8: {error.reason}") from None
    except _FLAWED as error:
        raise ValueError(f"{path}: cannot be read behind line {line}: {error}") from None


def _lower(names: Iterable[str]) -> list[str]:
    return [name.strip().lower() for name in names]


def _columns(where: str, first: list[str]) -> tuple[int, int]:
    """Which columns hold label and text."""
    names = _lower(first)
    if "label" in names and "text" in names:
        return names.index("label"), names.index("text")
    if len(first) in (2, 4) and "text" not in names:
        return 0, len(first) - 1
    raise ValueError(f"{where}: the columns should be label, text or label, id, stars, text")


def _label(where: str, word: str) -> int:
    label = WORDS.get(word.strip().lower())
    if label is None:
        raise ValueError(f"{where}: label {word[:40]!r}, should be one of {', '.join(WORDS)}")
    return label


def _clean(where: str, text: str) -> str:
    """Without HTML's line breaks, and every white space one blank; a text must have some."""
    cleaned = " ".join(_BREAK.sub(" ", text).split())
    if not cleaned:
        raise ValueError(f"{where}: the text is empty")
    return cleaned


def _checked(path: Path, found: list[tuple[str, int]]) -> Texts:
    labels = np.array([label for _, label in found], np.int64)
    for label, name in enumerate(CLASSES):
        if label not in labels:
            raise ValueError(f"{path}: has no {name} review")
    return Texts([text for text, _ in found], labels)


def _imdb(path: Path) -> tuple[Texts, Texts]:
    files = dict(_files(path, [f"{part}/{folder}" for part in PARTS for folder in FOLDERS]))
    train, test = (
        _checked(
            path / part,
            [
                (_clean(f"{path}: {name}", files[name]), FOLDERS[name.split("/")[1]])
                for name in sorted(files)
                if name.startswith(part)
            ],
        )
        for part in PARTS
    )
    return train, test


def _files(path: Path, folders: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name, as ``train/pos/0_9.txt``, and text of each file of aclImdb in ``folders``."""
    wanted = set(folders)
    for name, content in _archived(path, wanted) if _is_archive(path) else _in_folder(path, wanted):
        try:
            yield name, content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {name}: not UTF-8: {error.reason}") from None


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.endswith(ARCHIVES)


def _in_folder(path: Path, folders: set[str]) -> Iterator[tuple[str, bytes]]:
    root = next((each for each in (path, path / "aclImdb") if (each / "train").is_dir()), None)
    if root is None:
        archives = [each for each in sorted(path.glob("aclImdb*")) if _is_archive(each)]
        if len(archives) != 1:
            raise ValueError(f"{path}: no reviews here; {RULE}")
        yield from _archived(archives[0], folders)
        return
    for folder in sorted(folders):
        for file in (root / folder).glob("*.txt"):
            yield f"{folder}/{file.name}", file.read_bytes()


def _archived(path: Path, folders: set[str]) -> Iterator[tuple[str, bytes]]:
    """Plain files only, by the end of their names: links are not followed, nothing is written."""
    try:
        with gzip.open(path) as packed:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                for member in archive:
                    found = _REVIEW.search(member.name)
                    if found and member.isreg() and found[1].rpartition("/")[0] in folders:
                        if member.size > LONGEST:
                            raise ValueError(
                                f"{path}: {member.name}: {member.size:,} bytes, "
                                f"should be {LONGEST:,} at most"
                            )
                        file = archive.extractfile(member)
                        assert file is not None
                        yield found[1], file.read()
            # The checksum is behind the end of the archive, where tarfile does not look.
            while packed.read(LONGEST):
                pass
    except _FLAWED as error:
        raise ValueError(f"{path}: not a whole archive: {error}") from None
