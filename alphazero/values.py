"""The meaning of a value: one number in [-1, 1], or three probabilities of win, draw and loss.

Both are from the point of view of the player about to move. A network's value head has three logits
(``wdl``) or one (``scalar``), a training target is always a distribution, and everything else in
the program is a number. This is the one place that knows how they are converted:

    ========================  ==================  =============================================
    from                      to                  rule
    ========================  ==================  =============================================
    logits of a head          value               P(win) - P(loss) of their softmax, or the tanh
    distribution              value               P(win) - P(loss)
    value v                   distribution        (max(v, 0), 1 - |v|, max(-v, 0))
    logits and distribution   loss                cross entropy, or squared error of the values
    ========================  ==================  =============================================

A value of -0.3 as a distribution is (0, 0.7, 0.3), whose value is -0.3 again; of an outcome, which
is -1, 0 or +1, it is certain: (0, 0, 1), (0, 1, 0) or (1, 0, 0). Only ``loss`` imports torch.
"""

from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from torch import Tensor

ValueHead = Literal["wdl", "scalar"]

LOGITS: dict[ValueHead, int] = {"wdl": 3, "scalar": 1}
"""The number of logits of each kind of value head."""

Columns = TypeVar("Columns", NDArray[np.float32], "Tensor")


def expectation(wdl: Columns) -> Columns:
    """Values ``[B]`` of distributions ``[B, 3]`` over win, draw and loss; arrays or tensors."""
    assert wdl.shape[1:] == (3,)
    return wdl[:, 0] - wdl[:, 2]


def distribution(value: ArrayLike) -> NDArray[np.floating]:
    """Distributions ``[B, 3]`` over win, draw and loss of values or outcomes ``[B]`` in [-1, 1].

    Of all distributions with that value it has the largest share of draws: 0.3 could also be 0.65
    wins and 0.35 losses, but a value alone does not say so. It is exact for -1, 0 and +1.
    """
    column = np.asarray(value)[:, None]
    return np.hstack([np.maximum(column, 0), 1 - np.abs(column), np.maximum(-column, 0)])


def from_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """A value head's logits ``[B, 3]`` or ``[B, 1]`` to values ``[B]``.

    The logits of 0.5, 0.3 and 0.2 give 0.3. In NumPy, because torch's calls cost more than the
    arithmetic of a batch.
    """
    assert logits.shape[1:] in ((1,), (3,))
    if logits.shape[1] == 1:
        return np.tanh(logits[:, 0])
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponentials[:, 0] - exponentials[:, 2]) / exponentials.sum(axis=1)


def from_logit_tensor(logits: "Tensor") -> "Tensor":
    """The same as ``from_logits`` for tensors, with gradients."""
    assert logits.shape[1:] in ((1,), (3,))
    if logits.shape[1] == 1:
        return logits[:, 0].tanh()
    return expectation(logits.softmax(dim=1))


def loss(logits: "Tensor", wdl: "Tensor", weight: "Tensor | None" = None) -> "Tensor":
    """The loss of a value head's logits ``[B, 3]`` or ``[B, 1]`` for distributions ``[B, 3]``.

    Three logits learn the distribution by its cross entropy, one the distribution's value by the
    squared error: (0.9, 0.1, 0) becomes 0.9. ``weight [B]`` multiplies each row's loss.
    """
    from alphazero.nn import losses

    assert wdl.shape == (len(logits), 3)
    if logits.shape[1] == LOGITS["wdl"]:
        return losses.wdl_loss(logits, wdl, weight)
    return losses.scalar_loss(from_logit_tensor(logits), expectation(wdl), weight)
