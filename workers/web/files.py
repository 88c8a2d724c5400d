"""The files of the page, read once: a request names an entry of a table, never a path."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""The endings of the files that are sent, and their media types."""


class File(NamedTuple):
    """One file of the page."""

    content: bytes
    media_type: str


@cache
def table() -> dict[str, File]:
    """Every file of the page by the path of its URL; ``/`` is the page itself."""
    files = {
        "/" + path.relative_to(FOLDER).as_posix(): File(path.read_bytes(), TYPES[path.suffix])
        for path in sorted(FOLDER.rglob("*"))
        if path.suffix in TYPES
    }
    return files | {"/": files["/index.html"]}
