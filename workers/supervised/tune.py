"""What ``alphazero supervised tune`` does: tries settings out and writes the best one down."""

import argparse
import csv
import functools
import json
import math
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alphazero import config_file
from alphazero.errors import RunFailed
from alphazero.supervised import candidates, config
from alphazero.supervised.candidates import Candidate, Choices
from alphazero.supervised.config import SupervisedConfig
from workers.runs import run_directory
from workers.terminal import progress

if TYPE_CHECKING:
    from alphazero.supervised.tuning import Plan, Result, RunAll, Score

TRIALS, TABLE, FIGURES = "trials.jsonl", "results.csv", "results.json"
BEST, PICTURE = "best.yaml", "results.png"
SHOWN = 20
"""Rows of the table on the terminal; the file has all."""


def main(options: argparse.Namespace) -> int:
    """The process's exit status; ``ValueError`` for bad input, before anything is trained."""
    base, found = _candidates(options)
    _check_ray(options.ray)
    from alphazero.supervised import pictures, tuning

    pictures.check()
    kept = Kept(options.to)
    # Candidates that read the data in other ways would repeat what there is to say of them.
    plan = tuning.plan(base, found, options.folds, functools.cache(print))
    total = len(found) * options.folds
    try:
        with kept, _terminable():
            results = _search(options, plan, kept, total)
    except KeyboardInterrupt:
        print(f"\nstopped: {_done(plan, kept.scores)} of {total} trials are finished and kept in "
              f"{options.to}; the same command goes on")  # fmt: skip
        return run_directory.INTERRUPTED
    return _report(options, plan, results)


def _search(options: argparse.Namespace, plan: "Plan", kept: "Kept", total: int) -> list["Result"]:
    from alphazero.supervised import tuning

    done = _done(plan, kept.scores)
    run_all, where = _runner(options, total - done)
    print(f"{len(plan.candidates)} candidates, {options.folds} folds: {total} trials, {done} of "
          f"them finished already; {where}")  # fmt: skip
    with progress.bars() as report:
        report("trials", total, done)

        def finished(score: "Score") -> None:
            kept.add(score)
            report("trials", total, _done(plan, kept.scores))

        return tuning.search(plan, run_all, kept.scores, finished)


def _candidates(options: argparse.Namespace) -> tuple[SupervisedConfig, list[Candidate]]:
    axes = candidates.axes(options.grid, options.ranges)
    if not axes:
        raise ValueError("nothing to try: give --grid key.sub=A,B or --range key.sub=LOW..HIGH")
    if options.folds < 2:
        raise ValueError("--folds: one fold leaves nothing to train on: give 2 or more")
    base = config.load(options.config, options.overrides)
    if options.random:
        return base, candidates.draw(
            options.config, options.overrides, axes, options.random, base.seed
        )
    choices = [axis for axis in axes if isinstance(axis, Choices)]
    if len(choices) < len(axes):
        raise ValueError("--range: there is no end to what lies between: give --random N, too")
    return base, candidates.grid(options.config, options.overrides, choices)


def _check_ray(ray: str) -> None:
    from alphazero.config import check_ray  # which brings Numba

    try:
        check_ray(ray)
    except ValueError as error:
        raise ValueError(f"--ray: {error}") from None


def _runner(options: argparse.Namespace, missing: int) -> tuple["RunAll", str]:
    """What runs trials, and a word for it."""
    from alphazero.nn.device import cores
    from workers.supervised import trials

    if options.ray not in ("off", "auto"):
        return trials.on_ray(options.ray, options.parallel), f"on Ray ({options.ray})"
    parallel = max(1, min(options.parallel or cores(), missing))
    where = "in this process" if parallel == 1 else f"in {parallel} processes"
    return trials.in_processes(parallel), where


class Kept:
    """The scores in a folder's ``trials.jsonl``, one a line, so that none is computed twice."""

    def __init__(self, folder: Path):
        """``ValueError`` where ``folder`` holds something else, or the file is damaged."""
        from alphazero.supervised.tuning import Score

        self._path = folder / TRIALS
        empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not (empty or self._path.is_file()):
            raise ValueError(f"--to: {folder} holds something else already: give a new folder")
        lines = b"" if empty else self._path.read_bytes()
        # Whoever was killed while it wrote a line did not end it.
        self._size = lines.rfind(b"\n") + 1
        self.scores: dict[str, Score] = {}
        for number, line in enumerate(lines[: self._size].splitlines(), 1):
            try:
                score = Score(**json.loads(line))
            except (ValueError, TypeError):
                raise ValueError(
                    f"{self._path}:{number}: not a finished trial: delete the line"
                ) from None
            self.scores[score.key] = score

    def add(self, score: "Score") -> None:
        self._file.write(json.dumps(score._asdict()).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.scores[score.key] = score

    def __enter__(self) -> "Kept":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        self._file.truncate(self._size)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends as Ctrl-C does: with the processes that were started here."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _done(plan: "Plan", scores: Mapping[str, "Score"]) -> int:
    return sum(trial.key in scores for row in plan.trials for trial in row)


def _report(options: argparse.Namespace, plan: "Plan", results: Sequence["Result"]) -> int:
    """Print the table and write all files."""
    if all(result.failures for result in results):
        raise RunFailed(f"every candidate failed, the first because {results[0].failures[0]}")
    best = next(result for result in results if not result.failures)
    _write(options, plan, results)
    chosen = next(each for each in plan.candidates if each.values == best.values)
    _write_best(options.to / BEST, chosen, best, options.folds)
    Console().print(_table(results, plan.pools[0].name))
    if len(results) > SHOWN:
        print(f"all {len(results)} are in {options.to / TABLE}")
    print(f"the best: {chosen.name}: {best.mean:.2%}\n"
          f"train it: alphazero supervised train {options.to / BEST}")  # fmt: skip
    return 0


def _table(results: Sequence["Result"], data: str) -> Table:
    folds = len(results[0].accuracies)
    title = f"{data}: accuracy in {folds} folds, each left out of training once"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rank", justify="right")
    for key in results[0].values:
        table.add_column(escape(key.replace(".", ".\n")), overflow="fold")
    for name in ("mean", "deviation", "worst", "seconds"):
        table.add_column(name, justify="right")
    for result in results[:SHOWN]:
        shares = (result.mean, result.deviation, min(result.accuracies))
        figures = [*(f"{share:.2%}" for share in shares), f"{result.seconds:.1f}"]
        if result.failures:
            figures = [f"failed: {escape(result.failures[0])}"]
        table.add_row(str(result.rank), *map(escape, result.values.values()), *figures)
    return table


def _write(options: argparse.Namespace, plan: "Plan", results: Sequence["Result"]) -> None:
    folder, keys = options.to, list(results[0].values)
    folds = [f"fold_{fold}" for fold in range(1, len(results[0].accuracies) + 1)]
    with open(folder / TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["rank", *keys, "mean", "deviation", *folds, "seconds", "failure"])
        for each in results:
            figures = each.mean, each.deviation, *each.accuracies, round(each.seconds, 3)
            failure = "; ".join(each.failures)
            writer.writerow([each.rank, *each.values.values(), *figures, failure])
    figures = {
        "config": options.config, "overrides": options.overrides, "data": plan.pools[0].name,
        "folds": options.folds, "results": [asdict(each) for each in results],
    }  # fmt: skip
    (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    _draw(results, plan, options.random is None, folder / PICTURE)


def _write_best(path: Path, chosen: Candidate, best: "Result", folds: int) -> None:
    path.write_text(
        f"# {chosen.name}\n"
        f"# accuracy {best.mean:.4f}, standard deviation {best.deviation:.4f}, over {folds} folds\n"
        f"{config_file.as_yaml(chosen.config)}",
        encoding="utf-8",
    )


def _draw(results: Sequence["Result"], plan: "Plan", is_grid: bool, path: Path) -> None:
    """A heat map of a grid of two keys; parallel coordinates of anything else. Candidates that
    failed leave a cell empty, or are left out."""
    from alphazero.supervised import pictures

    title = f"accuracy, {len(results[0].accuracies)} folds of {plan.pools[0].name}"
    keys = list(results[0].values)
    whole = [each for each in results if not each.failures]
    if is_grid and len(keys) == 2:
        means = {tuple(each.values.values()): each.mean for each in whole}
        rows, columns = (_distinct(plan, key) for key in keys)
        table = np.array([[means.get((row, each), math.nan) for each in columns] for row in rows])
        pictures.heat_map(table, (keys[0], rows), (keys[1], columns), path, title)
        return
    values = {key: [each.values[key] for each in whole] for key in keys}
    pictures.parallel_coordinates(values, [each.mean for each in whole], path, "accuracy")


def _distinct(plan: "Plan", key: str) -> list[str]:
    return list(dict.fromkeys(each.values[key] for each in plan.candidates))
