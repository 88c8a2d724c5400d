"""Downloading MNIST and IMDb from their public sites; nothing else here uses the network.

A file is written under a temporary name, checked and renamed, so a file with its final name is
complete. One that is there already and passes the check is not downloaded again. MNIST's files are
checked by the SHA-256 of their unpacked content, because sites compress them differently; IMDb's
archive is checked by its own.
"""

import gzip
import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphazero import unpacking
from alphazero.supervised import images

TIMEOUT_SECONDS = 30
"""Longest wait for a site to send anything."""
CHUNK = 1 << 16
"""Bytes that are read at once."""

Progress = Callable[[str, int, int | None], object]
"""Called with the file's name, the bytes received so far, and their total or None (unknown)."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its addresses, and the content that it must have."""

    file: str
    urls: tuple[str, ...]
    """Tried in turn, until one sends the right content."""
    sha256: str
    """Hash of the file, or of its unpacked content, in hexadecimal."""
    max_bytes: int
    """A download is ended beyond this size, so that a site cannot fill the disk."""
    unpacked: bool = False
    """True: ``sha256`` is that of the content of a ``.gz`` file."""


def _mnist(name: str) -> Source:
    sites = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    file = f"{name}.gz"
    urls = tuple(site + file for site in sites)
    return Source(file, urls, images.MNIST[name], max_bytes=16_000_000, unpacked=True)


SOURCES: dict[str, tuple[Source, ...]] = {
    "mnist": tuple(_mnist(name) for name in images.MNIST),
    "imdb": (
        Source(
            "aclImdb_v1.tar.gz",
            ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
            "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            max_bytes=100_000_000,
        ),
    ),
}


def cache() -> Path:
    """The default folder of downloaded data: ``~/.cache/alphazero``, or in ``XDG_CACHE_HOME``."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(folder) if os.path.isabs(folder) else Path.home() / ".cache") / "alphazero"


def fetch(
    name: str,
    folder: Path | None = None,
    progress: Progress = lambda file, done, total: None,
    sources: Mapping[str, Sequence[Source]] = SOURCES,
) -> Path:
    """Download the missing files of the data ``name``; the folder, for ``images`` or ``texts``.

    It is ``folder`` or, without one, ``name`` in ``cache()``. ``ValueError``, one line: an unknown
    name; a file that is there with other content, which is not touched; or a file of which no site
    sends the right content. ``OSError`` where the file cannot be written.
    """
    if name not in sources:
        raise ValueError(f"--download: unknown {name!r}, should be one of {', '.join(sources)}")
    folder = folder or cache() / name
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources[name]:
        _fetch(source, folder / source.file, progress)
    return folder


def _fetch(source: Source, path: Path, progress: Progress) -> None:
    if path.exists():
        if problem := _mismatch(source, path):
            raise ValueError(f"{path}: {problem}; remove it, or give another folder")
        return
    problems = []
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        for url in source.urls:
            problem = _receive(source, url, partial, progress) or _mismatch(source, partial)
            if problem is None:
                partial.replace(path)
                return
            problems.append(f"{url}: {problem}")
    finally:
        partial.unlink(missing_ok=True)
    raise ValueError(f"{source.file} could not be downloaded: {'; '.join(problems)}")


def _receive(source: Source, url: str, path: Path, progress: Progress) -> str | None:
    """Download ``url`` into ``path``; a description of the failure, None on success."""
    done = 0
    try:
        with (
            path.open("wb") as file,
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response,
        ):
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            while chunk := response.read(CHUNK):
                done += len(chunk)
                if done > source.max_bytes:
                    return f"more than {source.max_bytes:,} bytes"
                file.write(chunk)
                progress(source.file, done, total)
            file.flush()
            os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        error.close()
        return str(error)
    except urllib.error.URLError as error:
        return getattr(error.reason, "strerror", None) or str(error.reason)
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        return str(error) or type(error).__name__
    return f"ended after {done:,} of {total:,} bytes" if total and done < total else None


def _mismatch(source: Source, path: Path) -> str | None:
    """A description of how the file differs from ``source``; None where it does not."""
    digest, done, most = hashlib.sha256(), 0, source.max_bytes
    most *= unpacking.RATIO if source.unpacked else 1
    try:
        with (gzip.open if source.unpacked else open)(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                done += len(chunk)
                if done > most:
                    return f"more than {most:,} bytes"
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"not a whole gzip file: {error}"
    if digest.hexdigest() != source.sha256:
        return f"SHA-256 {digest.hexdigest()}, should be {source.sha256}"
    return None
