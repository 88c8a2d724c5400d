"""BatchNorm together with what follows it in a convolutional network, in training on a CPU.

torch passes over the planes for each of BatchNorm, the pooling, the additions and ReLU, and several
times more backward. Here the loops of ``nn.kernels`` take two passes forward and two backward, and
one more for pooling.

``fuse`` replaces parts of a module as ``nn.export.fold`` does. The new parts hold the old ones and
leave to them whatever the loops do not compute: evaluation, other devices, types and layouts.
"""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from alphazero.nn import kernels
from alphazero.nn.layers import GlobalPoolingBias, Residual

Array = NDArray[Any]


def fuse(module: nn.Module) -> None:
    """Replace, in place, each BatchNorm - ReLU pair and each residual block in ``module``."""
    for part in reversed(list(module.modules())):  # the parts of a block before the block
        if isinstance(part, nn.Sequential):
            _fuse_children(part)


def _fuse_children(sequence: nn.Sequential) -> None:
    for i in reversed(range(len(sequence))):
        part, before = sequence[i], sequence[i - 1] if i else None
        if isinstance(part, nn.ReLU) and isinstance(before, nn.BatchNorm2d):
            sequence[i - 1] = NormReLU(before)
            del sequence[i]
        elif isinstance(part, Residual) and (parts := _parts(part)):
            sequence[i] = FusedResidual(*parts)


def _parts(
    block: Residual,
) -> tuple[nn.Sequential, nn.BatchNorm2d, GlobalPoolingBias | None] | None:
    """A block's body without its last BatchNorm, that, and the pooling after it.

    None where other layers end the body.
    """
    layers = list(block.body)
    pooling, norm = None, layers.pop()
    if isinstance(norm, GlobalPoolingBias):
        pooling, norm = norm, layers.pop()
    if not isinstance(norm, nn.BatchNorm2d):
        return None
    return nn.Sequential(*layers), norm, pooling


class NormReLU(nn.Module):
    """``ReLU(BatchNorm(x))``: ``[B, C, H, W]`` to the same."""

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        self.norm = norm

    def forward(self, planes: Tensor) -> Tensor:
        norm = self.norm
        if fits(norm, planes):
            return Rectified.apply(norm, planes, norm.weight, norm.bias)
        return norm(planes).relu_()


class FusedResidual(nn.Module):
    """A ``Residual`` block whose last BatchNorm, pooling, addition and ReLU are one operation."""

    def __init__(
        self, body: nn.Sequential, norm: nn.BatchNorm2d, pooling: GlobalPoolingBias | None
    ):
        super().__init__()
        self.body, self.norm, self.pooling = body, norm, pooling

    def forward(self, planes: Tensor) -> Tensor:
        branch, norm = self.body(planes), self.norm
        if fits(norm, branch) and fits(norm, planes):
            arguments = norm, branch, norm.weight, norm.bias, planes
            if self.pooling is None:
                return Added.apply(*arguments)
            linear = self.pooling.bias
            return Pooled.apply(*arguments, linear.weight, linear.bias)
        branch = norm(branch)
        branch = branch if self.pooling is None else self.pooling(branch)
        return branch.add_(planes).relu_()


def fits(norm: nn.BatchNorm2d, planes: Tensor) -> bool:
    """Whether the kernels compute ``norm`` of these planes."""
    return (
        norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and planes.device.type == "cpu"
        and planes.dtype in (torch.float32, torch.bfloat16)
        and planes.is_contiguous(memory_format=torch.channels_last)
        and planes.numel() > planes.shape[1]
    )


def _observe(norm: nn.BatchNorm2d, rows: Array) -> Array:
    """The batch's mean and inverse deviation, ``[2, C]``; the running ones follow as in torch."""
    mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None
    assert variance is not None
    assert count is not None
    count.add_(1)
    return kernels.observed(rows, _array(mean), _array(variance), norm.momentum, norm.eps)


class Rectified(torch.autograd.Function):
    """``ReLU(BatchNorm(x))`` of the planes x, scale and shift of ``norm``.

    ``norm`` holds the running statistics.
    """

    @staticmethod
    def forward(ctx: Any, norm: nn.BatchNorm2d, *tensors: Tensor) -> Tensor:
        planes, scale, shift = tensors
        result, rows = torch.empty_like(planes), _rows(planes)
        ctx.statistics = _observe(norm, rows)
        own = _array(scale), _array(shift), ctx.statistics
        kernels.normalized(rows, *own, None, None, _rows(result))
        ctx.save_for_backward(planes, scale, shift)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        planes, scale, shift = ctx.saved_tensors
        gradient, back = _rows(_last(gradients[0])), torch.empty_like(planes)
        arrays = gradient, _rows(planes), _array(scale), _array(shift), ctx.statistics
        own = kernels.gradients(*arrays, _rows(back))
        return None, back, *torch.from_numpy(own)


class Added(torch.autograd.Function):
    """``ReLU(BatchNorm(x) + residual)``."""

    @staticmethod
    def forward(ctx: Any, norm: nn.BatchNorm2d, *tensors: Tensor) -> Tensor:
        planes, scale, shift, residual = tensors
        result, rows = torch.empty_like(planes), _rows(planes)
        ctx.statistics = _observe(norm, rows)
        own = _array(scale), _array(shift), ctx.statistics
        kernels.normalized(rows, *own, None, _rows(residual), _rows(result))
        ctx.save_for_backward(planes, scale, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        planes, scale, result = ctx.saved_tensors
        before, back = torch.empty_like(planes), torch.empty_like(planes)
        arrays = _rows(_last(gradients[0])), _rows(result), _rows(planes), _array(scale)
        own = kernels.added_gradients(*arrays, ctx.statistics, _rows(before), _rows(back))
        return None, back, *torch.from_numpy(own), before


class Pooled(torch.autograd.Function):
    """``ReLU(z + linear(pooled z) + residual)`` with ``z = BatchNorm(x)``: ``GlobalPoolingBias``.

    The gradient of a maximum goes to the first of equal cells; torch divides it among them.
    """

    @staticmethod
    def forward(ctx: Any, norm: nn.BatchNorm2d, *tensors: Tensor) -> Tensor:
        planes, scale, shift, residual, weight, bias = tensors
        result, rows = torch.empty_like(planes), _rows(planes)
        ctx.statistics = _observe(norm, rows)
        own = _array(scale), _array(shift), ctx.statistics
        inputs, ctx.extremes, ctx.cells = kernels.pooled(rows, *own, len(planes))
        pooled = torch.from_numpy(inputs).to(weight.dtype)
        added = functional.linear(pooled, weight, bias).float().numpy()
        kernels.normalized(rows, *own, added, _rows(residual), _rows(result))
        ctx.save_for_backward(planes, scale, result, weight, pooled)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        planes, scale, result, weight, pooled = ctx.saved_tensors
        before, back = torch.empty_like(planes), torch.empty_like(planes)
        arrays = [_rows(tensor) for tensor in (_last(gradients[0]), result, planes)]
        sums = kernels.rectified(*arrays, ctx.statistics, len(planes), _rows(before))
        added = torch.from_numpy(sums[0]).to(weight.dtype)
        pooling = (added @ weight).float().numpy()
        norm = _rows(before), _rows(planes), _array(scale), ctx.statistics
        own = kernels.pooled_gradients(*norm, *sums, pooling, ctx.extremes, ctx.cells, _rows(back))
        return None, back, *torch.from_numpy(own), before, added.T @ pooled, added.sum(0)


def _last(planes: Tensor) -> Tensor:
    """The same planes in channels-last memory."""
    return planes.contiguous(memory_format=torch.channels_last)


def _rows(planes: Tensor) -> Array:
    """The memory of channels-last planes as one vector ``[B * H * W * C]``."""
    rows = planes.as_strided((planes.numel(),), (1,))
    return (rows if rows.dtype == torch.float32 else rows.view(torch.uint16)).numpy()


def _array(vector: Tensor) -> Array:
    return vector.detach().numpy()
