"""Compiled functions: their decorator, the folder of their disk cache, and a notice of compilation.

Numba, which takes half a second to import, is imported by the first use of the decorator: where
nothing is compiled, nothing waits for it.
"""

import hashlib
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_report: Callable[[str], object] = logger.warning
"""Called with each notice."""
_due = False
"""Whether the next compilation is to be announced."""
_listening = False
"""Whether Numba's compilations are listened to in this process."""


def digest(files: Iterable[Path]) -> str:
    """SHA-256 of the names and contents of these files."""
    made = hashlib.sha256()
    for path in sorted(files):
        made.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return made.hexdigest()


def jit(function: Callable[..., Any], sources: str | None = None, **options: Any) -> Any:
    """Compile ``function`` at its first call, to run without the GIL; keep its code on disk.

    ``sources``: the ``digest`` of all files whose code it contains. Without it, its own file counts
    alone, and after an edit of another file the disk cache would still hold that file's old code.

    The disk cache is in the folder of the source or that of ``NUMBA_CACHE_DIR`` or in the user's
    own; where none of these can be written (a read-only installation of a user without a home), in
    a temporary folder, of which a warning is logged.
    """
    import numba

    _listen()
    try:
        compiled = numba.njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # no folder in which Numba can write
        kept = _cache_in_temporary_folder()
        compiled = numba.njit(cache=kept, nogil=True, **options)(function)
    cache: Any = getattr(compiled, "_cache", None)  # none with NUMBA_DISABLE_JIT=1
    if sources and hasattr(cache, "_cache_file"):  # not where no code can be kept
        cache._cache_file._source_stamp = sources
    return compiled


def announce(report: Callable[[str], object]) -> None:
    """Call ``report`` with one line at the first compilation in this process from now on.

    A warning of a temporary cache goes there, too.
    """
    global _report, _due
    _report, _due = report, True
    if "numba" in sys.modules:
        _listen()


def _listen() -> None:
    """Have the next compilation of a function that the disk cache lacks announced, if it is due."""
    global _listening
    if _listening or not _due:
        return
    _listening = True
    from numba.core import event

    class Notice(event.Listener):
        def on_start(self, event: Any) -> None:
            global _due
            if _due:
                _due = False
                folder = event.data["dispatcher"].stats.cache_path
                kept = f" (kept in {folder})" if folder else ""
                _report(
                    "compiling for this machine: some seconds, where a game or a search is used "
                    f"the first time{kept}"
                )

        def on_end(self, event: Any) -> None:
            pass

    event.register("numba:compile", Notice())


def _cache_in_temporary_folder() -> bool:
    """Keep compiled code in a temporary folder from now on, also in processes started later.

    False where there is no folder for temporary files: then nothing is kept.
    """
    from numba.core import config

    before = os.environ.get("NUMBA_CACHE_DIR")
    try:
        folder = temporary_folder()
    except OSError:
        return False
    # Numba reads the variable again later, and processes that this one starts inherit it.
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    setattr(config, "CACHE_DIR", str(folder))  # noqa: B010 (its stubs lack the name)
    if before != str(folder):
        _report(
            f"compiled code is kept in {folder}, as neither the installation nor a home can be "
            "written; NUMBA_CACHE_DIR=FOLDER names a folder that lasts"
        )
    return True


def temporary_folder() -> Path:
    """The user's own folder below that of temporary files, the same in every process.

    Cached code is executed, so that a folder of that name in which others can write is not used:
    a new one, of this process and those that it starts, is made instead. ``OSError``: there is no
    folder for temporary files.
    """
    user = getattr(os, "getuid", lambda: 0)()
    folder = Path(tempfile.gettempdir()) / f"alphazero-numba-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if stat.S_ISDIR(state.st_mode) and state.st_uid == user and not state.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="alphazero-numba-"))
