"""Tables for the terminal, and the same figures as JSON."""

import json
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table

LONGEST_WORD = 11
"""Longer words of the head, as the names of players, may be broken."""


def make(
    title: str | None, first: str, *others: str, justify: Literal["left", "right"] = "right"
) -> Table:
    """An empty table with a column for each name; all but the first are set to ``justify``.

    Where the terminal is narrow texts are continued on the next line, never cut, and words of the
    head stay whole.
    """
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    for name in (first, *others):
        table.add_column(
            name,
            justify="left" if name == first else justify,
            overflow="fold",
            min_width=min(LONGEST_WORD, max(map(len, name.split()), default=0)),
        )
    return table


def report(table: RenderableType, result: Any = None, destination: str | None = None) -> int:
    """Print ``table``, and ``result`` as JSON to a file or, for ``-``, to standard output.

    The table goes to standard error where the JSON goes to standard output, so that a pipe
    receives nothing else. Returns the exit status 0.
    """
    text = json.dumps(result, indent=2) if destination else ""
    if destination and destination != "-":  # first: printing may fail
        Path(destination).write_text(text + "\n", encoding="utf-8")
    Console(stderr=destination == "-").print(table)
    if destination == "-":
        print(text)
    return 0


def warn_of_repeats(
    screen: Console, total: int, distinct: int, advice: str = "", unit: str = "games"
) -> None:
    """Print a line on ``screen`` where not all of ``total`` games, or other units, are different.

    ``advice`` says what would make more of them differ.
    """
    if distinct < total:
        line = (
            f"warning: only {distinct:,} of {total:,} {unit} are different, and the 95 % intervals "
            f"are those of {distinct:,}{advice and '; '}{advice}"
        )
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def warn_of_longer_openings(screen: Console, plies: tuple[int, int]) -> None:
    """Print a line on ``screen`` where openings differ in length; ``plies``: fewest and most."""
    fewest, most = plies
    if fewest < most:
        line = (
            f"warning: games begin with {fewest} to {most} random plies, "
            f"because there are too few different openings of {fewest}"
        )
        screen.print(line, markup=False, highlight=False, soft_wrap=True)


def signed(value: float | None) -> str:
    """A whole number with its sign; "open" for the open end of an interval."""
    if value is None:
        return "open"
    return f"{value:+.0f}" if round(value) else "0"
