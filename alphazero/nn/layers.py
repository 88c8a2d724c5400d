"""Building blocks of perceptrons and convolutional networks, independent of what the inputs mean.

Shapes: ``B`` examples, ``C`` channels, planes of ``H, W``. Every convolution of a tower keeps
``H, W`` and has no bias, because the BatchNorm after it (Ioffe & Szegedy 2015) subtracts any.
Towers and heads are made of ``nn.Sequential`` and a few small modules, so that ``nn.export`` can
fold and translate them part by part.
"""

import numpy as np
import torch
from torch import Tensor, nn

from alphazero.nn.settings import Activation, Attention

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

REDUCTION = 4
"""The bottleneck of squeeze-and-excitation has this factor fewer channels than the block."""


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

    Wu 2019, "Accelerating Self-Play Learning in Go", section 3.3, for boards of one size: the mean
    scaled by the board's width is left out, since for one width it holds the same as the mean.
    ``[B, C, H, W]`` to the same.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Linear(2 * channels, channels)

    def forward(self, planes: Tensor) -> Tensor:
        pooled = torch.cat([planes.mean(dim=(2, 3)), planes.amax(dim=(2, 3))], dim=1)
        return planes + self.bias(pooled)[:, :, None, None]


LAST_NORM = 4
"""Index of the last BatchNorm in the body of a ``residual_block``."""


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
    """A convolutional block, then ``blocks`` residual ones: to ``[B, channels, H, W]``."""
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
    """``[B, inputs, H, W]`` to ``[B, outputs]``: like the policy head, with a hidden layer.

    ``outputs`` is 3 for the logits of win, draw and loss, 1 for a scalar value before tanh.
    """
    return convolutional_block(inputs, channels, 1).extend(
        [nn.Flatten(), nn.Linear(channels * cells, hidden), nn.ReLU(), nn.Linear(hidden, outputs)]
    )


def activation(name: Activation) -> nn.Module:
    """Elementwise activation; ``leaky_relu`` has a slope of 0.01 below 0 (Maas et al. 2013)."""
    return ACTIVATIONS[name]()


class Dropout(nn.Dropout):
    """torch's dropout, which draws from ``generator`` where one is set.

    Several threads would draw from torch's global generator in an order that varies between runs.
    """

    generator: torch.Generator | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.generator is None or not self.training or not self.p:
            return super().forward(input)
        kept = torch.empty_like(input).bernoulli_(1 - self.p, generator=self.generator)
        return input * kept.div_(1 - self.p)


def seed_dropout(module: nn.Module, device: torch.device, *seed: int) -> None:
    """Make every ``Dropout`` in ``module`` draw from one generator with this ``seed``."""
    mixed = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    generator = torch.Generator(device).manual_seed(int(mixed))
    for part in module.modules():
        if isinstance(part, Dropout):
            part.generator = generator


def perceptron_layer(
    inputs: int, outputs: int, name: Activation, dropout: float = 0.0, batch_norm: bool = False
) -> nn.Sequential:
    """Linear - (BatchNorm) - activation - (dropout): ``[B, inputs]`` to ``[B, outputs]``."""
    layer = nn.Sequential(nn.Linear(inputs, outputs, bias=not batch_norm))
    if batch_norm:
        layer.append(nn.BatchNorm1d(outputs))
    layer.append(activation(name))
    return layer.append(Dropout(dropout)) if dropout else layer


class ResidualLayer(nn.Module):
    """``x + body(x)`` of a perceptron: ``[B, width]`` to the same.

    The body is linear - BatchNorm - ReLU, so the sum of all layers needs no ReLU of its own: it is
    never below 0.
    """

    def __init__(self, width: int):
        super().__init__()
        self.body = perceptron_layer(width, width, "relu", batch_norm=True)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.body(features)


def perceptron_tower(inputs: int, width: int, layers: int) -> nn.Sequential:
    """A perceptron layer of all inputs, then ``layers`` residual ones.

    ``[B, ...]`` with ``inputs`` numbers per example to ``[B, width]``.
    """
    first = perceptron_layer(inputs, width, "relu", batch_norm=True)
    tower = nn.Sequential(nn.Flatten()).extend(first)
    return tower.extend(ResidualLayer(width) for _ in range(layers))


def pooled_block(inputs: int, outputs: int, name: Activation) -> nn.Sequential:
    """3×3 convolution - activation - 2×2 max pooling: halves ``H, W``, rounding down."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), activation(name), nn.MaxPool2d(2)
    )
