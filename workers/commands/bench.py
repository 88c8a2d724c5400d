"""``alphazero bench``: what this machine does per second, and the tables that show it."""

import argparse
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any

from workers.terminal.options import add_json, add_settings, self_play_keys
from workers.terminal.parsing import Parser

if TYPE_CHECKING:
    from rich.table import Table

HELP = "measure this machine"
EPILOG = """\
examples:
  alphazero bench search simulations=200
  alphazero bench selfplay config=connect_four threads=2 seconds=30 --json -
  alphazero bench selfplay selfplay.processes=2
  alphazero bench selfplay ray=local
  alphazero bench fleet max_players=8 latency_ms=0.3
  alphazero bench transport batch=256

search: tree search alone; inference: the network alone; selfplay: both, with the share
of the network-only ceiling reached; train: optimizer steps; move: one game at a time,
as `play` searches; fleet: a run with 1, 2, 4, ... search processes and a simulated
device: evaluations, CPU time per request, cores; transport: requests through shared
memory against calls of Ray"""

MEASUREMENTS = ("search", "inference", "selfplay", "train", "move", "fleet", "transport")
JSON_ONLY = ("counted",)
"""Figures that only the JSON shows."""


def add_options(parser: Parser) -> None:
    parser.add_argument("what", metavar="WHAT", choices=MEASUREMENTS, help=", ".join(MEASUREMENTS))
    add_settings(parser, self_play_keys, "an unknown key lists the known ones")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    from rich.console import Group

    from workers import bench
    from workers.terminal import tables

    result = bench.run(options.what, options.overrides)
    table = tables.make(f"bench {options.what}", "figure", "value")
    several = {key: value for key, value in result.items() if isinstance(value, list)}
    for name, figure in _flat(result, several):
        table.add_row(name.replace("_", " "), _figure(figure))
    beside = [_side_by_side(key, rows) for key, rows in several.items()]
    return tables.report(Group(table, *beside), result, options.json)


def _side_by_side(title: str, rows: list[dict[str, Any]]) -> "Table":
    """One column for each of ``rows``, whose keys are the same; the first key is the heading."""
    from rich.box import SIMPLE_HEAD

    from workers.terminal import tables

    first, *others = (key for key in rows[0] if key not in JSON_ONLY)
    headings = [_compact(row[first]) for row in rows]
    table = tables.make(title.replace("_", " "), _shortened(first), *headings)
    table.box, table.pad_edge = SIMPLE_HEAD, False
    for key in others:
        figures = [row[key] for row in rows]
        if not isinstance(figures[0], dict):
            table.add_row(_shortened(key), *map(_compact, figures))
            continue
        table.add_row(f"[bold]{_shortened(key)}[/]")
        for name in figures[0]:
            table.add_row(f"  {_shortened(name)}", *(_compact(named[name]) for named in figures))
    return table


def _flat(figures: dict[str, Any], without: Container[str]) -> Iterator[tuple[str, Any]]:
    """Names and figures; those in a dictionary after the dictionary's own name."""
    for key, value in figures.items():
        if key in without:
            continue
        if not isinstance(value, dict):
            yield key, value
            continue
        for name, figure in value.items():
            yield f"{key}: {name}", figure


def _shortened(name: str) -> str:
    return name.replace("_per_second", "/s").replace("_", " ")


def _compact(value: float | str) -> str:
    """At most six characters, so that eight figures fit beside each other."""
    if not isinstance(value, float):
        return str(value)
    if value >= 1e4:
        return f"{value / 1000:,.0f}k"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}"


def _figure(value: float | str) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
