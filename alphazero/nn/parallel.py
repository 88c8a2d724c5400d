"""Data parallelism over the cores of one machine, by threads, in mixed precision.

torch's own threads split every single operation and meet after each; when another process takes
a core they wait for each other and training becomes ten times slower. Here each thread computes a
whole share of the batch with one torch thread, and they meet once a step.
"""

import copy
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from alphazero.nn.flat import BATCH_NORMS, Flat, sections, views

Forward = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""``forward(module, *tensors) -> (loss, figures)``: means over the rows given."""

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
KEPT_BYTES = 2**30
GROWTH_BYTES = LARGEST_BYTES = 2**25


def keep_memory() -> None:
    """Let the C library keep for the next step what a step frees; for the whole process.

    glibc would return most of it to the kernel, which then clears the same pages again for each
    step: 5 to 12 % of a step's time. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, GROWTH_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)


def compute_dtype(module: nn.Module) -> torch.dtype:
    """What a replica's convolutions and linear layers compute in, and so its inputs should be."""
    return next(weights.dtype for weights in module.parameters() if weights.ndim > 1)


class Replicas:
    """Copies of a module that compute in ``dtype``, each a share of the batch.

    Buffers that are not BatchNorm's are copied once: they are taken for constants.

    With bfloat16 convolutions, linear layers and what flows between them are bfloat16; BatchNorm's
    parameters and statistics and the module itself stay float32, as under ``torch.autocast``, but
    the weights are converted once a step.

    As in distributed data parallel training, BatchNorm normalizes each share by its own mean and
    variance, and the running statistics become the mean of the shares'.
    """

    def __init__(self, flat: Flat, count: int, dtype: torch.dtype = torch.float32):
        self._flat = flat
        self._source = flat.values[: len(flat.matrices) + len(flat.biases)]
        self._weights = self._source.to(dtype)  # the source itself where it is of this dtype
        self._replicas = [Replica(flat, self._weights, first=i == 0) for i in range(count)]
        self._pool = ThreadPoolExecutor(count, "learner") if count > 1 else None

    def backward(self, forward: Forward, tensors: list[Tensor]) -> dict[str, Tensor]:
        """Leave the gradient of the loss over all rows in ``flat.gradient``; the figures' means.

        Rows are shared out evenly; a rest that does not divide goes to the first shares.
        """
        rows, count = len(tensors[0]), len(self._replicas)
        used = self._replicas if rows >= 2 * count else self._replicas[:1]
        pieces = zip(*(tensor.tensor_split(len(used)) for tensor in tensors), strict=True)
        shares = [list(piece) for piece in pieces]
        if self._weights is not self._source:
            self._weights.copy_(self._source)
        for replica in used[1:]:
            replica.statistics.copy_(self._flat.statistics)
        apply = map if self._pool is None or len(used) == 1 else self._pool.map
        figures = list(apply(lambda own, share: own.backward(forward, share), used, shares))
        weights = [len(share[0]) / rows for share in shares]
        self._combine(used, weights)
        table = torch.stack([torch.stack(list(own.values())) for own in figures])
        means = torch.tensor(weights, dtype=table.dtype, device=table.device) @ table
        return dict(zip(figures[0], means.unbind(), strict=True))

    def _combine(self, used: list["Replica"], weights: list[float]) -> None:
        """Weighted means over the replicas, of gradients and of statistics, into the module's."""
        cast, kept = self._flat.gradient.split([len(self._source), len(self._flat.scales)])
        _mean(cast, [replica.cast_gradient for replica in used], weights)
        _mean(kept, [replica.scales_gradient for replica in used], weights)
        if len(used) > 1:
            _mean(self._flat.statistics, [replica.statistics for replica in used], weights)


class Replica:
    """A copy of a module whose weights all replicas share; gradients are its own.

    The ``first`` one's statistics and counts are the module's own.
    """

    def __init__(self, flat: Flat, weights: Tensor, first: bool):
        self.module = copy.deepcopy(flat.module).to(weights.dtype).train()
        for part in self.module.modules():
            if isinstance(part, BATCH_NORMS):
                part.float()
            if isinstance(part, nn.Flatten):
                part.register_forward_pre_hook(_keep_layout)
        self.cast_gradient = torch.zeros_like(weights)
        self.scales_gradient = torch.zeros_like(flat.scales)
        self.statistics = flat.statistics if first else flat.statistics.clone()
        matrices, biases, scales, statistics = sections(self.module)
        _lay(matrices + biases, weights, self.cast_gradient)
        _lay(scales, flat.scales, self.scales_gradient)
        _lay(statistics, self.statistics, None)
        if first:
            _share_counts(self.module, flat.module)

    def backward(self, forward: Forward, tensors: list[Tensor]) -> dict[str, Tensor]:
        """The gradients of the loss over these rows; the figures."""
        self.cast_gradient.zero_()
        self.scales_gradient.zero_()
        loss, figures = forward(self.module, *tensors)
        loss.backward()
        return {name: figure.detach() for name, figure in figures.items()}


def _lay(tensors: list[Tensor], values: Tensor, gradient: Tensor | None) -> None:
    """Let ``tensors`` be views of ``values``, and their gradients of ``gradient``."""
    for tensor, view in zip(tensors, views(tensors, values), strict=True):
        tensor.data = view
    if gradient is not None:
        for tensor, view in zip(tensors, views(tensors, gradient), strict=True):
            tensor.grad = view


def _keep_layout(_: nn.Module, inputs: tuple[Tensor]) -> None:
    """Bring the gradient of planes into their layout: mixed ones slow all that comes before."""
    if inputs[0].requires_grad and inputs[0].ndim == 4:
        inputs[0].register_hook(lambda slope: slope.contiguous(memory_format=torch.channels_last))


def _share_counts(module: nn.Module, other: nn.Module) -> None:
    """Let ``module`` count in ``other``'s integer buffers."""
    for own, source in zip(module.buffers(), other.buffers(), strict=True):
        if not own.is_floating_point():
            own.data = source.data


def _mean(target: Tensor, parts: list[Tensor], weights: list[float]) -> None:
    """``target`` becomes the weighted mean of ``parts``, of which it may be the first."""
    target.copy_(parts[0]).mul_(weights[0])
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        target.add_(part, alpha=weight)
