"""Draw learning curves of runs: mistakes, Elo and losses over minutes.

    python docs/curves.py keep runs/MY_RUN connect_four_seed_0   # to docs/data/..., some ten KB
    python docs/curves.py keep runs/MY_RUN connect_four_seed_0 --elo 100     # rate checkpoints too
    python docs/curves.py                                        # draw docs/curves_*.svg of all
    python docs/curves.py --folder mine keep ...                 # to mine/data; likewise to draw

Needs matplotlib: `python -m pip install '.[dev]'` in the source folder. There is one picture for
each kind of metric that any of the runs has, with a panel for each run. A rating takes about a
minute per 100 games. Train with `training.keep_checkpoints=100`, or the older checkpoints are
deleted during the run.
"""

import argparse
import csv
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import games
from alphazero import checkpoint, metrics_file, sealed
from alphazero.judging import ladder, players

DOCS = Path(__file__).parent
POINTS = 100
"""Points of one curve; each is the mean of the values in its span of time."""
RATED = 10
"""Checkpoints of a run that are rated, including the last one."""
SIMULATIONS = 200
"""Simulations of the player with search; the network alone is rated too."""

PICTURES = {
    "mistakes": (r"(\w*_)?mistakes/\w+", "mistakes, % of the positions"),
    "elo": (r"ladder_elo/\w+", "Elo on the ladder"),
    "losses": (r"(policy_|value_)?loss", "loss"),
}
"""For each picture the pattern of its metrics' names, and the label of its axis."""

GREY = "#808080"
COLOURS = ("#2a86d1", "#cc6a1f", "#2f9160", "#b662c4", "#8f7f10", "#d9537f")
"""Each has a contrast of at least 3 to 1 with white and with a dark page: the background is
transparent."""
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""Curves differ in style as well as in colour, for readers who do not see the colours."""

Rows = list[dict[str, float]]


def thin(lines: Iterable[dict[str, Any]], points: int = POINTS) -> Rows:
    """Reduce the lines of a ``metrics.jsonl`` to ``points`` rows: means over equal spans of time.

    Keeps ``minutes``, ``games``, ``positions`` and the metrics of ``PICTURES``. A line without
    minutes, such as that of a match, has the minutes of the line before it.
    """
    rows, minutes = [], 0.0
    for line in lines:
        minutes = line.get("minutes", minutes)
        rows.append(line | {"minutes": minutes})
    span = minutes / points or 1.0
    spans: dict[int, Rows] = {}
    for row in rows:
        spans.setdefault(min(points, math.ceil(row["minutes"] / span)), []).append(row)
    kept = ["minutes", "games", "positions", *_shown(rows)]
    return [_mean(group, kept) for _, group in sorted(spans.items())]


def _shown(rows: Rows) -> list[str]:
    patterns = [pattern for pattern, _ in PICTURES.values()]
    names = sorted({name for row in rows for name in row})
    return [name for pattern in patterns for name in names if re.fullmatch(pattern, name)]


def _mean(rows: Rows, names: list[str]) -> dict[str, float]:
    values = {name: [row[name] for row in rows if row.get(name) is not None] for name in names}
    return {name: fmean(numbers) for name, numbers in values.items() if numbers}


def rate(run: Path, elo_games: int) -> Iterator[dict[str, float]]:
    """Rate up to ``RATED`` of a run's checkpoints on the ladder; yield a row for each.

    A row holds the checkpoint's minutes and two Elo ratings from ``elo_games`` games each: of the
    network alone and of its search. ``ValueError``: there is no checkpoint, or the game has no
    ladder.
    """
    newest = checkpoint.load(run)
    game = games.make(newest.config.game)
    rungs = ladder.load(game)
    timed = [(line["step"], line["minutes"]) for line in _metrics(run) if "minutes" in line]
    paths = sealed.steps(newest.path.parent)
    chosen = np.unique(np.linspace(len(paths) - 1, 0, RATED).round().astype(int))
    for path in (paths[index] for index in chosen):
        step = checkpoint.load(path).step
        row = {"minutes": float(np.interp(step, *zip(*timed, strict=True)))}
        for kind, spec in (
            ("network_alone", f"policy:path={path}"),
            (f"{SIMULATIONS}_simulations", f"checkpoint:path={path},simulations={SIMULATIONS}"),
        ):
            rating = ladder.rate(game, players.make(spec, game), rungs, elo_games)
            row[f"ladder_elo/{kind}"] = rating.elo
        yield row


def _rows(run: Path, elo_games: int | None) -> Iterator[Rows]:
    """The rows of ``run``, yielded again after each rating, so that an error loses no rating."""
    rows = thin(_metrics(run))
    yield rows
    if elo_games is not None:
        for row in rate(run, elo_games):
            rows.append(row)
            yield rows


def _metrics(run: Path) -> list[dict[str, Any]]:
    return metrics_file.read(run / "metrics.jsonl")


def write(rows: Rows, path: Path) -> None:
    """Write ``rows`` as CSV; values that a row lacks are empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        table.writerows({name: f"{value:.5g}" for name, value in row.items()} for row in rows)


def read(path: Path) -> Rows:
    """Read rows that ``write`` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(text) for name, text in row.items() if text}
            for row in csv.DictReader(file)
        ]


def draw(runs: dict[str, Rows], kind: str, path: Path) -> bool:
    """Draw one picture with a panel for each run; False where no run has metrics of this kind."""
    pattern, label = PICTURES[kind]
    names = sorted({n for rows in runs.values() for row in rows for n in row})
    names = [name for name in names if re.fullmatch(pattern, name)]
    runs = {run: rows for run, rows in runs.items() if any(n in row for row in rows for n in names)}
    if not runs:
        return False
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(_look())
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        1, len(runs), figsize=(4.4 * len(runs) + 0.6, 3.4), sharey=True, squeeze=False
    )
    for panel, (run, rows) in zip(panels[0], runs.items(), strict=True):
        for index, name in enumerate(names):
            _curve(panel, rows, name, index)
        panel.set_title(run.replace("_", " "))
        panel.set_xlabel("minutes")
        panel.set_xlim(left=0)
    if kind == "mistakes":
        panels[0, 0].set_ylim(bottom=0)
    panels[0, 0].set_ylabel(label)
    panels[0, -1].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return True


def _curve(panel: Any, rows: Rows, name: str, index: int) -> None:
    points = [(row["minutes"], row[name]) for row in rows if name in row]
    if not points:
        return
    minutes, values = zip(*points, strict=True)
    if "mistakes" in name:
        values = [100 * value for value in values]
    style = {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)]}
    marker = "o" if len(points) < POINTS / 4 else None
    title = name.replace("/", ", ").replace("_", " ")
    panel.plot(minutes, values, label=title, marker=marker, markersize=3, **style)


def _look() -> dict[str, Any]:
    """Grey on a transparent background, readable on a light and on a dark page."""
    coloured = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(coloured, GREY),
        "grid.color": GREY, "grid.alpha": 0.25, "axes.grid": True,
        "axes.spines.top": False, "axes.spines.right": False,
        "savefig.transparent": True, "legend.framealpha": 0.0, "font.size": 11,
        "lines.linewidth": 1.8, "svg.fonttype": "none", "svg.hashsalt": "alphazero",
        "font.family": "sans-serif",
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", metavar="keep RUN NAME")
    parser.add_argument(
        "--folder", type=Path, default=DOCS, help="folder of data and pictures (docs)"
    )
    keep = commands.add_parser("keep", help="thin a run's metrics into docs/data/NAME.csv")
    keep.add_argument("run", type=Path)
    keep.add_argument("name")
    keep.add_argument(
        "--elo", type=int, metavar="GAMES", help="rate checkpoints by so many games each"
    )
    options = parser.parse_args(arguments)
    if options.command == "keep":
        if not (options.run / "metrics.jsonl").is_file():
            print(f"{options.run} holds no metrics.jsonl; give a run's directory", file=sys.stderr)
            return 2
        path = options.folder / "data" / f"{options.name}.csv"
        try:
            for rows in _rows(options.run, options.elo):
                write(sorted(rows, key=lambda row: row["minutes"]), path)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        print(path)
        return 0
    runs = {path.stem: read(path) for path in sorted((options.folder / "data").glob("*.csv"))}
    if not runs:
        print(f"{options.folder / 'data'} holds no runs; `keep` puts one there", file=sys.stderr)
        return 2
    for kind in PICTURES:
        path = options.folder / f"curves_{kind}.svg"
        if draw(runs, kind, path):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
