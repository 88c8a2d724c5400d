"""Bars on standard error for what takes long, where that is a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TaskID

Report = Callable[[str, int, int], None]
"""Hears the name of what is going on, how much it will be, and how much of it is done."""


@contextmanager
def bars(screen: Console | None = None) -> Iterator[Report]:
    """Draws a bar for each name that it hears of; all are gone in the end.

    On ``screen``, where lines may come meanwhile, or else on standard error.
    """
    screen = screen or Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(
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
    """One bar, of games; hears how many are over and how many there are, as an arena says it."""
    with bars() as report:
        yield lambda done, total: report("games", total, done)


def added(hear: Callable[[int], None]) -> Callable[[int], None]:
    """Hears how much was done since the last call; ``hear``, how much that is in all."""
    done = 0

    def add(more: int) -> None:
        nonlocal done
        done += more
        hear(done)

    return add
