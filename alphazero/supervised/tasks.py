"""What a network is trained and tested on: the data of a configuration, ready for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.nn.fit import Examples, Prepare
from alphazero.nn.settings import EmbeddingSettings
from alphazero.supervised import images, texts, vectors
from alphazero.supervised.config import OF_TEXTS, Images, SupervisedConfig, Texts
from alphazero.supervised.vocabulary import Vocabulary

Report = Callable[[str], object]


class Task(NamedTuple):
    name: str
    """Of the data: mnist, digits, imdb, generated, ..."""
    train: Examples
    validation: Examples
    """Held back from training, to measure and stop by."""
    test: Examples
    """Never looked at before the end."""
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    """Of an image (1, H, W); of texts (words known,)."""
    vocabulary: Vocabulary | None = None
    """Of texts."""


def load(config: SupervisedConfig, report: Report = print) -> Task:
    """``report`` hears in one line what is used, in particular where no data were given.

    ``ValueError`` names the file that will not do.
    """
    if isinstance(config.data, Images):
        return _images(config.data, config.seed, report)
    return _texts(config.data, embedding(config), config.seed, report)


def embedding(config: SupervisedConfig) -> EmbeddingSettings:
    assert isinstance(config.model, OF_TEXTS)
    return config.model.embedding


def prepare(config: SupervisedConfig) -> Prepare:
    """From raw examples to what the network takes."""
    return images.prepare(config.data.shift) if isinstance(config.data, Images) else texts.prepare


def with_dimensions(config: SupervisedConfig, dimensions: int) -> SupervisedConfig:
    """As many numbers a word as the pretrained vectors have."""
    assert isinstance(config.model, OF_TEXTS)
    words = replace(config.model.embedding, dimensions=dimensions)
    return replace(config, model=replace(config.model, embedding=words))


def load_test(
    config: SupervisedConfig, vocabulary: Vocabulary | None, report: Report = print
) -> tuple[Examples, str]:
    """The test's examples as a trained network takes them, and the name of the data."""
    if isinstance(config.data, Images):
        found = images.load(_path(config.data.path), report)
        return found.test, found.name
    assert vocabulary is not None
    read = texts.load(_path(config.data.path), report)
    encoded = vocabulary.encode(read.test.texts, config.data.length)
    return Examples(encoded, read.test.labels), read.name


def pretrained(
    config: SupervisedConfig, vocabulary: Vocabulary | None, report: Report = print
) -> NDArray[np.float32] | None:
    """The word vectors that the model begins with, if it is to."""
    if vocabulary is None:
        return None
    path = _vectors(embedding(config))
    return vectors.read(path, vocabulary, config.seed, report) if path else None


def _images(settings: Images, seed: int, report: Report) -> Task:
    found = images.load(_path(settings.path), report)
    if settings.path is None:
        count = len(found.train.labels)
        report(f"no data.path or --download: scikit-learn's {count:,} small digits instead")
    chosen, held = _split(len(found.train.labels), settings, seed)
    train, validation = (take(found.train, rows) for rows in (chosen, held))
    shape = found.train.inputs.shape[1:]
    return Task(found.name, train, validation, found.test, found.classes, shape)


def _texts(settings: Texts, words: EmbeddingSettings, seed: int, report: Report) -> Task:
    found = texts.load(_path(settings.path), report)
    if settings.path is None:
        count = len(found.train.labels)
        report(f"no data.path or --download: {count:,} made-up reviews instead")
    chosen, held = _split(len(found.train.labels), settings, seed)
    seen = [found.train.texts[row] for row in chosen]
    path = _vectors(words)
    more = vectors.words(path) if path else ()
    vocabulary = Vocabulary.build(seen, settings.vocabulary, more)

    def encoded(part: texts.Texts, rows: NDArray[np.int64]) -> Examples:
        wanted = [part.texts[row] for row in rows]
        return Examples(vocabulary.encode(wanted, settings.length), part.labels[rows])

    return Task(
        found.name,
        encoded(found.train, chosen),
        encoded(found.train, held),
        encoded(found.test, np.arange(len(found.test.labels))),
        found.classes,
        (len(vocabulary),),
        vocabulary,
    )


def _vectors(settings: EmbeddingSettings) -> Path | None:
    return _path(settings.vectors, "model.embedding.vectors")


def _path(path: str | None, key: str = "data.path") -> Path | None:
    if path is not None and not Path(path).exists():
        raise ValueError(f"{key}: {path} does not exist")
    return Path(path) if path is not None else None


def _split(
    count: int, settings: Images | Texts, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows to train on and rows held back, shuffled; of no more than ``limit`` together."""
    rows = np.random.default_rng(seed).permutation(count)[: settings.limit]
    held = max(1, round(settings.validation * len(rows)))
    if held >= len(rows):
        raise ValueError(
            f"data.validation: {held} of {len(rows)} training examples held back leave none; "
            "use more examples, or hold fewer back"
        )
    return rows[held:], rows[:held]


def take(examples: Examples, rows: NDArray[np.int64]) -> Examples:
    """Those in ``rows``, in their order."""
    return Examples(examples.inputs[rows], examples.labels[rows])
