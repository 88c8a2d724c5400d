"""Data parallelism over the cores of one machine, by threads, in mixed precision.

torch's own threads split each operation and synchronize after it; when another process takes a
core they wait for each other, and training becomes ten times slower. Here each thread computes the
whole network on its share of the batch, with one torch thread, and they synchronize once per step.
"""

import copy
import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from alphazero.nn.flat import BATCH_NORMS, Flat, sections, views

Forward = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""``forward(module, *tensors) -> (loss, figures)``: both are means over the rows of the tensors."""

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # as in malloc.h
KEPT_BYTES = 2**30
GROWTH_BYTES = LARGEST_BYTES = 2**25


def keep_memory() -> None:
    """Make the C library keep freed memory for the next step, in the whole process.

    glibc would return most of it to the kernel, which then clears the same pages again in each
    step: 5 to 12 % of a step's time. Other C libraries are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_TOP_PAD, GROWTH_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGEST_BYTES)


def compute_dtype(module: nn.Module) -> torch.dtype:
    """The type in which a replica's convolutions and linear layers compute: that of its inputs."""
    return next(weights.dtype for weights in module.parameters() if weights.ndim > 1)


class Replicas:
    """Copies of a module, of which each computes a share of the batch in ``dtype``.

    A share's loss is the mean over its rows, so the gradient of the whole batch is the mean of the
    shares' gradients, weighted by their rows. An example: 5 rows with the gradients 0, 1, 2, 1, 3
    for some weight go to two threads as 0, 1, 2 and 1, 3. Their means are 1 and 2, the weights 3/5
    and 2/5, and 0.6 * 1 + 0.4 * 2 = 1.4 is the mean of all five.

    With bfloat16, convolutions, linear layers and the activations between them are bfloat16;
    BatchNorm's parameters and statistics and the module itself stay float32. This is as under
    ``torch.autocast``, but the weights are converted only once per step.

    As in distributed data parallel training, BatchNorm normalizes each share by the share's own
    mean and variance, and the running statistics become the weighted mean of the shares'. Buffers
    of other layers are copied once, as constants.

    ``fused``: the copies' BatchNorms are computed together with what follows them (``nn.fused``).
    ``tiles``: weight gradients of their convolutions are computed on tiles of AMX
    (``nn.weight_gradients``).
    """

    def __init__(
        self,
        flat: Flat,
        count: int,
        dtype: torch.dtype = torch.float32,
        fused: bool = False,
        tiles: bool = False,
    ):
        self._flat = flat
        self._source = flat.values[: len(flat.matrices) + len(flat.biases)]
        self._weights = self._source.to(dtype)  # the source itself where it is of this dtype
        self._replicas = [Replica(flat, self._weights, first=i == 0) for i in range(count)]
        if fused:
            from alphazero.nn.fused import fuse  # imports Numba, which takes half a second

            for replica in self._replicas:
                fuse(replica.module)
        self.tiles = False
        """Whether there is a convolution whose weight gradient is computed on tiles."""
        if tiles:
            from alphazero.nn.weight_gradients import replace  # imports Numba, too

            self.tiles = any([replace(replica.module) for replica in self._replicas])
        self._pool = ThreadPoolExecutor(count, "learner") if count > 1 else None

    def backward(self, forward: Forward, tensors: list[Tensor]) -> dict[str, Tensor]:
        """Write the gradient of the mean loss to ``flat.gradient``; return the figures' means.

        Rows are divided evenly; the first shares get one more where there is a remainder. Fewer
        than two rows per share are left to one replica.
        """
        assert all(len(tensor) == len(tensors[0]) for tensor in tensors)
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
        """Set the module's gradient and statistics to weighted means over the replicas'."""
        cast, kept = self._flat.gradient.split([len(self._source), len(self._flat.scales)])
        _mean(cast, [replica.cast_gradient for replica in used], weights)
        _mean(kept, [replica.scales_gradient for replica in used], weights)
        if len(used) > 1:
            _mean(self._flat.statistics, [replica.statistics for replica in used], weights)


class Replica:
    """A copy of a module; replicas share their weights, and each has its own gradients.

    The ``first`` replica's statistics and batch counts are the module's own.
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
        _make_views(matrices + biases, weights, self.cast_gradient)
        _make_views(scales, flat.scales, self.scales_gradient)
        _make_views(statistics, self.statistics, None)
        if first:
            _share_counts(self.module, flat.module)

    def backward(self, forward: Forward, tensors: list[Tensor]) -> dict[str, Tensor]:
        """Compute this replica's gradients of the loss over these rows; return the figures."""
        self.cast_gradient.zero_()
        self.scales_gradient.zero_()
        loss, figures = forward(self.module, *tensors)
        loss.backward()
        return {name: figure.detach() for name, figure in figures.items()}


def _make_views(tensors: list[Tensor], values: Tensor, gradient: Tensor | None) -> None:
    """Make ``tensors`` views of ``values``, and their gradients views of ``gradient``."""
    for tensor, view in zip(tensors, views(tensors, values), strict=True):
        tensor.data = view
    if gradient is not None:
        for tensor, view in zip(tensors, views(tensors, gradient), strict=True):
            tensor.grad = view


def _keep_layout(_: nn.Module, inputs: tuple[Tensor]) -> None:
    """Keep the gradient of planes channels last: mixed layouts slow the layers before."""
    if inputs[0].requires_grad and inputs[0].ndim == 4:
        inputs[0].register_hook(lambda grad: grad.contiguous(memory_format=torch.channels_last))


def _share_counts(module: nn.Module, other: nn.Module) -> None:
    """Make ``module``'s integer buffers those of ``other``: BatchNorm's counts of batches."""
    for own, source in zip(module.buffers(), other.buffers(), strict=True):
        if not own.is_floating_point():
            own.data = source.data


def _mean(target: Tensor, parts: list[Tensor], weights: list[float]) -> None:
    """Set ``target`` to the weighted mean of ``parts``; ``target`` may be the first of them."""
    target.copy_(parts[0]).mul_(weights[0])
    for weight, part in zip(weights[1:], parts[1:], strict=True):
        target.add_(part, alpha=weight)
