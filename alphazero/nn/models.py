"""Supervised networks, built from their settings."""

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from alphazero.nn import initialization, layers, text_layers
from alphazero.nn.settings import (
    CNN,
    MLP,
    EmbeddingSettings,
    Recurrent,
    ResNet,
    TextCNN,
    Transformer,
)
from alphazero.nn.text_layers import Pooling, TextClassifier

Images = MLP | CNN | ResNet
Texts = TextCNN | Recurrent | Transformer
Vectors = NDArray[np.float32] | None


def build(
    settings: Images | Texts,
    shape: tuple[int, ...],
    classes: int,
    seed: int,
    vectors: Vectors = None,
) -> nn.Module:
    """Build a network from inputs of this shape to logits ``[B, classes]``; in training mode.

    ``shape`` is (channels, height, width) for images and (vocabulary size, with padding) for texts.
    ``vectors`` ``[words, D]`` are the embedding's initial ones, and D replaces the settings' number
    of dimensions; no file is read here. All other weights depend on ``seed`` alone. ValueError
    where settings and shape do not fit.
    """
    with torch.random.fork_rng(devices=[]):  # torch's own first weights would use its global state
        model = bare(settings, shape, classes, vectors)
    generator = torch.Generator().manual_seed(seed)
    outputs = [[part for part in model.modules() if isinstance(part, nn.Linear)][-1]]
    if isinstance(settings, Images):
        activation = "relu" if isinstance(settings, ResNet) else settings.activation
        initialization.initialize(model, settings.initialization, generator, outputs, activation)
        return model
    kind = "he" if isinstance(settings, TextCNN) else "xavier"
    initialization.initialize(model, kind, generator, outputs)
    for part in model.modules():
        if isinstance(part, nn.Embedding) and vectors is None:
            initialization.embedding(part, generator)
    return model


def bare(
    settings: Images | Texts, shape: tuple[int, ...], classes: int, vectors: Vectors = None
) -> nn.Module:
    """The same network with torch's own first weights: its weights are to be loaded."""
    if isinstance(settings, Images):
        return _image_model(settings, shape, classes)
    return _text_model(settings, shape[0], classes, vectors)


def _image_model(settings: Images, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    if isinstance(settings, MLP):
        return _mlp(settings, shape, classes)
    if isinstance(settings, CNN):
        return _cnn(settings, shape, classes)
    return _resnet(settings, shape, classes)


def _mlp(settings: MLP, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    model, inputs = nn.Sequential(nn.Flatten()), int(np.prod(shape))
    for width in settings.hidden:
        model.extend(
            layers.perceptron_layer(
                inputs, width, settings.activation, settings.dropout, settings.batch_norm
            )
        )
        inputs = width
    return model.append(nn.Linear(inputs, classes))


def _cnn(settings: CNN, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    inputs, height, width = shape
    model = nn.Sequential()
    for channels in settings.channels:
        model.extend(layers.pooled_block(inputs, channels, settings.activation))
        inputs, height, width = channels, height // 2, width // 2
    if not height * width:
        raise ValueError(
            f"model.channels: {len(settings.channels)} poolings leave nothing of images of "
            f"{shape[1]}x{shape[2]}"
        )
    dense = layers.perceptron_layer(
        inputs * height * width, settings.hidden, settings.activation, settings.dropout
    )
    return model.append(nn.Flatten()).extend(dense).append(nn.Linear(settings.hidden, classes))


def _resnet(settings: ResNet, shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """The tower and the policy head of a policy-value network, after pixels are made channels."""
    (inputs, height, width), side = shape, settings.shrink
    if height % side or width % side:
        raise ValueError(f"model.shrink {side} does not divide images of {height}x{width}; 1 does")
    cells = (height // side) * (width // side)
    tower = layers.residual_tower(
        inputs * side**2, settings.channels, settings.blocks, settings.attention
    )
    head = layers.policy_head(settings.channels, cells, settings.head_channels, classes)
    return nn.Sequential(OrderedDict(shrink=nn.PixelUnshuffle(side), tower=tower, policy=head))


def _text_model(settings: Texts, words: int, classes: int, vectors: Vectors) -> TextClassifier:
    if vectors is not None and len(vectors) != words:
        raise ValueError(f"{len(vectors)} vectors were given for a vocabulary of {words} words")
    dimensions = settings.embedding.dimensions if vectors is None else vectors.shape[1]
    embedding = _embedding(settings.embedding, words, dimensions, vectors)
    encoder, width, pooling = _encoder(settings, dimensions)
    head = nn.Sequential(layers.Dropout(settings.dropout), nn.Linear(width, classes))
    return TextClassifier(embedding, encoder, pooling, head)


def _embedding(
    settings: EmbeddingSettings, words: int, dimensions: int, vectors: Vectors
) -> nn.Sequential:
    if settings.frozen and settings.vectors is None and vectors is None:
        raise ValueError("model.embedding.frozen needs model.embedding.vectors, a file of vectors")
    embedding = text_layers.embed(words, dimensions, vectors, settings.frozen)
    return nn.Sequential(embedding, layers.Dropout(settings.dropout))


def _encoder(settings: Texts, dimensions: int) -> tuple[nn.Module, int, Pooling]:
    """The encoder of word vectors, the number of features per word, and the pooling after it."""
    if isinstance(settings, TextCNN):
        encoder = text_layers.WordConvolutions(dimensions, settings.channels, settings.widths)
        return encoder, settings.channels * len(settings.widths), "max"
    if isinstance(settings, Recurrent):
        encoder = text_layers.Recurrence(
            settings.cell, dimensions, settings.hidden, settings.layers, settings.bidirectional
        )
        return encoder, settings.hidden * (1 + settings.bidirectional), settings.pooling
    if dimensions % settings.heads:
        raise ValueError(
            f"model.heads {settings.heads} do not divide a word's {dimensions} dimensions"
        )
    encoder = text_layers.SelfAttention(
        dimensions, settings.heads, settings.layers, settings.feedforward, settings.dropout
    )
    return encoder, dimensions, "mean"
