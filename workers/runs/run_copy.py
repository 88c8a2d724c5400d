"""The copy of a run's folder in a storage, kept up to date by one thread beside the run.

The run works in a local folder as any other. After each checkpoint the thread copies it with the
state of that moment, and shards of games once they are closed. The run never waits for it: of
several checkpoints that wait, the newest is copied. What fails is tried again, each time after a
longer pause.

Another machine may take the storage over meanwhile. So before each write and each deletion the
thread reads whose it is, and ends where it is another's. That and the write are two steps in a
storage without locks; what begins between them is harmless, for the names of what a run stores have
its working folder's id, and only names that were listed before the look are deleted.
"""

import json
import logging
import os
import shlex
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from alphazero import checkpoint, sealed
from alphazero.errors import reason
from workers.runs import stored_run
from workers.runs.run_directory import resuming_options
from workers.runs.storage import PIECE, Content, Damaged, Storage, StorageError
from workers.runs.stored_run import STATE, WRITER, Saved, name_of, shard_number
from workers.terminal import output

log = logging.getLogger(__name__)

POLL_SECONDS = 10.0
"""Time between two looks for shards that have been closed."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds before the first repetition of what failed, and the most, after repeated doubling."""
LAST_PAUSE = 5.0
"""The longest pause after the end of the run."""
PATIENCE = 60.0
"""Seconds without any progress after which a run that has ended waits no longer."""
EXAMPLES = ("examples.jsonl", "examples.txt")
"""Files that grow large and are needed by no resumed run: they are copied at the end."""
LOCAL = ".stored"
"""The file in the local folder with the text that ``WRITER`` has in the storage."""


class Superseded(RuntimeError):
    """Another run writes to the storage."""


class Snapshot(NamedTuple):
    """The state of a run's folder at a checkpoint."""

    step: int
    jump: int | None
    """The step at which the loss jumped last."""
    shard: str | None
    """The name of the newest shard, which is still written to; None where there are no games."""
    shard_bytes: int
    """Its length at that moment."""
    closed: tuple[str, ...]
    """The names of the shards before it."""
    state: dict[str, bytes]
    """The contents of the files ``STATE``."""


def snapshot(folder: Path, step: int, jump: int | None) -> Snapshot:
    """The state of a run's folder now, just after the checkpoint of ``step`` was saved.

    Games may be stored meanwhile. The lengths are taken first and ``worker_incarnation`` after
    them: a worker's number is written there before it plays, so that all ids in the shards are
    below those that a resumed run gives.
    """
    shards = _shards(folder)
    size = (folder / "games" / shards[-1]).stat().st_size if shards else 0
    state = {name: (folder / name).read_bytes() for name in STATE if (folder / name).is_file()}
    newest = shards[-1] if shards else None
    return Snapshot(step, jump, newest, size, tuple(shards[:-1]), state)


class RunCopy:
    """Copies what is complete in ``folder`` to a storage, from ``start`` until ``close``.

    ``files``: those of the mark from which the folder was fetched, None where it was not;
    ``shards``: files of a mark that are closed shards of the folder, where it was not.
    ``patience``: seconds without progress after which ``close`` gives up.
    """

    def __init__(
        self,
        storage: Storage,
        folder: Path,
        files: dict[str, Content] | None = None,
        shards: dict[str, Content] | None = None,
        patience: float = PATIENCE,
    ):
        self.folder, self.url = folder, storage.url
        self.is_fetched = files is not None
        """Whether the folder's log is that of a checkpoint, and not of the last process."""
        self._storage, self._patience = storage, patience
        self._shards = stored_run.closed(shards or files or {})
        self._thread: threading.Thread | None = None
        self._wake, self._closing = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._due: Snapshot | None = None  # to be copied and marked
        self._marked: Snapshot | None = None  # marked, but older ones are not deleted yet
        self._sent: dict[str, Content] = {}  # what is stored of it, from attempts that failed
        self._step = 0  # the newest that is marked or due
        self._jump: int | None = None
        self._moved = time.monotonic()
        self._problem = ""
        self._is_ended = self._is_superseded = False
        self.is_started = False
        """Whether the storage was taken over: the folder may then hold what is nowhere else."""

    def start(self, step: int, jump: int | None, keep: int) -> None:
        """Take over the storage and begin to copy; the run continues from ``step``.

        Checkpoints after it are deleted there: the run is about to save them again. ``jump`` is the
        step at which the loss jumped last, ``keep`` is ``training.keep_checkpoints``.
        ``StorageError``: the storage cannot be written.
        """
        self._keep, self._first, self._step, self._jump = keep, step, step, jump
        self.is_started = True
        self._writer = _identity(self.folder)
        self._id = stored_run.writer_id(self._writer)
        self._storage.write(WRITER, [self._writer])
        marked = stored_run.saved(self._storage)
        for later in (one for one in marked if one.step > step):
            self._delete(later)
        if step and step not in {
            one.step for one in marked
        }:  # the local folder is ahead of the storage
            self.saved(step, jump)
        self._thread = threading.Thread(target=self._follow, name="run copy", daemon=True)
        self._thread.start()

    def saved(self, step: int, jump: int | None) -> None:
        """Note that the checkpoint of ``step`` is complete in the local folder, just now."""
        taken = snapshot(self.folder, step, jump)
        with self._lock:
            self._due, self._step, self._jump, self._sent = taken, step, jump, {}
        self._wake.set()

    def close(self) -> bool:
        """Copy the rest; False where something is not stored, which a warning says.

        It waits as long as the copying gets further, and ``patience`` longer. Further calls return
        True.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        # One that was saved after the loss of a fleet, say.
        newest = checkpoint.newest(self.folder, report=lambda line: None)
        if newest is not None and (step := sealed.open_folder(newest).fields["step"]) > self._step:
            self.saved(step, self._jump)
        self._moved = time.monotonic()
        self._closing.set()
        self._wake.set()
        try:
            while thread.is_alive() and time.monotonic() < self._moved + self._patience:
                thread.join(0.1)
        finally:
            if not self._is_ended:
                output.warn(self._missing())
        return self._is_ended

    def _missing(self) -> str:
        why = self._problem or "it takes too long"
        due = f"step {self._due.step:,} and its games" if self._due else "the end of the run"
        if self._is_superseded:
            return f"{due}: not stored, {why}"
        options = resuming_options(self.url)
        return (
            f"{due}: not stored at {self.url}: {why}; the same command with `{options} "
            f"--work-dir {shlex.quote(str(self.folder))}` goes on from what is here and stores it"
        )

    def _follow(self) -> None:
        """The thread: copy what is due until the run has ended and all is stored."""
        pause = 0.0
        while not self._is_ended:
            if pause and self._closing.is_set():
                time.sleep(min(pause, LAST_PAUSE))
            else:
                (self._closing if pause else self._wake).wait(pause or POLL_SECONDS)
            self._wake.clear()
            ends = self._closing.is_set()
            try:
                self._copy_due()
                if ends:
                    self._copy_end()
                    self._is_ended = True
            except Superseded as error:
                self._problem, self._is_superseded = str(error), True
                log.warning("%s; nothing more is stored there", error)
                return
            except Exception as error:  # whatever a storage raises must not end the copying
                pause = min(LONGEST_PAUSE, 2 * pause or FIRST_PAUSE)
                self._failed(error)
            else:
                if self._problem:
                    log.warning("%s: what was missing is stored now", self.url)
                pause, self._problem = 0.0, ""

    def _failed(self, error: Exception) -> None:
        """Keep the reason, and report the first failure in a row."""
        problem = str(error) if isinstance(error, StorageError) else reason(error)
        if not self._problem:
            log.warning("not stored: %s; it is tried again, the run goes on", problem)
        self._problem = problem

    def _copy_due(self) -> None:
        for name in _shards(self.folder)[:-1]:
            self._copy_closed(name)
        with self._lock:
            due, sent = self._due, self._sent
        if due is not None:
            self._copy(due, sent)
            with self._lock:
                self._due = None if self._due is due else self._due
        if self._marked is not None:
            self._tidy(self._marked)
            self._marked = None

    def _copy_closed(self, name: str) -> None:
        if name not in self._shards:
            stored = stored_run.closed_name(name, self._id)
            content = self._write(stored, _pieces(self.folder / "games" / name))
            self._shards[name] = stored, content

    def _copy(self, taken: Snapshot, sent: dict[str, Content]) -> None:
        """Copy what is not in ``sent`` yet of a checkpoint and the state of its moment; mark it."""
        own = self.folder / "checkpoints" / name_of(taken.step)
        if not own.is_dir():  # the run has deleted it, since others were saved after it
            return
        expected = sealed.open_folder(own).files
        one = Saved(taken.step, self._id)
        sources: dict[str, Iterator[bytes]] = {
            f"checkpoints/{one.name}/{name}": _pieces(own / name) for name in stored_run.CHECKPOINT
        }
        for name, data in taken.state.items():
            sources[f"state/{one.name}/{name}"] = iter([data])
        if taken.shard is not None:
            pieces = _pieces(self.folder / "games" / taken.shard, taken.shard_bytes)
            sources[f"state/{one.name}/{taken.shard}"] = pieces
        for name, pieces in sources.items():
            if name not in sent:
                sent[name] = self._write(name, pieces)
                self._moved = time.monotonic()
            if (hashed := expected.get(name.rpartition("/")[2])) and name.startswith("checkpoints"):
                _check(name, sent[name], hashed)
        closed = dict(self._shards[name] for name in taken.closed)
        self._check_writer()
        stored_run.mark(self._storage, one, closed | sent)
        self._marked = taken

    def _tidy(self, taken: Snapshot) -> None:
        """Delete what is of no use any more, and renew what is for people.

        That is what the run's own rule deletes, half-copied checkpoints, those that the run before
        marked just after this one had begun, and shards with lost games.
        """
        for name, data in taken.state.items():
            self._write(name, iter([data]))
        folders = ("checkpoints", "state")
        stored = {one for folder in folders for one in stored_run.saved(self._storage, folder)}
        # Listed after the folders: a checkpoint marked in between must not look half-copied.
        marked = stored_run.saved(self._storage)
        late = {one for one in marked if one.step > self._first and one.writer != self._id}
        steps = sorted({one.step for one in set(marked) - late})
        surplus = set(sealed.surplus(steps, self._keep, taken.jump)) - {taken.step}
        spent = {one for one in marked if one.step in surplus}
        for one in sorted((late | spent | stored - set(marked)) - {Saved(taken.step, self._id)}):
            self._delete(one)
        own = {name for name, _ in self._shards.values()}
        for name in stored_run.unlisted(self._storage, own):
            self._check_writer()
            self._storage.delete(name)

    def _copy_end(self) -> None:
        """Copy the newest shard and the files for people, after the run has ended.

        Checkpoints that were set aside because the training diverged there are deleted.
        """
        self._check_writer()
        for one in stored_run.saved(self._storage):
            if (self.folder / "checkpoints" / f".diverged-{name_of(one.step)}").is_dir():
                self._delete(one)
        for name in _shards(self.folder)[-1:]:
            stored = stored_run.closed_name(name, self._id)
            self._write(stored, _pieces(self.folder / "games" / name))
        for name in (*STATE, *EXAMPLES):
            if (self.folder / name).is_file():
                self._write(name, _pieces(self.folder / name))

    def _check_writer(self) -> None:
        """``Superseded`` where the storage is another run's."""
        try:
            writer = self._storage.read(WRITER, len(self._writer))
        except (Damaged, FileNotFoundError):
            writer = b""
        if writer != self._writer:
            raise Superseded(f"another run writes to {self.url}")

    def _delete(self, one: Saved) -> None:
        """Delete a checkpoint whose name was listed before.

        Where it is one of a run that has taken over, that run wrote ``WRITER`` before it.
        """
        self._check_writer()
        stored_run.delete(self._storage, one)

    def _write(self, name: str, pieces: Iterator[bytes]) -> Content:
        self._check_writer()

        def watched() -> Iterator[bytes]:
            for piece in pieces:
                yield piece
                if not self._problem:  # what fails again and again does not get further by it
                    self._moved = time.monotonic()

        return self._storage.write(name, watched())


def _shards(folder: Path) -> list[str]:
    """The names of a run's shards, oldest first; only the last one is still written to."""
    paths = (folder / "games").glob("shard_*.bin")
    return sorted((path.name for path in paths if shard_number(path.name) is not None),
                  key=lambda name: shard_number(name) or 0)  # fmt: skip


def _check(name: str, content: Content, expected: dict[str, object]) -> None:
    """``Damaged`` where a file of a checkpoint is not the one that its manifest lists."""
    if content._asdict() != expected:
        raise Damaged(f"{name} was altered on this machine")


def _pieces(path: Path, most: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, or the first ``most`` of them, a piece at a time."""
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size if most is None else most
        while left and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def _identity(folder: Path) -> bytes:
    """The text that names a working folder, made once and kept in it."""
    path = folder / LOCAL
    if not path.is_file():
        path.write_text(json.dumps({"writer": uuid.uuid4().hex}) + "\n", encoding="utf-8")
    return path.read_bytes()
