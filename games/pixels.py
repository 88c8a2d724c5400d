"""A ``Drawing`` as an array of pixels, for libraries that record videos; drawn with Pillow."""

import importlib.util
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from games import svg
from games.drawing import Cell, Drawing, Edge

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

SMOOTH = 2
"""An image is drawn so many times as large and then reduced, which makes edges smooth."""
UNIT = svg.UNIT * SMOOTH
LETTERS = 0.34 * UNIT
"""The height of letters."""
COLUMN, LINE = 0.2 * UNIT, 0.5 * UNIT
"""The places of characters in a text below the board, whose columns may have a meaning."""


def available() -> bool:
    """Whether Pillow is installed."""
    return importlib.util.find_spec("PIL") is not None


def render(drawing: Drawing) -> NDArray[np.uint8]:
    """``[height, width, 3]``, red, green and blue: the board, and its text below.

    Cells, labels and text decide the size: boards of one game without a text have one size.
    ``ImportError`` without Pillow.
    """
    from PIL import Image, ImageDraw

    places, lines = [*drawing.cells, *drawing.labels], drawing.text.splitlines()
    left, width = _span([place.x for place in places])
    top, height = _span([place.y for place in places])
    longest = max(map(len, lines), default=0)
    size = max(width, (longest + 2) * COLUMN), height + LINE * (len(lines) + bool(lines))
    image = Image.new("RGB", (_even(size[0]), _even(size[1])), "white")
    canvas = _Canvas(ImageDraw.Draw(image), left, top)
    grid = svg.lines(drawing)
    for number, cell in enumerate(drawing.cells):
        canvas.cell(cell, grid.get(number, ""))
    for edge in drawing.edges:
        canvas.edge(edge)
    for cells, colour in ((drawing.last, svg.LAST), (drawing.line, svg.WON)):
        for cell in cells:
            canvas.circle(drawing.cells[cell], 0.42, outline=colour, width=3 * SMOOTH)
    for label in drawing.labels:
        canvas.text(*canvas.place(label.x, label.y), label.text)
    for number, line in enumerate(lines):
        canvas.line(height + (number + 0.75) * LINE, line)
    return np.asarray(image.reduce(SMOOTH))


def _span(values: list[float]) -> tuple[float, float]:
    """The edge before the least value, in units, and the distance of both edges, in pixels."""
    if not values:
        return 0.0, 0.0
    return min(values) - svg.MARGIN, (max(values) - min(values) + 2 * svg.MARGIN) * UNIT


def _even(length: float) -> int:
    """Pixels that can be reduced, at least those of a cell."""
    return SMOOTH * math.ceil(max(length, UNIT) / SMOOTH)


class _Canvas:
    """Draws on an image whose corner stands at ``left, top`` in a drawing's units."""

    def __init__(self, pen: "ImageDraw", left: float, top: float):
        from PIL import ImageFont

        self.pen, self.left, self.top = pen, left, top
        self.font = ImageFont.load_default(LETTERS)

    def place(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.left) * UNIT, (y - self.top) * UNIT

    def cell(self, cell: Cell, sides: str) -> None:
        """The cell's ground, and what stands there; ``sides`` as in ``svg.lines``."""
        x, y = self.place(cell.x, cell.y)
        self.ground(cell, sides)
        if cell.player is not None:
            self.circle(cell, 0.38, fill=svg.STONES[cell.player])
        if cell.shape not in (*svg.LINES, "dot"):
            ink = svg.INK if cell.player is None else svg.LETTERS[cell.player]
            self.text(x, y, cell.piece or (cell.label if cell.player is None else ""), ink)

    def ground(self, cell: Cell, sides: str) -> None:
        x, y = self.place(cell.x, cell.y)
        half = 0.5 * UNIT
        square = (x - half, y - half, x + half, y + half)
        if cell.shape == "hexagon":
            hexagon = (x, y, UNIT / math.sqrt(3))
            self.pen.regular_polygon(hexagon, 6, 30, svg.GROUND, svg.EDGE)
        elif cell.shape == "point":
            for dx, dy in (svg.SIDES[side] for side in sides):
                self.pen.line((x, y, x + dx * half, y + dy * half), svg.EDGE, SMOOTH)
            if not sides:
                self.circle(cell, 0.06, fill=svg.EDGE)
        elif cell.shape in svg.LINES:
            self.pen.rectangle(square, svg.GROUND)
            dx, dy = (half, 0) if cell.shape == "across" else (0, half)
            ink, width = (svg.LAST, 5 * SMOOTH) if cell.piece else (svg.EDGE, 1)
            self.pen.line((x - dx, y - dy, x + dx, y + dy), ink, width)
        elif cell.shape == "dot":
            self.pen.rectangle(square, svg.GROUND)
            self.circle(cell, 0.12, fill=svg.LAST)
        else:
            self.pen.rectangle(square, svg.GROUND, svg.EDGE, SMOOTH)

    def edge(self, edge: Edge) -> None:
        points = [self.place(x, y) for x, y in edge.points]
        width = round(svg.EDGE_WIDTH * UNIT)
        self.pen.line(points, svg.STONES[edge.player], width, joint="curve")

    def circle(self, cell: Cell, radius: float, **style: Any) -> None:
        x, y = self.place(cell.x, cell.y)
        reach = radius * UNIT
        self.pen.ellipse((x - reach, y - reach, x + reach, y + reach), **style)

    def text(self, x: float, y: float, text: str, ink: str = svg.INK) -> None:
        """The text with its middle at these pixels."""
        self.pen.text((x, y), text, ink, self.font, "mm")

    def line(self, y: float, line: str) -> None:
        """A line of text, with one width for all its characters."""
        for number, letter in enumerate(line):
            self.text((number + 1.5) * COLUMN, y, letter)
