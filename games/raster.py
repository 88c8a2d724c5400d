"""Pictures in SVG as PNG, by resvg, and several of them as an animated GIF, by Pillow.

Letters are drawn in the font that comes with Pillow, so that every machine draws the same picture,
also one without fonts, on which resvg would leave all texts out.
"""

import importlib
import importlib.util
import io
import math
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from PIL.Image import Image

GROUND = "#ffffff"
"""The colour behind a picture: neither a PNG of a board nor a GIF is transparent."""
FRAME, LAST_FRAME = 900, 3000
"""Milliseconds of a frame, and of the last one."""
MOST_PIXELS = 200_000_000
"""Pixels of all frames of a GIF, at most: Pillow keeps them until the file is written, a byte or
three per pixel."""
PACKAGES = {"resvg_py": "resvg-py", "PIL": "Pillow"}
"""The modules that are needed, and the packages that have them."""


def missing() -> list[str]:
    """The packages that are needed and not installed."""
    return [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]


def png(picture: str, zoom: float = 1.0) -> bytes:
    """The SVG ``picture`` as a PNG file, ``zoom`` times as wide and high.

    ``ImportError`` where one of ``PACKAGES`` is missing.
    """
    resvg = importlib.import_module("resvg_py")  # an extra: checkers of types need not find it
    family, data = _font()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "font.ttf"
        file.write_bytes(data)
        return bytes(
            resvg.svg_to_bytes(
                svg_string=picture,
                background=GROUND,
                zoom=zoom,
                skip_system_fonts=True,
                font_files=[str(file)],
                sans_serif_family=family,
            )
        )


def gif(pictures: Sequence[str], zoom: float = 1.0) -> bytes:
    """SVG ``pictures``, at least one, as the frames of an animated GIF that repeats.

    Frames that are smaller than the largest one stand at its top left. Errors as for ``png``, and
    ``ValueError``, one line, where they have more than ``MOST_PIXELS`` together.
    """
    boxes = [_size(picture, zoom) for picture in pictures]
    size = max(width for width, _ in boxes), max(height for _, height in boxes)
    pixels = size[0] * size[1] * len(pictures)
    if pixels > MOST_PIXELS:
        raise ValueError(
            f"{len(pictures)} pictures of {size[0]} by {size[1]} have {pixels:,} pixels, and a GIF "
            f"of more than {MOST_PIXELS:,} is not made: take a smaller --zoom or fewer moves"
        )
    frames = (_frame(picture, zoom, size) for picture in pictures)  # Pillow takes one at a time
    times = [FRAME] * (len(pictures) - 1) + [LAST_FRAME]
    file = io.BytesIO()
    next(frames).save(
        file, "GIF", save_all=True, append_images=frames, duration=times, loop=0, disposal=1
    )
    return file.getvalue()


def _size(picture: str, zoom: float) -> tuple[int, int]:
    """The width and height in pixels that ``picture`` has at most: its own, rounded up."""
    root = ElementTree.fromstring(picture)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    return math.ceil(width * zoom), math.ceil(height * zoom)


def _frame(picture: str, zoom: float, size: tuple[int, int]) -> "Image":
    """``picture`` at the top left of an image of ``size``."""
    from PIL import Image

    whole = Image.new("RGB", size, GROUND)
    whole.paste(Image.open(io.BytesIO(png(picture, zoom))).convert("RGB"))
    return whole


@cache
def _font() -> tuple[str, bytes]:
    """The name and the file of Pillow's own font."""
    from PIL import ImageFont

    font = ImageFont.load_default(16)
    data = getattr(font, "font_bytes", None)
    if not isinstance(font, ImageFont.FreeTypeFont) or not isinstance(data, bytes):
        raise ImportError("this Pillow comes without a font: a newer one is needed")
    return str(font.getname()[0]), data
