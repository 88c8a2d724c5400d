"""Images of digits: MNIST's files, or the small digits that are part of scikit-learn.

MNIST (LeCun, Cortes & Burges 1998) is four files in the IDX format: two zero bytes, the type of the
values (8: unsigned bytes), the number of dimensions, each dimension as 4 bytes, big-endian, then
the values. Fashion-MNIST and others come in the same four files and are read the same way.

Images are ``uint8 [N, 1, H, W]``, 0 the background; labels ``int64 [N]``, 0 to 9.
"""

import functools
import hashlib
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from alphazero import unpacking
from alphazero.nn import extras
from alphazero.nn.fit import Examples, Prepare

PARTS = ("train", "t10k")
"""Beginnings of the file names: training and test examples."""
IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"

MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""SHA-256 of the original files, unpacked."""

CLASSES = tuple("0123456789")
UNSIGNED_BYTE = 8
"""The IDX format's number for this type."""
CHUNK = 1 << 20
"""Bytes that are read at once."""

MEAN, DEVIATION = 33.3, 78.6
"""Mean and standard deviation of the pixels of MNIST's training images. They are used for other
data as well, as part of the network's input format."""

WHITE = 255
"""The brightest pixel."""
FAR = 3.0
"""Deviations from the training images' brightness beyond which images may be inverted."""

DIGITS_TEST_SHARE = 0.2
"""Share of scikit-learn's digits that is kept for testing."""
DIGITS_WHITE = 16
"""The brightest value of scikit-learn's digits."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Images ``uint8 [N, 1, H, W]`` with their labels ``int64 [N]``, indices of ``classes``."""

    name: str
    """``mnist`` where all four files are the original ones, else ``idx``; ``digits``."""
    train: Examples
    test: Examples
    classes: tuple[str, ...]


class Brightness(NamedTuple):
    """The mean grey levels of single images, 0 to 255: their mean and standard deviation."""

    mean: float
    deviation: float


class IDX(NamedTuple):
    """The content of one IDX file."""

    path: Path
    values: NDArray[np.uint8]
    sha256: str
    """Hash of the unpacked content, in hexadecimal."""


def load(path: Path | None, report: Callable[[str], object] = print) -> Dataset:
    """Read MNIST's IDX files, compressed or not, in ``path``; without it, scikit-learn's digits.

    The names may be those of MNIST's page or Kaggle's, and the folder torchvision's.

    The digits are 1,437 training and 360 test images of 8×8 pixels, always the same ones.
    ``report`` is called with a line about files that are well-formed but not MNIST's.
    ``ValueError`` names a file that cannot be used, and the reason.
    """
    if path is None:
        return _load_digits()
    folder = _folder(path)
    files = {name: read_idx(_find(folder, name)) for name in MNIST}
    train, test = (
        _examples(files[IMAGES.format(part)], files[LABELS.format(part)]) for part in PARTS
    )
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        height, width = train.inputs.shape[2:]
        other = "×".join(str(size) for size in test.inputs.shape[2:])
        raise ValueError(f"{path}: training images are {height}×{width}, test images {other}")
    different = [name for name, file in files.items() if file.sha256 != MNIST[name]]
    if different:
        report(f"{path}: not the original MNIST, by the SHA-256 of {', '.join(different)}")
    return Dataset("idx" if different else "mnist", train, test, CLASSES)


def brightness(images: NDArray[np.uint8]) -> Brightness:
    """The brightness of the images ``[N, 1, H, W]``."""
    means = images.mean(axis=(1, 2, 3))
    return Brightness(round(float(means.mean()), 3), round(float(means.std()), 3))


def warn_of_inversion(images: NDArray[np.uint8], trained: Brightness) -> str | None:
    """A line where the images ``[N, 1, H, W]`` look as if light and dark were exchanged.

    ``trained`` is the brightness of the images that the network was trained on. The line is given
    where the mean grey level of all N is nearer to that of inverted training images, 255 minus
    theirs, and more than ``FAR`` deviations of a mean of N away from theirs. For MNIST, with a mean
    of 33 and a deviation of 11, that is above 127.5; a seven in black on white has 230.
    """
    seen = brightness(images).mean
    nearer = abs(seen - (WHITE - trained.mean)) < abs(seen - trained.mean)
    far = abs(seen - trained.mean) > FAR * trained.deviation / math.sqrt(len(images))
    if not (nearer and far):
        return None
    return (
        f"light and dark look exchanged: the mean grey level is {seen:.0f}, that of the training "
        f"images {trained.mean:.0f}; invert what is dark on light ground"
    )


def prepare(shift: float) -> Prepare:
    """The function from ``uint8 [N, 1, H, W]`` to the network's input, float32 of that shape.

    Pixels are scaled to about zero mean and unit variance. In training each image is first moved at
    random (``shift_images``).
    """
    return functools.partial(_prepare, shift)


def shift_images(
    images: NDArray[np.uint8], shift: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Move each image of ``[N, 1, H, W]`` down and right by -``shift`` to ``shift`` of its size.

    Each image is moved by whole pixels of its own, uniformly at random; zeros fill what is free.
    With ``shift`` 0.07, images of 28×28 are moved by -2 to 2 pixels in both directions.
    """
    down, right = (round(shift * side) for side in images.shape[2:])
    edges = ((0, 0), (0, 0), (down, down), (right, right))
    # Every shift is a window of the padded image: of 2 * down + 1 times 2 * right + 1 one is drawn.
    windows = sliding_window_view(np.pad(images, edges), images.shape[2:], axis=(2, 3))
    row, column = rng.integers([[2 * down + 1], [2 * right + 1]], size=(2, len(images)))
    return windows[np.arange(len(images)), :, row, column]


def read_idx(path: Path) -> IDX:
    """Read a file of unsigned bytes, compressed if its name says so; ``ValueError`` for others.

    The header is read, then as many bytes as it says and one more: no more is unpacked.
    """
    with unpacking.open_unpacked(path) as file:
        header = file.read(4)
        dimensions = header[3] if header[:3] == bytes((0, 0, UNSIGNED_BYTE)) and header[3:] else 0
        header += file.read(4 * dimensions)
        if not 1 <= dimensions <= 3 or len(header) < 4 + 4 * dimensions:
            raise ValueError(
                f"{path}: not an IDX file of unsigned bytes, begins {header[:4].hex()}"
            )
        shape = struct.unpack(f">{dimensions}I", header[4:])
        expected = math.prod(shape)
        content = _read_most(file, expected + 1)
    if len(content) != expected:
        held = f"{len(content):,}" if len(content) < expected else "more"
        raise ValueError(f"{path}: holds {held} values where its header says {expected:,}")
    digest = hashlib.sha256(header)
    digest.update(content)
    return IDX(path, np.frombuffer(content, np.uint8).reshape(shape), digest.hexdigest())


def _prepare(shift: float, images: NDArray, rng: np.random.Generator | None) -> Tensor:
    if shift and rng is not None:
        images = shift_images(images, shift, rng)
    return torch.from_numpy(images.astype(np.float32)).sub_(MEAN).div_(DEVIATION)


def _examples(images: IDX, labels: IDX) -> Examples:
    for file, dimensions in ((images, 3), (labels, 1)):
        if file.values.ndim != dimensions or not file.values.size:
            raise ValueError(
                f"{file.path}: shape {file.values.shape}, should have {dimensions} dimensions, "
                "none of them 0"
            )
    if len(images.values) != len(labels.values):
        raise ValueError(
            f"{images.path} has {len(images.values):,} images, "
            f"{labels.path.name} {len(labels.values):,} labels"
        )
    largest = labels.values.max()
    if largest >= len(CLASSES):
        raise ValueError(f"{labels.path}: label {largest}, should be 0 to {len(CLASSES) - 1}")
    return Examples(images.values[:, None], labels.values.astype(np.int64))


def _read_most(file: BinaryIO, most: int) -> bytearray:
    """At most so many bytes, in pieces: a header may announce more than the memory holds."""
    content = bytearray()
    while len(content) < most and (piece := file.read(min(CHUNK, most - len(content)))):
        content += piece
    return content


def _folder(path: Path) -> Path:
    """The folder with the files: ``path``, its ``raw``, or ``MNIST/raw`` as torchvision has it."""
    present = [folder for folder in (path, path / "raw", *sorted(path.glob("*/raw")))
             if any(_candidates(folder, name) for name in MNIST)]  # fmt: skip
    if len(present) > 1 and present[0] != path:
        names = " and ".join(str(folder) for folder in present)
        raise ValueError(f"{path}: holds several sets of images: give one of {names}")
    return present[0] if present else path


def _candidates(folder: Path, name: str) -> list[Path]:
    """Files of ``folder`` that are ``name``, the plain ones first.

    Kaggle's are called ``train-images.idx3-ubyte``, or lie in a folder of their own name.
    """
    spellings = name, name.replace("-idx", ".idx"), f"{name}/{name}"
    paths = (folder / f"{text}{ending}" for ending in unpacking.SUFFIXES for text in spellings)
    return [path for path in paths if unpacking.is_file(path)]


def _find(folder: Path, name: str) -> Path:
    if present := _candidates(folder, name):
        return present[0]
    raise ValueError(f"{folder}: no {name}[.gz]; should be a folder with MNIST's four IDX files")


def _load_digits() -> Dataset:
    """The 1,797 test images of Alpaydin & Kaynak (1998); a fifth of each class is for testing."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise ValueError(
            extras.missing("the digits used without data need scikit-learn", "supervised")
        ) from None
    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels * (WHITE / DIGITS_WHITE)).astype(np.uint8).reshape(-1, 1, 8, 8)
    labels = labels.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=DIGITS_TEST_SHARE, stratify=labels, random_state=0
    )
    train, test = (Examples(images[rows], labels[rows]) for rows in (train, test))
    return Dataset("digits", train, test, CLASSES)
