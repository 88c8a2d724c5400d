"""Frozen settings of the network toolkit; importing them does not import torch."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid"]
Initialization = Literal["he", "xavier"]
Attention = Literal["none", "squeeze_excitation", "global_pooling"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScheduleSettings:
    """Learning rate over optimizer steps, as a factor on the base rate."""

    kind: Literal["constant", "cosine", "step"] = "cosine"
    warmup_steps: Natural = 100
    """A factor beside that of ``kind``: linear from 0 to 1 over this many steps."""
    final_factor: Fraction = 0.05
    """cosine: the factor reached at the last step."""
    milestones: tuple[Fraction, ...] = (0.6, 0.85)
    """step: fractions of the whole run at which the factor is multiplied by ``decay``."""
    decay: Fraction = 0.1


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimizerSettings:
    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: Positive = 2e-3
    l2: NotNegative = 1e-4
    """L2 penalty (decoupled decay for adamw); biases, BatchNorm's parameters and embeddings are
    excluded."""
    l1: NotNegative = 0.0
    """L1 penalty: ``l1 * sum |w|`` of the same weights that ``l2`` shrinks."""
    momentum: BelowOne = 0.9
    """sgd's, where 0 is plain gradient descent; adam's and adamw's beta 1."""
    gradient_clip: NotNegative = 1.0
    """Largest gradient norm; 0 turns clipping off."""
    schedule: ScheduleSettings = ScheduleSettings()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrackingSettings:
    """Where a training's figures go."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    project: str = "alphazero"
    log_every: Count = 1
    """Optimizer steps between two lines of self-play's metrics.jsonl; of a supervised training it
    has one an epoch."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitSettings:
    """How a supervised network is trained."""

    epochs: Count = 10
    batch_size: Annotated[int, Field(ge=2)] = 128
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    """mse: of the softmax's probabilities and the one-hot labels."""
    label_smoothing: Fraction = 0.0
    """This much of every label is shared out evenly among all classes; cross_entropy only."""
    patience: Natural = 0
    """Stop after so many epochs in a row without a better validation accuracy, or an equal one at a
    lower loss; 0: never."""
    ema: BelowOne = 0.0
    """Decay of the averaged weights that are validated and kept; 0: the newest are."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """auto: the one in which the first batch takes less time; a gan's, and a trial's of a
    search for settings, is float32 then."""
    device: str = "auto"
    threads: Count | Literal["auto"] = "auto"
    """On a CPU, how many share each batch; auto: all cores, as long as each gets 32 rows."""
    time_limit_minutes: Positive | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLP:
    """A multilayer perceptron (Rosenblatt 1958; Rumelhart et al. 1986)."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[Count, ...] = (128, 256)
    activation: Activation = "relu"
    dropout: BelowOne = 0.0
    batch_norm: bool = False
    initialization: Initialization = "he"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CNN:
    """Convolution - pooling, once for each of ``channels``, then a dense layer (LeCun 1998)."""

    kind: Literal["cnn"] = "cnn"
    channels: tuple[Count, ...] = (32, 64)
    hidden: Count = 128
    activation: Activation = "relu"
    dropout: BelowOne = 0.25
    initialization: Initialization = "he"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResNet:
    """The residual tower of the policy-value network, under one policy head over the classes."""

    kind: Literal["resnet"] = "resnet"
    blocks: Count = 3
    channels: Count = 48
    shrink: Count = 2
    """So many pixels each way are one cell of the tower, as its channels: nothing is lost, and 2
    quarters the work. Must divide the images' height and width."""
    attention: Attention = "none"
    head_channels: Count = 16
    initialization: Initialization = "he"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GAN:
    """A generator and a discriminator of images (Goodfellow et al. 2014; Radford et al. 2016)."""

    kind: Literal["gan"] = "gan"
    noise: Count = 64
    """Numbers that an image is made from."""
    channels: Count = 32
    """At half the images' height and width; twice as many at a quarter."""
    conditional: bool = True
    """Both networks are told the class (Mirza & Osindero 2014)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbeddingSettings:
    """A vector for each word."""

    dimensions: Count = 100
    vectors: str | None = None
    """A file in GloVe's text format whose vectors are the first ones; sets the dimensions."""
    frozen: bool = False
    """Pretrained vectors stay as they are, and so do the small random ones of other words."""
    dropout: BelowOne = 0.2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextCNN:
    """Embedding - convolutions - global max pooling - dense (Kim 2014)."""

    kind: Literal["textcnn"] = "textcnn"
    embedding: EmbeddingSettings = EmbeddingSettings()
    widths: Annotated[tuple[Count, ...], Field(min_length=1)] = (3, 4, 5)
    """Words that a convolution spans."""
    channels: Count = 100
    """Of each width."""
    dropout: BelowOne = 0.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recurrent:
    """Embedding - recurrent layers - pooling over time - dense."""

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """Elman 1990, Hochreiter & Schmidhuber 1997, Cho et al. 2014."""
    embedding: EmbeddingSettings = EmbeddingSettings()
    hidden: Count = 128
    layers: Count = 1
    bidirectional: bool = True
    pooling: Literal["last", "mean", "max"] = "max"
    dropout: BelowOne = 0.5


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Transformer:
    """A transformer encoder under mean pooling (Vaswani et al. 2017)."""

    kind: Literal["transformer"] = "transformer"
    embedding: EmbeddingSettings = EmbeddingSettings(dimensions=128)
    heads: Count = 4
    layers: Count = 2
    feedforward: Count = 256
    dropout: BelowOne = 0.2
