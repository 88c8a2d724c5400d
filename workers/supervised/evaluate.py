"""Tests, predictions and generated images of a trained supervised model.

A classifier is measured on test examples. A generator is measured with a classifier: how often the
classifier is confident of what an image shows, and how often that is the requested class.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from alphazero import unpacking
from alphazero.nn import fit, gan
from alphazero.nn.fit import Examples
from alphazero.nn.settings import GAN
from alphazero.supervised import tasks
from alphazero.supervised.model import Predictor
from workers.terminal import png

Report = Callable[[str], object]

GENERATED = 1000
"""Images that a generator is measured with."""
CONFIDENT = 0.9
"""A classification with a greater probability counts as confident."""


def warn(line: str) -> None:
    """Print a warning to standard error."""
    print(f"alphazero: warning: {line}", file=sys.stderr)


def evaluate(
    path: Path, data: str | None, classifier: Path | None, report: Report = warn
) -> dict[str, Any]:
    """The figures of the model at ``path``, by name.

    A classifier is tested on the data that it was trained on, or on those at ``data``. A generator
    is measured with ``classifier``. ``report`` is called with a line about images that look
    inverted. ``ValueError`` where one of them is missing or does not fit.
    """
    predictor = Predictor(path)
    if isinstance(predictor.config.model, GAN):
        judge = _load_classifier(classifier, predictor)
        return measure_generator(predictor, judge, report)
    if classifier is not None:
        raise ValueError(f"--judge is for generators, {path} is a classifier")
    config = predictor.config
    if data is not None:
        if not unpacking.exists(Path(data)):
            raise ValueError(f"--data: {data} does not exist")
        config = replace(config, data=replace(config.data, path=data))
    test, name = tasks.load_test(config, predictor.vocabulary)
    if predictor.kind == "images":
        _check_images(predictor, path, test.inputs, config.data.path or name, report)
    figures, _ = measure(predictor, test)
    return {"task": name, "examples": len(test.labels), **figures}


def predict(
    path: Path, texts: list[str], images: list[Path], report: Report = warn
) -> list[dict[str, Any]]:
    """The label and probabilities that the model at ``path`` gives each text, or each PNG file.

    ``report`` is called with a line about each image that looks inverted. ``ValueError`` where
    inputs of the model's kind are missing, or those of the other are given.
    """
    predictor = Predictor(path)
    if isinstance(predictor.config.model, GAN):
        raise ValueError(f"{path} is a generator of images, should be a classifier")
    if (predictor.kind == "texts") != bool(texts) or bool(texts) == bool(images):
        option = "--text" if predictor.kind == "texts" else "--image"
        raise ValueError(f"{path} takes {predictor.kind}: give {option}")
    names = texts or [str(file) for file in images]
    inputs: Any = texts or np.stack([_read_image(file, predictor.shape) for file in images])
    for file, image in zip(images, inputs, strict=False):
        if warning := predictor.warning(image[None]):
            report(f"{file}: {warning}")
    return [
        {
            "input": name,
            "label": predictor.classes[int(row.argmax())],
            "probabilities": dict(zip(predictor.classes, map(float, row), strict=True)),
        }
        for name, row in zip(names, predictor.predict(inputs), strict=True)
    ]


def measure(predictor: Predictor, test: Examples) -> tuple[dict[str, float], NDArray[np.int64]]:
    """The accuracy on ``test``, by name, and the confusion matrix ``[K, K]``, truth in rows."""
    # Texts are encoded already, with the model's own vocabulary. Images of another size than the
    # model's are refused by ``predict``.
    classify = predictor.predict if predictor.kind == "images" else predictor.predict_encoded
    predicted = classify(test.inputs).argmax(axis=1)
    confusion = fit.confusion(test.labels, predicted, len(predictor.classes))
    return {"accuracy": float((predicted == test.labels).mean())}, confusion


def measure_generator(
    generator: Predictor, classifier: Predictor, report: Report = warn
) -> dict[str, Any]:
    """The figures of ``GENERATED`` images of ``generator``, classified by ``classifier``.

    ``confident``: the share classified with probability > ``CONFIDENT``; ``classes``: their number
    per class. ``as_conditioned``: the share of all images classified as the class that the
    generator was given.
    """
    images = generate(generator, GENERATED)
    if warning := classifier.warning(images):
        report(f"images of the generator: {warning}")
    probabilities = classifier.predict(images)
    confident = probabilities.max(axis=1) > CONFIDENT
    predicted = probabilities.argmax(axis=1)
    counts = np.bincount(predicted[confident], minlength=len(classifier.classes))
    # ``generate`` gives image i the class i modulo K.
    conditions = np.arange(GENERATED) % len(classifier.classes)
    return {
        "examples": GENERATED,
        "confident": float(confident.mean()),
        "as_conditioned": float((predicted == conditions).mean()),
        "classes": dict(zip(classifier.classes, counts.tolist(), strict=True)),
    }


def generate(predictor: Predictor, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Images ``[count, C, H, W]`` of a generator, of the classes 0, 1, ..., K-1, 0, ... in turn."""
    assert isinstance(predictor.network, gan.Generator)
    return gan.generate(predictor.network, count, seed)


def table(rows: list[dict[str, Any]]) -> Table:
    """The figures of ``evaluate`` or ``predict`` for the terminal, one row per input."""
    filled = Table(*rows[0])
    for row in rows:
        filled.add_row(*(escape(_cell(value)) for value in row.values()))
    return filled


def _check_images(
    predictor: Predictor, path: Path, images: NDArray[np.uint8], name: str, report: Report
) -> None:
    """``ValueError`` for images of another size; a warning for those that look inverted."""
    if images.shape[1:] != predictor.shape:
        sizes = ["×".join(map(str, shape[-2:])) for shape in (images.shape, predictor.shape)]
        raise ValueError(f"{name}: images of {sizes[0]} pixels, {path} takes {sizes[1]}")
    if warning := predictor.warning(images):
        report(f"{name}: {warning}")


def _load_classifier(path: Path | None, generator: Predictor) -> Predictor:
    if path is None:
        raise ValueError("a generator is evaluated with a classifier: name one with --judge RUN")
    classifier = Predictor(path)
    if classifier.kind != "images":
        raise ValueError(f"--judge: {path} is a classifier of texts, should be one of images")
    if isinstance(classifier.config.model, GAN):
        raise ValueError(f"--judge: {path} is a generator, should be a classifier")
    if classifier.shape != generator.shape:
        sizes = ["×".join(map(str, one.shape[1:])) for one in (classifier, generator)]
        raise ValueError(
            f"--judge: {path} takes images of {sizes[0]} pixels, the generator makes {sizes[1]}"
        )
    return classifier


def _read_image(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Grey levels ``[1, H, W]`` of a PNG file; ``ValueError`` names a file that does not fit."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file")
    try:
        return png.read(file.read_bytes(), *shape[1:])[None]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
