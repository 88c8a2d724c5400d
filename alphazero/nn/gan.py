"""A generator of images and the discriminator it is trained against (Goodfellow et al. 2014).

Both are convolutional (Radford et al. 2016). Where they are conditional, an image's class is an
input of both (Mirza & Osindero 2014).

Shapes: ``B`` images of ``C`` channels, ``H, W`` pixels and ``K`` classes; ``K`` is 1 where they are
not conditional.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from alphazero.nn import training
from alphazero.nn.batches import batches
from alphazero.nn.divergence import Losses
from alphazero.nn.fit import Examples, check, ignore, one_pass, to_device
from alphazero.nn.parallel import compute_dtype
from alphazero.nn.settings import GAN, FitSettings, OptimizerSettings
from alphazero.nn.training import Progress
from alphazero.nn.weights import Weights

DEVIATION = 0.02
"""Standard deviation of the first weights (Radford et al. 2016, section 4)."""

REAL = 0.9
"""The discriminator's target for a real image (Salimans et al. 2016, section 3.4)."""

SLOPE = 0.2
"""Slope of the discriminator's leaky ReLU below 0 (Radford et al. 2016, section 4)."""
JUMP = 1000.0
"""A loss above this many times its recent median has jumped. The losses of two networks that learn
against each other may well rise to more than ten times that."""
HALF = 127.5
"""Pixels 0 to 255 become -1 to 1: divided by this, minus 1."""


class Generator(nn.Module):
    """Noise ``[B, noise]`` and labels ``[B]`` to images ``[B, C, H, W]`` in (-1, 1)."""

    def __init__(self, settings: GAN, shape: tuple[int, ...], classes: int):
        super().__init__()
        wide, (channels, height, width) = 2 * settings.channels, shape
        if height % 4 or width % 4:
            raise ValueError(f"gan: 4 does not divide the height and width of {height}x{width}")
        self.noise = settings.noise
        self.classes = classes if settings.conditional else 1
        self.image = nn.Sequential(
            nn.Linear(self.noise + self.classes, wide * height * width // 16, bias=False),
            nn.Unflatten(1, (wide, height // 4, width // 4)),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(wide, settings.channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(settings.channels),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(settings.channels, channels, 4, stride=2, padding=1),
            nn.Tanh(),
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        assert noise.shape == (len(labels), self.noise)
        condition = functional.one_hot(_condition(labels, self.classes), self.classes).to(noise)
        return self.image(torch.cat([noise, condition], dim=1))


class Discriminator(nn.Module):
    """Images ``[B, C, H, W]`` and labels ``[B]`` to logits ``[B]``: above 0 means real."""

    def __init__(self, settings: GAN, shape: tuple[int, ...], classes: int):
        super().__init__()
        wide, (channels, height, width) = 2 * settings.channels, shape
        self.classes = classes if settings.conditional else 1
        # The name "judge" is part of saved training states.
        self.judge = nn.Sequential(
            nn.Conv2d(channels, settings.channels, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(settings.channels, wide, 4, stride=2, padding=1, bias=False),
            # Always with the batch's own mean and variance: only training uses this network.
            nn.BatchNorm2d(wide, track_running_stats=False),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Flatten(),
            nn.Linear(wide * height * width // 16, self.classes),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        assert labels.shape == (len(images),)
        return self.judge(images).gather(1, _condition(labels, self.classes)[:, None])[:, 0]


def build(
    settings: GAN, shape: tuple[int, ...], classes: int, seed: int
) -> tuple[Generator, Discriminator]:
    """Build both networks for images ``(C, H, W)``; their weights depend on ``seed`` alone.

    ValueError where 4 does not divide H and W: images start at a quarter of their height and width.
    """
    with torch.random.fork_rng(devices=[]):  # torch's own first weights would use its global state
        pair = Generator(settings, shape, classes), Discriminator(settings, shape, classes)
    random = torch.Generator().manual_seed(seed)
    for network in pair:
        for name, parameter in network.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=DEVIATION, generator=random)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)
    return pair


def generate(
    generator: Generator,
    count: int,
    seed: int,
    labels: NDArray[np.int64] | None = None,
    batch_size: int = 256,
) -> NDArray[np.uint8]:
    """Images ``[count, C, H, W]`` of the classes ``labels`` ``[count]``; default: each in turn."""
    if labels is None:
        labels = np.arange(count) % generator.classes
    device = next(generator.parameters()).device
    noise = _noise(count, generator.noise, seed).split(batch_size)
    parts = zip(noise, torch.from_numpy(labels).split(batch_size), strict=True)
    generator.eval()
    with torch.inference_mode():
        images = [generator(part.to(device), label.to(device)).cpu() for part, label in parts]
    return ((torch.cat(images) + 1) * HALF).round().to(torch.uint8).contiguous().numpy()


class GanTrainer:
    """Trains both networks in place, one step of each in turn, for ``fit.fit`` without validation.

    ``weights`` are the generator's averaged ones. Resumes bit for bit, like ``fit.Trainer``.
    """

    def __init__(
        self,
        pair: tuple[Generator, Discriminator],
        optimizer: OptimizerSettings,
        settings: FitSettings,
        steps: int,
        seed: int = 0,
    ):
        self.settings, self.progress = settings, Progress(settings, steps)
        self._seed, self._width = seed, pair[0].noise
        self._generator, self._discriminator = (
            training.create(network, optimizer, settings, JUMP) for network in pair
        )
        # The generator's loss uses the discriminator's own module, which needs no gradient there:
        # the discriminator's replicas compute its gradient.
        pair[1].requires_grad_(False)
        self._generated: dict[int, Tensor] = {}
        """Images of the current step, by their first row in the batch."""

    def epoch(
        self, train: Examples, on_batch: Callable[[int], object] = ignore
    ) -> dict[str, float]:
        """Train one pass over images ``uint8 [N, C, H, W]``, or until time is up."""
        check(train)
        rng = np.random.default_rng((self._seed, self.progress.epochs))

        def step(rows: NDArray[np.int64]) -> dict[str, float]:
            images = torch.from_numpy(train.inputs[rows]) / HALF - 1
            return self._step(images, torch.from_numpy(train.labels[rows]))

        order = batches(train.inputs, self.settings.batch_size, rng)
        return one_pass(order, step, self.progress, on_batch)

    def validate(self, examples: Examples) -> dict[str, float]:
        return {}

    @property
    def losses(self) -> Losses:
        """The losses of the generator."""
        return self._generator.losses

    def weights(self) -> Weights:
        """Copies of the generator's averaged weights."""
        return self._generator.weights()

    def load(self, weights: Weights) -> None:
        """Replace the generator's weights by ``weights``."""
        self._generator.load(weights)

    def state(self) -> dict[str, Any]:
        parts = {"generator": self._generator, "discriminator": self._discriminator}
        return {"course": self.progress.state()} | {
            name: part.state() for name, part in parts.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.progress.restore(state["course"])
        self._generator.restore(state["generator"])
        self._discriminator.restore(state["discriminator"])

    def _step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """One step of the generator, then one of the discriminator on the same generated images."""
        rng, count = np.random.default_rng((self._seed, self._generator.steps)), len(labels)
        noise = _noise(count, self._width, int(rng.integers(2**63)))
        device, done = self._generator.device, self.progress.fraction
        real, labels, noise, rows = (
            to_device(tensor, device) for tensor in (images, labels, noise, torch.arange(count))
        )
        self._generated.clear()
        figures = self._generator.step(self._generator_loss, [noise, labels, rows], done)
        generated = torch.cat([self._generated[first] for first in sorted(self._generated)])
        other = self._discriminator.step(self._discriminator_loss, [real, generated, labels], done)
        self.progress.step += 1
        return figures | {f"discriminator_{name}": other[name] for name in ("loss", "accuracy")}

    def _generator_loss(
        self, generator: nn.Module, noise: Tensor, labels: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The non-saturating loss -log D(G(z)) (Goodfellow et al. 2014, section 3)."""
        assert labels.shape == rows.shape == (len(noise),)
        images = generator(noise.to(compute_dtype(generator)), labels).float()
        self._generated[int(rows[0])] = images.detach()
        loss = functional.softplus(-self._discriminator.module(images, labels)).mean()
        return loss, {"loss": loss}

    def _discriminator_loss(
        self, discriminator: nn.Module, real: Tensor, generated: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross entropy with ``REAL`` for real images and 0 for generated ones.

        The two are separate batches: in one batch BatchNorm's mean and variance would depend on
        both kinds.
        """
        assert real.shape == generated.shape == (len(labels), *real.shape[1:])
        parts = [images.to(compute_dtype(discriminator)) for images in (real, generated)]
        logits = torch.cat([discriminator(images, labels) for images in parts]).float()
        target = torch.cat([torch.full_like(labels, REAL, dtype=torch.float32), labels * 0.0])
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        accuracy = ((logits > 0) == (target > 0)).float().mean()
        return loss, {"loss": loss, "accuracy": accuracy}


def _condition(labels: Tensor, classes: int) -> Tensor:
    """The class on which both networks are conditioned: always 0 where there is one class."""
    return labels if classes > 1 else torch.zeros_like(labels)


def _noise(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
