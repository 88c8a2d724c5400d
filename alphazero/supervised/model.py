"""What a supervised training leaves, as a sealed folder, and what answers with it.

``weights.safetensors``, ``config.yaml`` and ``training.pt`` (what resuming needs), as a game's
checkpoint has them; ``model.json``, the shape and the classes; ``vocabulary.txt``, of texts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import TypeAdapter
from torch import nn

from alphazero import config_file, sealed
from alphazero.nn import fit, gan, models, weights
from alphazero.nn import state as states
from alphazero.nn.settings import GAN
from alphazero.nn.weights import Weights
from alphazero.supervised import config as configs
from alphazero.supervised import tasks
from alphazero.supervised.config import SupervisedConfig
from alphazero.supervised.vocabulary import Vocabulary

WEIGHTS, TRAINING, CONFIG = "weights.safetensors", "training.pt", "config.yaml"
DESCRIPTION, VOCABULARY = "model.json", "vocabulary.txt"
KEEP = 2


@dataclass(frozen=True, slots=True)
class Model:
    """All that an answer depends on."""

    config: SupervisedConfig
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    """Of an image (1, H, W); of texts (words known,)."""
    vocabulary: Vocabulary | None
    weights: Weights


def save(run_dir: Path, step: int, model: Model, state: dict[str, Any]) -> Path:
    """As checkpoint ``step`` of ``run_dir``; errors as for a game's."""
    files = {
        WEIGHTS: sealed.dump_weights(model.weights),
        TRAINING: states.dump(state),
        CONFIG: config_file.as_yaml(model.config).encode(),
        DESCRIPTION: json.dumps({"classes": model.classes, "shape": model.shape}).encode(),
    }
    if model.vocabulary is not None:
        files[VOCABULARY] = model.vocabulary.to_text().encode()
    fields = {"supervised": model.config.model.kind}
    return sealed.save_step(run_dir / "checkpoints", step, files, fields, KEEP)


def is_supervised(path: Path | str) -> bool:
    """Whether the checkpoint at ``path`` is one of these and not a game's; ``ValueError``: none."""
    return "supervised" in sealed.read_manifest(sealed.resolve(path))


def load(path: Path | str) -> Model:
    """``ValueError``, one line, where there is no whole checkpoint of a supervised training."""
    path = sealed.resolve(path)
    if "supervised" not in sealed.read_manifest(path):
        raise ValueError(f"{path} is a game's checkpoint, not a supervised model's")
    text = (path / CONFIG).read_text(encoding="utf-8")
    try:
        config = TypeAdapter(SupervisedConfig).validate_python(yaml.safe_load(text))
    except ValueError as error:
        reason = str(error).replace("\n", " ")
        raise ValueError(f"{path / CONFIG} does not fit this version: {reason}") from None
    described = json.loads((path / DESCRIPTION).read_bytes())
    vocabulary = None
    if config.data.kind == "texts":
        vocabulary = Vocabulary.from_text((path / VOCABULARY).read_text(encoding="utf-8"))
    return Model(
        config,
        tuple(described["classes"]),
        tuple(described["shape"]),
        vocabulary,
        sealed.load_weights(path / WEIGHTS),
    )


def load_state(path: Path | str) -> dict[str, Any]:
    """What resuming needs, as given to ``save``."""
    return states.load((sealed.resolve(path) / TRAINING).read_bytes())


class Predictor:
    """A trained model that answers."""

    def __init__(self, path: Path | str):
        """A run's newest whole checkpoint, or the one at ``path``; ``ValueError`` as ``load``."""
        model = load(path)
        self.config, self.classes, self.shape = model.config, model.classes, model.shape
        self.kind = model.config.data.kind
        self.vocabulary = model.vocabulary
        self._prepare = tasks.prepare(model.config)
        self.network = _network(model).eval()
        weights.load(self.network, model.weights)

    def encode(self, inputs: Sequence[str] | NDArray[np.uint8]) -> NDArray[Any]:
        """Texts as their words' numbers; images, ``uint8 [N, 1, H, W]``, as they are.

        ``ValueError`` for images of another size, and for one text instead of a list.
        """
        if self.vocabulary is not None:
            if isinstance(inputs, str):
                raise ValueError("one text was given, should be a list of texts")
            assert isinstance(self.config.data, configs.Texts)
            return self.vocabulary.encode(list(inputs), self.config.data.length)
        found = np.asarray(inputs)
        if found.shape[1:] != self.shape or found.dtype != np.uint8:
            raise ValueError(
                f"images are {found.dtype} {found.shape[1:]}, this model takes uint8 {self.shape}"
            )
        return found

    def predict(self, inputs: Sequence[str] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """``[N, K]``: the probability of each class; errors as for ``encode`` and ``answer``."""
        return self.answer(self.encode(inputs))

    def answer(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        """``[N, K]``, for what ``encode`` gave. ``ValueError`` where the model has no answers."""
        if isinstance(self.network, gan.Generator):
            raise ValueError("this model makes images and names none; ask a classifier")
        return fit.predict(self.network, self._prepare, encoded)


def _network(model: Model) -> nn.Module:
    settings, classes = model.config.model, len(model.classes)
    if isinstance(settings, GAN):
        return gan.build(settings, model.shape, classes, seed=0)[0]
    return models.build(settings, model.shape, classes, seed=0)
