"""The local folder of a run whose ``--run-dir`` is a URL: a new one, or what was stored."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alphazero import checkpoint, file_locks, plain_files, sealed
from alphazero.errors import one_line
from alphazero.supervised.download import cache
from workers.runs import stored_run
from workers.runs.run_copy import LOCAL, RunCopy
from workers.runs.storage import Content, Damaged, Storage, open_storage
from workers.runs.stored_run import WRITER
from workers.terminal import output
from workers.terminal.output import counted

FETCHING = ".fetching"
"""The file in a local folder whose contents are not all there yet."""


MOST_FOLDERS = 100
"""The most local folders for one URL in the cache."""


@contextmanager
def opened(url: str, work_dir: Path | None, resume: bool) -> Iterator[RunCopy]:
    """The copy of a run at ``url``, closed at the end, whose ``folder`` is ready to be worked in.

    It is ``work_dir`` or a folder in the user's cache, which one line names. To resume, it holds
    the newest complete checkpoint and its games: those that are there already where the folder is
    the one that stored them, else they are fetched. ``ValueError``, one line: ``url`` cannot be
    used, a new run's is not empty, there is no run to resume, or ``work_dir`` holds something else.
    """
    storage = open_storage(url)
    names = storage.names()
    if not resume and names:
        raise ValueError(f"{one_line(url)} is not empty: --resume continues the run in it")
    if resume and WRITER not in names:
        raise ValueError(f"--resume: there is no run at {one_line(url)}")
    for part in ("marks", "checkpoints", "state", "games") if resume else ():
        storage.names(part)  # a link among them is refused before anything is written there
    if url.startswith("memory://"):
        output.warn(f"what is kept at {one_line(url)} is gone when this process ends")
    places = [work_dir] if work_dir else list(_places(url))
    folder = next((path for path in places if resume and _is_current(storage, path)), None)
    if folder is not None:
        print(f"the run continues in {folder}, and its copy is kept at {one_line(url)}")
        copy = RunCopy(storage, folder, shards=_shards(storage, folder))
    else:
        folder = _free(places, work_dir, resume)
        print(f"the run works in {folder}, and its copy is kept at {one_line(url)}")
        copy = RunCopy(storage, folder, _fetch(storage, folder) if resume else None)
    try:
        yield copy
    finally:
        if copy.is_fetched and not copy.is_started:  # refused: the next call fetches it again
            (folder / FETCHING).touch()
        copy.close()


def _places(url: str) -> Iterator[Path]:
    """Folders in the cache for one URL: ``NAME-0123abcd``, ``NAME-0123abcd-2``, ..."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", url.rstrip("/").rpartition("/")[2])[:50] or "run"
    base = cache() / "runs" / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"
    yield base
    for number in range(2, MOST_FOLDERS + 1):
        yield base.with_name(f"{base.name}-{number}")


def _free(places: list[Path], work_dir: Path | None, resume: bool) -> Path:
    """The first place that holds nothing, or what an interrupted fetch left; made if missing."""
    for path in places:
        if file_locks.is_empty(path) or (path / FETCHING).is_file():
            path.mkdir(parents=True, exist_ok=True)
            return path
    if work_dir is None:
        raise ValueError(f"{places[0].parent} has {len(places)} folders of this URL: --work-dir")
    what = "something else, or an older state of this run" if resume else "something"
    raise ValueError(f"--work-dir: {work_dir} holds {what}: choose an empty folder")


def _is_current(storage: Storage, folder: Path) -> bool:
    """Whether the run in ``folder`` was the last one that wrote to the storage, and is as new."""
    if not (folder / LOCAL).is_file() or (folder / FETCHING).exists():
        return False
    own = plain_files.read(folder / LOCAL)
    try:
        if storage.read(WRITER, len(own)) != own:
            return False
    except (Damaged, FileNotFoundError):
        return False
    newest = checkpoint.newest(folder, report=lambda line: None)
    step = sealed.open_folder(newest).fields["step"] if newest is not None else 0
    return max(_marked(storage, folder), default=0) <= step


def _marked(storage: Storage, folder: Path) -> list[int]:
    """The stored steps, without those at which the training in ``folder`` diverged."""
    hidden = {path.name for path in (folder / "checkpoints").glob(".diverged-*")}
    steps = stored_run.steps(storage)
    return [step for step in steps if f".diverged-{stored_run.name_of(step)}" not in hidden]


def _shards(storage: Storage, folder: Path) -> dict[str, Content]:
    """The shards of ``folder`` that are closed and stored, by their names in the storage.

    They are those of the newest mark that ``folder`` wrote: another's may list other games.
    """
    own, steps = stored_run.writer_id(plain_files.read(folder / LOCAL)), _marked(storage, folder)
    marked = [one for one in stored_run.saved(storage) if one.writer == own and one.step in steps]
    try:
        files = stored_run.read_mark(storage, marked[-1]) if marked else {}
    except (Damaged, FileNotFoundError):
        return {}  # they are stored again
    return {
        name: content for shard, (name, content) in stored_run.closed(files).items()
        if (path := folder / "games" / shard).is_file() and plain_files.size(path) == content.bytes
    }  # fmt: skip


def _fetch(storage: Storage, folder: Path) -> dict[str, Content]:
    """Fill an empty folder; the files of the mark, none where no checkpoint is complete yet."""
    with file_locks.held(folder):
        (folder / FETCHING).touch()
        stored_run.clear(folder)
        fetched = stored_run.fetch_newest(storage, folder, print)
        (folder / FETCHING).unlink()
    if fetched is None:
        return {}
    step, files = fetched
    games = sum(name.endswith(".bin") for name in files)
    print(f"fetched step {step:,} and {counted(games, 'file')} of games")
    return files
