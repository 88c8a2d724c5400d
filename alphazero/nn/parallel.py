"""Data parallelism over the cores of one machine, by threads.

torch's own threads split every single operation and meet after each; when another process takes
a core they wait for each other and training becomes ten times slower. Here each thread computes a
whole share of the batch with one torch thread, and they meet once a step.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

Forward = Callable[..., tuple[Tensor, dict[str, Tensor]]]
"""``forward(module, *tensors) -> (loss, figures)``: means over the rows given."""


class Replicas:
    """A module and copies of it that share its parameters, not their gradients and statistics.

    As in distributed data parallel training, BatchNorm normalizes each share by its own mean and
    variance, and the running statistics become the mean of the shares'. With ``count`` 1 nothing
    differs from plain training.
    """

    def __init__(self, module: nn.Module, count: int):
        self._modules = [module] + [copy.deepcopy(module) for _ in range(count - 1)]
        for other in self._modules[1:]:
            for own, shared in zip(other.parameters(), module.parameters(), strict=True):
                own.data = shared.data
        self._pool = ThreadPoolExecutor(count, "learner") if count > 1 else None

    def backward(self, forward: Forward, tensors: list[Tensor]) -> dict[str, Tensor]:
        """Leave the gradient of the loss over all rows in the module; the figures' means.

        Rows are shared out evenly; a rest that does not divide goes to the first shares.
        """
        if self._pool is None or len(tensors[0]) < 2 * len(self._modules):
            return self._share(forward, self._modules[0], tensors)
        pieces = zip(*(tensor.tensor_split(len(self._modules)) for tensor in tensors), strict=True)
        shares = list(pieces)
        weights = [len(share[0]) / len(tensors[0]) for share in shares]
        self._copy_statistics()
        tasks = [
            self._pool.submit(self._share, forward, module, list(share))
            for module, share in zip(self._modules, shares, strict=True)
        ]
        figures = [task.result() for task in tasks]
        self._combine(weights)
        return {
            name: sum(w * each[name].detach() for w, each in zip(weights, figures, strict=True))
            for name in figures[0]
        }  # type: ignore[return-value]

    def _share(
        self, forward: Forward, module: nn.Module, tensors: list[Tensor]
    ) -> dict[str, Tensor]:
        module.train()
        module.zero_grad(set_to_none=True)
        loss, figures = forward(module, *tensors)
        loss.backward()
        return figures

    def _copy_statistics(self) -> None:
        first, *others = (list(module.buffers()) for module in self._modules)
        for buffers in others:
            for own, source in zip(buffers, first, strict=True):
                own.copy_(source)

    def _combine(self, weights: list[float]) -> None:
        """Weighted means over the copies, of gradients and of statistics, into the module."""
        columns = zip(*(module.parameters() for module in self._modules), strict=True)
        for own, *others in columns:
            if own.grad is not None:
                own.grad.mul_(weights[0])
                for weight, other in zip(weights[1:], others, strict=True):
                    own.grad.add_(other.grad, alpha=weight)
        for own, *others in zip(*(module.buffers() for module in self._modules), strict=True):
            if torch.is_floating_point(own):
                own.mul_(weights[0])
                for weight, other in zip(weights[1:], others, strict=True):
                    own.add_(other, alpha=weight)
