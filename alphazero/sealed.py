"""Folders that are complete or absent: written under another name, hashed, then renamed.

A sealed folder holds, beside its files, ``MANIFEST.json`` with the size and SHA-256 of every file,
and its own SHA-256: without the hashes a flipped bit would load as silently wrong numbers. The
contents of the files do not matter here, except that weights are safetensors, which cannot run
code.

Example: ``step_000120`` is written to ``.saving-step_000120``, every file is flushed to disk, and
the folder is renamed. A process that is killed before the rename leaves a ``.saving`` folder, which
no reader looks at and the next save removes.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

FORMAT = 1
MANIFEST = "MANIFEST.json"
_STEP = re.compile(r"step_(\d+)")


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
        _move_into_place(unfinished, path)
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


def read_manifest(path: Path) -> dict[str, Any]:
    """The fields in the manifest of an undamaged folder."""
    return json.loads((path / MANIFEST).read_bytes())


def steps(folder: Path) -> list[Path]:
    """The folders ``folder/step_N``, damaged ones too, by ascending step."""
    return sorted(filter(lambda path: _number(path) >= 0, folder.glob("step_*")), key=_number)


def newest(folder: Path, report: Callable[[str], object] = print) -> Path | None:
    """The newest undamaged ``folder/step_N``; ``report`` gets a line for each newer damaged one."""
    for path in reversed(steps(folder)):
        problem = find_damage(path)
        if problem is None:
            return path
        report(f"skipped damaged checkpoint {path}: {problem}")
    return None


def resolve(path: Path | str, report: Callable[[str], object] = print) -> Path:
    """The sealed folder for ``path``: a checkpoint itself, or the newest undamaged one of a run.

    ``ValueError``, one line, if there is none.
    """
    path = Path(path)
    if _STEP.fullmatch(path.name) or (path / MANIFEST).exists():
        if problem := find_damage(path):
            raise ValueError(f"{path} is not a usable checkpoint: {problem}")
        return path
    checkpoint = newest(path if path.name == "checkpoints" else path / "checkpoints", report)
    if checkpoint is None:
        raise ValueError(
            f"no checkpoint in {path}; give a run's folder or one of its checkpoints/step_NNNNNN"
        )
    return checkpoint


def find_damage(path: Path) -> str | None:
    """The damage of the folder ``path`` in one line; None if all files are as written."""
    try:
        text = (path / MANIFEST).read_bytes()
        fields = json.loads(text)
        fields.pop("sha256")
        if text != _dump_manifest(fields):
            return f"{MANIFEST} was altered"
        if fields["format"] != FORMAT:
            return f"format {fields['format']} instead of {FORMAT}"
        for name, expected in fields["files"].items():
            if Path(name).name != name:
                return f"{MANIFEST} names {name!r}, which is not in the folder itself"
            if _fingerprint((path / name).read_bytes()) != expected:
                return f"{name} was altered"
    except OSError as error:
        return f"{Path(error.filename or path).name}: {error.strerror}"
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"{MANIFEST} is not a manifest"
    return None


def dump_weights(weights: dict[str, NDArray]) -> bytes:
    """``weights`` as the bytes of a safetensors file."""
    # safetensors writes the memory of a transposed array as if it were not transposed.
    return safetensors.numpy.save(
        {name: np.asarray(array, order="C") for name, array in weights.items()}
    )


def load_weights(path: Path) -> dict[str, NDArray]:
    """The weights in a safetensors file, by name."""
    return safetensors.numpy.load_file(path)


def sync_folder(folder: Path) -> None:
    """Make the folder's list of names durable, as fsync does for a file's contents."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fingerprint(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _dump_manifest(fields: dict) -> bytes:
    """The text of the manifest, with its own hash."""
    own = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return (json.dumps(fields | {"sha256": own}, indent=2, sort_keys=True) + "\n").encode()


def _move_into_place(unfinished: Path, path: Path) -> None:
    if path.exists():
        # A folder that is not empty cannot be replaced in one step.
        replaced = path.with_name(f".replaced-{path.name}")
        shutil.rmtree(replaced, ignore_errors=True)
        path.rename(replaced)
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
