"""Fetching MNIST and IMDb from their public homes, for whoever asks: nothing else uses the network.

A file is written aside, checked and renamed, so that what has its name is whole; what is there
already and right is not fetched again. MNIST's files are checked by the SHA-256 of what they hold,
since not all homes pack them alike; IMDb's archive by its own.
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

from alphazero.supervised import images

SECONDS = 30
"""That a home may stay silent."""
CHUNK = 1 << 16

Progress = Callable[[str, int, int | None], object]
"""Called with the file's name, the bytes that are here, and all that there will be, if known."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file: where it can be had and what it must be."""

    file: str
    urls: tuple[str, ...]
    """Tried in turn."""
    sha256: str
    most: int
    """Bytes; no home sends more."""
    unpacked: bool = False
    """The SHA-256 is that of the content of a ``.gz``."""


def _mnist(name: str) -> Source:
    homes = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    file = f"{name}.gz"
    urls = tuple(home + file for home in homes)
    return Source(file, urls, images.MNIST[name], most=16_000_000, unpacked=True)


SOURCES: dict[str, tuple[Source, ...]] = {
    "mnist": tuple(_mnist(name) for name in images.MNIST),
    "imdb": (
        Source(
            "aclImdb_v1.tar.gz",
            ("https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",),
            "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
            most=100_000_000,
        ),
    ),
}


def cache() -> Path:
    """Where data are kept unless the user says otherwise: ``~/.cache/alphazero``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "alphazero"


def fetch(
    name: str,
    folder: Path | None = None,
    progress: Progress = lambda file, done, total: None,
    sources: Mapping[str, Sequence[Source]] = SOURCES,
) -> Path:
    """The folder for ``images.load`` or ``texts.load``: ``folder``, or ``name`` in ``cache()``.

    Fetches what is missing. ``ValueError``, one line, for an unknown name, a file that is there but
    another one, which is left alone, or one that no home has as it should be; ``OSError`` where
    the disk does not take it.
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
        if problem := _fault(source, path):
            raise ValueError(f"{path}: {problem}; remove it, or give another folder")
        return
    problems = []
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        for url in source.urls:
            problem = _receive(source, url, aside, progress) or _fault(source, aside)
            if problem is None:
                aside.replace(path)
                return
            problems.append(f"{url}: {problem}")
    finally:
        aside.unlink(missing_ok=True)
    raise ValueError(f"{source.file} could not be fetched: {'; '.join(problems)}")


def _receive(source: Source, url: str, path: Path, progress: Progress) -> str | None:
    """Write what ``url`` sends into ``path``; what went wrong, if anything did."""
    done = 0
    try:
        with path.open("wb") as file, urllib.request.urlopen(url, timeout=SECONDS) as answer:
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            while chunk := answer.read(CHUNK):
                done += len(chunk)
                if done > source.most:
                    return f"more than {source.most:,} bytes"
                file.write(chunk)
                progress(source.file, done, total)
            file.flush()
            os.fsync(file.fileno())
    except urllib.error.HTTPError as error:
        error.close()
        return str(error)
    except urllib.error.URLError as error:
        return str(error.reason)
    except (http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        return str(error) or type(error).__name__
    return f"ended after {done:,} of {total:,} bytes" if total and done < total else None


def _fault(source: Source, path: Path) -> str | None:
    """What is wrong with a file that should be the source's; None if nothing is."""
    digest = hashlib.sha256()
    try:
        with (gzip.open if source.unpacked else open)(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return f"not a whole gzip file: {error}"
    if digest.hexdigest() != source.sha256:
        return f"SHA-256 {digest.hexdigest()}, should be {source.sha256}"
    return None
