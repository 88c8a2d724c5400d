"""A drawing in the terminal: its text in colour, with the last move and the winning line marked."""

from rich.text import Text

from games.drawing import STONES, Drawing

COLOURS = ("bold red", "bold yellow")
"""The styles of the pieces of player 0, who began, and of player 1."""
NEUTRAL = "bold"
"""The style of a piece that belongs to neither, as an arrow in Amazons."""
LAST, LINE, QUIET = "reverse", "underline", "dim"
"""The styles of the last move, of the winning line, and of everything that is not a piece."""


STAR = "*"
"""Stands behind each stone of the winning line, so that it is seen without colours, too."""


def as_text(drawing: Drawing, before: Drawing | None = None) -> Text:
    """The text of ``drawing``, coloured; without a winning line its characters are ``as_text()``.

    ``before``: the drawing of the position before the last move. It is used where a drawing has
    no cells, and so no marks: a stone where there was none before is marked as the last move.
    """
    layout = drawing.layout()
    styles = [QUIET] * len(layout.text)
    if not drawing.cells:
        styles = _by_letters(layout.text, before.as_text() if before else layout.text)
    for number, (start, end) in enumerate(layout.spans):
        if style := _style(drawing, number):
            styles[start:end] = [style] * (end - start)
    ends = [layout.spans[number][1] for number in drawing.line]
    return Text.assemble(*_with_stars(layout.text, styles, ends))


def _with_stars(text: str, styles: list[str], ends: list[int]) -> list[tuple[str, str]]:
    """Each character with its style, and a star at each of ``ends``.

    A star replaces a space; where there is none, as at the end of a line, it is added.
    """
    shown = list(zip(text, styles, strict=True))
    for end in sorted(ends, reverse=True):
        shown[end : end + (text[end : end + 1] == " ")] = [(STAR, NEUTRAL)]
    return shown


def _style(drawing: Drawing, number: int) -> str:
    """The style of a cell; empty where it has neither a piece nor a mark."""
    cell = drawing.cells[number]
    colour = NEUTRAL if cell.piece else ""
    if cell.player is not None:
        colour = COLOURS[cell.player]
    marks = [LAST] * (number in drawing.last) + [LINE] * (number in drawing.line)
    return " ".join(filter(None, [colour, *marks]))


def _by_letters(text: str, before: str) -> list[str]:
    """Styles for a board of which only its text is known: X and O are taken for stones."""
    if len(before) != len(text):  # in drawings of two sizes characters do not correspond
        before = text
    colours = dict(zip(STONES, COLOURS, strict=True))
    return [
        colours.get(new, QUIET) + (f" {LAST}" if new in STONES and old not in STONES else "")
        for old, new in zip(before, text, strict=True)
    ]
