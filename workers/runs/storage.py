"""Files below a URL, in any storage that fsspec reaches: buckets, shared folders, memory in tests.

Everything in it may have been written by others. So a name is made by this program or compared with
a pattern before it is used, reading is bounded, and no link is followed.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from alphazero.errors import one_line, reason
from alphazero.nn import extras

PIECE = 2**22
"""Bytes that are read or written at a time."""
PROVIDERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
"""The package that the extra ``storage`` brings for a kind of URL."""
_URL = re.compile(r"([a-z][a-z0-9+.-]+)://.*", re.DOTALL)


class StorageError(OSError):
    """A storage that could not be read or written; its message is one line with the URL."""


class Damaged(ValueError):
    """A file in a storage that is not what was stored there; its message is one line."""


class Content(NamedTuple):
    """The length and hash of a file."""

    bytes: int
    sha256: str
    """In hexadecimal."""


def open_storage(url: str) -> "Storage":
    """The storage at ``url``; nothing is read or written yet.

    ``ValueError``, one line: the package for this kind of URL is not installed, there is no such
    kind, or the URL is not one.
    """
    match = _URL.fullmatch(url)
    if not match or "::" in url:
        raise ValueError(f"{one_line(url)} is no URL such as s3://bucket/run")
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ValueError(extras.missing(f"{match[1]}:// needs fsspec", "storage")) from None
    try:
        # Listings are those of now, not those that another object of this process has kept.
        files, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        if package := PROVIDERS.get(match[1]):
            raise ValueError(extras.missing(f"{match[1]}:// needs {package}", "storage")) from None
        raise ValueError(f"{one_line(url)}: {reason(error)}") from None
    except Exception as error:  # an unknown kind, a malformed address, no credentials, ...
        raise ValueError(f"{one_line(url)} cannot be used: {reason(error)}") from None
    return Storage(url, files, root)


class Storage:
    """Files below one URL, by their names relative to it, as ``games/shard_000000.bin``.

    Methods raise ``StorageError`` for whatever the storage raises. ``read`` and ``download`` raise
    ``FileNotFoundError`` where a file is not there.
    """

    def __init__(self, url: str, files: Any, root: str):
        """``files``: an ``fsspec.AbstractFileSystem``; ``root``: the path of ``url`` in it."""
        self.url = url
        self._files, self._root = files, str(root).rstrip("/")

    def names(self, folder: str = "") -> list[str]:
        """The last parts of the names in a folder, whatever they are; none where it is missing.

        ``ValueError``, one line, for a link: what is written through it would go elsewhere.
        """
        path = self._path(folder).rstrip("/")
        with self._reported():
            self._files.invalidate_cache()
            try:
                entries = self._files.ls(path or "/", detail=True)
            except FileNotFoundError:
                return []
        names = []
        for entry in entries:
            name = str(entry["name"]).rstrip("/")
            if name in (path, path.lstrip("/")):
                continue  # object stores list an empty object for a folder
            names.append(name.rpartition("/")[2])
            if entry.get("islink"):
                raise ValueError(f"{self.url}: {one_line(names[-1])} is a link")
        return names

    def read(self, name: str, most: int) -> bytes:
        """The bytes of a file; ``Damaged`` where it has over ``most``, or is no regular file."""
        return b"".join(self._pieces(name, most))

    def download(self, name: str, path: Path, expected: Content) -> None:
        """Write a file to ``path``; ``Damaged`` where it is not the ``expected`` one."""
        digest, length = hashlib.sha256(), 0
        with path.open("wb") as file:
            for piece in self._pieces(name, expected.bytes):
                digest.update(piece)
                length += len(piece)
                file.write(piece)
        if Content(length, digest.hexdigest()) != expected:
            raise Damaged(f"{name} was altered")

    def write(self, name: str, pieces: Iterable[bytes]) -> Content:
        """Write a file, or replace it; what was written.

        A process that is killed meanwhile may leave a part of it.
        """
        path, digest, length = self._path(name), hashlib.sha256(), 0
        with self._reported():
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            with self._files.open(path, "wb") as file:
                for piece in pieces:
                    digest.update(piece)
                    length += len(piece)
                    file.write(piece)
            self._files.invalidate_cache()
            stored = self._files.info(path)["size"]
        if stored != length:
            raise StorageError(f"{self.url}: {name} has {stored:,} of {length:,} bytes")
        return Content(length, digest.hexdigest())

    def delete(self, name: str) -> None:
        """Delete a file or a folder with all its files; nothing where there is none."""
        path = self._path(name)
        with self._reported():
            self._files.invalidate_cache()
            if self._files.exists(path):
                self._files.rm(path, recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _pieces(self, name: str, most: int) -> Iterator[bytes]:
        """The bytes of a regular file of at most ``most`` bytes, a piece at a time."""
        path, length = self._path(name), 0
        with self._reported(FileNotFoundError):
            self._files.invalidate_cache()
            entry = self._files.info(path)
        if entry["type"] != "file" or entry.get("islink"):
            raise Damaged(f"{name} is no regular file")
        with self._reported(FileNotFoundError), self._files.open(path, "rb") as file:
            while piece := file.read(min(PIECE, most + 1 - length)):
                length += len(piece)
                if length > most:
                    break
                yield piece
        if length > most:
            raise Damaged(f"{name} has over {most:,} bytes")

    @contextmanager
    def _reported(self, *passed: type[Exception]) -> Iterator[None]:
        """Turn what a storage raises, which may be anything, into a ``StorageError``.

        Errors of the types ``passed`` stay what they are.
        """
        try:
            yield
        except (StorageError, *passed):
            raise
        except Exception as error:
            raise StorageError(f"{self.url}: {reason(error)}") from error
