"""PNG files as grey levels, read with care: some come from strangers."""

import io
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOUR, PALETTE = 0, 2, 3
PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
"""The chunks that pixels are made of."""


def read(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """Grey levels ``[height, width]``; ``ValueError``, one line, where it is anything else.

    Its size is checked before a pixel is unpacked, and chunks that make no pixels are left out:
    they may hold packed text of any size.
    """
    try:
        chunks = list(_chunks(data))
        (name, header), *others = chunks
        found_width, found_height, depth, colour = struct.unpack(">IIBB3x", header[8:-4])
    except (struct.error, ValueError):
        raise ValueError("not a PNG, or one that is cut off") from None
    if (found_height, found_width) != (height, width):
        raise ValueError(
            f"the PNG is {found_width} x {found_height}, this model takes {width} x {height}"
        )
    names = [other for other, _ in others]
    if depth > 8 or colour not in (GREY, COLOUR, PALETTE) or b"tRNS" in names:
        raise ValueError("should be a PNG of at most 8 bits a channel, without transparency")
    if name != b"IHDR" or b"IHDR" in names:  # a second one would announce another size
        raise ValueError("a PNG has one header, at its beginning")
    return _unpacked(SIGNATURE + b"".join(chunk for name, chunk in chunks if name in PIXELS))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole bytes of each chunk, the last one included; ``ValueError``: there is none."""
    place, name = len(SIGNATURE), b""
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG")
    while name != b"IEND":
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data):
            raise ValueError("cut off")
        yield name, data[place:end]
        place = end


def _unpacked(data: bytes) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError:
        raise ValueError("pictures need Pillow: pip install 'alphazero[supervised]'") from None
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            return np.asarray(image.convert("L"))
    except Exception:  # Pillow has many kinds for a damaged file, and names memory in some
        raise ValueError("a PNG whose pixels cannot be read") from None
