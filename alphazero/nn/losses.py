"""Losses and accuracies: means over the batch, as 0-d float32 tensors.

A ``weight [B]`` multiplies each row's loss before the mean. In the losses called ``masked``, NaN in
the target means that there is none: the entry counts as 0 in the mean over *all* entries. So the
mean of a batch is the mean of its shares' (``nn.parallel``), whichever rows have a target: with the
losses 4, 1, 2 and none the mean is 7 / 4, and its halves' means 5 / 2 and 2 / 2 have the mean 7 / 4
too. A mean over the entries with a target alone would be 7 / 3, but that of the halves 2.25.

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


def cross_entropy(
    log_probabilities: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor:
    """``-sum target * log p`` of two distributions ``[B, K]`` (Silver et al. 2018, equation 1).

    The target must be 0 for each action that is illegal; it may be 0 for others too.
    """
    assert log_probabilities.ndim == 2
    assert target.shape == log_probabilities.shape
    return -_weighted_mean((target * log_probabilities).sum(dim=1), weight)


def entropy(probabilities: Tensor, weight: Tensor | None = None) -> Tensor:
    """Entropy in nats of distributions ``[B, K]``; 0 log 0 counts as 0."""
    assert probabilities.ndim == 2
    return _weighted_mean(torch.special.entr(probabilities).sum(dim=1), weight)


def wdl_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross entropy of the logits of win, draw and loss with a distribution, both ``[B, 3]``."""
    assert logits.shape == target.shape == (len(target), 3)
    return cross_entropy(torch.log_softmax(logits.float(), dim=1), target, weight)


def scalar_loss(value: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error of values ``[B]`` in [-1, 1] (Silver et al. 2018, equation 1)."""
    assert value.shape == target.shape == (len(target),)
    if weight is None:
        return functional.mse_loss(value.float(), target)
    return _weighted_mean((value.float() - target).square(), weight)


def _weighted_mean(rows: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over the batch of ``weight * rows``, both ``[B]``: weights 2 and 0.5 of the losses
    1 and 4 give (2 + 2) / 2. The sum is not divided by that of the weights, so that the mean of a
    batch is the mean of its shares'."""
    if weight is None:
        return rows.mean()
    assert weight.shape == rows.shape
    return (rows * weight).mean()


def masked_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy of logits with distributions, both ``[B, K]``; rows of NaN have no target."""
    assert logits.ndim == 2
    assert target.shape == logits.shape
    return cross_entropy(torch.log_softmax(logits.float(), dim=1), target.nan_to_num(0.0))


def masked_sides_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of ``tanh(logits)`` for targets in [-1, 1], both ``[B, K]``.

    As KataGo's loss of ownership: a target t is the probability (1 + t) / 2 of +1, and the
    prediction (1 + tanh(x)) / 2 is the sigmoid of 2x. A logit of 0 costs log 2 for any target.
    """
    assert logits.ndim == 2
    assert target.shape == logits.shape
    share = (1 + target.nan_to_num(0.0)) / 2
    loss = functional.binary_cross_entropy_with_logits(2 * logits.float(), share, reduction="none")
    return _masked_mean(loss, target)


def masked_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of numbers ``[B]``."""
    assert prediction.shape == target.shape == (len(target),)
    return _masked_mean((prediction.float() - target.nan_to_num(0.0)).square(), target)


def masked_huber_loss(prediction: Tensor, target: Tensor, delta: float) -> Tensor:
    """Huber's loss of numbers ``[B]``: e² / 2 up to an error e of ``delta``, linear above it.

    The slope never exceeds ``delta``: errors of 0.1 and 0.5 with a ``delta`` of 0.2 cost 0.005 and
    0.2 * (0.5 - 0.1) = 0.08 (Huber 1964).
    """
    assert prediction.shape == target.shape == (len(target),)
    loss = functional.huber_loss(
        prediction.float(), target.nan_to_num(0.0), reduction="none", delta=delta
    )
    return _masked_mean(loss, target)


def _masked_mean(loss: Tensor, target: Tensor) -> Tensor:
    """The mean of ``loss`` over all entries, counting those without a target as 0."""
    return loss.masked_fill(target.isnan(), 0.0).mean()


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
