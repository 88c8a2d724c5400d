"""The data of a configuration, split and encoded for training, validation and test."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import unpacking
from alphazero.nn.fit import Examples, Prepare
from alphazero.nn.settings import EmbeddingSettings
from alphazero.supervised import images, texts, vectors
from alphazero.supervised.config import OF_TEXTS, Images, SupervisedConfig, Texts
from alphazero.supervised.images import Brightness
from alphazero.supervised.vocabulary import Vocabulary

Report = Callable[[str], object]


class Task(NamedTuple):
    """Examples of one classification task.

    Images are ``uint8 [N, 1, H, W]``, texts words' numbers ``int32 [N, T]``; labels are
    ``int64 [N]``, indices of ``classes``.
    """

    name: str
    """The name of the data: mnist, digits, imdb, generated, ..."""
    train: Examples
    validation: Examples
    """Training examples that are held back, to choose the best epoch and to stop early."""
    test: Examples
    """Used once, after training."""
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    """(1, H, W) for images; (size of the vocabulary,) for texts."""
    vocabulary: Vocabulary | None = None
    """For texts."""
    brightness: Brightness | None = None
    """The brightness of the training images."""


def load(config: SupervisedConfig, report: Report = print) -> Task:
    """Load and split the data of ``config``.

    ``report`` is called with a line about stand-in data, which are used without ``data.path``, and
    about files that are not the originals. ``ValueError`` names a file that cannot be used.
    """
    if isinstance(config.data, Images):
        return _images(config.data, config.seed, report)
    return _texts(config.data, embedding(config), config.seed, report)


def embedding(config: SupervisedConfig) -> EmbeddingSettings:
    """The settings of the word embedding; ``config`` must have a model of texts."""
    assert isinstance(config.model, OF_TEXTS)
    return config.model.embedding


def prepare(config: SupervisedConfig) -> Prepare:
    """The function from a batch of raw examples to the network's input."""
    return images.prepare(config.data.shift) if isinstance(config.data, Images) else texts.prepare


def with_dimensions(config: SupervisedConfig, dimensions: int) -> SupervisedConfig:
    """``config`` with ``model.embedding.dimensions`` set to those of pretrained vectors."""
    assert isinstance(config.model, OF_TEXTS)
    settings = replace(config.model.embedding, dimensions=dimensions)
    return replace(config, model=replace(config.model, embedding=settings))


def load_test(
    config: SupervisedConfig, vocabulary: Vocabulary | None, report: Report = print
) -> tuple[Examples, str]:
    """The test examples, encoded with a trained model's ``vocabulary``, and the data's name."""
    if isinstance(config.data, Images):
        dataset = images.load(_path(config.data.path), report)
        return dataset.test, dataset.name
    assert vocabulary is not None
    reviews = texts.load(_path(config.data.path), report)
    encoded = vocabulary.encode(reviews.test.texts, config.data.length)
    return Examples(encoded, reviews.test.labels), reviews.name


def pretrained(
    config: SupervisedConfig, vocabulary: Vocabulary | None, report: Report = print
) -> NDArray[np.float32] | None:
    """Pretrained word vectors ``[V, D]`` for the model's embedding; None where none are set."""
    if vocabulary is None:
        return None
    path = _vectors(embedding(config))
    return vectors.read(path, vocabulary, config.seed, report) if path else None


def _images(settings: Images, seed: int, report: Report) -> Task:
    data = images.load(_path(settings.path), report)
    if settings.path is None:
        count = len(data.train.labels)
        report(f"no data.path or --download: scikit-learn's {count:,} small digits instead")
    chosen, held = _split(len(data.train.labels), settings, seed)
    train, validation = (take(data.train, rows) for rows in (chosen, held))
    shape = data.train.inputs.shape[1:]
    bright = images.brightness(train.inputs)
    return Task(data.name, train, validation, data.test, data.classes, shape, brightness=bright)


def _texts(settings: Texts, words: EmbeddingSettings, seed: int, report: Report) -> Task:
    data = texts.load(_path(settings.path), report)
    if settings.path is None:
        count = len(data.train.labels)
        report(f"no data.path or --download: {count:,} reviews made from templates instead")
    chosen, held = _split(len(data.train.labels), settings, seed)
    # Words that occur only in texts held back stay unknown, as those of the test texts do.
    training_texts = [data.train.texts[row] for row in chosen]
    path = _vectors(words)
    more = vectors.words(path) if path else ()
    vocabulary = Vocabulary.build(training_texts, settings.vocabulary, more)

    def encode(part: texts.Texts, rows: NDArray[np.int64]) -> Examples:
        selected = [part.texts[row] for row in rows]
        return Examples(vocabulary.encode(selected, settings.length), part.labels[rows])

    return Task(
        data.name,
        encode(data.train, chosen),
        encode(data.train, held),
        encode(data.test, np.arange(len(data.test.labels))),
        data.classes,
        (len(vocabulary),),
        vocabulary,
    )


def _vectors(settings: EmbeddingSettings) -> Path | None:
    return _path(settings.vectors, "model.embedding.vectors")


def _path(path: str | None, key: str = "data.path") -> Path | None:
    if path is None:
        return None
    if not unpacking.exists(Path(path)):
        raise ValueError(f"{key}: {path} does not exist")
    if not (Path(path).is_file() or Path(path).is_dir()):
        raise ValueError(f"{key}: {path} is no file or folder")  # a device never ends
    return Path(path)


def _split(
    count: int, settings: Images | Texts, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows to hold back, shuffled; together ``limit`` rows at most.

    With 1,437 examples, ``limit`` 450 and ``validation`` 0.1: 405 rows and 45 rows.
    """
    rows = np.random.default_rng(seed).permutation(count)[: settings.limit]
    held = max(1, round(settings.validation * len(rows)))
    if held >= len(rows):
        raise ValueError(
            f"data.validation: {held} of {len(rows)} training examples held back leave none; "
            "use more examples or a smaller share"
        )
    return rows[held:], rows[:held]


def take(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    """The examples at ``rows``, in the order of ``rows``."""
    return Examples(examples.inputs[rows], examples.labels[rows])
