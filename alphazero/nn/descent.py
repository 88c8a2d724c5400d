"""What every training is made of: one module that goes downhill, and how much of it is over."""

import copy
import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from alphazero.nn import optim
from alphazero.nn.device import PRECISIONS, choose, cores
from alphazero.nn.flat import Flat
from alphazero.nn.parallel import Forward, Replicas
from alphazero.nn.settings import FitSettings, OptimizerSettings
from alphazero.nn.weights import Weights, arrays, load

LEAST_SHARE = 32
"""Rows of a batch below which another thread costs more than it computes."""
TIMED_CALLS = 3
"""Of each precision, behind a first one."""


class Diverged(RuntimeError):
    """A training that cannot go on, through no mistake in what was typed; one line says why."""


class Descent:
    """Optimizer steps of one module; everything that decides the next one is in ``state``."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: OptimizerSettings,
        ema: float = 0.0,
        precision: str = "auto",
        threads: int = 1,
    ):
        """``module`` is trained in place, on its own device; on a CPU ``threads`` share a batch.

        ``ema``: the decay of its averaged weights; 0: they are the newest. ``precision`` auto is
        float32 until ``measure`` or ``restore`` finds another.
        """
        self.step = 0
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.module = module.to(**layout)
        self.device = next(module.parameters()).device
        self.threads = threads if self.device.type == "cpu" else 1
        self._settings = optimizer
        self._flat = Flat(module)
        self._optimizer = optim.build(*self._flat.leaves(), optimizer)
        self._factor = optim.schedule(optimizer.schedule)
        self._ema = optim.Ema(self._flat.values, ema)
        self.measured = precision == "auto"
        """Whether the precision is found by timing; then a restored one counts."""
        self.compute_in("float32" if self.measured else precision)

    def compute_in(self, precision: str) -> None:
        """From now on in this one of ``PRECISIONS``; the weights themselves stay float32."""
        self.precision = precision
        self._replicas = Replicas(self._flat, self.threads, PRECISIONS[precision])

    def measure(self, forward: Forward, tensors: list[Tensor]) -> None:
        """From now on in the precision that is faster for these, if it is to be measured."""
        if self.measured:
            self.compute_in(faster_precision(self.module, forward, tensors))

    def descend(self, forward: Forward, tensors: list[Tensor], progress: float) -> dict[str, float]:
        """One step down the gradient of ``forward``'s loss, and its figures before the step.

        They must include ``loss``; ``gradient_norm`` and ``learning_rate`` are added. The rate
        follows ``progress`` in [0, 1], the share of the training that is over.

        Raises Diverged at a loss or a gradient that is not finite; BatchNorm's statistics are
        damaged by then.
        """
        figures = self._replicas.backward(forward, tensors)
        gradient, settings = self._flat.gradient, self._settings
        figures["gradient_norm"] = optim.clip_gradient(gradient, settings.gradient_clip)
        optim.add_l1(gradient, self._flat.matrices, settings.l1)
        found = torch.stack(list(figures.values())).tolist()  # at once: on a GPU each read waits
        row = dict(zip(figures, found, strict=True))
        if not (math.isfinite(row["loss"]) and math.isfinite(row["gradient_norm"])):
            raise Diverged(
                f"training diverged at step {self.step}: loss {row['loss']}, gradient norm "
                f"{row['gradient_norm']}; lower optimizer.learning_rate"
            )
        rate = settings.learning_rate * self._factor(self.step, progress)
        optim.set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self._ema.update(self._flat.values, self.step)
        self.step += 1
        return row | {"learning_rate": rate}

    def average(self) -> dict[str, Tensor]:
        """The averaged weights under the names of the module's ``state_dict``; views."""
        return self._flat.named(self._ema.average)

    def weights(self) -> Weights:
        """Copies of the averaged weights."""
        return arrays(self.average())

    def load(self, weights: Weights) -> None:
        """Take these for the module's weights and for the averaged ones."""
        load(self.module, weights)
        self._ema.average.copy_(self._flat.values)

    def state(self) -> dict[str, Any]:
        """A snapshot of plain types and tensors."""
        return copy.deepcopy(
            {
                "step": self.step,
                "precision": self.precision,
                "network": dict(self.module.state_dict()),
                "optimizer": self._optimizer.state_dict(),
                "average": self.average(),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the ``state`` of a descent of the same module."""
        self.step = state["step"]
        if self.measured:
            self.compute_in(state["precision"])
        self.module.load_state_dict(state["network"])
        # Only the moments: rate, L2 and the like are what the settings say now.
        moments = copy.deepcopy(state["optimizer"]["state"])
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        for name, tensor in self.average().items():
            tensor.copy_(state["average"][name])


class Course:
    """How much of a training is over: by steps or, where that is limited, by time."""

    def __init__(self, settings: FitSettings, steps: int):
        self.epochs = 0
        """That are over."""
        self.step, self.steps = 0, steps
        """Optimizer steps that are over, and all of them."""
        self._settings = settings
        self._start = time.monotonic()

    @property
    def minutes(self) -> float:
        """Since the training began, without what lay between a ``state`` and its ``restore``."""
        return (time.monotonic() - self._start) / 60

    @property
    def progress(self) -> float:
        """The share that is over, up to 1."""
        limit = self._settings.time_limit_minutes
        return min(1.0, max(self.step / self.steps, self.minutes / limit if limit else 0.0))

    @property
    def over(self) -> bool:
        return self.progress == 1 or self.epochs >= self._settings.epochs

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "step": self.step, "minutes": self.minutes}

    def restore(self, state: dict[str, Any]) -> None:
        self.epochs, self.step = state["epochs"], state["step"]
        self._start = time.monotonic() - 60 * state["minutes"]


def faster_precision(module: nn.Module, forward: Forward, tensors: list[Tensor]) -> str:
    """bfloat16 without hardware for it is several times slower, so both are timed; on a copy."""
    flat = Flat(copy.deepcopy(module))
    seconds = {
        name: _seconds(Replicas(flat, 1, PRECISIONS[name]), forward, tensors) for name in PRECISIONS
    }
    return min(seconds, key=lambda name: seconds[name])


def _seconds(replicas: Replicas, forward: Forward, tensors: list[Tensor]) -> float:
    """Of the quickest forward and backward pass after a first one."""
    times = []
    for _ in range(1 + TIMED_CALLS):
        start = time.perf_counter()
        figures = replicas.backward(forward, tensors)
        figures["loss"].item()  # on a GPU, waits until it has finished
        times.append(time.perf_counter() - start)
    return min(times[1:])


def begin(module: nn.Module, optimizer: OptimizerSettings, settings: FitSettings) -> Descent:
    """On the device and in the way that ``settings`` say."""
    module.to(choose(settings.device))
    return Descent(module, optimizer, settings.ema, settings.precision, threads(settings))


def threads(settings: FitSettings) -> int:
    """How many share each batch on a CPU."""
    if settings.threads == "auto":
        return max(1, min(cores(), settings.batch_size // LEAST_SHARE))
    return settings.threads
