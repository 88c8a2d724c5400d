"""Tables for the terminal."""

import io
from collections import Counter

import pytest
from rich.console import Console

from workers.terminal import tables

PLAYER = "checkpoint:path=runs/a_name,simulations=600"


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize(
    ("heads", "row"),
    [
        (
            ("mistakes", "rate", "95 %", "optimal moves", "simulations"),
            ("1869", "41.35%", "39.92% to 42.79%", "94.12%", "600"),
        ),
        (
            ("player", "wins", "draws", "losses", "score", "Elo", "95 %"),
            (PLAYER, "2", "2", "16", "15.0%", "-251", "-414 to -88"),
        ),
        (
            ("set", PLAYER, f"{PLAYER},seconds=2"),
            ("opening_medium", "23.8% (21.3% to 26.5%)", "3.8% (1.3% to 6.5%)"),
        ),
    ],
)  # fmt: skip
def test_a_table_is_as_wide_as_the_terminal_and_no_text_is_cut(columns, heads, row):
    table = tables.make("title", *heads)
    table.add_row(*row)
    out = io.StringIO()
    Console(file=out, width=columns).print(table)
    shown = out.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= columns
    # Wherever the lines are broken, no character is missing.
    assert Counter(shown.replace("title", "")) >= Counter("".join(heads + row).replace(" ", ""))
    for word in {"optimal", "simulations", "mistakes"}.intersection(" ".join(heads).split()):
        assert word in shown
