"""The batches of a pass over the training examples: a random order, texts grouped by length."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

POOLED_BATCHES = 32
"""Texts are sorted by length within pools of so many batches: a batch is as wide as its longest
text."""


def batches(
    inputs: NDArray[Any], size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Yield the row numbers of each batch of one pass, in random order.

    A batch of texts holds texts of about one length. A last batch of one row, which BatchNorm
    cannot normalize, is joined to the batch before it.
    """
    order, limits = rng.permutation(len(inputs)), bounds(len(inputs), size)
    lengths, pool_rows = text_lengths(inputs), POOLED_BATCHES * size
    if lengths is not None:
        for pool in np.split(order, range(pool_rows, len(order), pool_rows)):
            pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
    rows = [order[start:end] for start, end in pairwise(limits)]
    if lengths is not None:
        rows = [rows[index] for index in rng.permutation(len(rows))]
    return iter(rows)


def bounds(rows: int, size: int) -> list[int]:
    """Where each batch begins, then the number of rows: 70 rows in batches of 32 are 0, 32, 64, 70.

    65 rows are 0, 32, 65: a batch of one row would be left.
    """
    starts = list(range(0, rows, size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return [*starts, rows]


def text_lengths(inputs: NDArray[Any]) -> NDArray[np.int64] | None:
    """Words of each text ``[N]``; None where the inputs are not texts."""
    if inputs.ndim == 2 and inputs.dtype.kind == "i":
        return np.count_nonzero(inputs, axis=1)
    return None
