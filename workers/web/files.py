"""The files of the page, read once: a request names an entry of a table, never a path."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from alphazero.judging import widget_script

FOLDERS = (widget_script.FOLDER, Path(__file__).parent / "page")
"""The components that need no server, which notebooks show too, and those that do."""
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
        "/" + path.relative_to(folder).as_posix(): File(path.read_bytes(), TYPES[path.suffix])
        for folder in FOLDERS
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES
    }
    return files | {"/": files["/index.html"]}
