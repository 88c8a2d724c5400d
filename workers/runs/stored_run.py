"""A run in a storage: which files it has there, and how the newest checkpoint comes back.

    URL/
      marks/step_000100-W.json    every file of a complete checkpoint with its size and SHA-256
      checkpoints/step_000100-W/  the checkpoint's own files
      state/step_000100-W/        metrics, log, settings, and the shard that was still written to
      games/shard_000006-W.bin    shards that are closed
      writer.json                 the working folder whose run writes here
      config.yaml, ...            the newest state once more, for people; never read by this program

W is the id of the working folder that wrote the file, twelve hexadecimal digits, so that two runs
that both believe that the storage is theirs never write to the same name. Names without it, of
earlier versions, are read too.

A mark is written last, after the files that it lists, and no file that a mark lists is written
again while the mark is there. So what is half copied when a machine is lost has no mark and is
ignored: with step 100 marked and ``checkpoints/step_000200-W`` half there, the run goes on from
step 100. A mark that is cut short is no JSON and is ignored too.
"""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alphazero import checkpoint, sealed
from alphazero.errors import one_line, reason
from workers.runs.storage import Content, Damaged, Storage

CHECKPOINT = (checkpoint.WEIGHTS, checkpoint.TRAINING, checkpoint.CONFIG, checkpoint.MANIFEST)
"""The files of a checkpoint."""
STATE = (
    "config.yaml", "environment.json", "metrics.jsonl", "log.txt", "worker_incarnation", "wandb_id",
)  # fmt: skip
"""The files of a run's folder that are stored with each checkpoint, those that there are."""
WRITER = "writer.json"
WRITER_BYTES = 2**10
"""The most bytes of it."""
MARK_BYTES = 2**24
"""The most bytes of a mark: about 100 per shard of 64 MiB."""
MOST_BYTES = {"games": 2**27, "state": 2**30, "checkpoints": sealed.LARGEST}
"""The most bytes of one file that is fetched, by the folder in which it is stored."""
_SHARD = re.compile(r"shard_([0-9]{6,18})\.bin")
_STEP = re.compile(r"(step_([0-9]{6,18}))(?:-([0-9a-f]{12}))?")
_CLOSED = re.compile(r"(shard_[0-9]{6,18})(?:-[0-9a-f]{12})?(\.bin)")


class Saved(NamedTuple):
    """A checkpoint in a storage."""

    step: int
    writer: str = ""
    """The id of the working folder that stored it; empty in storages of earlier versions."""

    @property
    def name(self) -> str:
        """``step_000100-0123456789ab``, the name of its mark and folders."""
        return name_of(self.step) + (f"-{self.writer}" if self.writer else "")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    bytes: Annotated[int, Field(ge=0, le=sealed.LARGEST)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Mark(BaseModel):
    """The JSON of a mark."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1] = 1
    step: Annotated[int, Field(ge=0)]
    files: dict[str, _File]


def name_of(step: int) -> str:
    """``step_000100``, the name of a checkpoint's folder on the local disk."""
    return f"step_{step:06}"


def shard_number(name: str) -> int | None:
    """The number in the name of a shard; None for any other name."""
    match = _SHARD.fullmatch(name)
    return int(match[1]) if match and name == f"shard_{int(match[1]):06}.bin" else None


def writer_id(text: bytes) -> str:
    """The id of a working folder in the names of what it stores; ``text``: that of ``WRITER``."""
    return hashlib.sha256(text).hexdigest()[:12]


def saved(storage: Storage, folder: str = "marks") -> list[Saved]:
    """The checkpoints in the names in ``folder``, by step; other names are left out."""
    names = (name.removesuffix(".json") for name in storage.names(folder))
    matches = (_STEP.fullmatch(name) for name in names)
    named = {Saved(int(match[2]), match[3] or "") for match in matches
             if match and match[1] == name_of(int(match[2]))}  # fmt: skip
    return sorted(named)


def steps(storage: Storage, folder: str = "marks") -> list[int]:
    """The steps in the names in ``folder``, ascending; each once."""
    return sorted({one.step for one in saved(storage, folder)})


def closed_name(shard: str, writer: str) -> str:
    """``games/shard_000006-0123456789ab.bin``, the stored name of a closed shard."""
    return f"games/{shard.removesuffix('.bin')}-{writer}.bin"


def closed(files: dict[str, Content]) -> dict[str, tuple[str, Content]]:
    """The closed shards among the ``files`` of a mark: by local name, the stored one and content.

    ``files`` are those that ``read_mark`` has checked.
    """
    parts = ((name.partition("/"), content) for name, content in files.items())
    return {_shard(file): (f"games/{file}", content)
            for (folder, _, file), content in parts if folder == "games"}  # fmt: skip


def _shard(file: str) -> str:
    """The local name of a shard that is stored as ``file``; any other name stays what it is."""
    match = _CLOSED.fullmatch(file)
    return match[1] + match[2] if match else file


def mark(storage: Storage, one: Saved, files: dict[str, Content]) -> None:
    """Declare a checkpoint complete, of which ``files`` are all stored, by their names there."""
    listed = {name: _File(bytes=content.bytes, sha256=content.sha256)
              for name, content in files.items()}  # fmt: skip
    text = _Mark(step=one.step, files=listed).model_dump_json(indent=1)
    storage.write(f"marks/{one.name}.json", [text.encode()])


def read_mark(storage: Storage, one: Saved) -> dict[str, Content]:
    """The files that a mark lists, by their names in the storage, each of them one of a run.

    ``Damaged``, one line: it is cut short, or names a file that no run has.
    """
    name = f"marks/{one.name}.json"
    try:
        parsed = _Mark.model_validate_json(storage.read(name, MARK_BYTES))
    except ValidationError as error:
        raise Damaged(f"{name} is no mark: {reason(error)}") from None
    if parsed.step != one.step:
        raise Damaged(f"{name} is the mark of step {parsed.step:,}")
    files = {name: Content(file.bytes, file.sha256) for name, file in parsed.files.items()}
    places = [place(name, one) for name in files]
    for listed, content in files.items():
        if content.bytes > MOST_BYTES[listed.partition("/")[0]]:
            raise Damaged(f"{listed} would have {content.bytes:,} bytes")
    missing = {f"checkpoints/{one.name}/{file}" for file in CHECKPOINT} - files.keys()
    if missing or len(set(places)) < len(places):
        raise Damaged(f"{name} does not list the files of one checkpoint")
    return files


def place(name: str, one: Saved) -> PurePosixPath:
    """Where a file that the mark of a checkpoint lists belongs in the run's folder.

    ``Damaged``, one line, for anything but a file of that checkpoint or a closed shard:
    ``../x`` and ``games/../../x``, absolute paths, other steps and other writers' checkpoints are
    names of no run.

        checkpoints/step_000100-W/training.pt     checkpoints/step_000100/training.pt
        state/step_000100-W/metrics.jsonl         metrics.jsonl
        state/step_000100-W/shard_000007.bin      games/shard_000007.bin
        games/shard_000006-W.bin                  games/shard_000006.bin
    """
    folder, _, file = name.rpartition("/")
    if folder == f"checkpoints/{one.name}" and file in CHECKPOINT:
        return PurePosixPath("checkpoints", name_of(one.step), file)
    if folder == f"state/{one.name}" and file in STATE:
        return PurePosixPath(file)
    if folder == f"state/{one.name}" and shard_number(file) is not None:
        return PurePosixPath("games", file)
    if folder == "games" and shard_number(_shard(file)) is not None:
        return PurePosixPath("games", _shard(file))
    raise Damaged(f"{one_line(name)!r} is no file of a run")


def unlisted(storage: Storage, own: set[str]) -> list[str]:
    """The stored names of closed shards that no mark lists, but for ``own``.

    They hold the games that a lost machine played after the checkpoint from which the run goes on.
    None where a mark cannot be read, since the shards that it lists are unknown then.
    """
    names = {f"games/{name}" for name in storage.names("games") if _CLOSED.fullmatch(name)} - own
    if not names:
        return []
    try:
        listed = {name for one in saved(storage) for name in read_mark(storage, one)}
    except (Damaged, FileNotFoundError):
        return []
    return sorted(names - listed)


def delete(storage: Storage, one: Saved) -> None:
    """Delete a checkpoint; its mark goes first, so that it is complete or ignored."""
    storage.delete(f"marks/{one.name}.json")
    for folder in ("checkpoints", "state"):
        storage.delete(f"{folder}/{one.name}")


def newest_first(storage: Storage) -> list[Saved]:
    """The marked checkpoints; of those of one step, that of the last working folder is first."""
    try:
        last = writer_id(storage.read(WRITER, WRITER_BYTES))
    except (Damaged, FileNotFoundError):
        last = ""
    return sorted(saved(storage), key=lambda one: (one.step, one.writer == last), reverse=True)


def fetch_newest(
    storage: Storage, folder: Path, report: Callable[[str], object]
) -> tuple[int, dict[str, Content]] | None:
    """Copy the newest complete checkpoint with its games into the empty ``folder``.

    Its step and the files of its mark; None where no checkpoint is marked. ``report`` gets a line
    for each newer one that is damaged. ``ValueError``, one line: all of them are, or there is not
    enough room. ``StorageError``: the storage cannot be read.
    """
    marked = newest_first(storage)
    for one in marked:
        try:
            files = read_mark(storage, one)
            _check_room(folder, files)
            _fetch(storage, one, files, folder)
        except (Damaged, FileNotFoundError) as error:
            clear(folder)
            report(
                f"skipped damaged checkpoint {name_of(one.step)} of {storage.url}: {reason(error)}"
            )
        else:
            return one.step, files
    if marked:
        raise ValueError(f"--resume: no checkpoint of {storage.url} is whole")
    return None


def clear(folder: Path) -> None:
    """Remove from a run's folder what ``fetch_newest`` puts there."""
    for part in ("checkpoints", "games"):
        shutil.rmtree(folder / part, ignore_errors=True)
    for name in STATE:
        (folder / name).unlink(missing_ok=True)


def _check_room(folder: Path, files: dict[str, Content]) -> None:
    needed, free = sum(file.bytes for file in files.values()), shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(f"{folder} has {free:,} bytes free, and the run has {needed:,}")


def _fetch(storage: Storage, one: Saved, files: dict[str, Content], folder: Path) -> None:
    """Copy the files; ``Damaged`` or ``FileNotFoundError`` where they are not as listed."""
    for name, expected in files.items():
        path = folder / place(name, one)
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download(name, path, expected)
    if problem := sealed.find_damage(folder / "checkpoints" / name_of(one.step)):
        raise Damaged(problem)
