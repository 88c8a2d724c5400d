"""Supervised training as ``alphazero supervised train`` runs it: data, epochs, test, pictures.

``evaluate`` has what is measured with a trained model afterwards.
"""

import json
import operator
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from alphazero import config_file, errors, resuming, sealed
from alphazero.errors import reading
from alphazero.nn import fit, gan, models
from alphazero.nn.divergence import Diverged
from alphazero.nn.fit import History
from alphazero.nn.parallel import keep_memory
from alphazero.nn.settings import GAN
from alphazero.nn.training import Progress
from alphazero.nn.weights import Weights
from alphazero.supervised import download, model, pictures, tasks
from alphazero.supervised.config import SupervisedConfig
from alphazero.supervised.model import Model, Predictor
from alphazero.supervised.tasks import Task
from workers.runs import run_directory
from workers.runs.tracking import Tracker
from workers.supervised import evaluate
from workers.terminal import progress
from workers.terminal.signals import stop_on_signal

PICTURED = 100
"""Generated images in ``samples.png``."""
FIXED = (
    "data.kind", "data.validation", "data.limit", "data.shift", "data.vocabulary", "data.length",
    "model.", "seed", "optimizer.name", "fit.batch_size",
)  # fmt: skip
"""Prefixes of the settings that a resumed training cannot change. ``data.path`` may change: the
data may have been moved."""


@dataclass(frozen=True)
class Training:
    """A network in training, with its data and its run directory."""

    config: SupervisedConfig
    task: Task
    trainer: fit.Trainer | gan.GanTrainer
    run_dir: Path

    @property
    def progress(self) -> Progress:
        return self.trainer.progress

    def model(self, weights: Weights) -> Model:
        """The model that a checkpoint holds, with ``weights``."""
        task = self.task
        return Model(
            self.config, task.classes, task.shape, task.vocabulary, weights, task.brightness
        )


def main(
    config: SupervisedConfig,
    run_dir: Path,
    resume: bool,
    download_data: bool,
    minutes: float | None,
) -> int:
    """Train as ``train`` does, after a download of the data if wanted; the exit status.

    ``minutes`` replaces ``fit.time_limit_minutes``, unless it is None.
    """
    if minutes:
        config = replace(config, fit=replace(config.fit, time_limit_minutes=minutes))
    return train(with_downloaded_data(config) if download_data else config, run_dir, resume)


def train(config: SupervisedConfig, run_dir: Path, resume: bool) -> int:
    """Train in ``run_dir`` and measure on the test examples at the end; the exit status.

    ``ValueError``: data or, with ``resume``, a checkpoint that cannot be used. ``RunFailed``: the
    training diverged.
    """
    pictures.check()
    console = Console()
    torch.set_num_threads(1)  # the trainer's own threads share each batch
    keep_memory()

    def report(line: str) -> None:
        run_directory.report(console, line)

    with ExitStack() as stack:
        training = prepare(config, run_dir, report)
        state = load_state(training, report) if resume else None
        run_directory.write_settings(run_dir, config_file.as_yaml(training.config))
        stack.enter_context(run_directory.log_to_file(run_dir / "log.txt", console))()
        tracker = stack.enter_context(_tracker(training, report, resume, state))
        signals = stack.enter_context(stop_on_signal(console))

        def on_epoch(row: dict[str, float]) -> None:
            tracker.log(training.progress.step, row)
            report(_epoch_line(row, config.fit.epochs))

        with progress.bars(console) as bar:
            history = fit_network(training, _hooks(training, bar, on_epoch, signals), state)
        if signals:
            options = run_directory.resuming_options(run_dir)
            report(f"stopped; the same command with {options} continues after the last epoch")
            return run_directory.INTERRUPTED
        figures = finish(training, history)
        tracker.log(training.progress.step, figures)
        report(_summary(training, figures))
    return 0


def with_downloaded_data(config: SupervisedConfig) -> SupervisedConfig:
    """``config`` with ``data.path`` set to MNIST or IMDb, downloaded where files are missing.

    The folder is ``data.path`` or, without one, the cache (``download.cache``).
    """
    name = "mnist" if config.data.kind == "images" else "imdb"
    folder = Path(config.data.path) if config.data.path else None
    with progress.bars() as bar:
        path = download.fetch(name, folder, lambda file, done, total: bar(file, total or 0, done))
    return replace(config, data=replace(config.data, path=str(path)))


def prepare(config: SupervisedConfig, run_dir: Path, report: Callable[[str], object]) -> Training:
    """Load the data and build the network with its first weights."""
    task = tasks.load(config, report)
    vectors = tasks.pretrained(config, task.vocabulary, report)
    if vectors is not None:
        config = tasks.with_dimensions(config, vectors.shape[1])
    steps = fit.planned_steps(len(task.train.labels), config.fit)
    settings = config.optimizer, config.fit, steps
    shape, classes, seed = task.shape, len(task.classes), config.seed
    if isinstance(config.model, GAN):
        pair = gan.build(config.model, shape, classes, seed)
        return Training(config, task, gan.GanTrainer(pair, *settings, seed), run_dir)
    network = models.build(config.model, shape, classes, seed, vectors)
    trainer = fit.Trainer(network, tasks.prepare(config), *settings, seed)
    return Training(config, task, trainer, run_dir)


def load_state(training: Training, report: Callable[[str], object]) -> dict[str, Any] | None:
    """The state from which to resume; None for a run that was stopped in its first epoch.

    ``ValueError``: the run had other values of ``FIXED`` settings, or other data.
    """
    run_dir, task = training.run_dir, training.task
    resuming.check_folder(run_dir)
    path = sealed.newest(run_dir / "checkpoints", report)
    if path is None:
        report(f"{run_dir} holds no checkpoint yet: starting from the beginning")
        return None
    saved = model.load(path)
    before, now = config_file.as_dict(saved.config), config_file.as_dict(training.config)
    if line := run_directory.describe_changes(before, now, FIXED):
        report(line)
    if (saved.classes, saved.shape, saved.vocabulary) != (
        task.classes,
        task.shape,
        task.vocabulary,
    ):
        raise ValueError("--resume: the data are not those that the run began with")
    state = model.load_state(path)
    with reading(path / model.TRAINING):
        operator.index(state["trainer"]["course"]["step"])
    return state


def fit_network(training: Training, hooks: fit.Hooks, state: dict[str, Any] | None) -> History:
    """Train to the end, from ``state`` on; ``RunFailed`` where the training diverges."""
    task = training.task
    validation = None if isinstance(training.config.model, GAN) else task.validation
    try:
        return fit.fit(training.trainer, task.train, validation, hooks, state)
    except Diverged as error:
        good = sealed.set_aside(training.run_dir / "checkpoints", error.step)
        raise errors.diverged(error, good) from None


def finish(training: Training, history: History) -> dict[str, float]:
    """Write pictures and ``test.json`` into the run directory; the test's figures, as metrics.

    A generator has no test: its ``samples.png`` shows images instead, and there are no figures.
    """
    folder, task = training.run_dir, training.task
    pictures.curves(history, folder / "history.png")
    predictor = Predictor(folder)
    if isinstance(training.config.model, GAN):
        pictures.images(evaluate.generate(predictor, PICTURED), folder / "samples.png")
        return {}
    figures, confusion = evaluate.measure(predictor, task.test)
    pictures.confusion(confusion, task.classes, folder / "confusion.png")
    content = {"task": task.name, **figures, "confusion": confusion.tolist()}
    (folder / "test.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return {f"test_{name}": value for name, value in figures.items()}


def _tracker(
    training: Training,
    report: Callable[[str], object],
    resume: bool,
    state: dict[str, Any] | None,
) -> Tracker:
    """The writer of metrics; a resumed run's drops those after the step of ``state``."""
    step = state["trainer"]["course"]["step"] if state else 0
    return Tracker(training.run_dir, training.config.tracking, report, resume, step)


def _hooks(
    training: Training,
    bar: progress.Report,
    on_epoch: Callable[[dict[str, float]], object],
    signals: list[int],
) -> fit.Hooks:
    """A progress bar per batch, ``on_epoch`` and a checkpoint per epoch, a stop on signals."""
    done = training.progress
    name = f"{training.config.model.kind} on {training.task.name}"

    def save(state: dict[str, Any]) -> None:
        best, jump = training.model(state["best"]), training.trainer.losses.jump
        model.save(training.run_dir, done.step, best, state, jump)

    return fit.Hooks(
        batch=lambda rows: bar(name, done.total_steps, done.step),
        epoch=on_epoch,
        saved=save,
        stop=lambda: bool(signals),
    )


def _epoch_line(row: dict[str, float], epochs: int) -> str:
    line = f"epoch {row['epoch']} of {epochs}: loss {row['loss']:.4f}"
    if "validation_accuracy" not in row:
        return line
    accuracy, loss = row["validation_accuracy"], row["validation_loss"]
    return f"{line}; validation: accuracy {accuracy:.2%}, loss {loss:.4f}"


def _summary(training: Training, figures: dict[str, float]) -> str:
    folder = training.run_dir
    if "test_accuracy" not in figures:
        return f"done: generated images are in {folder}/samples.png"
    count = len(training.task.test.labels)
    return f"done: test accuracy {figures['test_accuracy']:.2%} of {count:,} examples; see {folder}"
