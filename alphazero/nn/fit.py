"""Supervised training: shuffled batches, validation, early stopping, and what a network answers."""

import copy
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphazero.nn import descent, layers, losses
from alphazero.nn.descent import Course
from alphazero.nn.parallel import compute_dtype
from alphazero.nn.settings import FitSettings, OptimizerSettings
from alphazero.nn.weights import Weights

Prepare = Callable[[NDArray[Any], np.random.Generator | None], Tensor]
"""A batch's raw inputs to what the network takes; with a generator while training, to augment."""

History = list[dict[str, float]]
"""A row an epoch: ``epoch`` (from 1), ``minutes`` since the start, ``loss``, ``accuracy``,
``gradient_norm`` (means over the epoch, the weights moving), ``learning_rate`` (the last one) and,
of the averaged weights after it, ``validation_loss`` and ``validation_accuracy``."""

POOLED_BATCHES = 32
"""Texts are sorted by length among so many batches: a text pays for its batch's longest."""


class Examples(NamedTuple):
    inputs: NDArray[Any]
    """``[N, ...]``: images ``uint8 [N, 1, H, W]``, or texts as tokens ``int32 [N, T]``, 0 last."""
    labels: NDArray[np.int64]
    """``[N]``, from 0."""


def ignore(_: Any) -> None:
    pass


def never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Hooks:
    """What ``fit`` calls."""

    batch: Callable[[int], object] = ignore
    """After each batch: how many examples it had."""
    epoch: Callable[[dict[str, float]], object] = ignore
    """After each epoch: its row of the history."""
    saved: Callable[[dict[str, Any]], object] = ignore
    """Then: what ``fit`` resumes from, of plain types, arrays and tensors."""
    stop: Callable[[], bool] = never
    """Asked after each batch: whether to leave off. The epoch under way is lost."""


SILENT = Hooks()


class Trains(Protocol):
    """What ``fit`` needs of a trainer."""

    course: Course
    settings: FitSettings

    def epoch(self, train: Examples, progress: Callable[[int], object]) -> dict[str, float]: ...
    def validate(self, examples: Examples) -> dict[str, float]: ...
    def weights(self) -> Weights: ...
    def load(self, weights: Weights) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """Trains a classifier, in place.

    On a CPU each thread computes a share of every batch, for which torch itself should be set to
    one thread. Order, augmentation and dropout follow from the seed, so that two epochs, ``state``,
    ``restore`` and two more equal four bit for bit, on the same machine with as many threads.
    """

    def __init__(
        self,
        model: nn.Module,
        prepare: Prepare,
        optimizer: OptimizerSettings,
        settings: FitSettings,
        steps: int,
        seed: int = 0,
    ):
        """``steps``: of the whole training (``planned_steps``), which the learning rate follows."""
        self.settings, self.course = settings, Course(settings, steps)
        self._prepare, self._seed = prepare, seed
        self._descent = descent.begin(model, optimizer, settings)
        self._averaged = copy.deepcopy(model).eval()

    def epoch(
        self, train: Examples, progress: Callable[[int], object] = ignore
    ) -> dict[str, float]:
        """One pass; ``progress`` hears of each batch. Ends early where time is up.

        ValueError for inputs that are not finite, before they reach the network: BatchNorm's
        statistics would remember a NaN for ever. Diverged: see ``Descent.descend``.
        """
        check(train)
        rng = np.random.default_rng((self._seed, self.course.epochs))

        def step(rows: NDArray[np.int64]) -> dict[str, float]:
            inputs = _tensor(self._prepare, train.inputs, rows, rng)
            return self._step(inputs, torch.from_numpy(train.labels[rows]))

        order = batches(train.inputs, self.settings.batch_size, rng)
        return one_pass(order, step, self.course, progress)

    def validate(self, examples: Examples) -> dict[str, float]:
        """``validation_loss`` and ``validation_accuracy`` of the averaged weights."""
        self._averaged.load_state_dict(self._descent.average())
        count = self._descent.threads
        found = logits(self._averaged, self._prepare, examples.inputs, threads=count)
        labels = torch.from_numpy(examples.labels)
        return {
            "validation_loss": losses.class_loss(found, labels, self.settings.loss).item(),
            "validation_accuracy": losses.accuracy(found, labels).item(),
        }

    def weights(self) -> Weights:
        """Copies of the averaged weights."""
        return self._descent.weights()

    def load(self, weights: Weights) -> None:
        """Take these for the newest weights and for the averaged ones."""
        self._descent.load(weights)

    def state(self) -> dict[str, Any]:
        return {"course": self.course.state(), "descent": self._descent.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state`` of a trainer with the same settings."""
        self.course.restore(state["course"])
        self._descent.restore(state["descent"])

    def _step(self, inputs: Tensor, labels: Tensor) -> dict[str, float]:
        # Each share of the batch knows its first row, and by that its own random numbers.
        rows = torch.arange(len(labels))
        tensors = [place(tensor, self._descent.device) for tensor in (inputs, labels, rows)]
        if self.course.step == 0:
            self._descent.measure(self._forward, tensors)
        figures = self._descent.descend(self._forward, tensors, self.course.progress)
        self.course.step += 1
        return figures

    def _forward(
        self, model: nn.Module, inputs: Tensor, labels: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        layers.seed_dropout(model, rows.device, self._seed, self._descent.step, int(rows[0]))
        if inputs.is_floating_point():
            inputs = inputs.to(compute_dtype(model))
        found = model(inputs).float()
        loss = losses.class_loss(found, labels, self.settings.loss, self.settings.label_smoothing)
        with torch.no_grad():
            return loss, {"loss": loss, "accuracy": losses.accuracy(found, labels)}


class _Stopped(Exception):
    pass


def fit(
    trainer: Trains,
    train: Examples,
    validation: Examples | None = None,
    hooks: Hooks = SILENT,
    state: dict[str, Any] | None = None,
) -> History:
    """Train until the epochs or the time are over, or nothing gets better (``patience``).

    In the end the trainer has the weights of the best epoch: the highest validation accuracy, of
    equals the lowest loss; without ``validation`` the last one's. ``state``: as given to
    ``hooks.saved`` earlier; the training goes on from there bit for bit.
    """
    history, best = [], None
    if state is not None:
        trainer.restore(state["trainer"])
        history, best = list(state["history"]), state["best"]
    while not (trainer.course.over or _stale(history, trainer.settings.patience)):
        try:
            history.append(_row(trainer, train, validation, hooks))
        except _Stopped:
            break
        if best_epoch(history) == len(history):
            best = trainer.weights()
        hooks.epoch(history[-1])
        hooks.saved({"trainer": trainer.state(), "history": list(history), "best": best})
    if best is not None:
        trainer.load(best)
    return history


def best_epoch(history: History) -> int:
    """The number of the epoch whose weights are kept."""

    def merit(row: dict[str, float]) -> tuple[float, float]:
        if "validation_accuracy" in row:
            return row["validation_accuracy"], -row["validation_loss"]
        return row["epoch"], 0.0

    return 1 + max(range(len(history)), key=lambda index: merit(history[index]))


def planned_steps(rows: int, settings: FitSettings) -> int:
    """Optimizer steps of a training on so many examples."""
    return settings.epochs * (len(_bounds(rows, settings.batch_size)) - 1)


def batches(
    inputs: NDArray[Any], size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """The rows of each batch of one pass, in random order; a text's batch has about its length.

    A last batch of one row, which BatchNorm cannot take, joins the one before.
    """
    order, bounds = rng.permutation(len(inputs)), _bounds(len(inputs), size)
    lengths, reach = _lengths(inputs), POOLED_BATCHES * size
    if lengths is not None:
        for pool in np.split(order, range(reach, len(order), reach)):
            pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
    found = [order[start:end] for start, end in pairwise(bounds)]
    if lengths is not None:
        found = [found[index] for index in rng.permutation(len(found))]
    return iter(found)


def check(examples: Examples) -> None:
    """ValueError for examples that nothing can be learned from."""
    if len(examples.inputs) != len(examples.labels) or len(examples.labels) < 2:
        raise ValueError(
            f"training needs two examples at least and a label for each, got "
            f"{len(examples.inputs)} inputs and {len(examples.labels)} labels"
        )
    if examples.labels.dtype != np.int64:
        raise ValueError(f"labels are {examples.labels.dtype}, should be int64")


def logits(
    model: nn.Module,
    prepare: Prepare,
    inputs: NDArray[Any],
    batch_size: int = 512,
    threads: int = 1,
) -> Tensor:
    """``[N, K]`` float32 on the CPU, in evaluation mode; ``threads`` share the batches."""
    device, training = next(model.parameters()).device, model.training
    lengths = _lengths(inputs)
    order = np.arange(len(inputs)) if lengths is None else np.argsort(lengths, kind="stable")

    def answer(rows: NDArray[np.int64]) -> Tensor:
        torch.get_num_threads()  # a thread obeys set_num_threads only once torch has looked at it
        with torch.inference_mode():
            return model(place(_tensor(prepare, inputs, rows), device)).float().cpu()

    pieces = np.split(order, range(batch_size, len(order), batch_size))
    model.eval()
    try:
        with ThreadPoolExecutor(threads) as pool:
            apply = pool.map if threads > 1 else map
            found = torch.cat(list(apply(answer, pieces)))
    finally:
        model.train(training)
    return torch.empty_like(found).index_copy_(0, torch.from_numpy(order), found)


def predict(
    model: nn.Module,
    prepare: Prepare,
    inputs: NDArray[Any],
    batch_size: int = 512,
    threads: int = 1,
) -> NDArray[np.float32]:
    """``[N, K]``: the probability of each class, in evaluation mode."""
    return torch.softmax(logits(model, prepare, inputs, batch_size, threads), dim=1).numpy()


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """``[K, K]``: how many examples of the row's class were taken for the column's."""
    cells = np.bincount(labels * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes).astype(np.int64)


def one_pass(
    order: Iterator[NDArray[np.int64]],
    step: Callable[[NDArray[np.int64]], dict[str, float]],
    course: Course,
    progress: Callable[[int], object],
) -> dict[str, float]:
    """An epoch: a ``step`` for the rows of each batch, until the last one or until time is up."""
    figures, sizes = [], []
    for rows in order:
        figures.append(step(rows))
        sizes.append(len(rows))
        progress(len(rows))
        if course.progress == 1:
            break
    course.epochs += 1
    return summary(figures, sizes)


def summary(figures: list[dict[str, float]], sizes: list[int]) -> dict[str, float]:
    """Means over the examples of an epoch; of the learning rate the last."""
    means = {
        name: math.fsum(row[name] * size for row, size in zip(figures, sizes, strict=True))
        / sum(sizes)
        for name in figures[0]
    }
    return means | {"learning_rate": figures[-1]["learning_rate"]}


def place(tensor: Tensor, device: torch.device) -> Tensor:
    """On ``device``; planes with their channels last."""
    if tensor.ndim == 4:
        return tensor.to(device, memory_format=torch.channels_last)
    return tensor.to(device)


def _row(
    trainer: Trains, train: Examples, validation: Examples | None, hooks: Hooks
) -> dict[str, float]:
    def progress(count: int) -> None:
        hooks.batch(count)
        if hooks.stop():
            raise _Stopped

    figures = trainer.epoch(train, progress)
    found = {} if validation is None else trainer.validate(validation)
    course = trainer.course
    return {"epoch": course.epochs, "minutes": course.minutes} | figures | found


def _stale(history: History, patience: int) -> bool:
    return bool(patience and history) and len(history) - best_epoch(history) >= patience


def _bounds(rows: int, size: int) -> list[int]:
    """Where each batch begins, and the end."""
    starts = list(range(0, rows, size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return [*starts, rows]


def _lengths(inputs: NDArray[Any]) -> NDArray[np.int64] | None:
    """Of texts; None where the inputs are something else."""
    if inputs.ndim == 2 and inputs.dtype.kind == "i":
        return np.count_nonzero(inputs, axis=1)
    return None


def _tensor(
    prepare: Prepare,
    inputs: NDArray[Any],
    rows: NDArray[np.int64],
    rng: np.random.Generator | None = None,
) -> Tensor:
    """What the network takes; ValueError where it is not finite."""
    tensor = prepare(inputs[rows], rng)
    if tensor.is_floating_point():
        finite = torch.isfinite(tensor).flatten(1).all(dim=1)
        if not finite.all():
            row = rows[int(torch.argmin(finite.int()))]
            raise ValueError(f"input {row} holds numbers that are not finite")
    return tensor
