"""Pictures in SVG as PNG, by resvg, and several of them as an animated GIF, by Pillow.

Letters are drawn in the font that comes with Pillow, so that every machine draws the same picture,
also one without fonts, on which resvg would leave all texts out.
"""

import importlib
import importlib.util
import io
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

GROUND = "#ffffff"
"""The colour behind a picture: neither a PNG of a board nor a GIF is transparent."""
FRAME, LAST_FRAME = 900, 3000
"""Milliseconds of a frame, and of the last one."""
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

    Frames that are smaller than the largest one stand at its top left. Errors as for ``png``.
    """
    from PIL import Image

    frames = [Image.open(io.BytesIO(png(picture, zoom))).convert("RGB") for picture in pictures]
    size = max(frame.width for frame in frames), max(frame.height for frame in frames)
    frames = [_padded(frame, size) for frame in frames]
    times = [FRAME] * (len(frames) - 1) + [LAST_FRAME]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=times, loop=0, disposal=1
    )
    return file.getvalue()


def _padded(frame: "Image", size: tuple[int, int]) -> "Image":
    from PIL import Image

    whole = Image.new("RGB", size, GROUND)
    whole.paste(frame)
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
