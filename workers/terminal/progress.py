"""Progress bars on standard error, where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, ProgressColumn, TaskID

from workers.terminal.redrawing import Redrawn

Report = Callable[[str, int, int], None]
"""Called with the name of a piece of work, its total, and the number of finished units."""


class _Bars(Progress):
    """Bars that are drawn in place, also after the terminal's width changed."""

    def __init__(self, *columns: ProgressColumn, **options: Any):
        self._redrawn = Redrawn("")
        super().__init__(*columns, **options)

    def get_renderable(self) -> RenderableType:
        self._redrawn.renderable = super().get_renderable()
        return self._redrawn


@contextmanager
def bars(screen: Console | None = None) -> Iterator[Report]:
    """Draw one bar for each name that is reported; all bars are removed at the end.

    They are drawn on ``screen``, which keeps lines printed on it meanwhile intact, or on standard
    error.
    """
    screen = screen or Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with _Bars(
        *Progress.get_default_columns(), MofNCompleteColumn(),
        console=screen, transient=True, disable=not screen.is_terminal,
    ) as drawn:  # fmt: skip

        def report(name: str, total: int, done: int) -> None:
            if name not in tasks:
                tasks[name] = drawn.add_task(escape(name), total=total)
            drawn.update(tasks[name], completed=done)

        yield report


@contextmanager
def games() -> Iterator[Callable[[int, int], None]]:
    """Draw one bar for games, reported as (finished, total), the order in which an arena does."""
    with bars() as report:
        yield lambda done, total: report("games", total, done)


def running_total(report: Callable[[int], None]) -> Callable[[int], None]:
    """A function that takes increments and calls ``report`` with their sum so far."""
    done = 0

    def add(increment: int) -> None:
        nonlocal done
        done += increment
        report(done)

    return add
