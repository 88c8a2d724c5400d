"""Frozen settings of the network toolkit; importing them does not import torch."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.ranges import (
    STRICT,
    BatchSize,
    BelowOne,
    Count,
    Depth,
    FilePath,
    Fraction,
    HeadChannels,
    Minutes,
    Natural,
    NotNegative,
    Positive,
    Threads,
    Width,
    check_tower,
)

Activation = Literal["relu", "leaky_relu", "tanh", "sigmoid"]
Initialization = Literal["he", "xavier"]
Attention = Literal["none", "squeeze_excitation", "global_pooling"]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ScheduleSettings:
    """Learning rate over the course of a training, as a factor on ``optimizer.learning_rate``.

    AlphaGo Zero and AlphaZero divided the rate by ten at fixed numbers of optimizer steps. The
    default, cosine, ends with a small rate whatever the length of the run.
    """

    kind: Literal["constant", "cosine", "step"] = "cosine"
    warmup_steps: Natural = 100
    """Another factor rises from 0 to 1 over this many steps; it multiplies that of ``kind``."""
    final_factor: Fraction = 0.05
    """For cosine: the factor at the last step."""
    milestones: tuple[Fraction, ...] = (0.6, 0.85)
    """For step: shares of the whole run after which the factor is multiplied by ``decay``."""
    decay: Fraction = 0.1
    """For step: 0.1 makes the rate a tenth at each milestone."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OptimizerSettings:
    """The optimizer and its penalties.

    AlphaGo Zero and AlphaZero used sgd with momentum 0.9 and an L2 penalty of 1e-4, KataGo sgd with
    momentum 0.9 and a penalty of 3e-5.
    """

    name: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    """adam learns well over a wide range of learning rates; sgd is what the papers used."""
    learning_rate: Positive = 2e-3
    """Base rate, before the factor of ``schedule``. 2e-3 suits adam; sgd needs about 0.02."""
    l2: NotNegative = 1e-4
    """L2 penalty ``l2 / 2 * |w|^2`` (decoupled decay for adamw) of all weights but biases,
    BatchNorm's parameters and embeddings."""
    l1: NotNegative = 0.0
    """L1 penalty ``l1 * sum |w|`` of the same weights."""
    momentum: BelowOne = 0.9
    """Momentum of sgd, where 0 is plain gradient descent; beta 1 of adam and adamw."""
    gradient_clip: NotNegative = 1.0
    """Largest norm of the gradient; a longer one is scaled down to it. 0: no limit."""
    schedule: ScheduleSettings = ScheduleSettings()


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TrackingSettings:
    """Where a training's metrics are written."""

    wandb: Literal["auto", "online", "offline", "off"] = "auto"
    """Weights & Biases: auto is online where a key is stored, else off."""
    project: str = "alphazero"
    """The project's name in Weights & Biases."""
    log_every: Count = 1
    """Optimizer steps between two lines of a self-play run's metrics.jsonl. A supervised training
    writes one line per epoch instead."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class FitSettings:
    """Settings of a supervised training."""

    epochs: Count = 10
    """Passes over the training examples."""
    batch_size: BatchSize = 128
    """Examples per optimizer step."""
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    """mse: mean squared error between the softmax's probabilities and the one-hot labels."""
    label_smoothing: Fraction = 0.0
    """This share of each label is divided evenly among all classes; for cross_entropy only."""
    patience: Natural = 0
    """Stop after this many epochs in a row without a better validation accuracy, or an equal one at
    a lower loss; 0: never."""
    ema: BelowOne = 0.0
    """Decay of the averaged weights, which are validated and kept; 0: no averaging."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """auto: the faster one, timed on the first batch. For a gan, and in a search for settings, auto
    is float32."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: Threads | Literal["auto"] = "auto"
    """Threads that share each batch on a CPU; auto: one per core, but 32 rows each at least."""
    time_limit_minutes: Minutes | None = None
    """Stop after so many minutes; none: no limit."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MLP:
    """A multilayer perceptron (Rosenblatt 1958; Rumelhart et al. 1986)."""

    kind: Literal["mlp"] = "mlp"
    hidden: Annotated[tuple[Width, ...], Field(max_length=16)] = (128, 256)
    """Units of each hidden layer."""
    activation: Activation = "relu"
    """Between the layers."""
    dropout: BelowOne = 0.0
    """Share of units set to 0 in training, after each hidden layer."""
    batch_norm: bool = False
    """BatchNorm after each hidden layer."""
    initialization: Initialization = "he"
    """He et al. 2015, or Glorot & Bengio 2010."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class CNN:
    """Convolution - pooling, once for each of ``channels``, then a dense layer (LeCun 1998)."""

    kind: Literal["cnn"] = "cnn"
    channels: Annotated[tuple[Width, ...], Field(max_length=16)] = (32, 64)
    """Channels of each convolution."""
    hidden: Width = 128
    """Units of the dense layer."""
    activation: Activation = "relu"
    """After convolutions and dense layer."""
    dropout: BelowOne = 0.25
    """Share of units set to 0 in training, after the dense layer."""
    initialization: Initialization = "he"
    """He et al. 2015, or Glorot & Bengio 2010."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ResNet:
    """The residual tower of the policy-value network, under one policy head over the classes."""

    kind: Literal["resnet"] = "resnet"
    blocks: Depth = 3
    """Residual blocks of two convolutions."""
    channels: Width = 48
    """Channels of every convolution of the tower."""
    shrink: Width = 2
    """A square of this many pixels by as many becomes one cell of the tower, with the pixels as
    channels: 2 quarters the work and loses nothing. Must divide the images' height and width."""
    attention: Attention = "none"
    """Added to each residual block: Hu et al. 2018, or KataGo's global pooling (Wu 2019)."""
    head_channels: HeadChannels = 16
    """Channels of the head's 1x1 convolution."""
    initialization: Initialization = "he"
    """He et al. 2015, or Glorot & Bengio 2010."""

    def __post_init__(self) -> None:
        check_tower(self.blocks, self.channels)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GAN:
    """A generator and a discriminator of images (Goodfellow et al. 2014; Radford et al. 2016)."""

    kind: Literal["gan"] = "gan"
    noise: Width = 64
    """Length of the random vector from which an image is generated."""
    channels: Width = 32
    """Channels at half the images' height and width; twice as many at a quarter."""
    conditional: bool = True
    """The class is an input of both networks (Mirza & Osindero 2014)."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EmbeddingSettings:
    """One vector per word."""

    dimensions: Width = 100
    """Numbers per word."""
    vectors: FilePath | None = None
    """A file of pretrained vectors in GloVe's text format; it also sets the dimensions."""
    frozen: bool = False
    """Do not train the vectors: neither pretrained ones nor the random ones of other words."""
    dropout: BelowOne = 0.2
    """Share of numbers set to 0 in training."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class TextCNN:
    """Embedding - convolutions - global max pooling - dense (Kim 2014)."""

    kind: Literal["textcnn"] = "textcnn"
    embedding: EmbeddingSettings = EmbeddingSettings()
    widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=16)] = (3, 4, 5)
    """Words per convolution window, one set of convolutions for each width."""
    channels: Width = 100
    """Channels per width."""
    dropout: BelowOne = 0.5
    """Share of features set to 0 in training, before the dense layer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Recurrent:
    """Embedding - recurrent layers - pooling over time - dense."""

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    """rnn: Elman 1990; lstm: Hochreiter & Schmidhuber 1997; gru: Cho et al. 2014."""
    embedding: EmbeddingSettings = EmbeddingSettings()
    hidden: Width = 128
    """Units per direction."""
    layers: Depth = 1
    """Recurrent layers."""
    bidirectional: bool = True
    """Read the text forwards and backwards."""
    pooling: Literal["last", "mean", "max"] = "max"
    """Over the outputs at all words: the last one, their mean or their maximum."""
    dropout: BelowOne = 0.5
    """Share of features set to 0 in training, before the dense layer."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Transformer:
    """A transformer encoder under mean pooling (Vaswani et al. 2017)."""

    kind: Literal["transformer"] = "transformer"
    embedding: EmbeddingSettings = EmbeddingSettings(dimensions=128)
    heads: Depth = 4
    """Attention heads per layer; must divide the embedding's dimensions."""
    layers: Depth = 2
    """Encoder layers."""
    feedforward: Width = 256
    """Hidden units of each layer's feed-forward network."""
    dropout: BelowOne = 0.2
    """Share of numbers set to 0 in training, in every layer and before the dense layer."""
