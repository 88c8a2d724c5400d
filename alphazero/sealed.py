"""Folders that are complete or absent: written under another name, hashed, then renamed.

A sealed folder holds, beside its files, ``MANIFEST.json`` with the size and SHA-256 of every file,
and its own SHA-256: without the hashes a flipped bit would load as silently wrong numbers. The
contents of the files do not matter here, except that weights are safetensors, which cannot run
code.

A folder may come from anyone, so reading is bounded: regular files only, no links, each as long as
the manifest says and at most ``LARGEST``, and only files that the manifest lists.

Example: ``step_000120`` is written to ``.saving-step_000120``, every file is flushed to disk, and
the folder is renamed. A process that is killed before the rename leaves a ``.saving`` folder, which
no reader looks at and the next save removes.
"""

import hashlib
import itertools
import json
import math
import operator
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from alphazero import plain_files
from alphazero.durable import sync_folder
from alphazero.errors import one_line, reading
from alphazero.nn.weights import Shapes
from alphazero.plain_files import NotPlain

FORMAT = 1
MANIFEST = "MANIFEST.json"
WEIGHTS, CONFIG, TRAINING = "weights.safetensors", "config.yaml", "training.pt"
"""The names of a checkpoint's files; an exported agent has no training state."""
LARGEST = 2**32
"""The most bytes of a file: the training state of a network of 250 million parameters."""
MOST_FILES = 100
"""The most files that a manifest lists."""
_STEP = re.compile(r"step_(\d{1,18})")
_PIECE = 2**20
"""Bytes that are hashed at a time."""
MOST_ITEM_BYTES = 8
"""Bytes of the largest number in an array of weights."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed folder whose manifest is whole and whose files have the sizes that it lists.

    Their contents are compared with the manifest when they are read.
    """

    path: Path
    fields: dict[str, Any]
    """The fields of the manifest beside ``format``, ``files`` and ``sha256``."""
    files: dict[str, dict[str, Any]]
    """``bytes`` and ``sha256`` of each file, by its name."""

    def read(self, name: str, most: int = LARGEST) -> bytes:
        """The bytes of a file as they were written, at most ``most``; ``ValueError``, one line."""
        with _usable(self.path):
            expected = self._expected(name)
            data = plain_files.read(self.path / name, min(most, expected["bytes"]))
            if _fingerprint(data) != expected:
                raise NotPlain(f"{name} was altered")
        return data

    def text(self, name: str) -> str:
        """The text of a small file; errors as for ``read``."""
        data = self.read(name, plain_files.TEXT)
        with reading(self.path / name):
            return data.decode()

    def shapes(self, name: str) -> Shapes:
        """The shapes of a safetensors file's arrays, whose numbers are not read."""
        with _usable(self.path):
            length = self._expected(name)["bytes"]
            with plain_files.opened(self.path / name, length) as file, reading(name):
                return _read_shapes(file, length)

    def weights(self, name: str) -> dict[str, NDArray]:
        """The arrays of a safetensors file, by name."""
        data = self.read(name)
        with reading(self.path / name):
            return safetensors.numpy.load(data)

    def _expected(self, name: str) -> dict[str, Any]:
        if name not in self.files:
            raise NotPlain(f"{MANIFEST} does not list {name}")
        return self.files[name]


def save_step(
    folder: Path,
    step: int,
    files: dict[str, bytes],
    fields: dict[str, Any],
    keep: int,
    jump: int | None = None,
) -> Path:
    """Write ``folder/step_NNNNNN``, and delete old ones as ``surplus`` says; the path.

    ``fields`` go into the manifest beside the step. ``OSError``, one line, if it cannot be written;
    earlier folders are unchanged then. A process that is killed at any moment leaves the earlier
    folders undamaged, and this one complete or absent.
    """
    path = folder / f"step_{step:06}"
    unfinished = folder / f".saving-{path.name}"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        write(unfinished, files, {"step": step, **fields})
        move_into_place(unfinished, path)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise OSError(f"checkpoint {path} could not be saved: {error.strerror or error}") from None
    _prune(folder, path, keep, jump)
    return path


def set_aside(folder: Path, step: int) -> Path | None:
    """Hide the checkpoints from ``step`` on, of a training that diverged there; the newest other.

    None where there is no other. The next ``save_step`` deletes what is hidden.
    """
    last = None
    for path in steps(folder):
        if _number(path) < step:
            last = path
        else:
            hidden = path.with_name(f".diverged-{path.name}")
            shutil.rmtree(hidden, ignore_errors=True)
            path.rename(hidden)
    return last


def write(folder: Path, files: dict[str, bytes], fields: dict[str, Any]) -> None:
    """Write ``files`` into ``folder`` and, last, their manifest, which holds ``fields`` too."""
    hashes = {name: _fingerprint(data) for name, data in files.items()}
    manifest = _dump_manifest({"format": FORMAT, **fields, "files": hashes})
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (*files.items(), (MANIFEST, manifest)):
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def steps(folder: Path) -> list[Path]:
    """The folders ``folder/step_N``, damaged ones too, by ascending step."""
    return sorted(filter(lambda path: _number(path) >= 0, folder.glob("step_*")), key=_number)


def newest(folder: Path, report: Callable[[str], object] = print) -> Path | None:
    """The newest undamaged ``folder/step_N``; ``report`` gets a line for each newer damaged one."""
    for path in reversed(steps(folder)):
        problem = "it is a link" if path.is_symlink() else find_damage(path)
        if problem is None:
            return path
        report(f"skipped damaged checkpoint {path}: {problem}")
    return None


def resolve(path: Path | str, report: Callable[[str], object] = print) -> Path:
    """The sealed folder for ``path``: a checkpoint itself, or the newest undamaged one of a run.

    ``ValueError``, one line, if there is none. The contents of a checkpoint's own files are
    compared with their hashes when they are read.
    """
    path = Path(path)
    if _STEP.fullmatch(path.name) or (path / MANIFEST).exists():
        return open_folder(path).path
    checkpoint = newest(path if path.name == "checkpoints" else path / "checkpoints", report)
    if checkpoint is None:
        raise ValueError(
            f"no checkpoint in {path}; give the folder of a run, one of its "
            "checkpoints/step_NNNNNN, or the folder of an agent"
        )
    return checkpoint


def open_folder(path: Path) -> Sealed:
    """The sealed folder ``path``, the contents of its files not yet compared with their hashes.

    ``ValueError``, one line: the manifest is not whole, or a file is not there, of another size,
    or no regular file.
    """
    with _usable(path):
        return _opened(path)


def open_whole(path: Path) -> Sealed:
    """The same as ``open_folder`` after all files were compared with their hashes."""
    if problem := find_damage(path):
        raise ValueError(f"{path} is not a usable checkpoint: {problem}")
    return open_folder(path)


def find_damage(path: Path) -> str | None:
    """The damage of the folder ``path`` in one line; None if all files are as written."""
    try:
        folder = _opened(path)
        for name, expected in folder.files.items():
            with plain_files.opened(path / name, expected["bytes"]) as file:
                if _fingerprint_of(file) != expected:
                    return f"{name} was altered"
    except (OSError, ValueError) as error:
        return _problem(error, path)
    return None


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Say of an error that the folder ``path`` is not a usable checkpoint, and why."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a usable checkpoint: {_problem(error, path)}") from None


def _problem(error: OSError | ValueError, path: Path) -> str:
    if isinstance(error, OSError):
        return f"{Path(error.filename or path).name}: {error.strerror}"
    return str(error)


def _opened(path: Path) -> Sealed:
    """The folder; ``OSError`` or ``NotPlain`` where manifest and sizes are not as written."""
    text = plain_files.read(path / MANIFEST, plain_files.TEXT)
    try:
        fields = _parse_manifest(text)
    except NotPlain:
        raise
    except Exception:  # JSON nested too deeply, other types than ours, ...
        raise NotPlain(f"{MANIFEST} is not a manifest") from None
    files = fields.pop("files")
    for name, expected in files.items():
        if plain_files.size(path / name) != expected["bytes"]:
            raise NotPlain(f"{name} was altered: its size differs from that in {MANIFEST}")
    return Sealed(path, fields, files)


def _parse_manifest(text: bytes) -> dict[str, Any]:
    """The fields of a manifest; any error where it is none, ``NotPlain`` with the reason."""
    fields = json.loads(text)
    fields.pop("sha256")
    if text != _dump_manifest(fields):
        raise NotPlain(f"{MANIFEST} was altered")
    number, files = fields.pop("format"), fields["files"]
    if number != FORMAT:
        raise NotPlain(f"format {one_line(str(number))} instead of {FORMAT}")
    if len(files) > MOST_FILES:
        raise NotPlain(f"{MANIFEST} lists {len(files)} files, at most {MOST_FILES} are read")
    for name, expected in files.items():
        if Path(name).name != name:
            raise NotPlain(
                f"{MANIFEST} names {one_line(name)!r}, which is not in the folder itself"
            )
        length, _ = expected["bytes"], bytes.fromhex(expected["sha256"])
        if type(length) is not int or not 0 <= length <= LARGEST:
            raise NotPlain(f"{one_line(name)} would have {one_line(str(length))} bytes")
    if type(fields["step"]) is not int or fields["step"] < 0:
        raise NotPlain(f"{MANIFEST}: step is no whole number from 0 on")
    return fields


def _read_shapes(file: BinaryIO, length: int) -> Shapes:
    """The shapes in the header of a safetensors file of ``length`` bytes; any error if it is none.

    The file begins with the header's length in 8 bytes, then the header as JSON: for each name
    ``{"dtype": "F32", "shape": [8, 2], "data_offsets": [0, 64]}``. The arrays follow, and nothing
    else: what the header does not account for would be read into memory for nothing.
    """
    size = int.from_bytes(file.read(8), "little")
    if size > min(plain_files.TEXT, length):
        raise NotPlain(f"its header has {size:,} bytes, should have at most {plain_files.TEXT:,}")
    header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    shapes: Shapes = {}
    end = 0
    for name, entry in header.items():
        first, after = entry["data_offsets"]
        shapes[name] = tuple(map(operator.index, entry["shape"]))
        if after - first > MOST_ITEM_BYTES * math.prod(shapes[name]):
            raise NotPlain(f"{one_line(name)} has more bytes than its shape says")
        end = max(end, after)
    if 8 + size + end != length:
        raise NotPlain("its length is not the one in its header")
    return shapes


def dump_weights(weights: dict[str, NDArray]) -> bytes:
    """``weights`` as the bytes of a safetensors file."""
    # safetensors writes the memory of a transposed array as if it were not transposed.
    return safetensors.numpy.save(
        {name: np.asarray(array, order="C") for name, array in weights.items()}
    )


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _fingerprint_of(file: BinaryIO) -> dict[str, Any]:
    """The same of an open file, hashed in pieces."""
    digest, length = hashlib.sha256(), 0
    while piece := file.read(_PIECE):
        digest.update(piece)
        length += len(piece)
    return {"bytes": length, "sha256": digest.hexdigest()}


def _dump_manifest(fields: dict) -> bytes:
    """The text of the manifest, with its own hash."""
    own = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return (json.dumps(fields | {"sha256": own}, indent=2, sort_keys=True) + "\n").encode()


def replaced(path: Path) -> Path:
    """The name that ``move_into_place`` gives to the folder that was at ``path``."""
    return path.with_name(f".replaced-{path.name}")


def move_into_place(unfinished: Path, path: Path) -> None:
    """Give a complete folder the name ``path``; one that has it is kept as ``replaced(path)``."""
    if path.exists():
        # A folder that is not empty cannot be replaced in one step.
        shutil.rmtree(replaced(path), ignore_errors=True)
        path.rename(replaced(path))
    unfinished.rename(path)
    sync_folder(path.parent)


def surplus(steps: list[int], keep: int, jump: int | None = None) -> list[int]:
    """Those of the ascending ``steps`` whose checkpoints are deleted.

    Kept are the newest ``keep``, at least two: only the loss after the newest one shows whether its
    weights are good. Of the older ones those are kept that are the first at or after a power of
    two, and the last one before ``jump``, the step at which the loss jumped last. With ``keep`` = 2
    and a jump at 3,200 of 500, 1,000, ..., 5,000 these are kept:

        500   1,000   1,500   2,500   3,000   4,500   5,000
        256     512   1,024   2,048  (jump)  (newest  two)
    """
    kept = set(steps[-max(2, keep) :])
    kept |= {min(group) for _, group in itertools.groupby(steps, int.bit_length)}
    before = [step for step in steps if jump is not None and step < jump]
    return [step for step in steps if step not in kept | set(before[-1:])]


def _number(path: Path) -> int:
    """The step in the name of a checkpoint; -1 for other names."""
    match = _STEP.fullmatch(path.name)
    return int(match[1]) if match else -1


def _prune(folder: Path, newest: Path, keep: int, jump: int | None) -> None:
    """Delete what is ``surplus`` beside ``newest``, after ``newest`` was read back undamaged.

    Leftovers of interrupted saves are deleted too.
    """
    problem = find_damage(newest)
    if problem:
        raise OSError(f"checkpoint {newest} was damaged while it was saved: {problem}")
    deleted = set(surplus([_number(path) for path in steps(folder)], keep, jump))
    old = [path for path in steps(folder) if _number(path) in deleted and path != newest]
    for path in [*old, *folder.glob(".*-step_*")]:
        shutil.rmtree(path)
