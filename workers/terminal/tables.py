"""Tables for the terminal, and the same figures as JSON."""

import json
from pathlib import Path
from typing import Any, Literal

from rich.console import Console, RenderableType
from rich.table import Table


def make(
    title: str | None, first: str, *others: str, justify: Literal["left", "right"] = "right"
) -> Table:
    """An empty table with a column for each name; all but the first are set to ``justify``."""
    table = Table(title=title)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify=justify)
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


def signed(value: float | None) -> str:
    """A whole number with its sign; "open" for the open end of an interval."""
    if value is None:
        return "open"
    return f"{value:+.0f}" if round(value) else "0"
