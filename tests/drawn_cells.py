"""The cells of a board, read back from the terminal's text, from SVG and from pixels."""

from xml.etree import ElementTree

import numpy as np

import games
from alphazero.judging import board
from games import svg

SVG = "{http://www.w3.org/2000/svg}"
SPECS = [
    "tic_tac_toe", "connect_four", "othello:size=6", "go:size=5", "chess", "hex:size=5",
    "gomoku:size=7", "breakthrough:rows=6,columns=5", "dots_and_boxes",
]  # fmt: skip


def on_page(drawing):
    """Per cell the player and the piece, as the attributes of a cell on the page have them."""
    return [["" if cell.player is None else str(cell.player), cell.piece] for cell in drawing.cells]


def positions(spec):
    """Drawings of a random game, every third ply and the last one."""
    game, rng = games.make(spec), np.random.default_rng(3)
    states, last, ply = game.initial(1), None, 0
    while True:
        over = bool(np.isfinite(game.result(states, ply)[0]))
        if ply % 3 == 0 or over:
            yield game.drawing(states[0], last)
        if over or ply > 30:
            return
        last = int(rng.choice(np.flatnonzero(game.legal(states)[0])))
        states, ply = game.step(states, np.array([last])), ply + 1


def terminal_cells(drawing):
    """Per cell its characters in the terminal and the player whose colour they have, or None."""
    text, layout = board.as_text(drawing), drawing.layout()
    stars = sorted(layout.spans[number][1] for number in drawing.line)
    inserted = [end for end in stars if layout.text[end : end + 1] != " "]
    shown = []
    for start, end in layout.spans:
        shift = sum(1 for place in inserted if place < end)
        styles = {
            str(span.style)
            for span in text.spans
            if span.start <= start + shift and end + shift <= span.end
        }
        owners = [
            player
            for player, colour in enumerate(board.COLOURS)
            if any(style.startswith(colour) for style in styles)
        ]
        shown.append((text.plain[start + shift : end + shift], owners[0] if owners else None))
    return shown


def svg_cells(drawing, picture=None):
    """Per cell the text that an SVG has at its middle, and the player of its stone, or None.

    ``picture``: the SVG of the drawing, by default the one without marks of a policy.
    """
    root = ElementTree.fromstring(picture or svg.render(drawing))
    texts, stones = {}, {}
    for element in root.iter(f"{SVG}text"):
        texts[element.get("x"), element.get("y")] = element.text
    for element in root.iter(f"{SVG}circle"):
        if element.get("fill") in svg.STONES:
            place = element.get("cx"), element.get("cy")
            stones[place] = svg.STONES.index(element.get("fill"))
    places = [(f"{cell.x * svg.UNIT:g}", f"{cell.y * svg.UNIT:g}") for cell in drawing.cells]
    return [(texts.get(place, ""), stones.get(place)) for place in places]


def colours(image, drawing, scale):
    """Per cell the player whose stone's colour is found above its middle, or None."""
    left = min(place.x for place in (*drawing.cells, *drawing.labels)) - svg.MARGIN
    top = min(place.y for place in (*drawing.cells, *drawing.labels)) - svg.MARGIN
    known = [tuple(bytes.fromhex(colour[1:])) for colour in svg.STONES]
    owners = []
    for cell in drawing.cells:
        # Beside a letter and inside of the ring of a last move.
        x, y = (cell.x - 0.22 - left) * scale, (cell.y - 0.22 - top) * scale
        pixel = tuple(int(part) for part in image[int(y), int(x)])
        near = [np.abs(np.subtract(pixel, colour)).max() < 8 for colour in known]
        owners.append(near.index(True) if any(near) else None)
    return owners


def svg_rings(drawing, picture):
    """The cells that an SVG marks as those of the last move."""
    rings = {
        (element.get("cx"), element.get("cy"))
        for element in ElementTree.fromstring(picture).iter(f"{SVG}circle")
        if (element.get("fill"), element.get("stroke")) == ("none", svg.LAST)
    }
    places = [(f"{cell.x * svg.UNIT:g}", f"{cell.y * svg.UNIT:g}") for cell in drawing.cells]
    return [number for number, place in enumerate(places) if place in rings]
