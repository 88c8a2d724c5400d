"""Files that people give, plain or compressed, read without filling the memory.

A small file can unpack to gigabytes. What is unpacked here is counted, and reading ends with an
error behind ``RATIO`` times the size of the compressed file, or ``FREE_BYTES`` where that is more.
Formats with a header are read in two steps by their readers: the header, then what it says and one
byte more.

Names end in ``.gz``, ``.xz``, ``.bz2`` or ``.zip``. Of a ``.zip`` with several files the path names
one, as if the archive were a folder: ``glove.6B.zip/glove.6B.100d.txt``.
"""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

RATIO = 50
"""Texts become 3 to 10 times as small, images of digits 5 times."""
FREE_BYTES = 1 << 26
"""This much may be unpacked from any file, however small."""
MAX_LINE_BYTES = 1 << 20
"""Longest line of a text file."""
MAX_LISTED = 5
"""Files of an archive that a message names."""
UTF_16 = b"\xff\xfe", b"\xfe\xff"
"""Byte order marks of an encoding that is not read."""

ZIP = ".zip"
PACKED: dict[str, Callable[..., Any]] = {
    ".gz": gzip.GzipFile,
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
    ".tgz": gzip.GzipFile,
}
NAMES = {".gz": "gzip", ".tgz": "gzip", ".xz": "xz", ".bz2": "bzip2", ZIP: "zip"}
SUFFIXES = ("", ".gz", ".xz", ".bz2", ZIP)
"""Endings of files that can be read, the plain one first."""
ERRORS = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError,
    RuntimeError,
)  # fmt: skip
"""Exceptions of the libraries for a damaged file, or one with a password."""


def archive_of(path: Path) -> Path | None:
    """The ``.zip`` that ``path`` is, or of which it names a file; None for any other path."""
    for part in (path, *path.parents):
        if part.suffix.lower() == ZIP and part.is_file():
            return part
    return None


def exists(path: Path) -> bool:
    """Whether ``path`` exists, or its part up to a ``.zip``."""
    return path.exists() or archive_of(path) is not None


def is_file(path: Path) -> bool:
    """Whether ``path`` is a regular file, or names one in a ``.zip``."""
    archive = archive_of(path)
    if archive in (None, path):
        return path.is_file()
    with _open_zip(archive) as opened:
        return path.relative_to(archive).as_posix() in _members(opened)


def plain_name(path: Path) -> str:
    """The name of the unpacked file: ``train.csv`` for ``train.csv.gz``.

    Of a ``.zip`` it is the name of the file in it. ``ValueError`` where it holds several.
    """
    if archive := archive_of(path):
        with _open_zip(archive) as opened:
            return Path(_member(opened, archive, path)).name
    return path.name.removesuffix(path.suffix) if path.suffix in PACKED else path.name


def open_unpacked(path: Path) -> io.BufferedReader:
    """Open ``path`` for reading its unpacked bytes.

    ``ValueError``, one line, here or from any later read: it is no regular file, is damaged, or
    unpacks to too much.
    """
    archive = archive_of(path)
    if archive is None and not path.is_file():
        raise ValueError(
            f"{path}: not a regular file" if path.exists() else f"{path}: no such file"
        )
    return io.BufferedReader(_Unpacked(path, archive))


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number, from 1, and the text of each line of a UTF-8 file, with its line end.

    Byte order marks are left out, also those inside, where files were joined. ``ValueError`` as for
    ``open_unpacked``; also, with the line's number, where it is too long or not UTF-8.
    """
    with open_unpacked(path) as file:
        number = 1
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise ValueError(f"{path}:{number}: longer than {MAX_LINE_BYTES:,} bytes")
            try:
                yield number, line.decode().replace("\ufeff", "")
            except UnicodeDecodeError as error:
                reason = "UTF-16" if line.startswith(UTF_16) else error.reason
                raise ValueError(f"{path}:{number}: not UTF-8: {reason}") from None
            number += 1


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a file, with errors in one line."""

    def __init__(self, path: Path, archive: Path | None):
        super().__init__()
        self._path, self._packed, self._stack = path, archive or path, ExitStack()
        self._left = self._most = max(FREE_BYTES, RATIO * self._packed.stat().st_size)
        self._compressed = archive is not None or path.suffix in PACKED
        try:
            self._file = self._stack.enter_context(self._open(archive))
        except ERRORS as error:
            self._stack.close()
            raise self._damaged(error) from None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except ERRORS as error:
            raise self._damaged(error) from None
        self._left -= len(data) if self._compressed else 0
        if self._left < 0:
            raise ValueError(
                f"{self._path}: unpacks to more than {self._most:,} bytes, {RATIO} times its size; "
                "if that is right, unpack it first"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stack.close()
        super().close()

    def _open(self, archive: Path | None) -> Any:
        if archive is None:
            return PACKED.get(self._path.suffix, open)(self._path, "rb")
        opened = self._stack.enter_context(_open_zip(archive))
        return opened.open(_member(opened, archive, self._path))

    def _damaged(self, error: BaseException) -> ValueError:
        kind = (
            f"a whole {NAMES[self._packed.suffix.lower()]} file" if self._compressed else "readable"
        )
        return ValueError(f"{self._path}: not {kind}: {_reason(error)}")


def _open_zip(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except ERRORS as error:
        raise ValueError(f"{archive}: not a whole zip file: {_reason(error)}") from None


def _members(opened: zipfile.ZipFile) -> list[str]:
    """The names of the files that can be read."""
    # macOS adds files of its own. Of the kinds of compression these two are unpacked in pieces.
    return [
        member.filename
        for member in opened.infolist()
        if not (member.is_dir() or member.filename.startswith("__MACOSX/"))
        and member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    ]


def _member(opened: zipfile.ZipFile, archive: Path, path: Path) -> str:
    """The name of the file in the archive that ``path`` means."""
    names, wanted = _members(opened), path.relative_to(archive).as_posix()
    if wanted in names:
        return wanted
    if wanted == "." and len(names) == 1:
        return names[0]
    shown = ", ".join(names[:MAX_LISTED]) + (", ..." if len(names) > MAX_LISTED else "")
    if wanted != "." or not names:
        raise ValueError(f"{path}: no such file in the archive, which has {shown or 'none'}")
    raise ValueError(
        f"{archive}: holds {len(names)} files, {shown}: name one, as in {archive}/{names[0]}"
    )


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or type(error).__name__
