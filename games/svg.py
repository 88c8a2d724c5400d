"""A ``Drawing`` as a picture in SVG, for web pages and reports."""

import html
import math
from collections.abc import Mapping, Sequence

from games.drawing import Cell, Drawing, Edge

UNIT = 40
"""Pixels per unit of a drawing's coordinates."""
MARGIN = 0.7
"""Units from the middle of the outermost cells to the edge."""
GROUND, EDGE, STONES = "#f3ead7", "#b5a88c", ("#e0982c", "#3566b0")
SHADE, LAST, WON = "#2f9160", "#222222", "#c22f2f"
"""Colours of a weighted cell, of the last move's ring and of the winning line's."""
INK, LETTERS = "#444444", ("#222222", "#ffffff")
"""Colours of texts, and of the letter on a piece of each player."""
SIDES = {"N": (0, -1), "E": (1, 0), "S": (0, 1), "W": (-1, 0)}
"""The steps to a point's neighbours."""
EDGE_WIDTH = 0.14
"""Units of the line along an edge of the board that belongs to a player."""
LINES = "across", "down"
"""Shapes of cells that are a line between two dots."""


def render(drawing: Drawing, weights: Mapping[int, float] | None = None, caption: str = "") -> str:
    """The drawing as an SVG element of its own size.

    ``weights``: per cell a number in [0, 1], shown as a green ground, such as the probability of
    the moves that end there. ``caption``: a line below the board. Texts are escaped.
    """
    grid = lines(drawing)
    parts = [
        _cell(cell, grid.get(i, ""), (weights or {}).get(i, 0.0))
        for i, cell in enumerate(drawing.cells)
    ]
    parts += [_edge(edge) for edge in drawing.edges]
    parts += [_ring(drawing.cells[i], LAST) for i in drawing.last]
    parts += [_ring(drawing.cells[i], WON) for i in drawing.line]
    parts += [_text(label.x, label.y, label.text) for label in drawing.labels]
    places = [*drawing.cells, *drawing.labels]
    left, right = _span([place.x for place in places])
    top, bottom = _span([place.y for place in places])
    below = [*drawing.text.splitlines(), *caption.splitlines()]
    for number, line in enumerate(below):
        parts.append(_text(left, bottom + 0.3 + 0.5 * number, line, anchor="start"))
    # A line of text needs about 0.2 units per character.
    width = max(right - left, *(0.2 * len(line) for line in below), 1.0)
    height = bottom - top + 0.5 * len(below) + 0.2
    box = f"{left * UNIT:g} {top * UNIT:g} {width * UNIT:g} {height * UNIT:g}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" width="{width * UNIT:g}" '
        f'height="{height * UNIT:g}" font-family="sans-serif">{"".join(parts)}</svg>'
    )


def cell_weights(drawing: Drawing, weights: Mapping[int, float]) -> dict[int, float]:
    """Weights per action as weights per cell: that of a move is added to the cell where it ends.

    A sum above 1 becomes 1. The moves without cells, as a pass, are left out.
    """
    cells: dict[int, float] = {}
    for action, weight in weights.items():
        for cell in drawing.clicks.get(action, ())[-1:]:
            cells[cell] = min(cells.get(cell, 0.0) + weight, 1.0)
    return cells


def lines(drawing: Drawing) -> dict[int, str]:
    """For each point of a grid, by its number, the sides on which it has a neighbour.

    The lines of the grid run from point to point, and not beyond the outermost ones: the corner of
    a Go board at the top left has the sides ``"ES"``.
    """
    points = {(c.x, c.y): i for i, c in enumerate(drawing.cells) if c.shape == "point"}
    return {
        i: "".join(side for side, (dx, dy) in SIDES.items() if (x + dx, y + dy) in points)
        for (x, y), i in points.items()
    }


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The least and the greatest of ``values``, with a margin; -0.5, 0.5 if there is none."""
    return (min(values) - MARGIN, max(values) + MARGIN) if values else (-0.5, 0.5)


def _cell(cell: Cell, sides: str, weight: float) -> str:
    """The cell's ground, and what stands there; ``sides`` as in ``lines``."""
    ground = _point(cell, sides) if cell.shape == "point" else _ground(cell)
    if weight > 0:
        ground += _circle(cell, 0.46, f'fill="{SHADE}" fill-opacity="{min(weight, 1.0):.2f}"')
    if cell.player is not None:
        ground += _circle(cell, 0.38, f'fill="{STONES[cell.player]}"')
    shown = cell.piece or (cell.label if cell.player is None else "")
    if cell.shape in (*LINES, "dot") or not shown:
        return ground
    fill = INK if cell.player is None else LETTERS[cell.player]
    return ground + _text(cell.x, cell.y, shown, fill=fill, size=0.46 if cell.piece else 0.34)


def _ground(cell: Cell) -> str:
    style = f'fill="{GROUND}" stroke="{EDGE}"'
    if cell.shape == "hexagon":
        # A point at the top, and neighbours whose middles are 1 apart: the corners are 1 / sqrt(3)
        # from the middle.
        angles = [math.pi / 6 + side * math.pi / 3 for side in range(6)]
        corners = [
            (cell.x + math.cos(angle) / math.sqrt(3), cell.y + math.sin(angle) / math.sqrt(3))
            for angle in angles
        ]
        points = " ".join(f"{x * UNIT:.1f},{y * UNIT:.1f}" for x, y in corners)
        return f'<polygon points="{points}" {style}/>'
    x, y = (cell.x - 0.5) * UNIT, (cell.y - 0.5) * UNIT
    square = f'<rect x="{x:g}" y="{y:g}" width="{UNIT}" height="{UNIT}" '
    if cell.shape == "dot":
        return f'{square}fill="{GROUND}"/>' + _circle(cell, 0.12, f'fill="{LAST}"')
    if cell.shape in LINES:
        return f'{square}fill="{GROUND}"/>' + _line(cell)
    return f"{square}{style}/>"


def _point(cell: Cell, sides: str) -> str:
    """A point of a grid: half of the line to each neighbour; a small dot where it has none."""
    if not sides:
        return _circle(cell, 0.06, f'fill="{EDGE}"')
    half = 0.5 * UNIT
    steps = "".join(
        f"M{cell.x * UNIT:g} {cell.y * UNIT:g}l{SIDES[s][0] * half:g} {SIDES[s][1] * half:g}"
        for s in sides
    )
    return f'<path d="{steps}" stroke="{EDGE}"/>'


def _line(cell: Cell) -> str:
    """From dot to dot: thick with a piece, which is a drawn line, else thin and dotted."""
    x, y, half = cell.x * UNIT, cell.y * UNIT, 0.5 * UNIT
    path = (
        f"M{x - half:g} {y:g}h{UNIT}" if cell.shape == "across" else f"M{x:g} {y - half:g}v{UNIT}"
    )
    width = 'stroke-width="5"' if cell.piece else 'stroke-dasharray="2 4"'
    return f'<path d="{path}" stroke="{LAST if cell.piece else EDGE}" {width}/>'


def _edge(edge: Edge) -> str:
    points = " ".join(f"{x * UNIT:.1f},{y * UNIT:.1f}" for x, y in edge.points)
    style = f'stroke-width="{EDGE_WIDTH * UNIT:g}" stroke-linejoin="round" stroke-linecap="round"'
    return f'<polyline points="{points}" fill="none" stroke="{STONES[edge.player]}" {style}/>'


def _circle(cell: Cell, radius: float, style: str) -> str:
    return f'<circle cx="{cell.x * UNIT:g}" cy="{cell.y * UNIT:g}" r="{radius * UNIT:g}" {style}/>'


def _ring(cell: Cell, colour: str) -> str:
    return _circle(cell, 0.42, f'fill="none" stroke="{colour}" stroke-width="2.5"')


def _text(
    x: float, y: float, text: str, anchor: str = "middle", fill: str = INK, size: float = 0.34
) -> str:
    return (
        f'<text x="{x * UNIT:g}" y="{y * UNIT:g}" font-size="{size * UNIT:g}" fill="{fill}" '
        f'text-anchor="{anchor}" dominant-baseline="central">{html.escape(text)}</text>'
    )
