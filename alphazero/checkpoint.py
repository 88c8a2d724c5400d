"""The checkpoints of a run, and released agents, which are checkpoints without training state.

``RUN/checkpoints/step_000123/`` is a ``sealed`` folder: ``weights.safetensors`` (for playing),
``training.pt`` (for resuming), ``config.yaml`` and ``MANIFEST.json``. A *released* agent is the
same without ``training.pt``, in any folder.

Where a function takes the path of a checkpoint, the folder ``RUN`` stands for its newest one.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter

from alphazero import config_file, sealed
from alphazero.config import Config
from alphazero.nn import state as states
from alphazero.nn.weights import Weights
from games.base import Game

WEIGHTS = "weights.safetensors"
TRAINING = "training.pt"
CONFIG = "config.yaml"
MANIFEST = sealed.MANIFEST
resolve = sealed.resolve
_CONFIG = TypeAdapter(Config)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The weights of one checkpoint, and the configuration that they were trained with."""

    path: Path
    step: int
    config: Config
    weights: Weights
    rules_version: str | None = None
    """The version of its game's rules; None in checkpoints of earlier versions."""


def save(
    directory: Path,
    step: int,
    weights: Weights,
    state: dict,
    config: Config,
    keep: int = 5,
    rules_version: str | None = None,
) -> Path:
    """Write ``directory/checkpoints/step_NNNNNN``, delete all but the newest ``keep``; the path.

    ``rules_version`` is the game's, see ``check_rules``.
    ``state`` holds plain types, NumPy arrays and tensors only. Raises ``ValueError`` if it holds
    anything else and ``OSError`` if it cannot be written, one line each; earlier checkpoints are
    unchanged then. A process that is killed at any moment leaves the earlier checkpoints undamaged,
    and this one complete or absent.
    """
    files = {
        WEIGHTS: sealed.dump_weights(weights),
        TRAINING: states.dump(state),
        CONFIG: config_file.as_yaml(config).encode(),
    }
    folder = Path(directory) / "checkpoints"
    fields = {"game": config.game} | _rules(rules_version)
    return sealed.save_step(folder, step, files, fields, keep)


def release(path: Path | str, folder: Path, training: dict[str, Any], half: bool = False) -> str:
    """Write the agent of checkpoint ``path`` to ``folder``; return the SHA-256 of its weights.

    ``training`` goes into the manifest: the cost of the training. ``half`` stores the weights as
    float16, half the size; evaluation converts them to float32. ``ValueError`` if there is no
    undamaged checkpoint, or if float16 cannot hold its weights.
    """
    trained = load(path)
    data = sealed.dump_weights(_as_float16(trained.weights) if half else trained.weights)
    fields = {"step": trained.step, "game": trained.config.game, "training": training}
    fields |= _rules(trained.rules_version)
    sealed.write(
        folder, {WEIGHTS: data, CONFIG: config_file.as_yaml(trained.config).encode()}, fields
    )
    return hashlib.sha256(data).hexdigest()


def newest(directory: Path, report: Callable[[str], object] = print) -> Path | None:
    """The newest undamaged checkpoint of a run; ``report`` gets a line per newer damaged one."""
    return sealed.newest(Path(directory) / "checkpoints", report)


def load(path: Path | str) -> Checkpoint:
    """Load weights and configuration. ``ValueError`` (one line) if no checkpoint is undamaged."""
    path = resolve(path)
    manifest = sealed.read_manifest(path)
    if kind := manifest.get("supervised"):
        raise ValueError(f"{path} is a supervised model ({kind}), not an agent that plays a game")
    try:
        config = _CONFIG.validate_python(yaml.safe_load((path / CONFIG).read_text()))
    except ValueError as error:
        reason = str(error).replace("\n", " ")
        raise ValueError(f"{path / CONFIG} does not fit this version: {reason}") from None
    weights, rules = sealed.load_weights(path / WEIGHTS), manifest.get("rules_version")
    return Checkpoint(path, manifest["step"], config, weights, rules)


def check_rules(trained: Checkpoint, game: Game) -> None:
    """``ValueError``, one line, where the rules of ``game`` have changed since the training.

    Checkpoints of earlier versions do not name their rules and are accepted.
    """
    if trained.rules_version not in (None, game.rules_version):
        raise ValueError(
            f"{trained.path} was trained by other rules of {game.name}: their rules_version is "
            f"{ascii(trained.rules_version)[:40]}, now it is {game.rules_version!r}; train again, "
            "or use the rules as they were"
        )


def _rules(version: str | None) -> dict[str, str]:
    """The field of a manifest."""
    return {} if version is None else {"rules_version": version}


def load_state(path: Path | str) -> dict[str, Any]:
    """The training state as given to ``save``, with tensors on the CPU. Errors as for ``load``."""
    path = resolve(path) / TRAINING
    if not path.exists():
        raise ValueError(f"{path.parent} is a released agent: it plays, but cannot be resumed")
    return states.load(path.read_bytes())


def _as_float16(weights: Weights) -> Weights:
    """``weights`` with float32 as float16; ``ValueError`` if a number is too large for float16."""
    with np.errstate(over="ignore"):
        halves = {
            name: array.astype(np.float16) if array.dtype == np.float32 else array
            for name, array in weights.items()
        }
    if too_large := [name for name, array in halves.items() if not np.isfinite(array).all()]:
        raise ValueError(f"float16 cannot hold {', '.join(too_large)}: leave --half out")
    return halves
