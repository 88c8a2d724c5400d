"""A small corpus of reviews made from templates, for use without downloaded data.

A review has two to four sentences with an opinion, all positive or all negative, and up to two
neutral ones. An opinion names a quality or denies its opposite: "The plot was good." and "The plot
was not dull." are both positive. About a third of the opinions are denials, so a linear classifier
of single words is right in about 70 % of the reviews; with the words' neighbours in over 90 %.
"""

import numpy as np
from numpy.typing import NDArray

QUALITIES = (
    ("dull", "awful", "boring", "bad", "weak", "clumsy", "silly", "terrible", "lifeless", "poor"),
    ("good", "great", "moving", "clever", "funny", "superb", "gripping", "fresh", "strong", "fine"),
)
"""By class: negative, positive."""

SUBJECTS = (
    "plot", "acting", "story", "cast", "music", "ending", "dialogue", "script", "pace", "camera",
    "humour", "hero", "villain", "romance", "first half", "second half",
)  # fmt: skip

SAYING = (
    "The {subject} was {quality}.",
    "I found the {subject} {quality}.",
    "It has a {quality} {subject}.",
    "Everybody would call the {subject} {quality}.",
    "The {subject} is always {quality}.",
)
DENYING = (
    "The {subject} was not {quality}.",
    "I didn't find the {subject} {quality}.",
    "It does not have a {quality} {subject}.",
    "Nobody could call the {subject} {quality}.",
    "The {subject} is never {quality}.",
)

ASIDES = (
    "I saw it on a {day} evening.",
    "I did not see it in a cinema.",
    "We watched it with friends.",
    "Nobody had told me about the {subject} before.",
    "My sister never watches films on a {day}.",
    "Everybody has heard of the {subject}.",
    "It runs for {minutes} minutes.",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MINUTES = (80, 160)

DENIED = 0.35
"""Probability that an opinion is a denial."""
OPINIONS, OTHERS = (2, 5), (0, 3)
"""Numbers of opinions and of other sentences: from the first to less than the second."""


def generate(count: int, seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """``count`` different reviews and their labels ``[count]``, in turn 0 (negative), 1 (positive).

    With the same seed a smaller ``count`` gives the first reviews of a larger one.
    """
    rng = np.random.default_rng(seed)
    labels: dict[str, int] = {}
    while len(labels) < count:
        label = len(labels) % 2
        labels.setdefault(_review(label, rng), label)  # a review that occurred before is dropped
    return list(labels), np.array(list(labels.values()), np.int64)


def _review(label: int, rng: np.random.Generator) -> str:
    opinions = [_opinion(label, rng) for _ in range(rng.integers(*OPINIONS))]
    asides = [_fill(ASIDES, rng) for _ in range(rng.integers(*OTHERS))]
    return " ".join(rng.permutation([*opinions, *asides]).tolist())


def _opinion(label: int, rng: np.random.Generator) -> str:
    denied = bool(rng.random() < DENIED)
    # A positive opinion (1) that is a denial (1) needs a word of class 1 ^ 1 = 0: "not dull".
    quality = _choose(QUALITIES[label ^ denied], rng)
    return _fill(DENYING if denied else SAYING, rng, quality)


def _fill(sentences: tuple[str, ...], rng: np.random.Generator, quality: str = "") -> str:
    return _choose(sentences, rng).format(
        subject=_choose(SUBJECTS, rng),
        quality=quality,
        day=_choose(DAYS, rng),
        minutes=rng.integers(*MINUTES),
    )


def _choose(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]
