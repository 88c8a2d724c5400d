"""A renderable that is drawn again and again in place, also after the terminal's width changed."""

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.control import Control
from rich.segment import ControlType, Segment


class Redrawn:
    """Draws ``renderable``, and erases what a narrower terminal has made of its last drawing.

    A terminal that becomes narrower folds its lines: a line of 100 columns takes two rows of 60.
    Rich's ``Live`` goes up one row per line of its last drawing, so that rows are left above. Here
    these rows are counted, and erased before the next drawing:

        three lines of 100, 30 and 100 columns, then 60 columns:
        2 + 1 + 2 = 5 rows, of which Live goes up 3; 2 more are erased
    """

    def __init__(self, renderable: RenderableType):
        self.renderable = renderable
        self._drawn: list[int] = []
        """The columns of each line of the last drawing."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self.renderable, options, pad=False)
        extra = folded(self._drawn, options.max_width) - len(self._drawn)
        if extra > 0:
            yield Control(*((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2)) * extra)
        self._drawn = [Segment.get_line_length(line) for line in lines][: console.height]
        for line in lines:
            yield from line
            yield Segment.line()


def folded(lengths: list[int], width: int) -> int:
    """The rows that lines of these ``lengths`` take in a terminal of ``width`` columns."""
    return sum(max(1, -(-length // width)) for length in lengths)
