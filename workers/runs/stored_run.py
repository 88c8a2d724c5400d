"""A run in a storage: which files it has there, and how the newest checkpoint comes back.

    URL/
      marks/step_000100.json    lists every file of a complete checkpoint with its size and SHA-256
      checkpoints/step_000100/  the checkpoint's own files
      state/step_000100/        metrics, log, settings, and the shard that was still written to
      games/                    shards that are closed
      writer.json               the working folder whose run writes here
      config.yaml, ...          the newest state once more, for people; never read by this program

A mark is written last, after the files that it lists, and no file that a mark lists is written
again while the mark is there. So what is half copied when a machine is lost has no mark and is
ignored: with step 100 marked and ``checkpoints/step_000200`` half there, the run goes on from step
100. A mark that is cut short is no JSON and is ignored too.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

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
MARK_BYTES = 2**24
"""The most bytes of a mark: about 100 per shard of 64 MiB."""
MOST_BYTES = {"games": 2**27, "state": 2**30, "checkpoints": sealed.LARGEST}
"""The most bytes of one file that is fetched, by the folder in which it is stored."""
_SHARD = re.compile(r"shard_([0-9]{6,18})\.bin")
_STEP = re.compile(r"step_([0-9]{6,18})")


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
    """``step_000100``, the name of a checkpoint's folders."""
    return f"step_{step:06}"


def shard_number(name: str) -> int | None:
    """The number in the name of a shard; None for any other name."""
    match = _SHARD.fullmatch(name)
    return int(match[1]) if match and name == f"shard_{int(match[1]):06}.bin" else None


def steps(storage: Storage, folder: str = "marks") -> list[int]:
    """The steps in the names in ``folder``, ascending; other names are left out."""
    names = (name.removesuffix(".json") for name in storage.names(folder))
    matches = (_STEP.fullmatch(name) for name in names)
    numbers = {int(match[1]) for match in matches if match and match[0] == name_of(int(match[1]))}
    return sorted(numbers)


def mark(storage: Storage, step: int, files: dict[str, Content]) -> None:
    """Declare a checkpoint complete, of which ``files`` are all stored, by their names there."""
    listed = {name: _File(bytes=content.bytes, sha256=content.sha256)
              for name, content in files.items()}  # fmt: skip
    text = _Mark(step=step, files=listed).model_dump_json(indent=1)
    storage.write(f"marks/{name_of(step)}.json", [text.encode()])


def read_mark(storage: Storage, step: int) -> dict[str, Content]:
    """The files that a mark lists, by their names in the storage, each of them one of a run.

    ``Damaged``, one line: it is cut short, or names a file that no run has.
    """
    name = f"marks/{name_of(step)}.json"
    try:
        parsed = _Mark.model_validate_json(storage.read(name, MARK_BYTES))
    except ValidationError as error:
        raise Damaged(f"{name} is no mark: {reason(error)}") from None
    if parsed.step != step:
        raise Damaged(f"{name} is the mark of step {parsed.step:,}")
    files = {name: Content(file.bytes, file.sha256) for name, file in parsed.files.items()}
    places = [place(name, step) for name in files]
    for name, content in files.items():
        if content.bytes > MOST_BYTES[name.partition("/")[0]]:
            raise Damaged(f"{name} would have {content.bytes:,} bytes")
    missing = {f"checkpoints/{name_of(step)}/{file}" for file in CHECKPOINT} - files.keys()
    if missing or len(set(places)) < len(places):
        raise Damaged(f"{name} does not list the files of one checkpoint")
    return files


def place(name: str, step: int) -> PurePosixPath:
    """Where a file that the mark of ``step`` lists belongs in the run's folder.

    ``Damaged``, one line, for anything but a file of that checkpoint: ``../x`` and
    ``games/../../x``, absolute paths and other steps are names of no run.

        checkpoints/step_000100/training.pt     checkpoints/step_000100/training.pt
        state/step_000100/metrics.jsonl         metrics.jsonl
        state/step_000100/shard_000007.bin      games/shard_000007.bin
        games/shard_000006.bin                  games/shard_000006.bin
    """
    folder, _, file = name.rpartition("/")
    if folder == f"checkpoints/{name_of(step)}" and file in CHECKPOINT:
        return PurePosixPath(folder, file)
    if folder == f"state/{name_of(step)}" and file in STATE:
        return PurePosixPath(file)
    if folder in ("games", f"state/{name_of(step)}") and shard_number(file) is not None:
        return PurePosixPath("games", file)
    raise Damaged(f"{one_line(name)!r} is no file of a run")


def delete(storage: Storage, step: int) -> None:
    """Delete a checkpoint; its mark goes first, so that it is complete or ignored."""
    storage.delete(f"marks/{name_of(step)}.json")
    for folder in ("checkpoints", "state"):
        storage.delete(f"{folder}/{name_of(step)}")


def fetch_newest(
    storage: Storage, folder: Path, report: Callable[[str], object]
) -> tuple[int, dict[str, Content]] | None:
    """Copy the newest complete checkpoint with its games into the empty ``folder``.

    Its step and the files of its mark; None where no checkpoint is marked. ``report`` gets a line
    for each newer one that is damaged. ``ValueError``, one line: all of them are, or there is not
    enough room. ``StorageError``: the storage cannot be read.
    """
    marked = steps(storage)
    for step in reversed(marked):
        try:
            files = read_mark(storage, step)
            _check_room(folder, files)
            _fetch(storage, step, files, folder)
        except (Damaged, FileNotFoundError) as error:
            clear(folder)
            report(f"skipped damaged checkpoint {name_of(step)} of {storage.url}: {reason(error)}")
        else:
            return step, files
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


def _fetch(storage: Storage, step: int, files: dict[str, Content], folder: Path) -> None:
    """Copy the files; ``Damaged`` or ``FileNotFoundError`` where they are not as listed."""
    for name, expected in files.items():
        path = folder / place(name, step)
        path.parent.mkdir(parents=True, exist_ok=True)
        storage.download(name, path, expected)
    if problem := sealed.find_damage(folder / "checkpoints" / name_of(step)):
        raise Damaged(problem)
