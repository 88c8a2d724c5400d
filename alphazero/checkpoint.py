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

from alphazero import config_file, sealed, stored_config
from alphazero.config import Config
from alphazero.errors import one_line, reading
from alphazero.nn import state as states
from alphazero.nn.weights import Shapes, Weights
from games.base import Game

WEIGHTS, CONFIG, TRAINING = sealed.WEIGHTS, sealed.CONFIG, sealed.TRAINING
MANIFEST = sealed.MANIFEST
resolve = sealed.resolve


@dataclass(frozen=True, slots=True)
class Description:
    """A checkpoint without its weights. Reading it imports nothing that it names."""

    folder: sealed.Sealed
    config: Config
    shapes: Shapes
    """The shapes of its weights by name."""

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def step(self) -> int:
        return self.folder.fields["step"]

    @property
    def rules_version(self) -> str | None:
        """The version of its game's rules; None in checkpoints of earlier versions."""
        return self.folder.fields.get("rules_version")


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
    jump: int | None = None,
    rules_version: str | None = None,
) -> Path:
    """Write ``directory/checkpoints/step_NNNNNN`` and delete old ones; the path.

    ``keep`` and ``jump`` decide which are deleted: ``sealed.surplus``.

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
    return sealed.save_step(folder, step, files, fields, keep, jump)


def release(trained: Checkpoint, folder: Path, training: dict[str, Any], half: bool = False) -> str:
    """Write the agent of a checkpoint to ``folder``; return the SHA-256 of its weights.

    ``training`` goes into the manifest: the cost of the training. ``half`` stores the weights as
    float16, half the size; evaluation converts them to float32. ``ValueError`` if float16 cannot
    hold its weights.
    """
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


def describe(path: Path | str) -> Description:
    """Everything of a checkpoint but its weights, which may not fit into memory.

    ``ValueError`` (one line) if no checkpoint is undamaged.
    """
    folder = sealed.open_folder(resolve(path))
    if kind := folder.fields.get("supervised"):
        raise ValueError(
            f"{folder.path} is a supervised model ({one_line(str(kind))}), not an agent that plays "
            "a game"
        )
    config = stored_config.read(folder, CONFIG, Config)
    return Description(folder, config, folder.shapes(WEIGHTS))


def load(path: Path | str) -> Checkpoint:
    """Load weights and configuration. ``ValueError`` (one line) if no checkpoint is undamaged."""
    return complete(describe(path))


def complete(described: Description) -> Checkpoint:
    """The checkpoint that was described, with its weights; errors as for ``load``.

    Only the weights are read: the configuration is the one that was described, and perhaps allowed,
    whatever the folder holds by now.
    """
    return Checkpoint(
        described.path,
        described.step,
        described.config,
        described.folder.weights(WEIGHTS),
        described.rules_version,
    )


def check_rules(trained: Checkpoint | Description, game: Game) -> None:
    """``ValueError``, one line, where the rules of ``game`` have changed since the training.

    Checkpoints of earlier versions do not name their rules and are accepted.
    """
    if trained.rules_version not in (None, game.rules_version):
        raise ValueError(
            f"{trained.path} was trained by other rules of {game.name}: their rules_version is "
            f"{one_line(str(trained.rules_version))[:40]!r}, now it is {game.rules_version!r}; "
            "train again, or use the rules as they were"
        )


def _rules(version: str | None) -> dict[str, str]:
    """The field of a manifest."""
    return {} if version is None else {"rules_version": version}


def load_state(path: Path | str) -> dict[str, Any]:
    """The training state as given to ``save``, with tensors on the CPU. Errors as for ``load``."""
    folder = sealed.open_whole(resolve(path))
    if TRAINING not in folder.files:
        raise ValueError(f"{folder.path} is a released agent: it plays, but cannot be resumed")
    data = folder.read(TRAINING)
    with reading(folder.path / TRAINING):
        return states.load(data)


def training_of(path: Path) -> dict[str, Any] | None:
    """The cost of the training that ``release`` wrote into the folder ``path``; None: a run's."""
    return sealed.open_folder(path).fields.get("training")


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
