"""A generator of images and the discriminator that it learns from (Goodfellow et al. 2014).

Both are convolutional (Radford et al. 2016) and may be told the class of an image (Mirza & Osindero
2014).

Shapes: ``B`` images of ``C`` channels, ``H, W`` pixels and ``K`` classes, 1 where no class is told.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from alphazero.nn import descent
from alphazero.nn.descent import Course
from alphazero.nn.fit import Examples, batches, check, ignore, one_pass, place
from alphazero.nn.parallel import compute_dtype
from alphazero.nn.settings import GAN, FitSettings, OptimizerSettings
from alphazero.nn.weights import Weights

DEVIATION = 0.02
"""Of the first weights (Radford et al. 2016, section 4)."""

REAL = 0.9
"""What the discriminator is to say of a real image (Salimans et al. 2016, section 3.4)."""

SLOPE = 0.2
HALF = 127.5


class Generator(nn.Module):
    """Noise ``[B, noise]`` and labels ``[B]`` to images ``[B, C, H, W]`` in (-1, 1)."""

    def __init__(self, settings: GAN, shape: tuple[int, ...], classes: int):
        super().__init__()
        wide, (channels, height, width) = 2 * settings.channels, shape
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
        told = functional.one_hot(_told(labels, self.classes), self.classes).to(noise)
        return self.image(torch.cat([noise, told], dim=1))


class Discriminator(nn.Module):
    """Images ``[B, C, H, W]`` and labels ``[B]`` to the logit ``[B]`` of being real ones."""

    def __init__(self, settings: GAN, shape: tuple[int, ...], classes: int):
        super().__init__()
        wide, (channels, height, width) = 2 * settings.channels, shape
        self.classes = classes if settings.conditional else 1
        self.judge = nn.Sequential(
            nn.Conv2d(channels, settings.channels, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(settings.channels, wide, 4, stride=2, padding=1, bias=False),
            # By the batch's own mean and variance always: there is nothing to predict later.
            nn.BatchNorm2d(wide, track_running_stats=False),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Flatten(),
            nn.Linear(wide * height * width // 16, self.classes),
        )

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.judge(images).gather(1, _told(labels, self.classes)[:, None])[:, 0]


def build(
    settings: GAN, shape: tuple[int, ...], classes: int, seed: int
) -> tuple[Generator, Discriminator]:
    """Both for images ``(C, H, W)``; their weights depend on ``seed`` alone.

    ValueError where 4 divides H or W not: the images are made from a quarter of them.
    """
    if shape[1] % 4 or shape[2] % 4:
        raise ValueError(f"gan: 4 does not divide the height and width of {shape[1]}x{shape[2]}")
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
    """``[count, C, H, W]``, of ``labels`` ``[count]`` or else of each class in turn."""
    if labels is None:
        labels = np.arange(count) % generator.classes
    device = next(generator.parameters()).device
    noise = _noise(count, generator.noise, seed).split(batch_size)
    parts = zip(noise, torch.from_numpy(labels).split(batch_size), strict=True)
    generator.eval()
    with torch.inference_mode():
        found = [generator(one.to(device), told.to(device)).cpu() for one, told in parts]
    return ((torch.cat(found) + 1) * HALF).round().to(torch.uint8).contiguous().numpy()


class GanTrainer:
    """Trains both in place, step by step in turn, for ``fit.fit`` without validation.

    ``weights`` are the generator's, averaged. Goes on bit for bit, as ``fit.Trainer`` does.
    """

    def __init__(
        self,
        pair: tuple[Generator, Discriminator],
        optimizer: OptimizerSettings,
        settings: FitSettings,
        steps: int,
        seed: int = 0,
    ):
        self.settings, self.course = settings, Course(settings, steps)
        self._seed, self._width = seed, pair[0].noise
        self._artist, self._critic = (
            descent.begin(network, optimizer, settings) for network in pair
        )
        # The generator looks at the discriminator itself; what trains that are its replicas.
        pair[1].requires_grad_(False)
        self._made: dict[int, Tensor] = {}

    def epoch(
        self, train: Examples, progress: Callable[[int], object] = ignore
    ) -> dict[str, float]:
        """One pass over images ``uint8 [N, C, H, W]``; ends early where time is up."""
        check(train)
        rng = np.random.default_rng((self._seed, self.course.epochs))

        def step(rows: NDArray[np.int64]) -> dict[str, float]:
            images = torch.from_numpy(train.inputs[rows]) / HALF - 1
            return self._step(images, torch.from_numpy(train.labels[rows]))

        order = batches(train.inputs, self.settings.batch_size, rng)
        return one_pass(order, step, self.course, progress)

    def validate(self, examples: Examples) -> dict[str, float]:
        return {}

    def weights(self) -> Weights:
        """Copies of the generator's averaged weights."""
        return self._artist.weights()

    def load(self, weights: Weights) -> None:
        """Take these for the generator's."""
        self._artist.load(weights)

    def state(self) -> dict[str, Any]:
        parts = {"generator": self._artist, "discriminator": self._critic}
        return {"course": self.course.state()} | {
            name: part.state() for name, part in parts.items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.course.restore(state["course"])
        self._artist.restore(state["generator"])
        self._critic.restore(state["discriminator"])

    def _step(self, images: Tensor, labels: Tensor) -> dict[str, float]:
        """Of the generator, and then of the discriminator on what the generator made in it."""
        rng, count = np.random.default_rng((self._seed, self._artist.step)), len(labels)
        noise = _noise(count, self._width, int(rng.integers(2**63)))
        device, done = self._artist.device, self.course.progress
        real, told, noise, rows = (
            place(each, device) for each in (images, labels, noise, torch.arange(count))
        )
        self._made.clear()
        artist = self._artist.descend(self._fool, [noise, told, rows], done)
        made = torch.cat([self._made[first] for first in sorted(self._made)])
        critic = self._critic.descend(self._tell, [real, made, told], done)
        self.course.step += 1
        return artist | {f"discriminator_{name}": critic[name] for name in ("loss", "accuracy")}

    def _fool(
        self, generator: nn.Module, noise: Tensor, labels: Tensor, rows: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss that does not saturate (Goodfellow et al. 2014, section 3)."""
        images = generator(noise.to(compute_dtype(generator)), labels).float()
        self._made[int(rows[0])] = images.detach()
        loss = functional.softplus(-self._critic.module(images, labels)).mean()
        return loss, {"loss": loss}

    def _tell(
        self, discriminator: nn.Module, real: Tensor, made: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Real and made images apart: as one batch BatchNorm would tell each about the others."""
        parts = [images.to(compute_dtype(discriminator)) for images in (real, made)]
        found = torch.cat([discriminator(images, labels) for images in parts]).float()
        right = torch.cat([torch.full_like(labels, REAL, dtype=torch.float32), labels * 0.0])
        loss = functional.binary_cross_entropy_with_logits(found, right)
        accuracy = ((found > 0) == (right > 0)).float().mean()
        return loss, {"loss": loss, "accuracy": accuracy}


def _told(labels: Tensor, classes: int) -> Tensor:
    return labels if classes > 1 else torch.zeros_like(labels)


def _noise(count: int, width: int, seed: int) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
