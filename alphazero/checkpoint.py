"""Checkpoints that are whole or absent: written aside, hashed, renamed into place.

``RUN/checkpoints/step_000123/`` holds ``weights.safetensors`` (what plays), ``training.pt`` (what
resuming needs), ``config.yaml`` and ``MANIFEST.json`` with every file's size and SHA-256: without
the hashes a flipped bit would load as silently wrong numbers. A *released* agent is the same less
``training.pt``, in any folder.

``RUN`` may be given as the run's folder wherever a function asks for a checkpoint.
"""

import hashlib
import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
import yaml
from pydantic import TypeAdapter

from alphazero.config import Config
from alphazero.types import Weights
from alphazero.wire import sync_folder

FORMAT = 1
MANIFEST = "MANIFEST.json"
WEIGHTS = "weights.safetensors"
TRAINING = "training.pt"
CONFIG = "config.yaml"
_CONFIG = TypeAdapter(Config)
_STEP = re.compile(r"step_(\d+)")

# What NumPy arrays and scalars are made of when unpickled; none of it can run code.
_NUMPY = [
    np.ndarray,
    np.dtype,
    np.empty(0).__reduce__()[0],
    np.float64(0).__reduce__()[0],
    *{type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"},
]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What plays: one checkpoint's weights and the configuration they were trained with."""

    path: Path
    step: int
    config: Config
    weights: Weights


def save(
    directory: Path, step: int, weights: Weights, state: dict, config: Config, keep: int = 5
) -> Path:
    """Write ``directory/checkpoints/step_NNNNNN`` and return it; then keep the newest ``keep``.

    ``state`` holds plain types, NumPy arrays and tensors only. Raises ``ValueError`` if it holds
    anything else and ``OSError`` if the disk does not take it, one line each; what was saved
    before is untouched then. A kill at any moment leaves the checkpoints before, or this one too.
    """
    files = _seal(
        {
            WEIGHTS: _dump_weights(weights),
            TRAINING: _dump_state(state),
            CONFIG: _dump_config(config),
        },
        {"step": step, "game": config.game},
    )
    folder = Path(directory) / "checkpoints"
    path = folder / f"step_{step:06}"
    aside = folder / f".saving-{path.name}"
    try:
        _write_folder(aside, files)
        _move_into_place(aside, path)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise OSError(f"checkpoint {path} could not be saved: {error.strerror or error}") from None
    _prune(folder, path, keep)
    return path


def release(path: Path | str, folder: Path, training: dict[str, Any], half: bool = False) -> str:
    """Write what plays of the checkpoint at ``path`` into ``folder``; the SHA-256 of its weights.

    ``training`` goes into the manifest: what it took to train them. ``half`` stores them as
    float16, half the size; they are computed with in float32 all the same. ``ValueError`` where
    there is no undamaged checkpoint, or float16 cannot hold its weights.
    """
    found = load(path)
    weights = _halved(found.weights) if half else found.weights
    files = _seal(
        {WEIGHTS: _dump_weights(weights), CONFIG: _dump_config(found.config)},
        {"step": found.step, "game": found.config.game, "training": training},
    )
    _write_files(folder, files)
    return hashlib.sha256(files[WEIGHTS]).hexdigest()


def newest(directory: Path, report: Callable[[str], object] = print) -> Path | None:
    """The newest undamaged checkpoint of a run; newer damaged ones are named through ``report``."""
    for path in reversed(steps(Path(directory) / "checkpoints")):
        fault = _fault(path)
        if fault is None:
            return path
        report(f"skipped damaged checkpoint {path}: {fault}")
    return None


def resolve(path: Path | str, report: Callable[[str], object] = print) -> Path:
    """The checkpoint that ``path`` means: itself, or the newest undamaged one of a run's folder.

    Raises ``ValueError`` where there is none.
    """
    path = Path(path)
    if _STEP.fullmatch(path.name) or (path / MANIFEST).exists():
        fault = _fault(path)
        if fault:
            raise ValueError(f"{path} is not a usable checkpoint: {fault}")
        return path
    found = newest(path.parent if path.name == "checkpoints" else path, report)
    if found is None:
        raise ValueError(
            f"no checkpoint in {path}; give a run's folder or one of its checkpoints/step_NNNNNN"
        )
    return found


def load(path: Path | str) -> Checkpoint:
    """What plays. Raises ``ValueError`` (one line) if there is no undamaged checkpoint."""
    path = resolve(path)
    try:
        config = _CONFIG.validate_python(yaml.safe_load((path / CONFIG).read_text()))
    except ValueError as error:
        reason = str(error).replace("\n", " ")
        raise ValueError(f"{path / CONFIG} does not fit this version: {reason}") from None
    step = json.loads((path / MANIFEST).read_bytes())["step"]
    return Checkpoint(path, step, config, safetensors.numpy.load_file(path / WEIGHTS))


def load_state(path: Path | str) -> dict[str, Any]:
    """What resuming needs, as given to ``save``; tensors on the CPU. Errors as for ``load``."""
    path = resolve(path) / TRAINING
    if not path.exists():
        raise ValueError(f"{path.parent} is a released agent: it plays, but cannot be resumed")
    return _load_state(path.read_bytes())


def _dump_weights(weights: Weights) -> bytes:
    # safetensors writes the memory of a transposed array as if it were not transposed.
    return safetensors.numpy.save(
        {name: np.asarray(array, order="C") for name, array in weights.items()}
    )


def _halved(weights: Weights) -> Weights:
    """Those in float32 as float16; ``ValueError`` where one is too large for it."""
    with np.errstate(over="ignore"):
        halves = {
            name: array.astype(np.float16) if array.dtype == np.float32 else array
            for name, array in weights.items()
        }
    if too_large := [name for name, array in halves.items() if not np.isfinite(array).all()]:
        raise ValueError(f"float16 cannot hold {', '.join(too_large)}: leave --half out")
    return halves


def _dump_config(config: Config) -> bytes:
    return yaml.safe_dump(_CONFIG.dump_python(config, mode="json"), sort_keys=False).encode()


def _dump_state(state: dict) -> bytes:
    buffer = io.BytesIO()
    rule = "it may hold plain types, NumPy arrays and tensors"
    try:
        torch.save(state, buffer)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"the training state cannot be saved: {error}; {rule}") from None
    # Reading refuses more types than writing does, and must not be the first to find out.
    buffer.seek(0)
    with torch.serialization.safe_globals(_NUMPY):
        refused = torch.serialization.get_unsafe_globals_in_checkpoint(buffer)
    if refused:
        raise ValueError(f"the training state holds {', '.join(refused)}; {rule}")
    return buffer.getvalue()


def _load_state(data: bytes) -> dict[str, Any]:
    with torch.serialization.safe_globals(_NUMPY):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _seal(files: dict[str, bytes], fields: dict[str, Any]) -> dict[str, bytes]:
    """``files`` and, last, their manifest, which holds ``fields`` too."""
    hashes = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    }
    return files | {MANIFEST: _manifest({"format": FORMAT, **fields, "files": hashes})}


def _manifest(fields: dict) -> bytes:
    """The manifest's text, its own hash included."""
    own = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return (json.dumps(fields | {"sha256": own}, indent=2, sort_keys=True) + "\n").encode()


def _write_folder(folder: Path, files: dict[str, bytes]):
    """Write ``files`` into a new ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    _write_files(folder, files)


def _write_files(folder: Path, files: dict[str, bytes]):
    """Write and fsync ``files``, in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        with open(folder / name, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _move_into_place(aside: Path, path: Path):
    if path.exists():
        # A folder that is not empty cannot be replaced in one step.
        replaced = path.with_name(f".replaced-{path.name}")
        shutil.rmtree(replaced, ignore_errors=True)
        path.rename(replaced)
    aside.rename(path)
    sync_folder(path.parent)


def steps(folder: Path) -> list[Path]:
    """All checkpoints in a run's ``checkpoints`` folder, damaged or not, oldest first."""
    found = [(_STEP.fullmatch(path.name), path) for path in folder.glob("step_*")]
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def _prune(folder: Path, newest: Path, keep: int):
    """Delete all but ``newest``, once it reads back well, and ``keep - 1`` others."""
    fault = _fault(newest)
    if fault:
        raise OSError(f"checkpoint {newest} was damaged while it was saved: {fault}")
    others = [path for path in steps(folder) if path != newest]
    surplus = others[: max(0, len(others) + 1 - keep)]
    for path in [*surplus, *folder.glob(".*-step_*")]:
        shutil.rmtree(path)


def _fault(path: Path) -> str | None:
    """What is wrong with the checkpoint in ``path``, in one line; None if it is whole."""
    try:
        text = (path / MANIFEST).read_bytes()
        fields = json.loads(text)
        fields.pop("sha256")
        if text != _manifest(fields):
            return f"{MANIFEST} was altered"
        if fields["format"] != FORMAT:
            return f"format {fields['format']} instead of {FORMAT}"
        for name, expected in fields["files"].items():
            if hashlib.sha256((path / name).read_bytes()).hexdigest() != expected["sha256"]:
                return f"{name} was altered"
    except OSError as error:
        return f"{Path(error.filename or path).name}: {error.strerror}"
    except (ValueError, KeyError, AttributeError, TypeError):
        return f"{MANIFEST} is not a manifest"
    return None
