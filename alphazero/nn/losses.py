"""Losses and accuracies: means over the batch, as 0-d float32 tensors.

Shapes: ``B`` examples, ``A`` actions, ``K`` classes. Each function asserts the shapes of its inputs
first: torch would otherwise broadcast ``[B]`` with ``[B, 1]`` to ``[B, B]`` without an error.
Everything is computed in float32, whatever precision the network ran in: bfloat16 has about three
significant digits.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

ILLEGAL = -1e30
"""An illegal action's logit. Finite, so that 0 (its target) times its log-probability is 0: with
minus infinity that would be NaN."""


def masked_log_softmax(logits: Tensor, legal: Tensor) -> Tensor:
    """Log-probabilities ``[B, A]`` over the legal actions; ``legal`` ``[B, A]`` is boolean.

    Logits 0, 0, 0 of which the last is illegal become log 0.5, log 0.5 and about -1e30.
    """
    assert logits.ndim == 2
    assert legal.shape == logits.shape
    return torch.log_softmax(logits.float().masked_fill(~legal, ILLEGAL), dim=1)


def cross_entropy(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """``-sum target * log p`` of two distributions ``[B, K]`` (Silver et al. 2018, equation 1).

    The target must be 0 for each action that is illegal; it may be 0 for others too.
    """
    assert log_probabilities.ndim == 2
    assert target.shape == log_probabilities.shape
    return -(target * log_probabilities).sum(dim=1).mean()


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats of distributions ``[B, K]``; 0 log 0 counts as 0."""
    assert probabilities.ndim == 2
    return torch.special.entr(probabilities).sum(dim=1).mean()


def wdl_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of the logits of win, draw and loss with a distribution, both ``[B, 3]``."""
    assert logits.shape == target.shape == (len(target), 3)
    return cross_entropy(torch.log_softmax(logits.float(), dim=1), target)


def scalar_loss(value: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of values ``[B]`` in [-1, 1] (Silver et al. 2018, equation 1)."""
    assert value.shape == target.shape == (len(target),)
    return functional.mse_loss(value.float(), target)


def sign_accuracy(value: Tensor, target: Tensor) -> Tensor:
    """Share of the examples with a nonzero target ``[B]`` whose value ``[B]`` has its sign."""
    assert value.shape == target.shape == (len(target),)
    correct = (value * target > 0).sum()
    return correct.float() / (target != 0).sum().clamp(min=1)


def class_loss(
    logits: Tensor,
    labels: Tensor,
    kind: Literal["cross_entropy", "mse"] = "cross_entropy",
    smoothing: float = 0.0,
) -> Tensor:
    """Loss of logits ``[B, K]`` for the classes ``labels`` ``[B]``.

    ``cross_entropy``: the target is ``1 - smoothing`` for the label's class plus ``smoothing / K``
    for every class (Szegedy et al. 2016, section 7). ``mse``: the mean squared difference between
    the softmax's probabilities and the one-hot labels.
    """
    assert logits.ndim == 2
    assert labels.shape == (len(logits),)
    if kind == "cross_entropy":
        return functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
    target = functional.one_hot(labels, logits.shape[1]).float()
    return functional.mse_loss(torch.softmax(logits.float(), dim=1), target)


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of the examples whose largest logit of ``[B, K]`` is that of their label ``[B]``."""
    assert logits.ndim == 2
    assert labels.shape == (len(logits),)
    return (logits.argmax(dim=1) == labels).float().mean()
