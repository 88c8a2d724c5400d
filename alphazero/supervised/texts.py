"""Reviews labelled positive or negative: aclImdb, tables, or a corpus made from templates.

aclImdb is the Large Movie Review Dataset (Maas et al. 2011): a folder with one file per review,
``train/pos/0_9.txt``, or its archive, which is read in place and never unpacked to disk. A table is
UTF-8, plain, ``.gz`` or ``.xz``, in one of two formats: TSV (one record per line, no quoting; where
the text is the last column, it may contain tabs) or CSV (RFC 4180). Its columns are label, text, or
label, id, stars, text, or those that its first line names.
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
LABELS = {"0": 0, "1": 1, "neg": 0, "pos": 1, "negative": 0, "positive": 1}
"""Labels in tables, and their classes."""
FOLDERS = {"neg": 0, "pos": 1}
"""Folders of aclImdb, and their classes."""

TABLES: dict[str, dict[str, Any]] = {
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
    ".csv": {},
}
"""Options of ``csv.reader`` by a table's suffix."""
PACKED: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
ARCHIVES = (".tar.gz", ".tgz")
RULE = (
    "should be an aclImdb folder or archive, or train and test as .tsv or .csv, plain, .gz or .xz"
)

MAX_REVIEW_BYTES = 1 << 20
"""Largest review in an archive, so that none fills the memory; aclImdb's longest has 14 kB."""
TEST_SHARE, SPLIT_SEED = 0.2, 0
"""Share of a single table's rows that is for testing, always the same ones."""
GENERATED_TRAIN, GENERATED_TEST, GENERATED_SEED = 2_000, 500, 0
"""Numbers of reviews made from templates."""

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_REVIEW = re.compile(r"(?:^|/)((?:train|test)/(?:neg|pos|unsup)/[^/]+\.txt)$")
_READ_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError)


class Texts(NamedTuple):
    """N texts and their labels."""

    texts: list[str]
    labels: NDArray[np.int64]
    """``[N]``, indices of ``Reviews.classes``."""


class Reviews(NamedTuple):
    """Training and test reviews."""

    name: str
    """Name of the folder or file without suffixes; "generated" for those made from templates."""
    train: Texts
    test: Texts
    classes: tuple[str, ...]


def load(path: Path | None, report: Callable[[str], object] = print) -> Reviews:
    """Read the reviews at ``path``; without one, make 2,000 for training and 500 for testing.

    A folder of tables has ``train`` and ``test``. Of a single table a fifth is for testing, the
    same rows each time; ``report`` is called with a line about it. ``ValueError`` names the file,
    and the line in it, that cannot be used.
    """
    if path is None:
        return Reviews("generated", *_generate(), CLASSES)
    name = path.resolve().name.split(".")[0]
    if _is_table(path):
        return Reviews(name, *_split(path, report), CLASSES)
    tables = [_table_in(path, part) for part in PARTS]
    if any(tables):
        return Reviews(name, *_read_both(path, tables), CLASSES)
    return Reviews(name, *_read_imdb(path), CLASSES)


def unlabelled(path: Path | None) -> Iterator[str]:
    """Texts without labels: of a table, of ``unsup`` in a folder, or of aclImdb's ``unsup`` folder.

    Without ``path`` they are made from templates. The text is a table's only or last column, or the
    one that its first line names text. ``ValueError`` as for ``load``.
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
    """Words' numbers ``[N, T]`` as int64, as torch's embeddings take them. ``rng`` is not used."""
    return torch.from_numpy(tokens.astype(np.int64))


def _generate() -> tuple[Texts, Texts]:
    texts, labels = corpus.generate(GENERATED_TRAIN + GENERATED_TEST, GENERATED_SEED)
    parts = (slice(GENERATED_TRAIN), slice(GENERATED_TRAIN, None))
    train, test = (Texts(texts[part], labels[part]) for part in parts)
    return train, test


def _kinds(path: Path) -> tuple[str, str]:
    """The suffixes of a table's name, of its format and of its compression: (".tsv", ".gz")."""
    packed = path.suffix if path.suffix in PACKED else ""
    return Path(path.name.removesuffix(packed)).suffix, packed


def _is_table(path: Path) -> bool:
    return path.is_file() and _kinds(path)[0] in TABLES


def _table_in(folder: Path, name: str) -> Path | None:
    paths = (folder / f"{name}{kind}{packed}" for kind in TABLES for packed in PACKED)
    return next((path for path in paths if path.is_file()), None)


def _read_both(folder: Path, tables: list[Path | None]) -> tuple[Texts, Texts]:
    train, test = tables
    if not (train and test):
        present, missing = (train, "test") if train else (test, "train")
        raise ValueError(
            f"{folder}: has {present and present.name}, but no such table for {missing}"
        )
    return _read_table(train), _read_table(test)


def _read_table(path: Path) -> Texts:
    where, names, rows = _rows(path)
    label, text = _columns(where, names)
    reviews = [(_clean(where, row[text]), _label(where, row[label])) for where, row in rows]
    return _as_texts(path, reviews)


def _split(path: Path, report: Callable[[str], object]) -> tuple[Texts, Texts]:
    texts, labels = _read_table(path)
    rng = np.random.default_rng(SPLIT_SEED)
    tested = np.zeros(len(labels), bool)
    for label in range(len(CLASSES)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        tested[rows[: max(1, round(TEST_SHARE * len(rows)))]] = True
    report(f"{path}: {tested.sum():,} of {len(texts):,} reviews are kept for testing")
    train, test = (
        _as_texts(path, [(texts[row], int(labels[row])) for row in np.flatnonzero(chosen)])
        for chosen in (~tested, tested)
    )
    return train, test


def _rows(path: Path) -> tuple[str, list[str], Iterator[tuple[str, list[str]]]]:
    """The place of the first row (``path:line``), that row, and an iterator over the rows of data.

    The iterator gives the place and the columns of each row. It includes the first row, unless that
    one names the columns.
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
    """A row of ``width`` columns and its place; ``ValueError`` for any other width.

    ``tabs``: the last column is a text that may contain tabs, as some of aclImdb's do. Its parts
    are joined again: of width 2, ["1", "good", "or better"] becomes ["1", "good<TAB>or better"].
    """
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
    except _READ_ERRORS as error:
        raise ValueError(f"{path}: cannot be read behind line {line}: {error}") from None


def _lower(names: Iterable[str]) -> list[str]:
    return [name.strip().lower() for name in names]


def _columns(where: str, first: list[str]) -> tuple[int, int]:
    """The indices of the columns label and text."""
    names = _lower(first)
    if "label" in names and "text" in names:
        return names.index("label"), names.index("text")
    if len(first) in (2, 4) and "text" not in names:
        return 0, len(first) - 1
    raise ValueError(f"{where}: the columns should be label, text or label, id, stars, text")


def _label(where: str, word: str) -> int:
    label = LABELS.get(word.strip().lower())
    if label is None:
        raise ValueError(f"{where}: label {word[:40]!r}, should be one of {', '.join(LABELS)}")
    return label


def _clean(where: str, text: str) -> str:
    """``text`` without HTML's line breaks and with single blanks; ``ValueError`` if it is empty."""
    cleaned = " ".join(_BREAK.sub(" ", text).split())
    if not cleaned:
        raise ValueError(f"{where}: the text is empty")
    return cleaned


def _as_texts(path: Path, reviews: list[tuple[str, int]]) -> Texts:
    """The reviews as one record; ``ValueError`` where one of the classes has none."""
    labels = np.array([label for _, label in reviews], np.int64)
    for label, name in enumerate(CLASSES):
        if label not in labels:
            raise ValueError(f"{path}: has no {name} review")
    return Texts([text for text, _ in reviews], labels)


def _read_imdb(path: Path) -> tuple[Texts, Texts]:
    files = dict(_files(path, [f"{part}/{folder}" for part in PARTS for folder in FOLDERS]))
    train, test = (
        _as_texts(
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
    """The name, such as ``train/pos/0_9.txt``, and text of each file of aclImdb in ``folders``."""
    read = _read_archive if _is_archive(path) else _read_folder
    for name, content in read(path, set(folders)):
        try:
            yield name, content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: {name}: not UTF-8: {error.reason}") from None


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.endswith(ARCHIVES)


def _read_folder(path: Path, folders: set[str]) -> Iterator[tuple[str, bytes]]:
    roots = (root for root in (path, path / "aclImdb") if (root / "train").is_dir())
    root = next(roots, None)
    if root is None:
        archives = [file for file in sorted(path.glob("aclImdb*")) if _is_archive(file)]
        if len(archives) != 1:
            raise ValueError(f"{path}: no reviews here; {RULE}")
        yield from _read_archive(archives[0], folders)
        return
    for folder in sorted(folders):
        for file in (root / folder).glob("*.txt"):
            yield f"{folder}/{file.name}", file.read_bytes()


def _read_archive(path: Path, folders: set[str]) -> Iterator[tuple[str, bytes]]:
    """Regular files only, chosen by the end of their names.

    Links are not followed and nothing is written, so a malicious archive reaches no other file.
    """
    try:
        with gzip.open(path) as packed:
            with tarfile.open(fileobj=packed, mode="r|") as archive:
                for member in archive:
                    match = _REVIEW.search(member.name)
                    if match and member.isreg() and match[1].rpartition("/")[0] in folders:
                        if member.size > MAX_REVIEW_BYTES:
                            raise ValueError(
                                f"{path}: {member.name}: {member.size:,} bytes, "
                                f"should be {MAX_REVIEW_BYTES:,} at most"
                            )
                        file = archive.extractfile(member)
                        assert file is not None
                        yield match[1], file.read()
            # gzip's checksum comes after the end of the archive, where tarfile stops: reading on
            # to the end of the file checks it.
            while packed.read(MAX_REVIEW_BYTES):
                pass
    except _READ_ERRORS as error:
        raise ValueError(f"{path}: not a whole archive: {error}") from None
