"""A run's checkpoints, and agents without what only training needs.

``RUN/checkpoints/step_000123/`` holds ``weights.safetensors`` (what plays), ``training.pt`` (what
resuming needs), ``config.yaml`` and ``MANIFEST.json``: a ``sealed`` folder. A *released* agent is
the same less ``training.pt``, in any folder.

``RUN`` may be given as the run's folder wherever a function asks for a checkpoint.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter

from alphazero import sealed
from alphazero.config import Config
from alphazero.nn import state as states
from alphazero.nn.weights import Weights

WEIGHTS = "weights.safetensors"
TRAINING = "training.pt"
CONFIG = "config.yaml"
MANIFEST = sealed.MANIFEST
resolve = sealed.resolve
_CONFIG = TypeAdapter(Config)


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
    files = {
        WEIGHTS: sealed.dump_weights(weights),
        TRAINING: states.dump(state),
        CONFIG: _dump_config(config),
    }
    folder = Path(directory) / "checkpoints"
    return sealed.save_step(folder, step, files, {"game": config.game}, keep)


def release(path: Path | str, folder: Path, training: dict[str, Any], half: bool = False) -> str:
    """Write what plays of the checkpoint at ``path`` into ``folder``; the SHA-256 of its weights.

    ``training`` goes into the manifest: what it took to train them. ``half`` stores them as
    float16, half the size; they are computed with in float32 all the same. ``ValueError`` where
    there is no undamaged checkpoint, or float16 cannot hold its weights.
    """
    found = load(path)
    data = sealed.dump_weights(_halved(found.weights) if half else found.weights)
    fields = {"step": found.step, "game": found.config.game, "training": training}
    sealed.write(folder, {WEIGHTS: data, CONFIG: _dump_config(found.config)}, fields)
    return hashlib.sha256(data).hexdigest()


def newest(directory: Path, report: Callable[[str], object] = print) -> Path | None:
    """The newest undamaged checkpoint of a run; newer damaged ones are named through ``report``."""
    return sealed.newest(Path(directory) / "checkpoints", report)


def load(path: Path | str) -> Checkpoint:
    """What plays. Raises ``ValueError`` (one line) if there is no undamaged checkpoint."""
    path = resolve(path)
    manifest = sealed.manifest(path)
    if kind := manifest.get("supervised"):
        raise ValueError(f"{path} is a supervised model ({kind}), not an agent that plays a game")
    try:
        config = _CONFIG.validate_python(yaml.safe_load((path / CONFIG).read_text()))
    except ValueError as error:
        reason = str(error).replace("\n", " ")
        raise ValueError(f"{path / CONFIG} does not fit this version: {reason}") from None
    return Checkpoint(path, manifest["step"], config, sealed.load_weights(path / WEIGHTS))


def load_state(path: Path | str) -> dict[str, Any]:
    """What resuming needs, as given to ``save``; tensors on the CPU. Errors as for ``load``."""
    path = resolve(path) / TRAINING
    if not path.exists():
        raise ValueError(f"{path.parent} is a released agent: it plays, but cannot be resumed")
    return states.load(path.read_bytes())


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
