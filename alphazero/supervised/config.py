"""The configuration of a supervised training: data, model, optimizer, epochs.

The reader is that of self-play's configurations: all errors are reported at once, each with its
place and the values that would be valid. Nothing here imports torch.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero import config_file, config_folder, packages
from alphazero.nn.settings import (
    CNN,
    GAN,
    MLP,
    FitSettings,
    OptimizerSettings,
    Recurrent,
    ResNet,
    TextCNN,
    TrackingSettings,
    Transformer,
)
from alphazero.ranges import STRICT, Count, FilePath, Fraction, Natural

Share = Annotated[float, Field(gt=0, lt=1)]
OF_TEXTS = (TextCNN, Recurrent, Transformer)
"""Models that take texts; all others take images."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Images:
    """Images of digits, or of anything else in MNIST's format."""

    kind: Literal["images"] = "images"
    path: FilePath | None = None
    """A folder or .zip with MNIST's IDX files; without one, scikit-learn's digits of 8x8 pixels."""
    validation: Share = 0.1
    """Share of the training examples that is held back for validation: it chooses the best epoch
    and stops the training early."""
    limit: Count | None = None
    """Largest number of training examples, those for validation included: the first ones after
    shuffling. Default: all."""
    shift: Fraction = 0.0
    """In every epoch each training image is moved at random by up to this share of its size in
    both directions, in whole pixels. 0.07 moves an image of 28 pixels by up to 2."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Texts:
    """Reviews, positive or negative."""

    kind: Literal["texts"] = "texts"
    path: FilePath | None = None
    """The aclImdb folder or archive, or TSV or CSV; without one, reviews made from templates."""
    validation: Share = 0.1
    """Share of the training examples that is held back for validation: it chooses the best epoch
    and stops the training early."""
    limit: Count | None = None
    """Largest number of training examples, those for validation included: the first ones after
    shuffling. Default: all."""
    vocabulary: Annotated[int, Field(ge=1, le=3_000_000)] = 20_000
    """Number of words that are told apart: the most frequent ones of the training texts and, with
    pretrained vectors, as many more from their file. All other words count as one unknown word."""
    length: Annotated[int, Field(ge=1, le=100_000)] = 400
    """Number of words of a text that are used, the last ones; shorter texts are padded."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SupervisedConfig:
    """All settings of one supervised training."""

    data: Annotated[Images | Texts, Field(discriminator="kind")] = Images()
    model: Annotated[
        MLP | CNN | ResNet | GAN | TextCNN | Recurrent | Transformer, Field(discriminator="kind")
    ] = MLP()
    optimizer: OptimizerSettings = OptimizerSettings()
    fit: FitSettings = FitSettings()
    tracking: TrackingSettings = TrackingSettings()
    seed: Natural = 0
    """Seed of all random numbers: weights, splits, batches, augmentation, dropout."""

    def __post_init__(self) -> None:
        needed = "texts" if isinstance(self.model, OF_TEXTS) else "images"
        if self.data.kind != needed:
            raise ValueError(
                f"model.kind {self.model.kind} is for data.kind {needed}, not for {self.data.kind}"
            )


FOLDER = packages.ROOT / "configs" / "supervised"
"""The configurations that come with the package."""


def load(name_or_path: str, overrides: Sequence[str] = ()) -> SupervisedConfig:
    """Read a configuration: a name in ``configs/supervised`` or the path of a YAML file.

    ``overrides`` are ``key.sub=value`` texts from the command line. Raises ``ConfigError`` with one
    line for each thing wrong.
    """
    games = "alphazero train", packages.ROOT / "configs"
    name, text = config_folder.find(name_or_path, FOLDER, games)
    return config_file.parse(SupervisedConfig, text, name, overrides)
