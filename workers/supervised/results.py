"""The results of a search for settings: on the terminal, as files, and as a picture.

``results.csv`` has a row per candidate, the best first; ``results.json`` the same with what was
searched; ``best.yaml`` is the best candidate's whole configuration.
"""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from alphazero import config_file
from alphazero.supervised import pictures
from alphazero.supervised.candidates import Candidate
from alphazero.supervised.tuning import Plan, Result

TABLE, FIGURES, PICTURE, BEST = "results.csv", "results.json", "results.png", "best.yaml"
SHOWN = 20
"""Rows of the table on the terminal; the file has all."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The arguments of a search for settings and its results, the best first."""

    config: str
    """The configuration's name or path, as given."""
    overrides: Sequence[str]
    """``key.sub=value`` texts that all candidates share."""
    plan: Plan
    results: Sequence[Result]
    is_grid: bool
    """True: every combination was tried; False: random ones."""

    @property
    def data(self) -> str:
        """The name of the data."""
        return self.plan.pools[0].name

    @property
    def folds(self) -> int:
        return len(self.results[0].accuracies)

    @property
    def best(self) -> Result:
        """The best candidate that was trained without failure; ``StopIteration`` where none was."""
        return next(result for result in self.results if not result.failures)


def write(report: Report, folder: Path) -> None:
    """Write all files into ``folder``."""
    _write_csv(report.results, folder / TABLE)
    figures = {
        "config": report.config, "overrides": report.overrides, "data": report.data,
        "folds": report.folds, "results": [asdict(result) for result in report.results],
    }  # fmt: skip
    (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _draw(report, folder / PICTURE)
    _write_best(report, folder / BEST)


def table(report: Report) -> Table:
    """The best ``SHOWN`` candidates: accuracies as percentages, and the seconds of all folds."""
    title = f"{report.data}: accuracy in {report.folds} folds, each left out of training once"
    filled = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    filled.add_column("rank", justify="right")
    for key in report.results[0].values:
        filled.add_column(escape(key.replace(".", ".\n")), overflow="fold")
    for name in ("mean", "deviation", "worst", "seconds"):
        filled.add_column(name, justify="right")
    for result in report.results[:SHOWN]:
        shares = (result.mean, result.deviation, min(result.accuracies))
        figures = [*(f"{share:.2%}" for share in shares), f"{result.seconds:.1f}"]
        if result.failures:
            figures = [f"failed: {escape(result.failures[0])}"]
        filled.add_row(str(result.rank), *map(escape, result.values.values()), *figures)
    return filled


def best_candidate(report: Report) -> Candidate:
    """The candidate of ``report.best``, which has its whole configuration."""
    values = report.best.values
    return next(candidate for candidate in report.plan.candidates if candidate.values == values)


def _write_csv(results: Sequence[Result], path: Path) -> None:
    folds = [f"fold_{fold}" for fold in range(1, len(results[0].accuracies) + 1)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        keys = list(results[0].values)
        writer.writerow(["rank", *keys, "mean", "deviation", *folds, "seconds", "failure"])
        for result in results:
            seconds, failure = round(result.seconds, 3), "; ".join(result.failures)
            figures = result.mean, result.deviation, *result.accuracies, seconds
            writer.writerow([result.rank, *result.values.values(), *figures, failure])


def _write_best(report: Report, path: Path) -> None:
    candidate, best = best_candidate(report), report.best
    accuracy = f"accuracy {best.mean:.4f}, standard deviation {best.deviation:.4f}"
    path.write_text(
        f"# {candidate.name}\n"
        f"# {accuracy}, over {report.folds} folds\n"
        f"{config_file.as_yaml(candidate.config)}",
        encoding="utf-8",
    )


def _draw(report: Report, path: Path) -> None:
    """A heat map for a grid of two keys, parallel coordinates for anything else.

    Candidates that failed leave an empty cell, or have no line.
    """
    keys = list(report.results[0].values)
    complete = [result for result in report.results if not result.failures]
    if report.is_grid and len(keys) == 2:
        title = f"accuracy, {report.folds} folds of {report.data}"
        means = {tuple(result.values.values()): result.mean for result in complete}
        rows, columns = (_distinct(report.plan.candidates, key) for key in keys)
        cells = [[means.get((row, column), math.nan) for column in columns] for row in rows]
        axes = (keys[0], rows), (keys[1], columns)
        pictures.heat_map(np.array(cells), *axes, path, title)
        return
    values = {key: [result.values[key] for result in complete] for key in keys}
    pictures.parallel_coordinates(values, [result.mean for result in complete], path, "accuracy")


def _distinct(candidates: Sequence[Candidate], key: str) -> list[str]:
    """The values of ``key`` in the order in which they were given."""
    return list(dict.fromkeys(candidate.values[key] for candidate in candidates))
