"""Read PNG files as grey levels; the files may come from clients that are not trusted."""

import io
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from alphazero.nn import extras

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = (0, 2, 3, 4, 6)
"""PNG's numbers of the kinds of pixels: grey, colour, palette, and the first two with alpha."""
PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""The chunks that hold pixels; all others are ignored."""
OPAQUE = 255


def read(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Grey levels ``[height, width]`` of a PNG without transparent pixels.

    ``ValueError``, one line, for any other bytes. An alpha channel is allowed where all is opaque.

    The size is checked before any pixel is decompressed: a small file can decompress to gigabytes.
    Chunks without pixels are left out, because they may contain compressed text of any size.
    """
    try:
        chunks = list(_chunks(data))
        (name, header), *others = chunks
        actual_width, actual_height, depth, colour = struct.unpack(">IIBB3x", header[8:-4])
    except (struct.error, ValueError):
        raise ValueError("not a PNG, or one that is cut off") from None
    if (actual_height, actual_width) != (height, width):
        raise ValueError(
            f"the PNG is {actual_width} x {actual_height}, this model takes {width} x {height}"
        )
    names = [other for other, _ in others]
    if depth > 8 or colour not in COLOURS:
        raise ValueError("should be a PNG of at most 8 bits per channel")
    if name != b"IHDR" or b"IHDR" in names:  # a second one could state another size
        raise ValueError("a PNG has one header, at its beginning")
    return _unpacked(SIGNATURE + b"".join(chunk for name, chunk in chunks if name in PIXELS))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of each chunk up to IEND; ``ValueError`` where a chunk is cut off."""
    position, name = len(SIGNATURE), b""
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG")
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise ValueError("cut off")
        yield name, data[position:end]
        position = end


def _unpacked(data: bytes) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError:
        raise ValueError(extras.missing("pictures need Pillow", "supervised")) from None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            grey, alpha = image.convert("L"), image.convert("RGBA").getchannel("A")
            levels, opacity = np.asarray(grey), np.asarray(alpha)
    except Exception:  # Pillow raises many kinds, and some messages contain memory addresses
        raise ValueError("a PNG whose pixels cannot be read") from None
    if (opacity < OPAQUE).any():
        raise ValueError("the PNG has transparent pixels: save it with a background")
    return levels
