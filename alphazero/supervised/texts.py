"""Reviews labelled positive or negative: aclImdb, tables, or a corpus made from templates.

aclImdb is the Large Movie Review Dataset (Maas et al. 2011): a folder with one file per review,
``train/pos/0_9.txt``, or its archive, which is read in place and never unpacked to disk. Tables are
read by ``tables``.
"""

import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alphazero import unpacking
from alphazero.supervised import corpus, tables

CLASSES = ("negative", "positive")
PARTS = ("train", "test")
HELD_OUT = ("test", "dev", "validation", "valid", "val")
"""Names of the table for testing: the first one with labels is used. SST-2's test has none."""
FOLDERS = {"neg": 0, "pos": 1}
"""Folders of aclImdb, and their classes."""

ARCHIVES = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar")
RULE = (
    "should be an aclImdb folder or archive, or train and test as .tsv or .csv, plain or compressed"
)

MAX_REVIEW_BYTES = 1 << 20
"""Largest review in a folder or an archive, so that none fills the memory. aclImdb's longest has
14 kB."""
TEST_SHARE, SPLIT_SEED = 0.2, 0
"""Share of a single table's rows that is for testing, always the same ones."""
GENERATED_TRAIN, GENERATED_TEST, GENERATED_SEED = 2_000, 500, 0
"""Numbers of reviews made from templates."""

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_REVIEW = re.compile(r"(?:^|/)((?:train|test)/(?:neg|pos|unsup)/[^/]+\.txt)$")
_EXTENSIONS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
"""Members of an archive that tarfile reads whole: they hold names that are long."""


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
    if tables.is_table(path):
        return Reviews(name, *_split(path, report), CLASSES)
    present = [tables.find(path, "train"), _test_table(path, report)]
    if any(present):
        return Reviews(name, *_read_both(path, present), CLASSES)
    return Reviews(name, *_read_imdb(path), CLASSES)


def unlabelled(path: Path | None) -> Iterator[str]:
    """Texts without labels: of a table, of ``unsup`` in a folder, or of aclImdb's ``unsup`` folder.

    Without ``path`` they are made from templates. ``ValueError`` as for ``load``.
    """
    if path is None:
        yield from corpus.generate(GENERATED_TRAIN, GENERATED_SEED + 1)[0]
        return
    table = path if tables.is_table(path) else tables.find(path, "unsup")
    if table is None and any(tables.find(path, part) for part in PARTS):
        raise ValueError(
            f"{path}: has no unsup.tsv or .csv, plain or compressed, for texts without labels"
        )
    if table is None:
        files = dict(_files(path, ("train/unsup",)))
        yield from (_clean(f"{path}: {name}", files[name]) for name in sorted(files))
        return
    yield from (_clean(f"{table}:{line}", text) for line, text in tables.read_texts(table))


def prepare(tokens: NDArray[np.int32], rng: np.random.Generator | None) -> Tensor:
    """Words' numbers ``[N, T]`` as int64, as torch's embeddings take them. ``rng`` is not used."""
    return torch.from_numpy(tokens.astype(np.int64))


def _generate() -> tuple[Texts, Texts]:
    texts, labels = corpus.generate(GENERATED_TRAIN + GENERATED_TEST, GENERATED_SEED)
    parts = (slice(GENERATED_TRAIN), slice(GENERATED_TRAIN, None))
    train, test = (Texts(texts[part], labels[part]) for part in parts)
    return train, test


def _test_table(folder: Path, report: Callable[[str], object]) -> Path | None:
    present = [table for name in HELD_OUT if (table := tables.find(folder, name))]
    if len(present) < 2:
        return present[0] if present else None
    chosen = next((table for table in present if tables.has_labels(table)), present[0])
    if chosen != present[0]:
        report(f"{folder}: {chosen.name} is used for testing: {present[0].name} has no labels")
    return chosen


def _read_both(folder: Path, pair: list[Path | None]) -> tuple[Texts, Texts]:
    train, test = pair
    if not (train and test):
        present, missing = (train, "test") if train else (test, "train")
        raise ValueError(
            f"{folder}: has {present and present.name}, but no such table for {missing}; name the "
            "file itself, and a fifth of it is kept for the test"
        )
    return _read_table(train), _read_table(test)


def _read_table(path: Path) -> Texts:
    rows = tables.read(path)
    return _as_texts(path, [(_clean(f"{path}:{line}", text), label) for line, label, text in rows])


def _split(path: Path, report: Callable[[str], object]) -> tuple[Texts, Texts]:
    texts, labels = _read_table(path)
    for label, count in enumerate(np.bincount(labels)):
        if count == 1:
            raise ValueError(
                f"{path}: has only 1 {CLASSES[label]} review: training and test need one each"
            )
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
    return path.is_file() and path.name.lower().endswith(ARCHIVES)


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
            with unpacking.open_unpacked(file) as opened:
                content = opened.read(MAX_REVIEW_BYTES + 1)
            _check_size(str(file), len(content))
            yield f"{folder}/{file.name}", content


def _read_archive(path: Path, folders: set[str]) -> Iterator[tuple[str, bytes]]:
    """Regular files only, chosen by the end of their names.

    Links are not followed and nothing is written, so a malicious archive reaches no other file.
    """
    try:
        with unpacking.open_unpacked(path) as packed:
            with tarfile.open(fileobj=packed, mode="r|", tarinfo=_Member) as archive:
                for member in archive:
                    match = _REVIEW.search(member.name)
                    if match and member.isreg() and match[1].rpartition("/")[0] in folders:
                        _check_size(f"{path}: {member.name}", member.size)
                        file = archive.extractfile(member)
                        assert file is not None
                        yield match[1], file.read()
                    archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            # gzip's checksum comes after the end of the archive, where tarfile stops: reading on
            # to the end of the file checks it.
            while packed.read(MAX_REVIEW_BYTES):
                pass
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not a whole archive: {error}") from None


class _Member(tarfile.TarInfo):
    """A member of an archive, refused where tarfile would read it whole and it is large."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        if member.type in _EXTENSIONS:
            _check_size(f"an entry of the archive, {member.name[:40]!r}", member.size)
        return member


def _check_size(where: str, size: int) -> None:
    if size > MAX_REVIEW_BYTES:
        raise ValueError(f"{where}: {size:,} bytes, should be {MAX_REVIEW_BYTES:,} at most")
