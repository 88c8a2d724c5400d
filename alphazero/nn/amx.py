"""Weight gradients of 3x3 convolutions on the tile registers of AMX, in bfloat16.

AMX (Intel 64 Architectures Software Developer's Manual, volume 1, chapter 18) multiplies tiles: to
a tile of 16x16 float32 it adds the product of 16x32 and 32x16 numbers of bfloat16. The second one's
rows come in pairs: a number of 32 bits holds row 2k in its lower half and row 2k + 1 in the upper.

The gradient of the weight for output o, input i and tap (y, x) is the sum over all cells (h, w) of
all boards of ``gradient[o, h, w] * planes[i, h + y - 1, w + x - 1]``. So that a tap is a constant
distance, the cells of some boards stand in one sequence of *positions* with an empty one after each
row of a board and empty ones after each board. An example: a board of 2x2 cells has the positions

    a b . c d . . . .

and the neighbor of d at tap (0, 1), the one above, is b, three positions before; that of c at tap
(1, 0) is the empty position before it. The sum over positions is a product of matrices, outputs x
positions and positions x inputs, one for each tap. Since an odd distance would separate the pairs,
the planes are packed twice, in pairs that begin at even positions and in those that begin at odd.

The instructions are inline assembly in functions that Numba compiles. They must run only where
``device.has_tiles()``.
"""

from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor, nn
from torch.nn import functional

from alphazero.nn.kernels import jit, narrow

SIDE = 16
"""Rows of a tile, and its numbers of 32 bits per row."""
DEPTH = 2 * SIDE
"""Positions that one instruction sums up."""
TILE_BYTES, ROW_BYTES, ADDRESS_BYTES, PLANE_BYTES = 1024, 64, 8, 2
POSITIONS = 320
"""Positions at a time: their tiles of two blocks of inputs and outputs stay in the L1 cache."""
TAPS = 9

CONFIGURATION = np.zeros(64, np.uint8)
"""Palette 1, and for each of the eight tiles 64 bytes per row and 16 rows."""
CONFIGURATION[0] = 1
CONFIGURATION[16:32:2] = ROW_BYTES
CONFIGURATION[48:56] = SIDE

MULTIPLY = """
tileloadd ($14,$16,1), %tmm0
tileloadd 1024($14,$16,1), %tmm1
tileloadd ($15,$16,1), %tmm2
tileloadd 1024($15,$16,1), %tmm3
1:
tileloadd ($0,$16,1), %tmm4
tileloadd ($2,$16,1), %tmm6
tdpbf16ps %tmm6, %tmm4, %tmm0
prefetcht1 ($5)
prefetcht1 64($5)
tileloadd ($3,$16,1), %tmm7
tdpbf16ps %tmm7, %tmm4, %tmm1
prefetcht1 ($6)
prefetcht1 64($6)
tileloadd ($1,$16,1), %tmm5
tdpbf16ps %tmm6, %tmm5, %tmm2
tdpbf16ps %tmm7, %tmm5, %tmm3
addq $$1024, $0
addq $$1024, $1
addq $$1024, $2
addq $$1024, $3
subq $$-128, $5
subq $$-128, $6
decq $4
jnz 1b
tilestored %tmm0, ($14,$16,1)
tilestored %tmm1, 1024($14,$16,1)
tilestored %tmm2, ($15,$16,1)
tilestored %tmm3, 1024($15,$16,1)
"""


def _assembly(text: str, operands: int, moving: int = 0) -> Any:
    """The code of an intrinsic: ``text``, whose ``operands`` are addresses and other integers.

    It has side effects, so that it is neither moved nor left out.
    """

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        binding.initialize_native_asmparser()
        number = ir.IntType(64)
        names = ["=&r"] * moving + [str(i) for i in range(moving)] + ["r"] * (operands - moving)
        result = ir.LiteralStructType([number] * moving) if moving else ir.VoidType()
        kind = ir.FunctionType(result, [number] * operands)
        constraints = ",".join([*names, "~{memory}", "~{flags}"])
        builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), arguments)
        return context.get_dummy_value()

    return types.void(*[types.intp] * operands), generate


@intrinsic
def configure(typingctx, configuration):
    """Set the tiles' shapes to those at this address."""
    return _assembly("ldtilecfg ($0)", 1)


@intrinsic
def release(typingctx):
    """Give the tiles back, as any function must before it returns."""
    return _assembly("tilerelease", 0)


@intrinsic
def multiply(typingctx, above, below, left, right, steps, n1, n2, upper, lower, stride):
    """Add the products of ``steps`` tiles of two rows of outputs and two columns of inputs.

    ``above`` and ``below``: the first tile of each row; ``left`` and ``right``: of each column;
    ``upper`` and ``lower``: the two sums of each row, one tile after the other; all are addresses.
    """
    return _assembly(MULTIPLY, 10, 7)


def _packing(turned: bool) -> Any:
    """The code of an intrinsic that packs 32 rows of 16 channels to a tile."""
    words, halves = (ir.VectorType(ir.IntType(bits), SIDE) for bits in (32, 16))
    number = ir.IntType(64)

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        rows, offset, target = arguments
        table = builder.inttoptr(rows, number.as_pointer())

        def row(i: int) -> Any:
            address = builder.load(builder.gep(table, [ir.Constant(number, i)]))
            place = builder.inttoptr(builder.add(address, offset), halves.as_pointer())
            return builder.zext(builder.load(place, align=PLANE_BYTES), words)

        upper = ir.Constant(words, [16] * SIDE)
        pairs = [builder.or_(row(2 * i), builder.shl(row(2 * i + 1), upper)) for i in range(SIDE)]
        for i, words_of_row in enumerate(_transposed(builder, pairs) if turned else pairs):
            place = builder.add(target, ir.Constant(number, ROW_BYTES * i))
            builder.store(words_of_row, builder.inttoptr(place, words.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), generate


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """16 vectors of 16 numbers, transposed: quarters change places, then theirs, down to single."""
    kind = ir.VectorType(ir.IntType(32), SIDE)
    for half in (8, 4, 2, 1):
        kept = [i + SIDE - half if i & half else i for i in range(SIDE)]
        moved = [i + SIDE if i & half else i + half for i in range(SIDE)]
        for i in range(SIDE):
            if not i & half:
                pair = rows[i], rows[i + half]
                rows[i] = builder.shuffle_vector(*pair, ir.Constant(kind, kept))
                rows[i + half] = builder.shuffle_vector(*pair, ir.Constant(kind, moved))
    return rows


@intrinsic
def pack(typingctx, rows, offset, target):
    """Write the tile ``[16 pairs of positions, 16 channels, 2]`` at the address ``target``.

    At the address ``rows`` are those of 32 positions' channels; ``offset``, in bytes, is added.
    """
    return _packing(turned=False)


@intrinsic
def pack_turned(typingctx, rows, offset, target):
    """Write the tile ``[16 channels, 32 positions]`` of the same."""
    return _packing(turned=True)


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
                pack(first, block * SIDE * PLANE_BYTES, place)


@jit
def pack_gradient(rows, blocks, turned):
    """Write ``turned`` of ``add_products`` for ``blocks`` of 16 channels."""
    source, target, steps = rows.ctypes.data, turned.ctypes.data, turned.shape[1]
    for k in range(steps):
        for block in range(blocks):
            place = target + (block * steps + k) * TILE_BYTES
            first = source + k * DEPTH * ADDRESS_BYTES
            pack_turned(first, block * SIDE * PLANE_BYTES, place)


@jit
def add_products(turned, pairs, sums, first, stride, n1, n2, configuration):
    """Add the products of all taps to ``sums [outputs / 16, 9, inputs / 16, 16, 16]``.

    ``turned [outputs / 16, steps, 16, 16]``: the gradient. ``pairs [2, inputs / 16, P, 16]``: the
    planes, in pairs from even and from odd positions on; ``first``: the position in them of the
    first one of ``turned``; ``stride``: the positions from one row of a board to the next.
    """
    (outputs, steps), (inputs, count) = turned.shape[:2], pairs.shape[1:3]
    planes, gradient, target = pairs.ctypes.data, turned.ctypes.data, sums.ctypes.data
    row, column, total = steps * TILE_BYTES, count * ROW_BYTES, TAPS * inputs * TILE_BYTES
    configure(configuration.ctypes.data)
    for o in range(0, outputs, 2):
        above = gradient + o * row
        for i in range(0, inputs, 2):
            for tap in range(TAPS):
                moved = first + (tap // 3 - 1) * stride + tap % 3 - 1
                left = planes + ((moved % 2) * inputs + i) * column + moved // 2 * ROW_BYTES
                upper = target + o * total + (tap * inputs + i) * TILE_BYTES
                multiply(
                    above, above + row, left, left + column, steps, n1, n2, upper, upper + total, ROW_BYTES
                )
                n1 += steps*128
                n2 += steps*128
    release()


@jit
def weight_gradient(planes, gradient, shape, configuration, result):
    """Write the weight gradient to ``result [outputs, 3, 3, inputs]``; sums are float32.

    ``planes [boards * height * width, inputs]`` and ``gradient``, the same with outputs, and the
    result are bfloat16 as uint16; ``shape`` is (height, width). Channels are multiples of 16; an
    odd block of 16 is multiplied together with one of zeros.
    """
    (height, width), (outputs, inputs) = shape, (gradient.shape[1] // SIDE, result.shape[3] // SIDE)
    rows, columns, cells = outputs + outputs % 2, inputs + inputs % 2, height * width
    stride, size = width + 1, (height + 1) * (width + 1)
    boards = max(1, POSITIONS // size)
    steps, margin = (boards * size + DEPTH - 1) // DEPTH, (stride + 2) // 2 * 2
    count = (steps * DEPTH + 2 * margin + DEPTH - 1) // DEPTH * SIDE
    empty = np.zeros(max(outputs, inputs) * SIDE, np.uint16)
    places = np.full(2 * count + 1, empty.ctypes.data), np.empty(steps * DEPTH, np.int64)
    turned = aligned(rows * steps * SIDE * SIDE).reshape(rows, steps, SIDE, SIDE)
    pairs = aligned(2 * columns * count * SIDE).reshape(2, columns, count, SIDE)
    sums = aligned(rows * TAPS * columns * SIDE * SIDE).view(np.float32)
    for start in range(0, len(planes), boards * cells):
        stop = min(start + boards * cells, len(planes))
        locate(places[0][margin:], planes[start:stop], empty, height, width)
        locate(places[1], gradient[start:stop], empty, height, width)
        pack_planes(places[0], inputs, pairs)
        pack_gradient(places[1], outputs, turned)
        add_products(turned, pairs, sums, margin, stride, planes[start:].ctypes.data+boards*cells*inputs*32, gradient[start:].ctypes.data+boards*cells*outputs*32, configuration)
    unpack(sums.reshape(rows, TAPS, columns, SIDE, SIDE), result)


@jit
def unpack(sums, result):
    """Write ``sums`` of ``add_products`` to ``result``, rounded to bfloat16."""
    outputs, height, width, inputs = result.shape
    for o in range(outputs):
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
        if self.training and fits(planes) and fits(weight):
            return Convolved.apply(planes, weight)
        return self.layer(planes)


class Convolved(torch.autograd.Function):
    """The convolution of planes ``[B, C, H, W]`` with 3x3 weights; all else is torch's."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(planes, weight)
        return functional.conv2d(planes, weight, padding=1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        planes, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        own = torch.empty_like(weight)
        arrays = (_array(tensor) for tensor in (planes, gradient))
        first, second = (array.reshape(-1, array.shape[3]) for array in arrays)
        weight_gradient(first, second, tuple(planes.shape[2:]), CONFIGURATION, _array(own))
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


def replace(module: nn.Module) -> None:
    """Replace, in place, each convolution in ``module`` whose weight gradient tiles can compute."""
    for parent in list(module.modules()):
        for name, part in parent.named_children():
            if isinstance(part, nn.Conv2d) and _suits(part):
                setattr(parent, name, Convolution(part))


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
