"""Building blocks of networks for texts.

Shapes: ``B`` texts, ``T`` words, ``D`` numbers per word. A text is a row of tokens ``[B, T]``, one
for each word, followed by ``PADDING``; ``mask`` ``[B, T]`` is True on words. The results for a text
do not depend on how much padding its batch needs.
"""

import math
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from alphazero.nn.layers import Dropout

PADDING = 0
"""The token after a text's last word; its vector is always 0."""

CELLS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

Pooling = Literal["last", "mean", "max"]

LONGEST_WAVE = 10_000
"""Longest period of the positions' sines, in words per 2 pi (Vaswani et al. 2017, section 3.5)."""


class FixedEmbedding(nn.Module):
    """Word vectors ``[V, D]`` that are not trained: ``[B, T]`` to ``[B, T, D]``.

    The weight is a buffer: it is saved with the model, but neither trained nor averaged.
    """

    weight: Tensor

    def __init__(self, vectors: Tensor):
        super().__init__()
        self.register_buffer("weight", vectors)

    def forward(self, tokens: Tensor) -> Tensor:
        return functional.embedding(tokens, self.weight)


def embed(
    vocabulary: int, dimensions: int, vectors: NDArray[np.float32] | None, frozen: bool
) -> nn.Embedding | FixedEmbedding:
    """Embedding of tokens ``[B, T]`` to ``[B, T, D]``, initially ``vectors`` ``[V, D]`` or zeros.

    Padding's vector is set to 0. ``frozen``: the vectors are not trained.
    """
    values = torch.zeros(vocabulary, dimensions)
    if vectors is not None:
        values.copy_(torch.from_numpy(vectors))
        values[PADDING] = 0
    if frozen:
        return FixedEmbedding(values)
    return nn.Embedding.from_pretrained(values, freeze=False, padding_idx=PADDING)


def trim(tokens: Tensor) -> Tensor:
    """Drop the last columns where all texts have padding; at least one column is left."""
    return tokens[:, : max(1, int((tokens != PADDING).any(dim=0).sum()))]


def pool(features: Tensor, mask: Tensor, kind: Pooling) -> Tensor:
    """``[B, T, D]`` to ``[B, D]``: the last word's features, or means or maxima over the words.

    A text without words gets zeros.
    """
    assert mask.shape == features.shape[:2]
    lengths, present = mask.sum(dim=1, keepdim=True), mask[:, :, None]
    if kind == "mean":
        return (features * present).sum(dim=1) / lengths.clamp(min=1)
    if kind == "max":
        low = torch.finfo(features.dtype).min
        return features.masked_fill(~present, low).max(dim=1).values * (lengths > 0)
    last = (lengths - 1).clamp(min=0)[:, :, None]
    return features.take_along_dim(last, dim=1)[:, 0] * (lengths > 0)


def reverse(words: Tensor, mask: Tensor) -> Tensor:
    """Reverse the order of each text's words in ``[B, T, D]``; padding stays at the end."""
    position = torch.arange(mask.shape[1], device=mask.device)
    source = torch.where(mask, mask.sum(dim=1, keepdim=True) - 1 - position, position)
    return words.take_along_dim(source[:, :, None], dim=1)


class WordConvolutions(nn.Module):
    """Convolutions over ``widths`` words, ReLU: ``[B, T, D]`` to ``[B, T, channels * widths]``.

    Kim 2014, section 2. Row t has the windows that begin at word t; words after the text's end
    count as zeros.
    """

    def __init__(self, dimensions: int, channels: int, widths: tuple[int, ...]):
        super().__init__()
        self.padding = max(widths) - 1
        self.windows = nn.ModuleList(nn.Conv1d(dimensions, channels, width) for width in widths)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        planes = functional.pad(words.transpose(1, 2), (0, self.padding))
        features = [window(planes)[:, :, : mask.shape[1]] for window in self.windows]
        return torch.relu(torch.cat(features, dim=1)).transpose(1, 2)


class Recurrence(nn.Module):
    """Recurrent layers: ``[B, T, D]`` to ``[B, T, hidden]``, twice as wide if ``bidirectional``.

    Row t is the output after t + 1 words of the text and, in the second half, after t + 1 words of
    the reversed text. With several layers the two directions are joined only after the last one
    (Peters et al. 2018, section 3.1).
    """

    def __init__(self, cell: str, dimensions: int, hidden: int, layers: int, bidirectional: bool):
        super().__init__()
        readers = [
            CELLS[cell](dimensions, hidden, layers, batch_first=True)
            for _ in range(1 + bidirectional)
        ]
        self.readers = nn.ModuleList(readers)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        readings = (words, reverse(words, mask)) if len(self.readers) > 1 else (words,)
        outputs = [reader(text)[0] for reader, text in zip(self.readers, readings, strict=True)]
        return torch.cat(outputs, dim=2)


class SelfAttention(nn.Module):
    """A transformer encoder: ``[B, T, D]`` to the same.

    Vaswani et al. 2017, with sinusoidal positions. LayerNorm comes before each part instead of
    after it, which makes a warm-up unnecessary (Xiong et al. 2020).
    """

    def __init__(self, dimensions: int, heads: int, layers: int, feedforward: int, dropout: float):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            dimensions, heads, feedforward, dropout=0.0, batch_first=True, norm_first=True
        )
        layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
        self.encoder = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(dimensions), enable_nested_tensor=False
        )

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        length, dimensions = words.shape[1:]
        placed = words * math.sqrt(dimensions) + positions(length, dimensions).to(words)
        # Attention over no words at all is NaN: a text without words attends to its first padding.
        hidden = ~mask
        hidden[:, 0] = False
        return self.encoder(placed, src_key_padding_mask=hidden)


def positions(length: int, dimensions: int) -> Tensor:
    """Sinusoidal positions ``[length, dimensions]`` (Vaswani et al. 2017, section 3.5)."""
    waves = LONGEST_WAVE ** (-torch.arange(0, dimensions, 2) / dimensions)
    angles = torch.arange(length)[:, None] * waves
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :dimensions]


class TextClassifier(nn.Module):
    """Embedding - encoder - pooling over time - head: tokens ``[B, T]`` to logits ``[B, K]``.

    ``encoder`` maps ``(words, mask)``, ``[B, T, D]`` and ``[B, T]``, to ``[B, T, E]``.
    """

    def __init__(
        self,
        embedding: nn.Module,
        encoder: nn.Module,
        pooling: Pooling,
        head: nn.Module,
    ):
        super().__init__()
        self.embedding, self.encoder, self.head = embedding, encoder, head
        self.pooling: Pooling = pooling

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = trim(tokens)
        mask = tokens != PADDING
        return self.head(pool(self.encoder(self.embedding(tokens), mask), mask, self.pooling))
