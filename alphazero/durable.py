"""Names on disk: files that were made, renamed or removed in a folder survive a loss of power."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the folder's list of names durable, as ``os.fsync`` does for a file's contents.

    Without effect on Windows, where a folder cannot be opened and the file system keeps a journal
    of names.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
