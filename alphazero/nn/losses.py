"""Losses and what is measured beside them: means over the batch, as 0-d float32 tensors.

``B`` examples, ``A`` actions, ``K`` classes. Everything is computed in float32, whatever precision
the network ran in: bfloat16 has three significant digits.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

ILLEGAL = -1e30
"""An illegal action's logit. Finite, so that a target of 0 times its logarithm is 0 and not NaN."""


def masked_log_softmax(logits: Tensor, legal: Tensor) -> Tensor:
    """``[B, A]`` log-probabilities in which illegal actions (``legal`` False) have none."""
    return torch.log_softmax(logits.float().masked_fill(~legal, ILLEGAL), dim=1)


def cross_entropy(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """``-sum target * log p`` of two distributions ``[B, K]`` (Silver et al. 2018, equation 1).

    The target must be 0 wherever ``masked_log_softmax`` left a move out; it may be 0 elsewhere.
    """
    return -(target * log_probabilities).sum(dim=1).mean()


def entropy(probabilities: Tensor) -> Tensor:
    """In nats, of distributions ``[B, K]``; 0 log 0 counts as 0."""
    return torch.special.entr(probabilities).sum(dim=1).mean()


def wdl_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of (win, draw, loss) ``[B, 3]`` with a target distribution ``[B, 3]``."""
    return cross_entropy(torch.log_softmax(logits.float(), dim=1), target)


def scalar_loss(value: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of values ``[B]`` in [-1, 1] (Silver et al. 2018, equation 1)."""
    return functional.mse_loss(value.float(), target)


def sign_accuracy(value: Tensor, target: Tensor) -> Tensor:
    """Share of the examples with a target ``[B]`` other than 0 whose value has its sign."""
    right = (value * target > 0).sum()
    return right.float() / (target != 0).sum().clamp(min=1)


def class_loss(
    logits: Tensor,
    labels: Tensor,
    kind: Literal["cross_entropy", "mse"] = "cross_entropy",
    smoothing: float = 0.0,
) -> Tensor:
    """Of logits ``[B, K]`` for classes ``[B]``.

    ``cross_entropy``: with labels of ``1 - smoothing`` for the class and ``smoothing / K`` more for
    every one (Szegedy et al. 2016, section 7). ``mse``: the mean squared difference between the
    softmax's probabilities and 1 for the class, 0 for the others.
    """
    if kind == "cross_entropy":
        return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    right = functional.one_hot(labels, logits.shape[1]).float()
    return functional.mse_loss(torch.softmax(logits.float(), dim=1), right)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the examples whose largest of the logits ``[B, K]`` is that of their class."""
    return (logits.argmax(dim=1) == labels).float().mean()
