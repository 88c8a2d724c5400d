"""Comparing candidates by k-fold cross-validation.

All training examples of a configuration, those for validation included, are split into k folds with
the same share of every class. Each candidate is trained k times, each time on all folds but one,
and its accuracy is measured in that one. Test examples are not used. A text model's vocabulary is
that of all training texts, those of the fold left out included.

A trial is one candidate and one fold. It depends on its arguments only, so trials may run anywhere
and in any order: ``search`` is given a function like ``map`` that runs them.
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
from alphazero.nn.divergence import Diverged
from alphazero.nn.fit import Examples
from alphazero.nn.settings import GAN
from alphazero.supervised import tasks
from alphazero.supervised.candidates import Candidate, without_tracking
from alphazero.supervised.config import Images, SupervisedConfig

NO_SKLEARN = extras.missing("tuning needs scikit-learn", "supervised")


class Pool(NamedTuple):
    """All training examples, which are split into folds, in an order that the seed determines."""

    name: str
    """The name of the data."""
    examples: Examples
    classes: tuple[str, ...]
    """The names of the K classes."""
    shape: tuple[int, ...]
    """(1, H, W) for images; (size of the vocabulary,) for texts."""
    vectors: NDArray[np.float32] | None = None
    """Pretrained word vectors ``[V, D]``, the first weights of the embedding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Folds:
    """How examples are split: the number of folds, and the seed of their order."""

    count: int = 3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """The training of one candidate on all folds but one, and the measurement in that one."""

    key: str
    """SHA-256 of everything its score depends on, the examples included: trials with equal keys
    have equal scores."""
    config: SupervisedConfig
    folds: Folds
    fold: int
    """The fold that is left out, from 0."""


class Score(NamedTuple):
    """The result of a trial, in plain types: a line of ``trials.jsonl``."""

    key: str
    accuracy: float
    """Accuracy in the fold that was left out; 0 where the training failed."""
    epochs: int
    seconds: float
    failure: str = ""
    """The reason, in one line, where the training failed."""


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate's row of the table, in plain types."""

    rank: int
    """1 for the highest mean accuracy; candidates with equal ones are in their given order."""
    values: dict[str, str]
    """The searched settings by key."""
    mean: float
    """Mean accuracy over the folds."""
    deviation: float
    """Standard deviation over the folds (divided by k, as scikit-learn's)."""
    accuracies: tuple[float, ...]
    """One per fold."""
    seconds: float
    """Sum over all of its trials."""
    failures: tuple[str, ...] = ()
    """The different reasons for failed trials."""


RunAll = Callable[
    [Callable[[Trial, Pool], Score], Sequence[Trial], Sequence[Pool]], Iterable[Score]
]
"""Calls a function with each trial and its pool, like ``map``, but the scores may come in any
order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All trials of a search."""

    candidates: Sequence[Candidate]
    trials: list[list[Trial]]
    """One row per candidate, one trial per fold."""
    pools: list[Pool]
    """One per candidate; the same object for candidates that use the same examples."""

    def missing(self, scores: Mapping[str, Score]) -> tuple[list[Trial], list[Pool]]:
        """The trials without a score, and the pool of each; trials with equal keys once only."""
        pairs = {
            trial.key: (trial, pool)
            for row, pool in zip(self.trials, self.pools, strict=True)
            for trial in row
            if trial.key not in scores
        }
        return [trial for trial, _ in pairs.values()], [pool for _, pool in pairs.values()]


def plan(
    base: SupervisedConfig,
    candidates: Sequence[Candidate],
    folds: int,
    report: Callable[[str], object] = print,
) -> Plan:
    """Load the examples of ``candidates``, which all vary ``base``, and list their trials.

    The folds follow from ``base.seed``; a candidate with another seed is trained with it on the
    same folds. ``ValueError`` where a class has fewer examples than there are folds,
    ``ConfigError`` with a line for each candidate whose network does not fit the data.
    """
    loaded: dict[SupervisedConfig, tuple[Pool, str]] = {}
    splitting, rows, pools = Folds(count=folds, seed=base.seed), [], []
    for candidate in candidates:
        config = _data_config(candidate.config, base)
        if config not in loaded:
            pool = load(config, report)
            check_classes(pool, splitting)
            loaded[config] = pool, _digest(pool)
        pool, digest = loaded[config]
        pools.append(pool)
        rows.append([_trial(candidate.config, splitting, fold, digest) for fold in range(folds)])
    _check_networks(candidates, pools)
    return Plan(candidates, rows, pools)


def search(
    planned: Plan,
    run_all: RunAll = map,
    scores: Mapping[str, Score] | None = None,
    on_score: Callable[[Score], object] = lambda score: None,
) -> list[Result]:
    """Run the trials that have no score in ``scores``; the results of all, the best first.

    ``on_score`` is called with each new score as soon as its trial is finished.
    """
    known = dict(scores or {})
    trials, pools = planned.missing(known)
    for score in run_all(run, trials, pools) if trials else ():
        known[score.key] = score
        on_score(score)
    return rank(planned, known)


def load(config: SupervisedConfig, report: Callable[[str], object] = print) -> Pool:
    """Load all training examples of ``config``; errors as for ``tasks.load``."""
    task = tasks.load(config, report)
    parts = zip(task.train, task.validation, strict=True)
    vectors = tasks.pretrained(config, task.vocabulary)
    return Pool(
        task.name,
        Examples(*(np.concatenate(part) for part in parts)),
        task.classes,
        task.shape,
        vectors,
    )


def check_classes(pool: Pool, folds: Folds) -> None:
    """``ValueError`` that names a class with fewer examples than there are folds."""
    counts = np.bincount(pool.examples.labels, minlength=len(pool.classes))
    name, count = min(zip(pool.classes, counts, strict=True), key=lambda pair: pair[1] or np.inf)
    if count < folds.count:
        examples = "example" if count == 1 else "examples"
        advice = f"give at most {count}" if count > 1 else "add examples"
        raise ValueError(
            f"folds: got {folds.count}, but class {name} has only {count} {examples}: {advice}"
        )


def split(
    labels: NDArray[np.int64], folds: Folds
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """For each fold the rows to train on and the rows to measure in, int64 arrays.

    Every fold has the same share of each class, up to rounding. The folds are those of
    scikit-learn's ``StratifiedKFold`` with the same seed. ``ValueError`` where a class has fewer
    examples than there are folds, or scikit-learn is missing.
    """
    try:
        from sklearn.model_selection import StratifiedKFold
    except ImportError:
        raise ValueError(NO_SKLEARN) from None
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if not 2 <= folds.count <= fewest:
        raise ValueError(
            f"folds: got {folds.count}, should be from 2 to {fewest}, the examples of the "
            "smallest class"
        )
    splitter = StratifiedKFold(folds.count, shuffle=True, random_state=folds.seed)
    return list(splitter.split(labels, labels))


def run(trial: Trial, pool: Pool) -> Score:
    """Train on all folds but one and measure in that one; a diverged training is a failure."""
    began = time.monotonic()
    rows, measured = split(pool.examples.labels, trial.folds)[trial.fold]
    try:
        accuracy, epochs = _train_and_measure(trial.config, pool, rows, measured)
        failure = ""
    except Diverged as error:
        accuracy, epochs, failure = 0.0, 0, str(error)
    return Score(trial.key, accuracy, epochs, round(time.monotonic() - began, 3), failure)


def rank(planned: Plan, scores: Mapping[str, Score]) -> list[Result]:
    """The result of every candidate, the best first; ``KeyError`` where a trial has no score."""
    rows = [[scores[trial.key] for trial in row] for row in planned.trials]
    means = [statistics.fmean(score.accuracy for score in row) for row in rows]
    order = sorted(range(len(means)), key=lambda index: -means[index])
    return [
        _result(place, planned.candidates[index].values, rows[index])
        for place, index in enumerate(order, 1)
    ]


def _check_networks(candidates: Sequence[Candidate], pools: Sequence[Pool]) -> None:
    """Build each different network once; ``ConfigError`` with a line per one that cannot be."""
    problems, seen = [], set()
    for candidate, pool in zip(candidates, pools, strict=True):
        if (candidate.config.model, id(pool)) in seen:
            continue
        seen.add((candidate.config.model, id(pool)))
        try:
            _build_network(candidate.config, pool)
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


def _train_and_measure(
    config: SupervisedConfig, pool: Pool, rows: NDArray[np.int64], measured: NDArray[np.int64]
) -> tuple[float, int]:
    """The accuracy in the rows ``measured`` after training on ``rows``, and the epochs trained.

    As in ``supervised train``, the share ``data.validation`` of ``rows`` is held back to choose the
    best epoch and to stop early.
    """
    from sklearn.model_selection import train_test_split

    parts = train_test_split(rows, test_size=config.data.validation, random_state=config.seed)
    train, validation = (tasks.take(pool.examples, np.asarray(part)) for part in parts)
    settings = replace(config.fit, threads=1) if config.fit.threads == "auto" else config.fit
    # "auto" times both precisions and takes the faster one: equal trials could differ.
    if settings.precision == "auto":
        settings = replace(settings, precision="float32")
    model = _build_network(config, pool)
    prepare = tasks.prepare(config)
    steps = fit.planned_steps(len(train.labels), settings)
    trainer = fit.Trainer(model, prepare, config.optimizer, settings, steps, config.seed)
    history = fit.fit(trainer, train, validation)
    left_out = tasks.take(pool.examples, measured)
    predicted = fit.predict(model, prepare, left_out.inputs).argmax(1)
    return float((predicted == left_out.labels).mean()), len(history)


def _build_network(config: SupervisedConfig, pool: Pool) -> Any:
    assert not isinstance(config.model, GAN)  # candidates.py refuses them
    # Copied, because memory shared by processes is read-only, and torch warns about such arrays.
    vectors = None if pool.vectors is None else pool.vectors.copy()
    return models.build(config.model, pool.shape, len(pool.classes), config.seed, vectors)


def _data_config(config: SupervisedConfig, base: SupervisedConfig) -> SupervisedConfig:
    """``base`` with those settings of ``config`` that change the encoding of the examples.

    Candidates for which this is equal share one pool. The order and number of the examples are
    those of ``base``, so that all candidates have the same folds.
    """
    data: Any = replace(config.data, validation=base.data.validation)
    if isinstance(data, Images):
        return replace(base, data=replace(data, shift=0))
    model: Any = base.model
    embedding = replace(model.embedding, vectors=tasks.embedding(config).vectors)
    return replace(base, data=data, model=replace(model, embedding=embedding))


def _trial(config: SupervisedConfig, folds: Folds, fold: int, digest: str) -> Trial:
    settings = config_file.as_dict(without_tracking(config))
    parts = [settings, folds.count, folds.seed, fold, digest]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return Trial(key, config, folds, fold)


def _digest(pool: Pool) -> str:
    """SHA-256 of the arrays, so that a stored score is never used for other data."""
    digest = hashlib.sha256()
    for array in (*pool.examples, pool.vectors):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
