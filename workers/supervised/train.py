"""``alphazero supervised``: train, judge and ask the toolkit's networks outside of games."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alphazero import config_file, sealed
from alphazero.errors import RunFailed
from alphazero.nn import fit, gan, models
from alphazero.nn.fit import Examples, History
from alphazero.nn.parallel import keep_memory
from alphazero.nn.settings import GAN
from alphazero.nn.training import Diverged, Progress
from alphazero.nn.weights import Weights
from alphazero.supervised import download, model, pictures, tasks, texts, vectors
from alphazero.supervised.config import SupervisedConfig
from alphazero.supervised.model import Model, Predictor
from alphazero.supervised.tasks import Task
from workers.runs import run_directory
from workers.runs.tracking import Tracker
from workers.terminal import png, progress

SAMPLES = 1000
"""Images that a generator is judged by."""
SURE = 0.9
"""A judge's probability from which it counts as sure."""
FIXED = (
    "data.kind", "data.validation", "data.limit", "data.shift", "data.vocabulary", "data.length",
    "model.", "seed", "optimizer.name", "fit.batch_size",
)  # fmt: skip
"""Settings, or what they begin with, that a resumed training keeps; data may have moved."""


@dataclass(frozen=True)
class Training:
    """One network on its way."""

    config: SupervisedConfig
    task: Task
    trainer: fit.Trainer | gan.GanTrainer
    run_dir: Path

    @property
    def progress(self) -> Progress:
        return self.trainer.progress

    def model(self, weights: Weights) -> Model:
        task = self.task
        return Model(self.config, task.classes, task.shape, task.vocabulary, weights)


def main(
    config: SupervisedConfig, run_dir: Path, resume: bool, download: bool, minutes: float | None
) -> int:
    """Train as ``train`` does; ``download``: fetch the data first; ``minutes``: stop in time."""
    if minutes:
        config = replace(config, fit=replace(config.fit, time_limit_minutes=minutes))
    return train(fetched(config) if download else config, run_dir, resume)


def train(config: SupervisedConfig, run_dir: Path, resume: bool) -> int:
    """Train in ``run_dir`` and test in the end; the process's exit status.

    ``ValueError`` where the data or, with ``resume``, a checkpoint will not do.
    """
    pictures.check()
    console = Console()
    torch.set_num_threads(1)  # threads of ours share the batches
    keep_memory()
    with ExitStack() as stack:
        training = prepare(config, run_dir, lambda line: run_directory.report(console, line))
        state = (
            _state(training, lambda line: run_directory.report(console, line)) if resume else None
        )
        run_directory.write_settings(run_dir, config_file.as_yaml(training.config))
        stack.enter_context(run_directory.log_to_file(run_dir / "log.txt", console))
        shown = config_file.as_dict(training.config)
        step = state["trainer"]["course"]["step"] if state else 0
        tracker = Tracker(run_dir, config.tracking, shown, resume, step)
        stack.callback(tracker.close)
        run_directory.report(console, tracker.status)
        stop = stack.enter_context(run_directory.stop_on_signal(console))

        def heard(row: dict[str, float]) -> None:
            tracker.log(training.progress.step, row)
            run_directory.report(console, _epoch(row, config.fit.epochs))

        with progress.bars(console) as report:
            hooks = _hooks(training, report, heard, lambda: bool(stop))
            history = _fitted(training, hooks, state)
        if stop:
            run_directory.report(
                console, f"stopped; --resume --run-dir {run_dir} goes on after the last epoch"
            )
            return run_directory.INTERRUPTED
        figures = finish(training, history)
        tracker.log(training.progress.step, figures)
        run_directory.report(console, _summary(training, figures))
    return 0


def _state(training: Training, report: Callable[[str], object]) -> dict[str, Any] | None:
    """What to go on from; None where the run was stopped before its first epoch was over.

    ``ValueError`` where the run's settings were others that cannot change.
    """
    run_dir = training.run_dir
    path = sealed.newest(run_dir / "checkpoints", report)
    if path is None:
        report(f"{run_dir} holds no checkpoint yet: starting from the beginning")
        return None
    found, task = model.load(path), training.task
    before, now = (config_file.as_dict(each) for each in (found.config, training.config))
    if line := run_directory.describe_changes(before, now, FIXED):
        report(line)
    mine = task.classes, task.shape, task.vocabulary
    if (found.classes, found.shape, found.vocabulary) != mine:
        raise ValueError("--resume: the data are not those that the run began with")
    return model.load_state(path)


def prepare(config: SupervisedConfig, run_dir: Path, report: Callable[[str], object]) -> Training:
    """Data and first weights."""
    task = tasks.load(config, report)
    vectors = tasks.pretrained(config, task.vocabulary, report)
    if vectors is not None:
        config = tasks.with_dimensions(config, vectors.shape[1])
    how = config.optimizer, config.fit, fit.planned_steps(len(task.train.labels), config.fit)
    shape, classes, seed = task.shape, len(task.classes), config.seed
    if isinstance(config.model, GAN):
        pair = gan.build(config.model, shape, classes, seed)
        return Training(config, task, gan.GanTrainer(pair, *how, seed), run_dir)
    network = models.build(config.model, shape, classes, seed, vectors)
    trainer = fit.Trainer(network, tasks.prepare(config), *how, seed)
    return Training(config, task, trainer, run_dir)


def _hooks(
    training: Training,
    report: progress.Report,
    heard: Callable[[dict[str, float]], object],
    stop: Callable[[], bool],
) -> fit.Hooks:
    """A bar, and after each epoch its figures, which are ``heard``, and a checkpoint."""
    trained = training.progress
    name, total = f"{training.config.model.kind} on {training.task.name}", trained.total_steps

    def saved(state: dict[str, Any]) -> None:
        model.save(training.run_dir, trained.step, training.model(state["best"]), state)

    return fit.Hooks(
        batch=lambda rows: report(name, total, trained.step), epoch=heard, saved=saved, stop=stop
    )


def _fitted(training: Training, hooks: fit.Hooks, state: dict[str, Any] | None) -> History:
    """Trained; ``RunFailed`` where that diverges."""
    task = training.task
    validation = None if isinstance(training.config.model, GAN) else task.validation
    try:
        return fit.fit(training.trainer, task.train, validation, hooks, state)
    except Diverged as error:
        raise RunFailed(f"{error} and resume") from None


def finish(training: Training, history: History) -> dict[str, float]:
    """The test's figures; they and the pictures lie in the run's folder."""
    folder, task = training.run_dir, training.task
    pictures.curves(history, folder / "history.png")
    if isinstance(training.config.model, GAN):
        made = generated(Predictor(folder), 100)
        pictures.images(made, folder / "samples.png")
        return {}
    figures, table = judged(Predictor(folder), task.test)
    pictures.confusion(table, task.classes, folder / "confusion.png")
    written = json.dumps({"task": task.name, **figures, "confusion": table.tolist()}, indent=2)
    (folder / "test.json").write_text(written + "\n", encoding="utf-8")
    return {f"test_{name}": value for name, value in figures.items()}


def judged(predictor: Predictor, test: Examples) -> tuple[dict[str, float], NDArray[np.int64]]:
    """Accuracy, and the confusion of classes ``[K, K]``, rows the truth."""
    # Texts were encoded with the model's own vocabulary; images may be of another size.
    ask = predictor.predict if predictor.kind == "images" else predictor.answer
    chosen = ask(test.inputs).argmax(axis=1)
    table = fit.confusion(test.labels, chosen, len(predictor.classes))
    return {"accuracy": float((chosen == test.labels).mean())}, table


def generated(predictor: Predictor, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """``[count, C, H, W]``, the classes in turn."""
    assert isinstance(predictor.network, gan.Generator)
    return gan.generate(predictor.network, count, seed)


def _epoch(row: dict[str, float], epochs: int) -> str:
    said = f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.4f}"
    if "validation_accuracy" not in row:
        return said
    accuracy, loss = row["validation_accuracy"], row["validation_loss"]
    return f"{said}; on examples held back {accuracy:.2%} right, loss {loss:.4f}"


def _summary(training: Training, figures: dict[str, float]) -> str:
    folder = training.run_dir
    if "test_accuracy" not in figures:
        return f"done: {folder}/samples.png shows what it makes"
    count = len(training.task.test.labels)
    return f"done: {figures['test_accuracy']:.2%} of {count:,} test examples right; see {folder}"


def evaluate(path: Path, data: str | None, judge: Path | None) -> dict[str, Any]:
    """The test's figures of the model at ``path``, on the data that it was trained on or ``data``.

    Of a generator: how ``judge``, a classifier, takes what it makes.
    """
    predictor = Predictor(path)
    if isinstance(predictor.config.model, GAN):
        if judge is None:
            raise ValueError("a generator is judged by a classifier: name one with --judge RUN")
        judging = Predictor(judge)
        if judging.kind != "images":
            raise ValueError(f"--judge: {judge} is a classifier of texts, should be one of images")
        return sureness(predictor, judging)
    if judge is not None:
        raise ValueError(f"--judge is for generators, {path} is a classifier")
    config = predictor.config
    if data is not None:
        config = replace(config, data=replace(config.data, path=data))
    test, name = tasks.load_test(config, predictor.vocabulary)
    figures, _ = judged(predictor, test)
    return {"task": name, "examples": len(test.labels), **figures}


def sureness(artist: Predictor, judge: Predictor) -> dict[str, Any]:
    """How many of ``SAMPLES`` images the judge is sure of, by the class that it sees in them."""
    made = generated(artist, SAMPLES)
    probabilities = judge.predict(made)
    sure, seen = probabilities.max(axis=1) > SURE, probabilities.argmax(axis=1)
    counts = {judge.classes[k]: int((seen[sure] == k).sum()) for k in range(len(judge.classes))}
    return {
        "examples": SAMPLES,
        "sure": float(sure.mean()),
        "as_told": float((seen == np.arange(SAMPLES) % len(judge.classes)).mean()),
        "classes": counts,
    }


def predict(path: Path, words: list[str], files: list[Path]) -> list[dict[str, Any]]:
    """What the model at ``path`` makes of each text, or of each PNG file."""
    predictor = Predictor(path)
    if (predictor.kind == "texts") != bool(words) or bool(words) == bool(files):
        wanted = "--text" if predictor.kind == "texts" else "--image"
        raise ValueError(f"{path} takes {predictor.kind}: give {wanted}")
    names = words or [str(file) for file in files]
    inputs: Any = words or np.stack([_picture(file, predictor.shape) for file in files])
    rows = predictor.predict(inputs)
    return [
        {
            "input": name,
            "label": predictor.classes[int(row.argmax())],
            "probabilities": dict(zip(predictor.classes, map(float, row), strict=True)),
        }
        for name, row in zip(names, rows, strict=True)
    ]


def _picture(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """``[1, H, W]``, the grey levels of a PNG file."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    try:
        return png.read(file.read_bytes(), *shape[1:])[None]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def learn_vectors(data: Path, to: Path, dimensions: int, seed: int) -> int:
    """Word vectors from the texts without labels at ``data``, as the file ``to``."""
    console = Console(stderr=True)
    with console.status(f"learning vectors of {dimensions} numbers: minutes"):
        found = vectors.pretrain(texts.unlabelled(data), dimensions, seed)
        vectors.write(to, found)
    print(f"{to} holds the vectors of {len(found.words):,} words")
    return 0


def fetched(config: SupervisedConfig) -> SupervisedConfig:
    """``config`` on the real data, fetched into its path, or into the cache, where missing."""
    name = "mnist" if config.data.kind == "images" else "imdb"
    folder = Path(config.data.path) if config.data.path else None
    with progress.bars() as report:
        found = download.fetch(
            name, folder, lambda file, done, total: report(file, total or 0, done)
        )
    return replace(config, data=replace(config.data, path=str(found)))


def table(rows: list[dict[str, Any]]) -> Table:
    """The figures of ``evaluate`` or ``predict``, one row per input."""
    drawn = Table(*rows[0])
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row.values()))
    return drawn


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
