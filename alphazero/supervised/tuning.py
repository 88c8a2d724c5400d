"""Candidates compared by k-fold cross-validation.

The training examples of a configuration, those that it would hold back to validate on among them,
are cut into k folds with the same share of every class. Each candidate is trained k times, on all
folds but one, and its accuracy in that one counts. Test examples are never looked at. Which words
of texts are known is told by all training texts, those of the fold left out among them.

A trial, one candidate and one fold, depends on nothing but its arguments. Where and when trials run
is up to a function like ``map`` that ``search`` is given.
"""

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import config_file
from alphazero.config_file import ConfigError
from alphazero.nn import extras, fit, models
from alphazero.nn.fit import Examples
from alphazero.nn.settings import GAN
from alphazero.nn.training import Diverged
from alphazero.supervised import tasks
from alphazero.supervised.candidates import Candidate, untracked
from alphazero.supervised.config import Images, SupervisedConfig

MISSING = extras.missing("tuning needs scikit-learn", "supervised")


class Pool(NamedTuple):
    """What folds are cut from: every training example, in an order that the seed decides."""

    name: str
    examples: Examples
    classes: int
    shape: tuple[int, ...]
    """As ``models.build`` takes it."""
    vectors: NDArray[np.float32] | None = None
    """``[V, D]`` that embeddings begin with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    count: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate's training without one fold."""

    key: str
    """Of all that its score depends on, the examples too: equal keys, equal scores."""
    config: SupervisedConfig
    folds: Folds
    fold: int


class Score(NamedTuple):
    """What came of a trial, in plain types."""

    key: str
    accuracy: float
    """In the fold that was left out; 0 where training failed."""
    epochs: int
    seconds: float
    failure: str = ""
    """Why there is nothing to measure, in one line."""


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate's place in the table, in plain types."""

    rank: int
    """From 1, the best mean accuracy; of equal ones the candidate named first."""
    values: dict[str, str]
    """What was searched, by key."""
    mean: float
    deviation: float
    """Standard deviation over the folds (of the population, as scikit-learn's)."""
    accuracies: tuple[float, ...]
    seconds: float
    """Of all its trials together."""
    failures: tuple[str, ...] = ()


RunAll = Callable[
    [Callable[[Trial, Pool], Score], Sequence[Trial], Sequence[Pool]], Iterable[Score]
]
"""Calls a function with each trial and its pool, like ``map``; scores may come in any order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All trials of a search, ``[candidate][fold]``, and the pool of each candidate."""

    candidates: Sequence[Candidate]
    trials: list[list[Trial]]
    pools: list[Pool]

    def missing(self, kept: Mapping[str, Score]) -> tuple[list[Trial], list[Pool]]:
        """The trials that have no score yet, and the pool of each: no key twice."""
        pairs = {
            trial.key: (trial, pool)
            for row, pool in zip(self.trials, self.pools, strict=True)
            for trial in row
            if trial.key not in kept
        }
        return [trial for trial, _ in pairs.values()], [pool for _, pool in pairs.values()]


def plan(
    base: SupervisedConfig,
    candidates: Sequence[Candidate],
    folds: int,
    report: Callable[[str], object] = print,
) -> Plan:
    """Load what ``candidates``, all variations of ``base``, are measured on.

    Folds are those of ``base.seed``: a candidate with a seed of its own is trained with it, on the
    same folds. ``ValueError`` where a class has fewer examples than there are folds, and a line
    for each candidate whose network does not fit the data.
    """
    found: dict[SupervisedConfig, tuple[Pool, str]] = {}
    cut, rows, pools = Folds(count=folds, seed=base.seed), [], []
    for candidate in candidates:
        view = _view(candidate.config, base)
        if view not in found:
            pool = load(view, report)
            split(pool.examples.labels, cut)
            found[view] = pool, _digest(pool)
        pool, content = found[view]
        pools.append(pool)
        rows.append([_trial(candidate.config, cut, fold, content) for fold in range(folds)])
    _check_networks(candidates, pools)
    return Plan(candidates, rows, pools)


def search(
    planned: Plan,
    run_all: RunAll = map,
    kept: Mapping[str, Score] | None = None,
    finished: Callable[[Score], object] = lambda score: None,
) -> list[Result]:
    """Run every trial without a score in ``kept``; all results, the best first.

    ``finished`` hears of each score as soon as it is there.
    """
    scores = dict(kept or {})
    trials, pools = planned.missing(scores)
    for score in run_all(run, trials, pools) if trials else ():
        scores[score.key] = score
        finished(score)
    return ranked(planned, scores)


def load(config: SupervisedConfig, report: Callable[[str], object] = print) -> Pool:
    """All training examples of ``config``; errors as of ``tasks.load``."""
    task = tasks.load(config, report)
    parts = zip(task.train, task.validation, strict=True)
    vectors = tasks.pretrained(config, task.vocabulary)
    return Pool(
        task.name,
        Examples(*(np.concatenate(part) for part in parts)),
        len(task.classes),
        task.shape,
        vectors,
    )


def split(
    labels: NDArray[np.int64], folds: Folds
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train on and rows to measure in, for each fold, the same share of every class.

    They are those of scikit-learn's ``StratifiedKFold`` with the same seed. ``ValueError`` where
    a class has fewer examples than there are folds.
    """
    try:
        from sklearn.model_selection import StratifiedKFold
    except ImportError:
        raise ValueError(MISSING) from None
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if not 2 <= folds.count <= fewest:
        raise ValueError(
            f"folds: got {folds.count}, should be from 2 to {fewest}, the examples of the "
            "smallest class"
        )
    cut = StratifiedKFold(folds.count, shuffle=True, random_state=folds.seed)
    return list(cut.split(labels, labels))


def run(trial: Trial, pool: Pool) -> Score:
    """Train on all folds but one and measure in that one."""
    began = time.monotonic()
    rows, measured = split(pool.examples.labels, trial.folds)[trial.fold]
    try:
        accuracy, epochs = _accuracy(trial.config, pool, rows, measured)
        failure = ""
    except Diverged as error:
        accuracy, epochs, failure = 0.0, 0, str(error)
    return Score(trial.key, accuracy, epochs, round(time.monotonic() - began, 3), failure)


def ranked(planned: Plan, scores: Mapping[str, Score]) -> list[Result]:
    """The table, the best first; ``KeyError`` where a trial has no score."""
    found = [[scores[trial.key] for trial in row] for row in planned.trials]
    means = [statistics.fmean(score.accuracy for score in row) for row in found]
    order = sorted(range(len(means)), key=lambda index: -means[index])
    return [
        _result(rank, planned.candidates[index].values, found[index])
        for rank, index in enumerate(order, 1)
    ]


def _check_networks(candidates: Sequence[Candidate], pools: Sequence[Pool]) -> None:
    problems, seen = [], set()
    for candidate, pool in zip(candidates, pools, strict=True):
        if (candidate.config.model, id(pool)) in seen:
            continue
        seen.add((candidate.config.model, id(pool)))
        try:
            _network(candidate.config, pool)
        except ValueError as error:
            problems.append(f"{candidate.name}: {error}")
    if problems:
        raise ConfigError(problems)


def _result(rank: int, values: dict[str, str], scores: Sequence[Score]) -> Result:
    accuracies = tuple(score.accuracy for score in scores)
    return Result(
        rank,
        values,
        statistics.fmean(accuracies),
        statistics.pstdev(accuracies),
        accuracies,
        sum(score.seconds for score in scores),
        tuple(dict.fromkeys(score.failure for score in scores if score.failure)),
    )


def _accuracy(
    config: SupervisedConfig, pool: Pool, rows: NDArray[np.int64], measured: NDArray[np.int64]
) -> tuple[float, int]:
    """In ``measured`` after training on ``rows``, and the epochs it took.

    As ``supervised train`` does, training holds ``data.validation`` of its examples back to choose
    the best epoch by and to stop early.
    """
    from sklearn.model_selection import train_test_split

    parts = train_test_split(rows, test_size=config.data.validation, random_state=config.seed)
    learned, held = (tasks.take(pool.examples, np.asarray(part)) for part in parts)
    settings = replace(config.fit, threads=1) if config.fit.threads == "auto" else config.fit
    if settings.precision == "auto":  # a stopwatch would make equal trials unequal
        settings = replace(settings, precision="float32")
    model = _network(config, pool)
    prepare = tasks.prepare(config)
    steps = fit.planned_steps(len(learned.labels), settings)
    trainer = fit.Trainer(model, prepare, config.optimizer, settings, steps, config.seed)
    history = fit.fit(trainer, learned, held)
    wanted = tasks.take(pool.examples, measured)
    predicted = fit.predict(model, prepare, wanted.inputs).argmax(1)
    return float((predicted == wanted.labels).mean()), len(history)


def _network(config: SupervisedConfig, pool: Pool) -> Any:
    assert not isinstance(config.model, GAN)  # candidates are not
    # A copy: memory that processes share cannot be written to, of which torch warns.
    vectors = None if pool.vectors is None else pool.vectors.copy()
    return models.build(config.model, pool.shape, pool.classes, config.seed, vectors)


def _view(config: SupervisedConfig, base: SupervisedConfig) -> SupervisedConfig:
    """``config`` as far as its examples depend on it; order and number are those of ``base``."""
    data: Any = replace(config.data, validation=base.data.validation)
    if isinstance(data, Images):
        return replace(base, data=replace(data, shift=0))
    model: Any = base.model
    embedding = replace(model.embedding, vectors=tasks.embedding(config).vectors)
    return replace(base, data=data, model=replace(model, embedding=embedding))


def _trial(config: SupervisedConfig, folds: Folds, fold: int, content: str) -> Trial:
    parts = [config_file.as_dict(untracked(config)), folds.count, folds.seed, fold, content]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Trial(key, config, folds, fold)


def _digest(pool: Pool) -> str:
    """Of the arrays, so that a score is not taken for that of other data."""
    content = hashlib.sha256()
    for array in (*pool.examples, pool.vectors):
        if array is not None:
            content.update(f"{array.dtype} {array.shape}".encode())
            content.update(array.tobytes())
    return content.hexdigest()
