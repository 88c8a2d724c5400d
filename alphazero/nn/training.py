"""One module's optimization, shared by every kind of training, and how far a training has come."""

import copy
import operator
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from alphazero.nn import divergence, optim
from alphazero.nn.device import PRECISIONS, choose, cores, has_tiles
from alphazero.nn.divergence import FACTOR, Losses
from alphazero.nn.flat import Flat
from alphazero.nn.layers import GlobalPoolingBias
from alphazero.nn.parallel import Forward, Replicas
from alphazero.nn.settings import FitSettings, OptimizerSettings
from alphazero.nn.weights import Weights, arrays, check_shapes, load, shapes
from alphazero.ranges import LARGEST

Reduce = Callable[[Flat, dict[str, Tensor]], dict[str, Tensor]]
"""Sets gradient and statistics to means over several processes; returns the means of figures."""

MIN_ROWS_PER_THREAD = 32
"""With fewer rows of a batch, one more thread costs more than it computes."""
LAYERS = ("fused", "tiles")
"""Where layers of our own may take the place of torch's, by their names in a state."""
TIMED_CALLS = 3
"""Timed passes per precision, after one that is not timed."""


class Optimization:
    """Optimizer steps on one module; ``state`` holds everything that decides the next step."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: OptimizerSettings,
        ema: float = 0.0,
        precision: str = "auto",
        threads: int = 1,
        jump: float = FACTOR,
        fusable: bool = False,
    ):
        """``module`` is trained in place, on its own device; on a CPU ``threads`` share a batch.

        ``ema``: decay of the averaged weights; with 0 they equal the newest. ``precision`` auto is
        float32 until ``choose_precision`` or ``restore`` sets another. A loss above ``jump`` times
        the recent median has jumped. ``fusable``: parts of it may be replaced as in ``nn.fused``
        and ``nn.weight_gradients``, if that is chosen too.
        """
        self.steps = 0
        """Optimizer steps taken."""
        self.losses = Losses(jump)
        """The losses of the last steps."""
        layout: dict[str, Any] = {"memory_format": torch.channels_last}
        self.module = module.to(**layout)
        self.device = next(module.parameters()).device
        self.threads = threads if self.device.type == "cpu" else 1
        self._settings = optimizer
        self._flat = Flat(module)
        self._optimizer = optim.build(*self._flat.leaves(), optimizer)
        self._factor = optim.schedule(optimizer.schedule)
        self._ema = optim.Ema(self._flat.values, ema)
        self._fusable = fusable and self.device.type == "cpu"
        self.auto_precision = precision == "auto"
        """Whether timing decides the precision; then ``restore`` takes the stored one."""
        self.set_precision("float32" if self.auto_precision else precision)

    def set_precision(self, precision: str, fused: bool = False, tiles: bool = False) -> None:
        """Compute in this one of ``PRECISIONS`` from now on; weights are always kept in float32.

        ``fused``: with the layers of ``nn.fused``, where the module is fusable. ``tiles``: with the
        weight gradients of ``nn.weight_gradients``, where also the processor has tiles, the
        precision is bfloat16 and there are convolutions that suit them.
        """
        self.precision, self.fused = precision, fused and self._fusable
        tiles = tiles and self._fusable and precision == "bfloat16" and has_tiles()
        dtype = PRECISIONS[precision]
        self._replicas = Replicas(self._flat, self.threads, dtype, self.fused, tiles)
        self.tiles = self._replicas.tiles

    def choose_precision(self, forward: Forward, tensors: list[Tensor]) -> None:
        """With ``precision`` auto, take the one that is faster on these tensors from now on.

        Fused layers and tiles follow from the precision, the network and the processor.
        """
        if self.auto_precision:
            precision = faster_precision(self.module, forward, tensors)
            fused = fusing_pays(self.module, precision)
            self.set_precision(precision, fused, tiles=True)

    def step(
        self,
        forward: Forward,
        tensors: list[Tensor],
        progress: float,
        reduce: Reduce | None = None,
    ) -> dict[str, float]:
        """Take one optimizer step; return the figures of ``forward`` from before the step.

        ``forward`` must return ``loss`` among its figures; ``gradient_norm`` and ``learning_rate``
        are added. The learning rate follows ``progress`` in [0, 1], the share of the training that
        is done. ``reduce``: where other processes compute the other rows of a batch.

        Raises Diverged at a loss or a gradient that is not finite, and at a loss that stays far
        above the recent ones; BatchNorm's statistics are damaged by then.
        """
        figures = self._replicas.backward(forward, tensors)
        if reduce is not None:
            figures = reduce(self._flat, figures)
        gradient, settings = self._flat.gradient, self._settings
        figures["gradient_norm"] = optim.clip_gradient(gradient, settings.gradient_clip)
        optim.add_l1(gradient, self._flat.matrices, settings.l1)
        values = torch.stack(list(figures.values())).tolist()  # at once: on a GPU each read waits
        row = dict(zip(figures, values, strict=True))
        self.losses.add(self.steps, row["loss"], row["gradient_norm"])
        rate = settings.learning_rate * self._factor(self.steps, progress)
        optim.set_learning_rate(self._optimizer, rate)
        self._optimizer.step()
        self._ema.update(self._flat.values, self.steps)
        self.steps += 1
        return row | {"learning_rate": rate}

    def averaged_state(self) -> dict[str, Tensor]:
        """The averaged weights under the names of the module's ``state_dict``, as views."""
        return self._flat.named(self._ema.average)

    def weights(self) -> Weights:
        """Copies of the averaged weights."""
        return arrays(self.averaged_state())

    def load(self, weights: Weights) -> None:
        """Replace the module's weights and the averaged ones by ``weights``."""
        load(self.module, weights)
        self._ema.average.copy_(self._flat.values)

    def state(self) -> dict[str, Any]:
        """A snapshot of plain types and tensors."""
        return copy.deepcopy(
            {
                "step": self.steps,
                "precision": self.precision,
                "fused": self.fused,
                "tiles": self.tiles,
                "network": dict(self.module.state_dict()),
                "optimizer": self._optimizer.state_dict(),
                "average": self.averaged_state(),
                "losses": self.losses.state(),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the ``state`` of an optimization of the same module.

        ``ValueError`` or ``KeyError`` where it is another's: nothing is changed then.
        """
        self._check(state)
        self.steps = state["step"]
        if self.auto_precision:
            layers = {name: state.get(name, False) for name in LAYERS}  # once not stored
            self.set_precision(state["precision"], **layers)
        self.module.load_state_dict(state["network"])
        # Only the moments: learning rate, L2 and the like follow the settings of today.
        moments = copy.deepcopy(state["optimizer"]["state"])
        self._optimizer.load_state_dict(self._optimizer.state_dict() | {"state": moments})
        for name, tensor in self.averaged_state().items():
            tensor.copy_(state["average"][name])
        if "losses" in state:  # earlier versions stored none
            self.losses.restore(state["losses"])

    def _check(self, state: dict[str, Any]) -> None:
        """Compare types and shapes with those of this module and optimizer, not the numbers."""
        own = shapes(self.averaged_state())
        for part in ("network", "average"):
            check_shapes(own, shapes(state[part]))
        if type(state["step"]) is not int or not 0 <= state["step"] <= LARGEST:
            raise ValueError(f"step {state['step']!r:.40} is no whole number from 0 to {LARGEST}")
        if state["precision"] not in PRECISIONS:
            raise ValueError(f"there is no precision {state['precision']!r}")
        for name in LAYERS:
            if type(state.get(name, False)) is not bool:
                raise ValueError(f"{name} {state[name]!r} is neither true nor false")
        leaves = [group["params"][0] for group in self._optimizer.param_groups]
        moments = state["optimizer"]["state"]
        optim.check_moments(self._settings.name, leaves, state["step"], moments)
        if "losses" in state:
            divergence.check(state["losses"])


class Progress:
    """How far a training has come: by steps or, where ``settings`` limit it, by time."""

    def __init__(self, settings: FitSettings, total_steps: int):
        self.epochs = 0
        """Epochs done."""
        self.step, self.total_steps = 0, total_steps
        """Optimizer steps done, and those of the whole training."""
        self._settings = settings
        self._start = time.monotonic()

    @property
    def minutes(self) -> float:
        """Minutes of training; the time between a ``state`` and its ``restore`` is not counted."""
        return (time.monotonic() - self._start) / 60

    @property
    def fraction(self) -> float:
        """The share of the training that is done, in [0, 1]."""
        limit = self._settings.time_limit_minutes
        return min(1.0, max(self.step / self.total_steps, self.minutes / limit if limit else 0.0))

    @property
    def finished(self) -> bool:
        return self.fraction == 1 or self.epochs >= self._settings.epochs

    def state(self) -> dict[str, Any]:
        return {"epochs": self.epochs, "step": self.step, "minutes": self.minutes}

    def restore(self, state: dict[str, Any]) -> None:
        self.epochs, self.step = map(operator.index, (state["epochs"], state["step"]))
        self._start = time.monotonic() - 60 * state["minutes"]


def faster_precision(module: nn.Module, forward: Forward, tensors: list[Tensor]) -> str:
    """Return the one of ``PRECISIONS`` whose forward and backward pass is shorter.

    Both are timed on a copy of ``module``: bfloat16 is faster only where the processor has
    instructions for it, and several times slower elsewhere. The first pass, in which libraries
    choose kernels and take memory, is not counted, and the shortest of the others is, since other
    processes only ever lengthen a pass. An example in milliseconds:

        float32    first 95, then 41 38 52    counts as 38
        bfloat16   first 80, then 24 23 25    counts as 23, and is chosen

    Without such instructions bfloat16 might take 150, and float32 is chosen.
    """
    flat = Flat(copy.deepcopy(module))
    seconds = {
        name: _seconds(Replicas(flat, 1, PRECISIONS[name]), forward, tensors) for name in PRECISIONS
    }
    return min(seconds, key=lambda name: seconds[name])


def fusing_pays(module: nn.Module, precision: str) -> bool:
    """Whether the layers of ``nn.fused`` are clearly faster than torch's.

    They are with global pooling, and where convolutions are as cheap as in bfloat16. A rule, not a
    timing: where the two take about the same time, a timing would choose now these and now those,
    and runs of one seed would differ. docs/performance.md has the measurements.
    """
    pooled = any(isinstance(part, GlobalPoolingBias) for part in module.modules())
    return pooled or precision == "bfloat16"


def _seconds(replicas: Replicas, forward: Forward, tensors: list[Tensor]) -> float:
    """The shortest forward and backward pass, the first one not counted."""
    times = []
    for _ in range(1 + TIMED_CALLS):
        start = time.perf_counter()
        figures = replicas.backward(forward, tensors)
        figures["loss"].item()  # on a GPU, waits until it has finished
        times.append(time.perf_counter() - start)
    return min(times[1:])


def create(
    module: nn.Module,
    optimizer: OptimizerSettings,
    settings: FitSettings,
    jump: float = FACTOR,
) -> Optimization:
    """Move ``module`` to the device of ``settings`` and return its optimization."""
    module.to(choose(settings.device))
    threads = threads_per_batch(settings)
    return Optimization(module, optimizer, settings.ema, settings.precision, threads, jump)


def threads_per_batch(settings: FitSettings) -> int:
    """How many threads share each batch on a CPU."""
    if settings.threads == "auto":
        return max(1, min(cores(), settings.batch_size // MIN_ROWS_PER_THREAD))
    return settings.threads
