"""Checkpoints of supervised models as sealed folders, and predictions with them.

``weights.safetensors``, ``config.yaml`` and ``training.pt`` (the state that resuming needs) are as
in a game's checkpoint; ``model.json`` holds shape and classes, ``vocabulary.txt`` the words of a
model of texts.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import nn

from alphazero import config_file, sealed, stored_config
from alphazero.errors import reading
from alphazero.nn import fit, gan, models, weights
from alphazero.nn import state as states
from alphazero.nn.settings import GAN
from alphazero.nn.weights import Shapes, Weights, check_shapes, shapes
from alphazero.supervised import config as configs
from alphazero.supervised import images, tasks
from alphazero.supervised.config import SupervisedConfig
from alphazero.supervised.images import Brightness
from alphazero.supervised.vocabulary import Vocabulary

WEIGHTS, TRAINING, CONFIG = sealed.WEIGHTS, sealed.TRAINING, sealed.CONFIG
DESCRIPTION, VOCABULARY = "model.json", "vocabulary.txt"
LARGEST_VOCABULARY = 2**26
"""The most bytes of a vocabulary's file."""
_Sides = Annotated[
    tuple[Annotated[int, Field(strict=True, ge=1, le=2**20)], ...], Field(max_length=3)
]


class _Description(BaseModel):
    """The content of ``model.json``."""

    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
    shape: _Sides
    brightness: tuple[float, float] | None = None
    """The fields of ``Brightness``; models of earlier versions and of texts have none."""


KEEP = 2
"""The newest checkpoints of a run that are kept: ``sealed.surplus``."""


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that a prediction depends on."""

    config: SupervisedConfig
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    """(1, H, W) for images; (size of the vocabulary,) for texts."""
    vocabulary: Vocabulary | None
    """For models of texts."""
    weights: Weights
    brightness: Brightness | None = None
    """The brightness of the training images; None for texts, and for models of earlier versions."""


def save(
    run_dir: Path, step: int, model: Model, state: dict[str, Any], jump: int | None = None
) -> Path:
    """Write checkpoint ``step`` of ``run_dir``; its folder. Errors as for ``sealed.save_step``.

    ``state`` is the training state that ``load_state`` returns, ``jump`` the step at which the loss
    jumped last.
    """
    files = {
        WEIGHTS: sealed.dump_weights(model.weights),
        TRAINING: states.dump(state),
        CONFIG: config_file.as_yaml(model.config).encode(),
        DESCRIPTION: json.dumps(_description(model)).encode(),
    }
    if model.vocabulary is not None:
        files[VOCABULARY] = model.vocabulary.to_text().encode()
    fields = {"supervised": model.config.model.kind}
    return sealed.save_step(run_dir / "checkpoints", step, files, fields, KEEP, jump)


def is_supervised(path: Path | str) -> bool:
    """Whether the checkpoint at ``path`` is a supervised model's rather than a game's.

    ``ValueError`` where there is no checkpoint.
    """
    return "supervised" in sealed.open_folder(sealed.resolve(path)).fields


def load(path: Path | str) -> Model:
    """Read the checkpoint at ``path``, or a run's newest one.

    ``ValueError``, one line, where there is no whole checkpoint of a supervised model, or its
    weights are not those of the network that it describes.
    """
    folder = sealed.open_folder(sealed.resolve(path))
    if "supervised" not in folder.fields:
        raise ValueError(f"{folder.path} is a game's checkpoint, not a supervised model's")
    config = stored_config.read(folder, CONFIG, SupervisedConfig)
    described = _read_description(folder)
    vocabulary = None
    if config.data.kind == "texts":
        data = folder.read(VOCABULARY, LARGEST_VOCABULARY)
        with reading(folder.path / VOCABULARY):
            vocabulary = Vocabulary.from_text(data.decode())
    with reading(folder.path):
        if vocabulary is not None and described.shape != (len(vocabulary),):
            raise ValueError(f"{DESCRIPTION} and {VOCABULARY} have different numbers of words")
        expected = _shapes_of(config, described.classes, described.shape)
        check_shapes(expected, folder.shapes(WEIGHTS))
    return Model(
        config,
        described.classes,
        described.shape,
        vocabulary,
        folder.weights(WEIGHTS),
        described.brightness and Brightness(*described.brightness),
    )


def _description(model: Model) -> dict[str, Any]:
    return {"classes": model.classes, "shape": model.shape, "brightness": model.brightness}


def load_state(path: Path | str) -> dict[str, Any]:
    """Read the training state that was given to ``save``; errors as for ``load``."""
    folder = sealed.open_whole(sealed.resolve(path))
    data = folder.read(TRAINING)
    with reading(folder.path / TRAINING):
        return states.load(data)


def _read_description(folder: sealed.Sealed) -> _Description:
    """``ValueError``, one line, where its values are not of their types."""
    text = folder.text(DESCRIPTION)
    with reading(folder.path / DESCRIPTION):
        return _Description.model_validate_json(text)


def _shapes_of(
    config: SupervisedConfig, classes: tuple[str, ...], shape: tuple[int, ...]
) -> Shapes:
    """The shapes of the network's weights; no memory is taken for them."""
    with torch.device("meta"):
        return shapes(_bare_network(config, classes, shape).state_dict())


class Predictor:
    """A trained classifier, or generator, ready for use.

    ``kind`` is "images" or "texts"; ``classes`` are the K names in the order of the probabilities.
    """

    def __init__(self, path: Path | str):
        """Load the checkpoint at ``path``, or a run's newest one.

        ``ValueError`` as for ``load``, or where the weights give no finite results.
        """
        model = load(path)
        self.config, self.classes, self.shape = model.config, model.classes, model.shape
        self.kind = model.config.data.kind
        self.vocabulary, self.brightness = model.vocabulary, model.brightness
        self._prepare = tasks.prepare(model.config)
        self.network = _bare_network(model.config, model.classes, model.shape).eval()
        if broken := weights.find_broken(model.weights):
            names = ", ".join(broken)
            raise ValueError(f"{path}: weights are not finite or variances below 0: {names}")
        weights.load(self.network, model.weights)

    def encode(self, inputs: Sequence[str] | NDArray[np.uint8]) -> NDArray[Any]:
        """The array that ``predict_encoded`` takes.

        N texts become their words' numbers, ``int32 [N, length]``; images ``uint8 [N, 1, H, W]``
        stay as they are. ``ValueError`` for images of another size or type, and for one text
        instead of a list.
        """
        if self.vocabulary is not None:
            if isinstance(inputs, str):
                raise ValueError("one text was given, should be a list of texts")
            assert isinstance(self.config.data, configs.Texts)
            return self.vocabulary.encode(list(inputs), self.config.data.length)
        pictures = np.asarray(inputs)
        if pictures.shape[1:] != self.shape or pictures.dtype != np.uint8:
            raise ValueError(
                f"images are {_size(pictures.shape[1:])} {pictures.dtype}, "
                f"this model takes {_size(self.shape)} uint8"
            )
        return pictures

    def warning(self, inputs: Sequence[str] | NDArray[np.uint8]) -> str | None:
        """A line where ``inputs`` are images that look inverted, see ``images.warn_of_inversion``.

        A network sees a dark digit on light ground as something else, and may be sure of it.
        """
        if self.brightness is None or not len(inputs):
            return None
        return images.warn_of_inversion(self.encode(inputs), self.brightness)

    def predict(self, inputs: Sequence[str] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probability of each class, ``[N, K]``.

        ``ValueError`` as for ``encode`` and ``predict_encoded``.
        """
        return self.predict_encoded(self.encode(inputs))

    def predict_encoded(self, encoded: NDArray[Any]) -> NDArray[np.float32]:
        """The probabilities ``[N, K]`` for a result of ``encode``. ``ValueError``: a generator."""
        if isinstance(self.network, gan.Generator):
            raise ValueError("this model generates images, it is not a classifier")
        return fit.predict(self.network, self._prepare, encoded)


def _bare_network(
    config: SupervisedConfig, classes: tuple[str, ...], shape: tuple[int, ...]
) -> nn.Module:
    """The network of a model, whose weights are to be loaded."""
    settings = config.model
    if isinstance(settings, GAN):
        return gan.Generator(settings, shape, len(classes))
    return models.bare(settings, shape, len(classes))


def _size(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
