"""The rows of a run's display that show the figures of each machine."""

from collections.abc import Mapping
from typing import NamedTuple

PREFIX = "node/"
"""Begins the names of metrics of one machine: ``node/NAME/FIGURE``."""
MOST = 8
"""Rows, at most; the last one counts the machines that have none."""
LONGEST_NAME = 24
"""Characters of a machine's name that are shown."""


class Metric(NamedTuple):
    """A metric that is shown, of a run or of each machine."""

    name: str
    """Its name in ``metrics.jsonl``; that of a machine's follows ``node/NAME/`` there."""
    label: str
    """Its name on the screen."""
    form: str
    """The format of its value."""


FIGURES = (
    Metric("evaluations_per_second", "evaluations/s", ",.0f"),
    Metric("games_per_second", "games/s", ",.1f"),
    Metric("busy", "busy", ".0%"),
    Metric("batch_fill", "batch fill", ".0%"),
    Metric("waiting_requests", "waiting", ",.0f"),
    Metric("restarts", "restarts", ",.0f"),
)

Row = tuple[str, ...]


def rows(metrics: Mapping[str, float]) -> list[Row]:
    """A head and a row per machine of those that ``metrics`` have figures of, by their names.

    Empty where there are fewer than two machines: the figures of the whole run are theirs. With ten
    machines there are rows of seven and a last one, "3 more".
    """
    names = sorted({key.split("/")[1] for key in metrics if key.startswith(PREFIX)})
    if len(names) < 2:
        return []
    shown = names if len(names) <= MOST else names[: MOST - 1]
    table: list[Row] = [("machine", *(figure.label for figure in FIGURES))]
    table += [(name[:LONGEST_NAME], *_values(metrics, name)) for name in shown]
    if len(shown) < len(names):
        table.append((f"{len(names) - len(shown)} more", *[""] * len(FIGURES)))
    return table


def _values(metrics: Mapping[str, float], name: str) -> list[str]:
    values = [(metrics.get(f"{PREFIX}{name}/{figure.name}"), figure) for figure in FIGURES]
    return ["" if value is None else format(value, figure.form) for value, figure in values]


def has_figures(metrics: Mapping[str, float]) -> bool:
    """Whether there are figures of any machine; they are not in every line of the metrics."""
    return any(key.startswith(PREFIX) for key in metrics)
