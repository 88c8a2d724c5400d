"""The search for settings, as ``alphazero supervised tune`` runs it.

From top to bottom: candidates from the options, a plan of all trials, the trials without a score,
results. Finished trials are in ``trials.jsonl``, so that a search can be stopped and continued.
"""

import functools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from alphazero.errors import RunFailed
from alphazero.supervised import candidates, config
from alphazero.supervised.candidates import Candidate, Choices
from alphazero.supervised.config import SupervisedConfig
from workers.runs import run_directory
from workers.terminal import output, progress, signals

if TYPE_CHECKING:
    from alphazero.supervised.tuning import Plan, Result, RunAll, Score
    from workers.supervised.trial_log import TrialLog


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """The settings to search, the number of folds, and where trials run."""

    config: str
    """A name in ``configs/supervised`` or the path of a YAML file."""
    overrides: Sequence[str] = ()
    """``key.sub=value`` texts that all candidates share."""
    grids: Sequence[str] = ()
    """``key.sub=A,B`` texts: values to try."""
    ranges: Sequence[str] = ()
    """``key.sub=LOW..HIGH`` texts, for random candidates only."""
    random: int | None = None
    """Number of random candidates; None: every combination of ``grids``."""
    folds: int = 3
    ray: str = "off"
    """"off", "local" or the address of a Ray cluster."""
    parallel: int | None = None
    """Trials at a time; None: one per core. 1 without Ray: in this process."""
    folder: Path
    """For all results: a new one, or that of a search to be continued."""


def main(options: TuneOptions) -> int:
    """Search and write all results; the exit status.

    ``ValueError`` for bad input, before anything is trained; ``RunFailed`` where every candidate
    failed or trials cannot run.
    """
    base, tried = choose_candidates(options)
    _check_ray(options.ray)
    # These bring torch, which takes seconds: errors above are reported before.
    from alphazero.supervised import pictures, tuning
    from workers.supervised.trial_log import TrialLog

    pictures.check()
    log = TrialLog(options.folder)
    # Candidates that read their data differently each report it; the cache prints a line once.
    plan = tuning.plan(base, tried, options.folds, functools.cache(print))
    try:
        with output.tolerated(), log, signals.handled(signals.interrupt):
            results = _search(options, plan, log)
    except KeyboardInterrupt:
        done, total = _progress(plan, log.scores)
        print(f"\nstopped: {done} of {total} trials are finished and kept in {options.folder}; "
              "the same command continues")  # fmt: skip
        return run_directory.INTERRUPTED
    return _finish(options, plan, results)


def choose_candidates(options: TuneOptions) -> tuple[SupervisedConfig, list[Candidate]]:
    """The configuration that all candidates vary, and the candidates, all of them valid.

    ``ValueError`` (``ConfigError``) with one line for each mistake. Imports no torch.
    """
    axes = candidates.axes(options.grids, options.ranges)
    if not axes:
        raise ValueError("nothing to try: give --grid key.sub=A,B or --range key.sub=LOW..HIGH")
    if options.folds < 2:
        raise ValueError("--folds: one fold leaves nothing to train on: give 2 or more")
    name, overrides = options.config, options.overrides
    base = config.load(name, overrides)
    if options.random:
        return base, candidates.draw(name, overrides, axes, options.random, base.seed)
    choices = [axis for axis in axes if isinstance(axis, Choices)]
    if len(choices) < len(axes):
        raise ValueError("--range: there is no end to what lies between: give --random N, too")
    return base, candidates.grid(name, overrides, choices)


def _check_ray(ray: str) -> None:
    from alphazero.config_checks import check_ray  # imports Numba

    try:
        check_ray(ray)
    except ValueError as error:
        raise ValueError(f"--ray: {error}") from None


def _search(options: TuneOptions, plan: "Plan", log: "TrialLog") -> list["Result"]:
    """Run the trials that have no score in ``log`` and add theirs; all results, the best first."""
    from alphazero.supervised import tuning

    done, total = _progress(plan, log.scores)
    run_all, where = _runner(options, total - done)
    print(f"{len(plan.candidates)} candidates, {options.folds} folds: {total} trials, {done} of "
          f"them finished already; {where}")  # fmt: skip
    with progress.bars() as bar:
        bar("trials", total, done)

        def on_score(score: "Score") -> None:
            log.add(score)
            done, total = _progress(plan, log.scores)
            bar("trials", total, done)

        return tuning.search(plan, run_all, log.scores, on_score)


def _runner(options: TuneOptions, missing: int) -> tuple["RunAll", str]:
    """The function that runs trials, and a description of where it runs them."""
    from alphazero.nn.device import cores
    from workers.supervised import trials

    if options.ray not in ("off", "auto"):
        return trials.on_ray(options.ray, options.parallel), f"on Ray ({options.ray})"
    parallel = max(1, min(options.parallel or cores(), missing))
    where = "in this process" if parallel == 1 else f"in {parallel} processes"
    return trials.in_processes(parallel), where


def _progress(plan: "Plan", scores: Mapping[str, "Score"]) -> tuple[int, int]:
    """How many trials of ``plan`` have a score, and how many there are."""
    finished = [trial.key in scores for row in plan.trials for trial in row]
    return sum(finished), len(finished)


def _finish(options: TuneOptions, plan: "Plan", ranked: Sequence["Result"]) -> int:
    """Write all files and print the table; the exit status 0."""
    from workers.supervised import results

    if all(result.failures for result in ranked):
        raise RunFailed(f"every candidate failed, the first because {ranked[0].failures[0]}")
    report = results.Report(
        config=options.config, overrides=options.overrides, plan=plan, results=ranked,
        is_grid=options.random is None,
    )  # fmt: skip
    results.write(report, options.folder)
    Console().print(results.table(report))
    if len(ranked) > results.SHOWN:
        print(f"all {len(ranked)} are in {options.folder / results.TABLE}")
    best = shlex.quote(str(options.folder / results.BEST))
    print(f"the best: {results.best_candidate(report).name}: {report.best.mean:.2%}")
    print(f"train it: alphazero supervised train {best}")
    return 0
