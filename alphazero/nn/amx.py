"""The instructions of AMX as functions that Numba compiles: products of tiles of bfloat16.

AMX (Intel 64 Architectures Software Developer's Manual, volume 1, chapter 18) has eight tiles of 16
rows of 64 bytes. To 16x16 numbers of float32 it adds the product of 16x32 and 32x16 of bfloat16.
The second one's rows come in pairs: a number of 32 bits holds row 2k in its lower half and row 2k +
1 in the upper one.

They are inline assembly, which needs no compiler but LLVM, and must run only where
``device.has_tiles()``.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.cgutils import unpack_tuple
from numba.extending import intrinsic

SIDE = 16
"""Rows of a tile, and its numbers of 32 bits per row."""
DEPTH = 2 * SIDE
"""Positions that one instruction sums up."""
TILE_BYTES, ROW_BYTES = 1024, 64

CONFIGURATION = np.zeros(64, np.uint8)
"""Palette 1, and for each of the eight tiles 64 bytes per row and 16 rows."""
CONFIGURATION[0] = 1
CONFIGURATION[16:32:2] = ROW_BYTES
CONFIGURATION[48:56] = SIDE

NUMBER = ir.IntType(64)
FETCHED = 128
"""Bytes that ``multiply`` fetches for later with each tile: two lines of the cache."""
# $0 and $1: the gradient's tiles of two blocks of outputs; $2 and $3: the planes' of two blocks of
# inputs; $4: how many; $5 and $6: where to fetch for later; $14 and $15: the sums of the first and
# of the second block of outputs; $16: bytes per row. $7 to $13 are $0 to $6 as arguments.
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


def instruction(function: Any) -> Any:
    """Numba's decorator without its type, by which calls would lack the compiler's argument."""
    return intrinsic(function)


def _assembly(text: str, *operands: types.Type, changed: int = 0) -> Any:
    """The code of an intrinsic: ``text``, whose operands are whole numbers or tuples of them.

    It has side effects, so that it is neither moved nor left out. It may change the first
    ``changed`` operands, which are therefore both results and arguments, first ``$0, $1, ...``.
    """

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        binding.initialize_native_asmparser()
        given = [
            number
            for kind, argument in zip(operands, arguments, strict=True)
            for number in (
                unpack_tuple(builder, argument) if isinstance(kind, types.BaseTuple) else [argument]
            )
        ]
        names = (
            ["=&r"] * changed + [str(i) for i in range(changed)] + ["r"] * (len(given) - changed)
        )
        result = ir.LiteralStructType([NUMBER] * changed) if changed else ir.VoidType()
        kind = ir.FunctionType(result, [NUMBER] * len(given))
        constraints = ",".join([*names, "~{memory}", "~{flags}"])
        builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), given)
        return context.get_dummy_value()

    return types.void(*operands), generate


@instruction
def configure(typingctx, configuration):
    """Set the tiles' shapes to those at this address."""
    return _assembly("ldtilecfg ($0)", types.intp)


@instruction
def release(typingctx):
    """Give the tiles back, as any function must before it returns."""
    return _assembly("tilerelease")


@instruction
def multiply(typingctx, moving, fixed):
    """Add the products of some tiles of two rows of outputs and of two columns of inputs.

    ``moving``: the first tile of each row and of each column, the number of tiles, and where to
    begin to fetch planes and gradients to the L2 cache, ``FETCHED`` bytes of each per tile, which
    may be beyond the arrays. ``fixed``: the first sum of each row, after which the second stands,
    and the bytes from one row of a tile to the next. All others are addresses.
    """
    operands = (types.UniTuple(types.intp, count) for count in (7, 3))
    return _assembly(MULTIPLY, *operands, changed=7)


def _packing(transpose: bool) -> Any:
    """The code of an intrinsic that packs 32 rows of 16 channels to a tile."""
    words, halves = (ir.VectorType(ir.IntType(bits), SIDE) for bits in (32, 16))

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        rows, offset, target = arguments
        table = builder.inttoptr(rows, NUMBER.as_pointer())

        def row(i: int) -> Any:
            address = builder.load(builder.gep(table, [ir.Constant(NUMBER, i)]))
            place = builder.inttoptr(builder.add(address, offset), halves.as_pointer())
            return builder.zext(builder.load(place, align=2), words)

        upper = ir.Constant(words, [16] * SIDE)
        pairs = [builder.or_(row(2 * i), builder.shl(row(2 * i + 1), upper)) for i in range(SIDE)]
        for i, words_of_row in enumerate(_transposed(builder, pairs) if transpose else pairs):
            place = builder.add(target, ir.Constant(NUMBER, ROW_BYTES * i))
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


@instruction
def pack(typingctx, rows, offset, target):
    """Write the tile ``[16 pairs of positions, 16 channels, 2]`` at the address ``target``.

    At the address ``rows`` are those of 32 positions' channels; ``offset``, in bytes, is added.
    """
    return _packing(transpose=False)


@instruction
def pack_transposed(typingctx, rows, offset, target):
    """Write the tile ``[16 channels, 32 positions]`` of the same."""
    return _packing(transpose=True)
