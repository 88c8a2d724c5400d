"""Weight gradients of 3x3 convolutions, in bfloat16 on the tiles of AMX.

The gradient of the weight for output o, input i and tap (y, x) is the sum over all cells (h, w) of
all boards of ``gradient[o, h, w] * planes[i, h + y - 1, w + x - 1]``. So that a tap is a constant
distance, the cells of some boards stand in one sequence of *positions* with an empty one after each
row of a board and empty ones after each board. An example: a board of 2x2 cells has the positions

    a b . c d . . . .

and the neighbor of d at tap (0, 1), the one above, is b, three positions before; that of c at tap
(1, 0) is the empty position before it. The sum over positions is a product of matrices, outputs x
positions and positions x inputs, one for each tap. Since an odd distance would separate the pairs,
the planes are packed twice, in pairs that begin at even positions and in those that begin at odd.

Empty positions are multiplied, too, so that an infinite number beside them gives NaN.

``replace`` replaces convolutions of a module as ``nn.fused.fuse`` does other layers; forward pass
and input gradient stay torch's. Only where ``device.has_tiles()``.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from alphazero.nn import amx
from alphazero.nn.amx import DEPTH, FETCHED, ROW_BYTES, SIDE, TILE_BYTES
from alphazero.nn.kernels import jit, narrow

ADDRESS_BYTES, PLANE_BYTES = 8, 2
POSITIONS = 320
"""Positions at a time: their tiles of two blocks of inputs and outputs stay in the L1 cache."""
TAPS = 9


@jit
def aligned(size):
    """uint32 ``[size]``, zeros, whose memory begins at a multiple of a cache line."""
    memory = np.zeros(size + SIDE, np.uint32)
    skipped = (-memory.ctypes.data % ROW_BYTES) // 4
    return memory[skipped : skipped + size]


@jit
def locate(rows, planes, empty, height, width):
    """Set ``rows`` to the addresses of the positions of these ``planes [cells, channels]``.

    An empty position has the address of ``empty``, the zeros of one cell.
    """
    first, step, stride = planes.ctypes.data, planes.shape[1] * PLANE_BYTES, width + 1
    rows[:] = empty.ctypes.data
    for line in range(len(planes) // width):
        start = (line + line // height) * stride
        part, cell = rows[start : start + width], first + line * width * step
        for w in range(len(part)):
            part[w] = cell + w * step


@jit
def pack_planes(rows, blocks, pairs):
    """Write ``pairs`` of ``add_products`` for ``blocks`` of 16 channels."""
    source, target, count = rows.ctypes.data, pairs.ctypes.data, pairs.shape[2]
    for k in range(0, count, SIDE):
        for block in range(blocks):
            for odd in range(2):
                place = target + ((odd * pairs.shape[1] + block) * count + k) * ROW_BYTES
                first = source + (2 * k + odd) * ADDRESS_BYTES
                amx.pack(first, block * SIDE * PLANE_BYTES, place)


@jit
def pack_gradient(rows, blocks, transposed):
    """Write ``transposed`` of ``add_products`` for ``blocks`` of 16 channels."""
    source, target, steps = rows.ctypes.data, transposed.ctypes.data, transposed.shape[1]
    for k in range(steps):
        for block in range(blocks):
            place = target + (block * steps + k) * TILE_BYTES
            first = source + k * DEPTH * ADDRESS_BYTES
            amx.pack_transposed(first, block * SIDE * PLANE_BYTES, place)


@jit
def add_products(transposed, pairs, sums, ahead, first, stride, configuration):
    """Add the products of all taps to ``sums [O, 9, I, 16, 16]``.

    ``transposed [O, steps, 16, 16]``: the gradient in blocks of 16 outputs. ``pairs``, of shape
    ``[2, I, P, 16]``: the planes in blocks of 16 inputs, in pairs from even and from odd positions
    on. O and I are even. ``ahead``: the addresses of the planes and gradients that are needed next.
    ``first``: the position in ``pairs`` of the first one of ``transposed``; ``stride``: the
    positions from one row of a board to the next.
    """
    (outputs, steps), (inputs, count) = transposed.shape[:2], pairs.shape[1:3]
    planes, gradient, target = pairs.ctypes.data, transposed.ctypes.data, sums.ctypes.data
    next_planes, next_gradient = ahead
    row, column, total = steps * TILE_BYTES, count * ROW_BYTES, TAPS * inputs * TILE_BYTES
    amx.configure(configuration.ctypes.data)
    for o in range(0, outputs, 2):
        outer = gradient + o * row
        for i in range(0, inputs, 2):
            for tap in range(TAPS):
                moved = first + (tap // 3 - 1) * stride + tap % 3 - 1
                inner = planes + ((moved % 2) * inputs + i) * column + moved // 2 * ROW_BYTES
                added = target + o * total + (tap * inputs + i) * TILE_BYTES
                first_tiles = outer, outer + row, inner, inner + column
                moving = (*first_tiles, steps, next_planes, next_gradient)
                amx.multiply(moving, (added, added + total, ROW_BYTES))
                next_planes += steps * FETCHED
                next_gradient += steps * FETCHED
    amx.release()


@jit
def weight_gradient(planes, gradient, shape, configuration, result):
    """Write the weight gradient to ``result [outputs, 3, 3, inputs]``; sums are float32.

    ``planes [boards * height * width, inputs]`` and ``gradient``, the same with outputs, and the
    result are bfloat16 as uint16; ``shape`` is (height, width). Channels are multiples of 16; an
    odd block of 16 is multiplied together with one of zeros. ``margin`` empty positions are before
    the first cell and after the last one: an even number, at least ``stride + 1``, the distance of
    the farthest tap. The last odd pair reaches one position further.
    """
    (height, width), (outputs, inputs) = shape, (gradient.shape[1] // SIDE, result.shape[3] // SIDE)
    out_blocks, in_blocks, cells = outputs + outputs % 2, inputs + inputs % 2, height * width
    stride, size = width + 1, (height + 1) * (width + 1)
    boards = max(1, POSITIONS // size)
    steps, margin = (boards * size + DEPTH - 1) // DEPTH, (stride + 2) // 2 * 2
    count = (steps * DEPTH + 2 * margin + DEPTH - 1) // DEPTH * SIDE
    empty = np.zeros(max(outputs, inputs) * SIDE, np.uint16)
    places = np.full(2 * count + 1, empty.ctypes.data, np.int64), np.empty(steps * DEPTH, np.int64)
    transposed = aligned(out_blocks * steps * SIDE * SIDE).reshape(out_blocks, steps, SIDE, SIDE)
    pairs = aligned(2 * in_blocks * count * SIDE).reshape(2, in_blocks, count, SIDE)
    sums = aligned(out_blocks * TAPS * in_blocks * SIDE * SIDE).view(np.float32)
    for start in range(0, len(planes), boards * cells):
        stop = min(start + boards * cells, len(planes))
        locate(places[0][margin:], planes[start:stop], empty, height, width)
        locate(places[1], gradient[start:stop], empty, height, width)
        pack_planes(places[0], inputs, pairs)
        pack_gradient(places[1], outputs, transposed)
        # As int64: the sum of Numba's uint64 and an int64 would be a float.
        ahead = np.int64(planes[stop:].ctypes.data), np.int64(gradient[stop:].ctypes.data)
        add_products(transposed, pairs, sums, ahead, margin, stride, configuration)
    unpack(sums.reshape(out_blocks, TAPS, in_blocks, SIDE, SIDE), result)


@jit
def unpack(sums, result):
    """Write ``sums`` of ``add_products`` to ``result``, rounded to bfloat16."""
    inputs = result.shape[3]
    for o in range(len(result)):
        for tap in range(TAPS):
            for block in range(inputs // SIDE):
                part = sums[o // SIDE, tap, block, o % SIDE]
                out = result[o, tap // 3, tap % 3, block * SIDE : (block + 1) * SIDE]
                for i in range(SIDE):
                    out[i] = narrow(part[i], out[i])


class Convolution(nn.Module):
    """``layer``, a 3x3 convolution, whose weight gradient in training is computed on tiles."""

    def __init__(self, layer: nn.Conv2d):
        super().__init__()
        self.layer = layer

    def forward(self, planes: Tensor) -> Tensor:
        weight = self.layer.weight
        if self.layer.training and fits(planes) and fits(weight):
            return Convolved.apply(planes, weight)
        return self.layer(planes)


class Convolved(torch.autograd.Function):
    """The convolution of planes ``[B, C, H, W]`` with 3x3 weights; all else is torch's."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(planes, weight)
        return functional.conv2d(planes, weight, padding=1)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> Any:
        planes, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        own = torch.empty_like(weight)
        arrays = (_array(tensor) for tensor in (planes, gradient))
        first, second = (array.reshape(-1, array.shape[3]) for array in arrays)
        weight_gradient(first, second, tuple(planes.shape[2:]), amx.CONFIGURATION, _array(own))
        # Last, so that its result is still in the cache where the layer before begins.
        back = _input_gradient(gradient, planes, weight) if ctx.needs_input_grad[0] else None
        return back, own


def _input_gradient(gradient: Tensor, planes: Tensor, weight: Tensor) -> Tensor:
    ones = [1, 1]
    geometry = None, ones, ones, ones, False, [0, 0], 1, [True, False, False]
    return torch.ops.aten.convolution_backward(gradient, planes, weight, *geometry)[0]


def _array(tensor: Tensor) -> Any:
    """The memory ``[B, H, W, C]`` of a channels-last tensor ``[B, C, H, W]`` of bfloat16."""
    return tensor.detach().permute(0, 2, 3, 1).view(torch.uint16).numpy()


def fits(tensor: Tensor) -> bool:
    """Whether planes or weights are in the type and the memory that tiles are packed from."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.bfloat16
        and tensor.is_contiguous(memory_format=torch.channels_last)
    )


def replace(module: nn.Module) -> int:
    """Replace, in place, each convolution in ``module`` whose weight gradient tiles can compute.

    Their number is returned.
    """
    suitable = [
        (parent, name, part)
        for parent in module.modules()
        for name, part in parent.named_children()
        if type(part) is nn.Conv2d and not isinstance(parent, Convolution) and _suits(part)
    ]
    for parent, name, part in suitable:
        setattr(parent, name, Convolution(part))
    return len(suitable)


def _suits(layer: nn.Conv2d) -> bool:
    return (
        (layer.kernel_size, layer.stride, layer.dilation) == ((3, 3), (1, 1), (1, 1))
        and layer.padding in ((1, 1), "same")
        and layer.padding_mode == "zeros"
        and layer.groups == 1
        and layer.bias is None
        and layer.in_channels % SIDE == 0
        and layer.out_channels % SIDE == 0
    )
