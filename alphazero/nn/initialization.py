"""First weights: which layer gets which of ``torch.nn.init``'s distributions.

BatchNorm keeps torch's start (scale 1, shift 0); biases are zero.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

OUTPUT_DEVIATION = 0.01
"""Of an output layer's weights: an untrained policy is near uniform, an untrained value near 0."""


def initialize(
    module: nn.Module,
    kind: Literal["he", "xavier"],
    generator: torch.Generator,
    outputs: Iterable[nn.Module] = (),
) -> None:
    """Draw every convolution's and linear layer's weights anew, in place.

    ``he``: normal with variance 2 / fan-in (He et al. 2015, equation 10), made for ReLU.
    ``xavier``: uniform with variance 2 / (fan-in + fan-out) (Glorot & Bengio 2010, equation 16).
    The layers in ``outputs`` start near zero instead, whatever the kind, so that a first search is
    led by the game's results and not by an accident of the draw.
    """
    small = {id(layer) for layer in outputs}
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        if id(layer) in small:
            nn.init.normal_(layer.weight, std=OUTPUT_DEVIATION, generator=generator)
        elif kind == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        else:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
