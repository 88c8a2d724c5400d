"""Compiled loops over planes: BatchNorm with what follows it, forward and backward.

Planes ``[B, C, H, W]`` in channels-last memory are rows of ``C`` numbers, one row per cell, and are
given as one vector ``[B * H * W * C]``: of float32, or of bfloat16 as uint16, the upper half of a
float32. All are computed in float32; sums over more than ``FLUSHED`` numbers are added in float64.

A loop over the 32 channels of a row is too short to be fast. Each loop here passes over several
rows at once, a *tile*, and vectors of one number per channel are repeated to a tile's length.
"""

from pathlib import Path

import numpy as np
from numba import types
from numba.extending import overload

from games import compiling

SOURCES = compiling.digest(
    Path(__file__).with_name(name) for name in ("kernels.py", "amx.py", "weight_gradients.py")
)
"""The compiled functions of the network toolkit, which contain each other's code."""
ZERO = np.float32(0)
TILE = 512
"""A tile has as many whole rows as fit into this many numbers."""
FLUSHED = 64
"""Tiles whose float32 sums are added up before they go to the float64 ones."""


def jit(function):
    """Compile at the first call; division by 0 gives infinity or NaN, as in torch."""
    return compiling.jit(function, SOURCES, error_model="numpy")


def widen(number):
    """``number`` as float32."""
    bits = np.uint32(number) << np.uint32(16)
    return bits.view(np.float32) if type(number) is np.uint16 else number


def narrow(number, like):
    """The float32 ``number`` in the type of ``like``: rounded to the nearest, ties to even.

    An example: the bits 3F80 8000 are halfway between 3F80 and 3F81, and become the even 3F80.
    """
    if type(like) is not np.uint16:
        return number
    bits = np.float32(number).view(np.uint32)
    even = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16(0x7FC0) if number != number else np.uint16(even >> np.uint32(16))


@overload(widen)
def _widen(number):
    if number == types.uint16:
        return lambda number: np.uint32(np.uint32(number) << np.uint32(16)).view(np.float32)
    return lambda number: number


@overload(narrow)
def _narrow(number, like):
    if like != types.uint16:
        return lambda number, like: number

    def rounded(number, like):
        bits = np.float32(number).view(np.uint32)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        upper = np.uint32(bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)
        return np.uint16(np.uint32(0x7FC0) if number != number else upper)

    return rounded


@jit
def repeated(vector, length):
    """``vector [C]``, repeated to the longest float32 vector of at most ``length``, or once."""
    times = max(1, length // len(vector))
    tile = np.empty(times * len(vector), np.float32)
    for start in range(0, len(tile), len(vector)):
        tile[start : start + len(vector)] = vector
    return tile


@jit
def add_tile(sums, tile):
    """Add the rows of ``tile`` to ``sums [C]`` and set them to 0."""
    for start in range(0, len(tile), len(sums)):
        for c in range(len(sums)):
            sums[c] += tile[start + c]
    tile[:] = ZERO


@jit
def moments(planes, channels):
    """Mean and variance (dividing by the count) of each channel, float64 ``[C]``.

    Both are computed from the distances to the mean of the first tile, because the variance as a
    mean square less a squared mean would lose its digits where the mean is large.
    """
    rows = len(planes) // channels
    first, sums, squares = np.zeros(channels), np.zeros(channels), np.zeros(channels)
    tile = repeated(first, TILE)
    head = planes[: len(tile)]
    for i in range(len(head)):
        tile[i] = widen(head[i])
    add_tile(first, tile)
    center = repeated(first / (len(head) // channels), TILE)
    squared = np.zeros_like(tile)
    for start in range(0, len(planes), len(tile)):
        part = planes[start : start + len(tile)]
        for i in range(len(part)):
            distance = widen(part[i]) - center[i]
            tile[i] += distance
            squared[i] += distance * distance
        if start // len(tile) % FLUSHED == 0:
            add_tile(sums, tile)
            add_tile(squares, squared)
    add_tile(sums, tile)
    add_tile(squares, squared)
    shift = sums / rows
    return center[:channels] + shift, np.maximum(squares / rows - shift * shift, 0.0)


@jit
def observed(planes, running_mean, running_variance, momentum, eps):
    """Mean and inverse deviation of each channel, float64 ``[2, C]``; the running ones follow.

    As in torch, the running variance follows the unbiased one.
    """
    channels = len(running_mean)
    count = len(planes) // channels
    mean, variance = moments(planes, channels)
    for c in range(channels):
        running_mean[c] += momentum * (mean[c] - running_mean[c])
        unbiased = variance[c] * count / (count - 1)
        running_variance[c] += momentum * (unbiased - running_variance[c])
    statistics = np.empty((2, channels))
    statistics[0], statistics[1] = mean, 1 / np.sqrt(variance + eps)
    return statistics


@jit
def affine(scale, shift, statistics):
    """BatchNorm as ``x * factor + offset``: ``[C]`` and ``[1, C]``, float64."""
    factor = scale * statistics[1]
    return factor, (shift - statistics[0] * factor).reshape(1, -1)


@jit
def normalized(planes, scale, shift, statistics, bias, residual, result):
    """``result = ReLU(BatchNorm(planes) + bias + residual)``.

    ``bias``: None, or ``[B, C]``, one row per board. ``residual``: None, or planes.
    """
    factor, offset = affine(scale, shift, statistics)
    offsets = offset if bias is None else offset + bias
    size, first = len(planes) // len(offsets), repeated(factor, TILE)
    for group in range(len(offsets)):
        second = repeated(offsets[group], min(TILE, size))
        for start in range(group * size, (group + 1) * size, len(first)):
            stop = min(start + len(first), (group + 1) * size)
            part, out = planes[start:stop], result[start:stop]
            if residual is None:
                for i in range(len(part)):
                    number = widen(part[i]) * first[i] + second[i]
                    out[i] = narrow(ZERO if number < ZERO else number, out[i])
            else:
                other = residual[start:stop]
                for i in range(len(part)):
                    number = widen(part[i]) * first[i] + second[i] + widen(other[i])
                    out[i] = narrow(ZERO if number < ZERO else number, out[i])


@jit
def gradients(gradient, planes, scale, shift, statistics, result):
    """The gradients of ``ReLU(BatchNorm(planes))``: ``result`` for planes; ``[2, C]`` for the rest.

    ReLU's mask is computed anew, in one pass for the sums and in another for the result.
    """
    (factor, offset), channels = affine(scale, shift, statistics), len(scale)
    first, second = repeated(factor, TILE), repeated(offset[0], TILE)
    center = repeated(statistics[0], TILE)
    sums, products = np.zeros(channels), np.zeros(channels)
    tile, product = np.zeros_like(first), np.zeros_like(first)
    for start in range(0, len(planes), len(tile)):
        part, slope = planes[start : start + len(tile)], gradient[start : start + len(tile)]
        for i in range(len(part)):
            number, back = widen(part[i]), widen(slope[i])
            back = ZERO if number * first[i] + second[i] <= ZERO else back
            tile[i] += back
            product[i] += back * (number - center[i])
        if start // len(tile) % FLUSHED == 0:
            add_tile(sums, tile)
            add_tile(products, product)
    add_tile(sums, tile)
    add_tile(products, product)
    slopes, offsets, own = coefficients(scale, statistics, sums, products, len(planes))
    third, fourth = repeated(slopes, TILE), repeated(offsets, TILE)
    for start in range(0, len(planes), len(tile)):
        part, slope = planes[start : start + len(tile)], gradient[start : start + len(tile)]
        out = result[start : start + len(tile)]
        for i in range(len(part)):
            number, back = widen(part[i]), widen(slope[i])
            back = ZERO if number * first[i] + second[i] <= ZERO else back
            out[i] = narrow(back * first[i] + number * third[i] + fourth[i], out[i])
    return own


@jit
def coefficients(scale, statistics, sums, products, size):
    """BatchNorm's gradient of its inputs x as ``factor * d + slope * x + offset``; two of these.

    With the gradient d of its outputs, n cells and x normalized to z it is ``factor * (d - sum(d) /
    n - z * sum(d * z) / n)`` (Ioffe & Szegedy 2015, section 3). ``sums`` are those of d,
    ``products`` those of d times x less its mean. Returned: slope and offset, float64 ``[C]``, and
    the gradients of scale and shift, float32 ``[2, C]``.
    """
    mean, inverse = statistics
    factor, own = scale * inverse, np.empty((2, len(scale)), np.float32)
    own[0], own[1] = products * inverse, sums
    count = size // len(scale)
    slope = -factor * inverse * inverse * products / count
    return slope, -factor * sums / count - slope * mean, own


@jit
def rectified(gradient, outputs, planes, statistics, groups, result):
    """``result = gradient`` where ``outputs`` are above 0, else 0; and two sums of it.

    The sums, float64: of the result, ``[groups, C]``, one row for each of equal parts of the batch;
    and of its products with planes less their mean, ``[C]``.
    """
    channels, size = statistics.shape[1], len(planes) // groups
    center = repeated(statistics[0], TILE)
    sums, products = np.zeros((groups, channels)), np.zeros(channels)
    tile, product = np.zeros_like(center), np.zeros_like(center)
    for group in range(groups):
        for start in range(group * size, (group + 1) * size, len(tile)):
            stop = min(start + len(tile), (group + 1) * size)
            part, out = planes[start:stop], result[start:stop]
            above, slope = outputs[start:stop], gradient[start:stop]
            for i in range(len(part)):
                back = widen(slope[i])  # loaded before the choice, so that no branch is needed
                back = ZERO if widen(above[i]) <= ZERO else back
                out[i] = narrow(back, out[i])
                tile[i] += back
                product[i] += back * (widen(part[i]) - center[i])
            if start // len(tile) % FLUSHED == 0:
                add_tile(sums[group], tile)
                add_tile(products, product)
        add_tile(sums[group], tile)
    add_tile(products, product)
    return sums, products


@jit
def combined(gradient, planes, factor, slope, offsets, result):
    """``result = gradient * factor + planes * slope + offsets``.

    ``factor`` and ``slope [C]``; ``offsets [G, C]``: a row for each of G equal parts of the batch.
    """
    size = len(planes) // len(offsets)
    first, second = repeated(factor, TILE), repeated(slope, TILE)
    for group in range(len(offsets)):
        third = repeated(offsets[group], min(TILE, size))
        for start in range(group * size, (group + 1) * size, len(first)):
            stop = min(start + len(first), (group + 1) * size)
            part, slopes, out = planes[start:stop], gradient[start:stop], result[start:stop]
            for i in range(len(part)):
                number = widen(slopes[i]) * first[i] + widen(part[i]) * second[i] + third[i]
                out[i] = narrow(number, out[i])


@jit
def added_gradients(gradient, outputs, planes, scale, statistics, before, result):
    """The gradients of ``ReLU(BatchNorm(planes) + residual)``: as ``gradients``, and ``before``.

    ``before`` becomes the gradient of the sum, which is also that of the residual.
    """
    sums, products = rectified(gradient, outputs, planes, statistics, 1, before)
    slope, offset, own = coefficients(scale, statistics, sums[0], products, len(planes))
    factor = scale * statistics[1]
    combined(before, planes, factor, slope, offset.reshape(1, -1), result)
    return own


@jit
def pooled(planes, scale, shift, statistics, boards):
    """Mean and maximum of each channel of ``BatchNorm(planes)`` on each board, ``[boards, 2 * C]``.

    Also those of planes, and the cells of the maxima, float32 and int64 ``[boards, C]``. The
    maximum is that of planes times the sign of BatchNorm's factor; of equal numbers the first.
    """
    channels, size = len(scale), len(planes) // boards
    sign, (factor, offset) = np.empty(channels, np.float32), affine(scale, shift, statistics)
    for c in range(channels):
        sign[c] = -1 if factor[c] < 0 else 1
    inputs = np.empty((boards, 2 * channels), np.float32)
    extremes = np.empty((2, boards, channels), np.float32)
    cells = np.empty((boards, channels), np.int64)
    total, best = np.empty(channels, np.float32), np.empty(channels, np.float32)
    where = np.empty(channels, np.int32)
    for board in range(boards):
        part = planes[board * size : (board + 1) * size]
        for c in range(channels):
            total[c], best[c], where[c] = ZERO, widen(part[c]) * sign[c], 0
        for cell in range(size // channels):
            row = part[cell * channels : (cell + 1) * channels]
            for c in range(channels):
                number = widen(row[c])
                total[c] += number
                larger = number * sign[c] > best[c]
                best[c] = number * sign[c] if larger else best[c]
                where[c] = np.int32(cell) if larger else where[c]
        for c in range(channels):
            extremes[0, board, c] = total[c] * channels / size
            extremes[1, board, c] = best[c] * sign[c]
            cells[board, c] = where[c]
        inputs[board, :channels] = extremes[0, board] * factor + offset[0]
        inputs[board, channels:] = extremes[1, board] * factor + offset[0]
    return inputs, extremes, cells


@jit
def pooled_gradients(
    before, planes, scale, statistics, sums, products, pooling, extremes, cells, result
):
    """The rest of ``added_gradients`` with pooling, after ``rectified``, given its sums.

    ``pooling [B, 2 * C]``: the gradient of ``pooled``'s means and maxima; ``extremes`` and
    ``cells`` as from there. A maximum's gradient goes to its cell, a mean's evenly to all.
    """
    channels, boards = len(scale), len(cells)
    factor, total, moved = scale * statistics[1], np.zeros(channels), products.copy()
    for board in range(boards):
        for c in range(channels):
            of_mean, of_largest = pooling[board, c], pooling[board, channels + c]
            total[c] += sums[board, c] + of_mean + of_largest
            moved[c] += of_mean * (extremes[0, board, c] - statistics[0, c])
            moved[c] += of_largest * (extremes[1, board, c] - statistics[0, c])
    slope, offset, own = coefficients(scale, statistics, total, moved, len(planes))
    size = len(planes) // boards
    spread = factor * (channels / size)
    combined(before, planes, factor, slope, offset + spread * pooling[:, :channels], result)
    for board in range(boards):
        for c in range(channels):
            i = board * size + cells[board, c] * channels + c
            number = widen(result[i]) + factor[c] * pooling[board, channels + c]
            result[i] = narrow(np.float32(number), result[i])
    return own
