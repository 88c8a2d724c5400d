"""Supervised training: shuffled batches, validation, early stopping, and predictions."""

import copy
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphazero.errors import reading
from alphazero.nn import layers, losses, training
from alphazero.nn.batches import batches, bounds, text_lengths
from alphazero.nn.divergence import Losses
from alphazero.nn.parallel import compute_dtype
from alphazero.nn.settings import FitSettings, OptimizerSettings
from alphazero.nn.training import Progress
from alphazero.nn.weights import Weights, check_shapes

Prepare = Callable[[NDArray[Any], np.random.Generator | None], Tensor]
"""Turns a batch's raw inputs into the network's input; in training it gets a random generator, for
augmentation, otherwise None."""

History = list[dict[str, float]]
"""One row per epoch: ``epoch`` (from 1), ``minutes`` since the start, ``loss``, ``accuracy`` and
``gradient_norm`` (means over the epoch, while the weights change), ``learning_rate`` (of its last
step) and, for the averaged weights after it, ``validation_loss`` and ``validation_accuracy``."""


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
    """Functions that ``fit`` calls."""

    batch: Callable[[int], object] = ignore
    """Called after each batch, with its number of examples."""
    epoch: Callable[[dict[str, float]], object] = ignore
    """Called after each epoch, with its row of the history."""
    saved: Callable[[dict[str, Any]], object] = ignore
    """Called then, with the state from which ``fit`` resumes: plain types, arrays and tensors. Not
    while the loss is above its limit: ``divergence``."""
    stop: Callable[[], bool] = never
    """Called after each batch; True ends the training, and the current epoch is lost."""


NO_HOOKS = Hooks()


class EpochTrainer(Protocol):
    """The methods of a trainer that ``fit`` calls."""

    progress: Progress
    settings: FitSettings

    @property
    def losses(self) -> Losses: ...

    def epoch(self, train: Examples, on_batch: Callable[[int], object]) -> dict[str, float]: ...
    def validate(self, examples: Examples) -> dict[str, float]: ...
    def weights(self) -> Weights: ...
    def load(self, weights: Weights) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """Trains a classifier in place.

    On a CPU each thread computes a share of every batch, so torch itself should be set to one
    thread. Order, augmentation and dropout follow from the seed: two epochs, ``state``, ``restore``
    and two more epochs equal four epochs bit for bit, on the same machine with as many threads.
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
        """``steps``: those of the whole training (``planned_steps``); the learning rate follows."""
        self.settings, self.progress = settings, Progress(settings, steps)
        self._prepare, self._seed = prepare, seed
        self._optimization = training.create(model, optimizer, settings)
        self._averaged = copy.deepcopy(model).eval()

    def epoch(
        self, train: Examples, on_batch: Callable[[int], object] = ignore
    ) -> dict[str, float]:
        """Train one pass, or until time is up; ``on_batch`` gets the size of each batch.

        ValueError for inputs that are not finite, before they reach the network: a NaN would stay
        in BatchNorm's statistics for good. Diverged: see ``Optimization.step``.
        """
        check(train)
        rng = np.random.default_rng((self._seed, self.progress.epochs))

        def step(rows: NDArray[np.int64]) -> dict[str, float]:
            inputs = _tensor(self._prepare, train.inputs, rows, rng)
            return self._step(inputs, torch.from_numpy(train.labels[rows]))

        order = batches(train.inputs, self.settings.batch_size, rng)
        return one_pass(order, step, self.progress, on_batch)

    def validate(self, examples: Examples) -> dict[str, float]:
        """``validation_loss`` and ``validation_accuracy`` of the averaged weights."""
        self._averaged.load_state_dict(self._optimization.averaged_state())
        count = self._optimization.threads
        predicted = logits(self._averaged, self._prepare, examples.inputs, threads=count)
        labels = torch.from_numpy(examples.labels)
        return {
            "validation_loss": losses.class_loss(predicted, labels, self.settings.loss).item(),
            "validation_accuracy": losses.accuracy(predicted, labels).item(),
        }

    @property
    def losses(self) -> Losses:
        """The losses of the last steps."""
        return self._optimization.losses

    def weights(self) -> Weights:
        """Copies of the averaged weights."""
        return self._optimization.weights()

    def load(self, weights: Weights) -> None:
        """Replace the newest weights and the averaged ones by ``weights``."""
        self._optimization.load(weights)

    def state(self) -> dict[str, Any]:
        return {"course": self.progress.state(), "descent": self._optimization.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the ``state`` of a trainer with the same settings."""
        self.progress.restore(state["course"])
        self._optimization.restore(state["descent"])

    def _step(self, inputs: Tensor, labels: Tensor) -> dict[str, float]:
        # The rows' numbers travel with each share: the first one seeds the share's dropout.
        rows = torch.arange(len(labels))
        tensors = [
            to_device(tensor, self._optimization.device) for tensor in (inputs, labels, rows)
        ]
        if self.progress.step == 0:
            self._optimization.choose_precision(self._forward, tensors)
        figures = self._optimization.step(self._forward, tensors, self.progress.fraction)
        self.progress.step += 1
        return figures

    def _forward(
        self, model: nn.Module, inputs: Tensor, labels: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        layers.seed_dropout(model, rows.device, self._seed, self._optimization.steps, int(rows[0]))
        if inputs.is_floating_point():
            inputs = inputs.to(compute_dtype(model))
        output, smoothing = model(inputs).float(), self.settings.label_smoothing
        loss = losses.class_loss(output, labels, self.settings.loss, smoothing)
        with torch.no_grad():
            return loss, {"loss": loss, "accuracy": losses.accuracy(output, labels)}


class _Stopped(Exception):
    pass


def fit(
    trainer: EpochTrainer,
    train: Examples,
    validation: Examples | None = None,
    hooks: Hooks = NO_HOOKS,
    state: dict[str, Any] | None = None,
) -> History:
    """Train until epochs or time are over, or validation stops improving (``patience``).

    In the end the trainer has the weights of the best epoch: the one with the highest validation
    accuracy, among equals the lowest loss; without ``validation`` the last one. ``state``: one that
    ``hooks.saved`` was given; the training continues from there bit for bit.
    """
    history, best = [], None
    if state is not None:
        history, best = _restored(trainer, state)
    while not (trainer.progress.finished or _stale(history, trainer.settings.patience)):
        try:
            history.append(_row(trainer, train, validation, hooks))
        except _Stopped:
            break
        if best_epoch(history) == len(history):
            best = trainer.weights()
        hooks.epoch(history[-1])
        if not trainer.losses.jumped:
            hooks.saved({"trainer": trainer.state(), "history": list(history), "best": best})
    if best is not None:
        trainer.load(best)
    return history


def _restored(trainer: EpochTrainer, state: dict[str, Any]) -> tuple[History, Weights | None]:
    """Restore the trainer; the epochs done and the best weights.

    ``ValueError``, one line: the state of another training.
    """
    with reading("the training state"):
        trainer.restore(state["trainer"])
        history, best = list(state["history"]), state["best"]
        if history:
            best_epoch(history)
        if best is not None:
            own = trainer.weights()
            check_shapes(*({n: array.shape for n, array in part.items()} for part in (own, best)))
    return history, best


def best_epoch(history: History) -> int:
    """The number, from 1, of the epoch whose weights are kept."""

    def merit(row: dict[str, float]) -> tuple[float, float]:
        if "validation_accuracy" in row:
            return row["validation_accuracy"], -row["validation_loss"]
        return row["epoch"], 0.0

    return 1 + max(range(len(history)), key=lambda index: merit(history[index]))


def planned_steps(rows: int, settings: FitSettings) -> int:
    """How many optimizer steps a training on ``rows`` examples takes."""
    return settings.epochs * (len(bounds(rows, settings.batch_size)) - 1)


def check(examples: Examples) -> None:
    """Raise ValueError for fewer than two examples, or labels that do not fit the inputs."""
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
    """Logits ``[N, K]``, float32 on the CPU, in evaluation mode; ``threads`` share the batches."""
    device, training = next(model.parameters()).device, model.training
    lengths = text_lengths(inputs)
    order = np.arange(len(inputs)) if lengths is None else np.argsort(lengths, kind="stable")

    def evaluate(rows: NDArray[np.int64]) -> Tensor:
        torch.get_num_threads()  # set_num_threads takes effect in a new thread only after this call
        with torch.inference_mode():
            return model(to_device(_tensor(prepare, inputs, rows), device)).float().cpu()

    pieces = np.split(order, range(batch_size, len(order), batch_size))
    model.eval()
    try:
        with ThreadPoolExecutor(threads) as pool:
            apply = pool.map if threads > 1 else map
            result = torch.cat(list(apply(evaluate, pieces)))
    finally:
        model.train(training)
    return torch.empty_like(result).index_copy_(0, torch.from_numpy(order), result)


def predict(
    model: nn.Module,
    prepare: Prepare,
    inputs: NDArray[Any],
    batch_size: int = 512,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Probabilities of the classes ``[N, K]``, in evaluation mode."""
    return torch.softmax(logits(model, prepare, inputs, batch_size, threads), dim=1).numpy()


def confusion(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Confusion matrix ``[K, K]``: examples of the row's class predicted as the column's."""
    cells = np.bincount(labels * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes).astype(np.int64)


def one_pass(
    order: Iterator[NDArray[np.int64]],
    step: Callable[[NDArray[np.int64]], dict[str, float]],
    progress: Progress,
    on_batch: Callable[[int], object],
) -> dict[str, float]:
    """Run an epoch: ``step`` on the rows of each batch, to the last one or until time is up."""
    figures, sizes = [], []
    for rows in order:
        figures.append(step(rows))
        sizes.append(len(rows))
        on_batch(len(rows))
        if progress.fraction == 1:
            break
    progress.epochs += 1
    return summary(figures, sizes)


def summary(figures: list[dict[str, float]], sizes: list[int]) -> dict[str, float]:
    """Means over an epoch's examples; for the learning rate the last value."""
    means = {
        name: math.fsum(row[name] * size for row, size in zip(figures, sizes, strict=True))
        / sum(sizes)
        for name in figures[0]
    }
    return means | {"learning_rate": figures[-1]["learning_rate"]}


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move ``tensor`` to ``device``; planes ``[B, C, H, W]`` get the channels-last layout."""
    if tensor.ndim == 4:
        return tensor.to(device, memory_format=torch.channels_last)
    return tensor.to(device)


def _row(
    trainer: EpochTrainer, train: Examples, validation: Examples | None, hooks: Hooks
) -> dict[str, float]:
    def on_batch(count: int) -> None:
        hooks.batch(count)
        if hooks.stop():
            raise _Stopped

    figures = trainer.epoch(train, on_batch)
    validated = {} if validation is None else trainer.validate(validation)
    done = trainer.progress
    return {"epoch": done.epochs, "minutes": done.minutes} | figures | validated


def _stale(history: History, patience: int) -> bool:
    return bool(patience and history) and len(history) - best_epoch(history) >= patience


def _tensor(
    prepare: Prepare,
    inputs: NDArray[Any],
    rows: NDArray[np.int64],
    rng: np.random.Generator | None = None,
) -> Tensor:
    """The network's input for these rows; ValueError where it is not finite."""
    tensor = prepare(inputs[rows], rng)
    if tensor.is_floating_point():
        finite = torch.isfinite(tensor).flatten(1).all(dim=1)
        if not finite.all():
            row = rows[int(torch.argmin(finite.int()))]
            raise ValueError(f"input {row} holds numbers that are not finite")
    return tensor
