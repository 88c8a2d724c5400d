"""Draw learning curves of runs: mistakes, Elo and losses over minutes; and matches of stages.

    python docs/curves.py keep runs/MY_RUN connect_four_seed_0   # to docs/data/..., some ten KB
    python docs/curves.py keep runs/MY_RUN connect_four_seed_0 --elo 100     # rate checkpoints too
    python docs/curves.py                                        # draw docs/curves_*.svg of all
    python docs/curves.py --folder mine keep ...                 # to mine/data; likewise to draw

Needs matplotlib: `python -m pip install '.[dev]'` in the source folder. There is one picture for
each kind of metric that any of the runs has, with a panel for each run. A rating takes about a
minute per 100 games. Train with `training.keep_checkpoints=100`, or the older checkpoints are
deleted during the run.

The measurements of `data/rungs.csv`, where there is one, become `curves_rungs.svg`. Each names the
entry of docs/experiments.md that it is from, and quotes it.
"""

import argparse
import csv
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

import games
from alphazero import checkpoint, metrics_file, sealed
from alphazero.judging import ladder, mistakes, players

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

RUNGS = "rungs"
"""Name of the measured matches of stages, in ``data`` and as a picture."""
SIGNS = "right signs"
"""A figure without an interval: every opening is counted, not a sample of them."""
TICKS = (0, 25, 50, 75, 90, 100)

GREY = "#808080"
COLOURS = ("#2a86d1", "#cc6a1f", "#2f9160", "#b662c4", "#8f7f10", "#d9537f")
"""Each has a contrast of at least 3 to 1 with white and with a dark page: the background is
transparent."""
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""Curves differ in style as well as in colour, for readers who do not see the colours."""

Rows = list[dict[str, float]]
Measurement = dict[str, str]
"""A line of ``rungs.csv``: ``percent`` is empty where ``won``, ``drawn`` and ``lost`` are known."""


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
    figure, panels = _pyplot().subplots(
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
    _save(figure, path)
    return True


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update(_look())
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    _pyplot().close(figure)


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


def read_measurements(path: Path) -> list[Measurement]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def share(row: Measurement) -> tuple[float, float, float]:
    """The share of the points, and the ends of its 95 % interval; of different games if known."""
    if row["percent"]:
        points = float(row["percent"]) / 100
    else:
        points = (float(row["won"]) + float(row["drawn"]) / 2) / float(row["games"])
    trials = float(row["different"] or row["games"])
    return points, *mistakes.wilson(points * trials, trials)


def draw_measurements(rows: list[Measurement], path: Path) -> None:
    """Draw a picture with a panel for each game, and in it a curve for each way of measuring."""
    panels: dict[str, dict[str, list[Measurement]]] = {}
    for row in rows:
        panels.setdefault(row["game"], {}).setdefault(label(row), []).append(row)
    height = math.ceil(len(panels) / 2)
    figure, axes = _pyplot().subplots(height, 2, figsize=(9.4, 2.7 * height), squeeze=False)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    for panel, (game, curves) in zip(axes.flat, panels.items(), strict=False):
        _measured(panel, game, curves)
    _save(figure, path)


def label(row: Measurement) -> str:
    """The name of a measurement's curve: measurements with the same name can be compared."""
    simulations = int(row["simulations"])
    search = f"{simulations:,} simulations" if simulations else "network alone"
    return ", ".join(part for part in (row["agent"], row["opponent"], search) if part)


def gid(game: str, name: str) -> str:
    """A curve's identifier in the picture."""
    return re.sub(r"\W+", "_", f"{game} {name}")


def _measured(panel: Any, game: str, curves: dict[str, list[Measurement]]) -> None:
    longest = max(float(row["minutes"]) for rows in curves.values() for row in rows)
    beside: Counter[str] = Counter()
    for index, (name, rows) in enumerate(curves.items()):
        minutes = []
        for row in rows:  # those of the same minute are drawn side by side
            minutes.append(float(row["minutes"]) + 0.015 * longest * beside[row["minutes"]])
            beside[row["minutes"]] += 1
        points, low, high = (100 * np.array([share(row) for row in rows])).T
        style = {"color": COLOURS[index], "linestyle": STYLES[index]}
        line = panel.plot(minutes, points, label=name, marker="o", markersize=4, **style)[0]
        line.set_gid(gid(game, name))
        if rows[0]["figure"] != SIGNS:
            panel.vlines(minutes, low, high, color=COLOURS[index], linewidth=1.2)
    figures = {row["figure"]: row["time"] for rows in curves.values() for row in rows}
    panel.set_title(game)
    panel.set_xlabel("CPU-minutes" if "CPU" in figures.values() else "minutes of the clock")
    panel.set_ylabel(f"{' or '.join(figures)}, %", fontsize=9)
    panel.set_xlim(0, 1.1 * longest)
    if "points" not in figures:
        panel.set_ylim(0, 1.7 * panel.get_ylim()[1])
        panel.legend(fontsize=8, loc="upper right")
        return
    panel.set_ylim(0, 104)
    panel.set_yticks(TICKS)
    panel.legend(fontsize=8, loc="lower right")
    if len(figures) == 1:
        right = panel.secondary_yaxis("right")
        right.set_yticks(TICKS, [elo(percent / 100) for percent in TICKS])
        right.set_ylabel("Elo above the opponent", fontsize=9)


def elo(points: float) -> str:
    """The difference in Elo that a share of the points is worth; empty where it has no bound."""
    return f"{400 * math.log10(points / (1 - points)):+.0f}" if 0 < points < 1 else ""


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
        if options.name == RUNGS:
            print(f"{RUNGS}.csv holds measured matches; give another name", file=sys.stderr)
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
    paths = sorted((options.folder / "data").glob("*.csv"))
    runs = {path.stem: read(path) for path in paths if path.stem != RUNGS}
    if not paths:
        print(f"{options.folder / 'data'} holds no runs; `keep` puts one there", file=sys.stderr)
        return 2
    for kind in PICTURES:
        path = options.folder / f"curves_{kind}.svg"
        if draw(runs, kind, path):
            print(path)
    measured = options.folder / "data" / f"{RUNGS}.csv"
    if measured.is_file():
        path = options.folder / f"curves_{RUNGS}.svg"
        draw_measurements(read_measurements(measured), path)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
