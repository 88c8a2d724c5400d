"""Building blocks of convolutional networks; nothing here knows what the planes mean.

Shapes: ``B`` examples, ``C`` channels, ``H, W`` planes. Every convolution keeps ``H, W`` and has no
bias, because the BatchNorm behind it (Ioffe & Szegedy 2015) subtracts any. Everything is made of
``nn.Sequential`` and two small modules, so that ``nn.export`` can fold and translate the parts
without knowing the whole.
"""

from typing import Literal

import torch
from torch import Tensor, nn

Attention = Literal["none", "squeeze_excitation", "global_pooling"]

REDUCTION = 4
"""Squeeze-and-excitation's bottleneck is this much narrower than the block."""


def convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution - BatchNorm: ``[B, inputs, H, W]`` to ``[B, outputs, H, W]``."""
    if kernel % 2 == 0:
        raise ValueError(f"kernel {kernel} is even; an odd one keeps the planes' size")
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def convolutional_block(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution - BatchNorm - ReLU: ``[B, inputs, H, W]`` to ``[B, outputs, H, W]``."""
    return convolution(inputs, outputs, kernel).append(nn.ReLU(inplace=True))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate in (0, 1) computed from all channels' means.

    Hu et al. 2018, "Squeeze-and-Excitation Networks", equations 2-4. ``[B, C, H, W]`` to the same.
    """

    def __init__(self, channels: int):
        super().__init__()
        narrow = max(1, channels // REDUCTION)
        self.gate = nn.Sequential(
            nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels), nn.Sigmoid()
        )

    def forward(self, planes: Tensor) -> Tensor:
        return planes * self.gate(planes.mean(dim=(2, 3)))[:, :, None, None]


class GlobalPoolingBias(nn.Module):
    """Adds to each channel a bias computed from all channels' means and maxima.

    Wu 2019, "Accelerating Self-Play Learning in Go", section 3.3, for boards of one size: the
    pooled mean scaled by the board's width is left out, since it would only repeat the mean.
    ``[B, C, H, W]`` to the same.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Linear(2 * channels, channels)

    def forward(self, planes: Tensor) -> Tensor:
        pooled = torch.cat([planes.mean(dim=(2, 3)), planes.amax(dim=(2, 3))], dim=1)
        return planes + self.bias(pooled)[:, :, None, None]


LAST_NORM = 4
"""Where in the body of a ``residual_block`` its last BatchNorm is."""


class Residual(nn.Module):
    """``ReLU(x + body(x))`` (He et al. 2016, figure 2)."""

    def __init__(self, body: nn.Sequential):
        super().__init__()
        self.body = body

    def forward(self, planes: Tensor) -> Tensor:
        return self.body(planes).add_(planes).relu_()


def residual_block(channels: int, attention: Attention = "none") -> Residual:
    """conv - BatchNorm - ReLU - conv - BatchNorm - (attention) - add - ReLU, 3×3 throughout."""
    body = convolutional_block(channels, channels).extend(convolution(channels, channels))
    if attention == "squeeze_excitation":
        body.append(SqueezeExcitation(channels))
    elif attention == "global_pooling":
        body.append(GlobalPoolingBias(channels))
    return Residual(body)


def residual_tower(
    inputs: int, channels: int, blocks: int, attention: Attention = "none"
) -> nn.Sequential:
    """A convolutional block and ``blocks`` residual ones: ``[B, inputs, ...]`` to ``channels``."""
    tower = convolutional_block(inputs, channels)
    return tower.extend(residual_block(channels, attention) for _ in range(blocks))


def policy_head(inputs: int, cells: int, channels: int, outputs: int) -> nn.Sequential:
    """``[B, inputs, H, W]`` with ``H * W == cells`` to logits ``[B, outputs]``.

    A 1×1 convolutional block of ``channels``, then one linear layer (Silver et al. 2018, methods).
    """
    return convolutional_block(inputs, channels, 1).extend(
        [nn.Flatten(), nn.Linear(channels * cells, outputs)]
    )


def value_head(inputs: int, cells: int, channels: int, hidden: int, outputs: int) -> nn.Sequential:
    """``[B, inputs, H, W]`` to ``[B, outputs]``: like the policy's, with a hidden layer.

    ``outputs`` is 3 for the logits of win, draw and loss, 1 for a scalar before its tanh.
    """
    return convolutional_block(inputs, channels, 1).extend(
        [nn.Flatten(), nn.Linear(channels * cells, hidden), nn.ReLU(), nn.Linear(hidden, outputs)]
    )
