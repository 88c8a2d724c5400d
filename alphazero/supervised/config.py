"""A supervised experiment's configuration: data, model, optimizer, training.

Validated like a run of self-play's, by the same reader: every error at once, where it is and what
would be right. Nothing here imports torch.
"""

from collections.abc import Sequence
from importlib import resources
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

import configs
from alphazero import config_file
from alphazero.nn.settings import (
    CNN,
    GAN,
    MLP,
    STRICT,
    Count,
    FitSettings,
    Fraction,
    Natural,
    OptimizerSettings,
    Recurrent,
    ResNet,
    TextCNN,
    TrackingSettings,
    Transformer,
)

Share = Annotated[float, Field(gt=0, lt=1)]
OF_TEXTS = (TextCNN, Recurrent, Transformer)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Images:
    """Pictures of digits, or of anything else in MNIST's format."""

    kind: Literal["images"] = "images"
    path: str | None = None
    """A folder with MNIST's IDX files; without one, the small digits that scikit-learn brings."""
    validation: Share = 0.1
    """Of the training examples, held back to measure and stop by."""
    limit: Count | None = None
    """Use no more than so many training examples, the first ones after shuffling."""
    shift: Fraction = 0.0
    """Training images are moved by up to this share of their size each way, anew each time;
    in whole pixels."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Texts:
    """Reviews, for or against."""

    kind: Literal["texts"] = "texts"
    path: str | None = None
    """The aclImdb folder or archive, or TSV or CSV; without one, a small corpus that is made up."""
    validation: Share = 0.1
    """Share of the training examples, held back to measure and stop by."""
    limit: Count | None = None
    """Use no more than so many training examples, the first ones after shuffling."""
    vocabulary: Count = 20_000
    """The most frequent words of the training texts and, with pretrained vectors, as many again of
    theirs; others are one and the same unknown word."""
    length: Count = 400
    """Words of a text that are read, the last ones."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SupervisedConfig:
    """One experiment: everything ``supervised train`` needs to know."""

    data: Annotated[Images | Texts, Field(discriminator="kind")] = Images()
    model: Annotated[
        MLP | CNN | ResNet | GAN | TextCNN | Recurrent | Transformer, Field(discriminator="kind")
    ] = MLP()
    optimizer: OptimizerSettings = OptimizerSettings()
    fit: FitSettings = FitSettings()
    tracking: TrackingSettings = TrackingSettings()
    seed: Natural = 0
    """Seed of every random draw."""

    def __post_init__(self) -> None:
        fitting = "texts" if isinstance(self.model, OF_TEXTS) else "images"
        if self.data.kind != fitting:
            raise ValueError(
                f"model.kind {self.model.kind} is for data.kind {fitting}, not for {self.data.kind}"
            )


FOLDER = resources.files(configs) / "supervised"
"""The configurations that come with the package."""


def load(name_or_path: str, overrides: Sequence[str] = ()) -> SupervisedConfig:
    """The configuration called ``name_or_path``: a name in ``configs/supervised`` or a YAML file.

    ``overrides`` are ``key.sub=value`` texts from the command line. Raises ``ConfigError`` with one
    line for each thing wrong.
    """
    name, text = config_file.find(name_or_path, FOLDER)
    return config_file.parse(SupervisedConfig, text, name, overrides)
