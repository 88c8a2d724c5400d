"""Optimizers, learning-rate schedules and averaged weights."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from alphazero.nn.settings import OptimizerSettings, ScheduleSettings

BETA_2 = 0.999
"""Adam's decay of squared gradients (Kingma & Ba 2015, algorithm 1)."""
MOMENTS = {
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
    "rmsprop": ("step", "square_avg"),
}
"""The state of each parameter after a step in torch's optimizers, by ``settings.name``; sgd without
momentum stores nothing. ``step`` is a number, the others have the parameter's shape."""


def build(matrices: Tensor, others: Tensor, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimizer of these parameters, in torch's fused version where there is one.

    ``l2`` adds ``l2 * w`` to the gradient of ``w`` (a penalty of ``l2 / 2 * |w|^2``); for adamw it
    is the decoupled decay of Loshchilov & Hutter 2019, algorithm 2. ``others`` are not decayed.
    For biases and BatchNorm's scale and shift that would regularize nothing; embeddings of rare
    words would shrink to nothing, since Adam makes full steps even of tiny gradients.
    """
    groups = [
        {"params": [matrices], "weight_decay": settings.l2},
        {"params": [others], "weight_decay": 0.0},
    ]
    rate, betas = settings.learning_rate, (settings.momentum, BETA_2)
    if settings.name == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=betas, fused=True)
    if settings.name == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, fused=True)
    return torch.optim.RMSprop(groups, lr=rate)


def check_moments(name: str, leaves: Sequence[Tensor], steps: int, moments: object) -> None:
    """``ValueError``, one line, unless ``moments`` are those of ``leaves`` after ``steps`` steps.

    ``moments``: the part ``state`` of an optimizer's ``state_dict``, from anyone. Names, types and
    shapes are compared, not the numbers.
    """
    if not isinstance(moments, dict) or not moments.keys() <= set(range(len(leaves))):
        raise ValueError("the optimizer's moments belong to another network")
    for number, leaf in enumerate(leaves):
        stored = moments.get(number, {})
        if stored == {} and (steps == 0 or name == "sgd"):
            continue
        right = {part: () if part == "step" else tuple(leaf.shape) for part in MOMENTS[name]}
        if not isinstance(stored, dict) or right != {
            part: tuple(moment.shape) if _is_float(moment) else None
            for part, moment in stored.items()
        }:
            raise ValueError(f"the optimizer's moments are not those of {name} and this network")


def _is_float(moment: object) -> bool:
    return isinstance(moment, Tensor) and moment.dtype == torch.float32


def schedule(settings: ScheduleSettings) -> Callable[[int, float], float]:
    """The factor on the base learning rate as a function of ``(step, progress)``.

    ``progress`` in [0, 1] is the share of the run that is done, by steps or by time, so that a run
    of limited time ends with a small rate too. Step ``i`` of the warm-up has the factor
    ``(i + 1) / warmup_steps``, so the first step already learns. cosine: Loshchilov & Hutter 2017,
    equation 5, without restarts, down to ``final_factor``.

    An example with the defaults: learning rate 0.002, cosine, 100 steps of warm-up, final factor
    0.05. Step 0 has 0.002 * 1/100 = 0.00002, step 49 (progress still about 0) 0.002 * 50/100 =
    0.001. At progress 0.5 the factor is 0.05 + 0.95 * 0.5 = 0.525 and the rate 0.00105; at the end
    it is 0.002 * 0.05 = 0.0001. With ``kind`` step, milestones 0.6 and 0.85 and decay 0.1 the
    factor is 1 up to progress 0.6, then 0.1, and from 0.85 on 0.01.
    """

    def shape(progress: float) -> float:
        if settings.kind == "constant":
            return 1.0
        if settings.kind == "step":
            passed = sum(progress >= milestone for milestone in settings.milestones)
            return settings.decay**passed
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))  # from 1 down to 0
        return settings.final_factor + (1 - settings.final_factor) * cosine

    def factor(step: int, progress: float) -> float:
        return min(1.0, (step + 1) / max(1, settings.warmup_steps)) * shape(progress)

    return factor


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradient(gradient: Tensor, limit: float) -> Tensor:
    """Scale ``gradient`` down to the norm ``limit`` (0: no limit); return the norm before, 0-d."""
    norm = torch.linalg.vector_norm(gradient)
    if limit:
        gradient.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def add_l1(gradient: Tensor, matrices: Tensor, l1: float) -> None:
    """Add the gradient of ``l1 * sum |w|`` over ``matrices``, whose gradient comes first.

    This happens after clipping, like the L2 penalty, which the optimizer adds.
    """
    if l1:
        gradient[: len(matrices)].add_(matrices.sign(), alpha=l1)


class Ema:
    """Exponential moving average of a module's parameters and BatchNorm statistics, in one vector.

    The running statistics are averaged like the parameters they belong to. Compared with copying
    the newest statistics, the value loss on held-out positions (Connect Four, 4×32) was up to 0.004
    worse in the first 200 steps and up to 0.006 better from step 300 on. Computing the statistics
    anew for each published version gains up to 0.004 and costs some 20 forward passes.
    """

    def __init__(self, values: Tensor, decay: float):
        self.decay = decay
        self.average = values.clone()

    def update(self, values: Tensor, step: int) -> None:
        """Average in the values after optimizer step ``step`` (0, 1, ...).

        The decay grows as ``(1 + step) / (10 + step)`` up to its final value; otherwise the random
        first weights would count for hundreds of steps. With a final decay of 0.99 it is 0.1 at
        step 0 (the average is 0.1 of the old and 0.9 of the new), 0.91 at step 90 and 0.99 from
        step 890 on.
        """
        self.average.lerp_(values, 1 - min(self.decay, (1 + step) / (10 + step)))
