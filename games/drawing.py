"""A board as data, from which a terminal, SVG, PNG, a web page or a notebook can draw it.

A ``Drawing`` says where each cell is and what stands in it, and which cells a person clicks to make
a move. It holds no colours and no sizes in pixels: those belong to the program that draws. Plain
numbers and texts only, so that ``plain`` turns it into JSON.

**Coordinates.** ``x`` runs to the right and ``y`` downwards, in units of one cell; a cell is given
by its middle. Squares stand at whole numbers. Hexagons with a point at the top stand 1 apart in
their row, every second row is shifted by 0.5, and rows are 0.866 apart. The points of a Go board or
of Nine Men's Morris are cells of the shape ``point``. Where lines are drawn between dots, these are
cells of the shapes ``dot``, ``across`` and ``down``; a line that is drawn has a piece.

**Example.** The second move of tic-tac-toe, as a face of the program sees it::

    >>> import games, numpy as np
    >>> game = games.make("tic_tac_toe")
    >>> states = game.step(game.initial(1), np.array([4]))
    >>> drawing = game.drawing(states[0], last_action=4)
    >>> drawing.cells[4]
    Cell(x=1.0, y=1.0, shape='square', player=0, piece='', label='5')
    >>> drawing.last, drawing.clicks[8]               # cell 4 is new; cell 8 is clicked for move 9
    ((4,), (8,))
    >>> print(drawing.as_text())
    1 2 3
    4 X 6
    7 8 9
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

Shape = Literal["square", "hexagon", "point", "dot", "across", "down"]
SHAPES: tuple[str, ...] = get_args(Shape)
STONES = "XO"
"""The text of a piece without a text of its own: X for player 0, who began, O for player 1."""
EMPTY = "."
"""The text of an empty cell without a label."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of the board: where it is, and what stands there."""

    x: float
    """The column of its middle, from the left."""
    y: float
    """The row of its middle, from the top."""
    shape: Shape = "square"
    player: int | None = None
    """Whose piece stands here: 0 began, 1 is the other, None: neither's, or the cell is empty."""
    piece: str = ""
    """The kind of piece, as ``"N"`` or an arrow's ``"#"``; empty for a plain stone."""
    label: str = ""
    """The name shown in the cell while it is empty, as the number to type."""

    @property
    def text(self) -> str:
        """The piece, else the stone of its player, else the label, else a dot."""
        stone = "" if self.player is None else STONES[self.player]
        return self.piece or stone or self.label or EMPTY


@dataclass(frozen=True, slots=True)
class Label:
    """A text beside the board, as the letter above a column; it is no cell and not clicked."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Edge:
    """A part of the board's edge that belongs to a player, as the sides to be joined in Hex.

    It is drawn as a line in the player's colour. A colour alone is seen by some only, so the
    drawing's ``text`` or the page of the rules has to say the same.
    """

    player: int
    points: tuple[tuple[float, float], ...]
    """The corners of the line, at least two, in the units of cells; at most 0.7 beside a cell."""


class Layout(NamedTuple):
    """A drawing as lines of characters of one width, and where each cell is in them."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Per cell of the drawing, the first index of its characters in ``text`` and the one behind."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One position, drawn; ``Game.drawing`` makes it.

    Cells are numbered by their place in ``cells``.
    """

    cells: tuple[Cell, ...]
    clicks: Mapping[int, tuple[int, ...]]
    """Per action the cells to click, in order: one for a stone, two for a move from a cell to
    another, three where an arrow follows. Among the legal actions of a position no sequence begins
    another, so that the last click decides."""
    named: Mapping[int, str] = field(default_factory=dict)
    """The actions without cells, as a pass, with the text on their button."""
    labels: tuple[Label, ...] = ()
    last: tuple[int, ...] = ()
    """The cells of the last move, to be marked; empty where ``last_action`` was not given."""
    line: tuple[int, ...] = ()
    """The cells of the line, ring or chain with which a finished game was won."""
    text: str = ""
    """Lines below the board, as the pieces in hand. The whole drawing where there are no cells."""
    edges: tuple[Edge, ...] = ()
    """The parts of the board's edge that belong to a player."""

    def as_text(self) -> str:
        """The drawing in characters of one width."""
        return self.layout().text

    def layout(self) -> Layout:
        """``as_text``, with the places of the cells for a program that colours them.

        A unit of ``x`` is as many characters as the longest text of a cell or label, and a space;
        every different ``y`` is a line. Example: tic-tac-toe's cells are 2 characters apart, and
        hexagons shifted by half a cell stand under the gaps of the row above.
        """
        return _layout(self)

    def plain(self) -> dict[str, Any]:
        """The drawing in dictionaries, lists, texts and numbers, as JSON has them.

        The keys of ``clicks`` and ``named`` are the actions as texts.
        """
        return {
            "cells": [asdict(cell) for cell in self.cells],
            "clicks": {str(action): list(cells) for action, cells in self.clicks.items()},
            "named": {str(action): text for action, text in self.named.items()},
            "labels": [asdict(label) for label in self.labels],
            "edges": [
                {"player": edge.player, "points": [list(point) for point in edge.points]}
                for edge in self.edges
            ],
            "last": list(self.last),
            "line": list(self.line),
            "text": self.text,
        }


def squares(players: ArrayLike, width: int, labels: Sequence[str] = ()) -> tuple[Cell, ...]:
    """The cells of a board of squares, row by row from the top left.

    ``players [H * W]``: 0 or 1 where a stone of that player stands, -1 where the cell is empty.
    ``labels``: one text per cell, or none at all.
    """
    return tuple(
        Cell(
            x=float(cell % width),
            y=float(cell // width),
            player=player if player >= 0 else None,
            label=labels[cell] if labels else "",
        )
        for cell, player in enumerate(np.asarray(players).tolist())
    )


def _layout(drawing: Drawing) -> Layout:
    """Place every text at its row and column; a text that would touch its left one moves right."""
    items = [(cell.y, cell.x, cell.text, index) for index, cell in enumerate(drawing.cells)]
    items += [(label.y, label.x, label.text, -1) for label in drawing.labels]
    pitch = 1 + max((len(text) for _, _, text, _ in items), default=0)
    left = min((x for _, x, _, _ in items), default=0.0)
    spans = [(0, 0)] * len(drawing.cells)
    lines: dict[float, str] = {}
    start = 0  # of the line in the whole text
    for y, x, text, index in sorted(items):
        if y not in lines:
            start += sum(len(line) + 1 for line in list(lines.values())[-1:])
            lines[y] = ""
        line = lines[y].ljust(round((x - left) * pitch))
        line += " " if line and line[-1] != " " else ""
        lines[y] = line + text
        if index >= 0:
            spans[index] = start + len(line), start + len(line) + len(text)
    rows = [*lines.values(), *([drawing.text] if drawing.text else [])]
    return Layout("\n".join(rows), tuple(spans))
