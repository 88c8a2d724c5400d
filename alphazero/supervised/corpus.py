"""A small made-up corpus of reviews, for whoever has no data at hand.

Each review has some opinions, all of one mind, among sentences that say nothing. An opinion names
a quality or denies its opposite ("the plot was good", "nobody could call the plot dull"). Since a
third of them deny, which words occur says something, and what they stand beside says all.
"""

import numpy as np
from numpy.typing import NDArray

QUALITIES = (
    ("dull", "awful", "boring", "bad", "weak", "clumsy", "silly", "terrible", "lifeless", "poor"),
    ("good", "great", "moving", "clever", "funny", "superb", "gripping", "fresh", "strong", "fine"),
)
"""By class: against, for."""

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
"""Share of the opinions that deny."""
OPINIONS, OTHERS = (2, 5), (0, 3)
"""How many sentences of either sort: from, to less than."""


def generate(count: int, seed: int) -> tuple[list[str], NDArray[np.int64]]:
    """``count`` different reviews and their labels, 0 against and 1 for, in turn.

    With one seed, fewer are the first of more.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, int] = {}
    while len(found) < count:
        label = len(found) % 2
        found.setdefault(_review(label, rng), label)
    return list(found), np.array(list(found.values()), np.int64)


def _review(label: int, rng: np.random.Generator) -> str:
    opinions = [_opinion(label, rng) for _ in range(rng.integers(*OPINIONS))]
    asides = [_filled(ASIDES, rng) for _ in range(rng.integers(*OTHERS))]
    return " ".join(rng.permutation([*opinions, *asides]).tolist())


def _opinion(label: int, rng: np.random.Generator) -> str:
    denied = bool(rng.random() < DENIED)
    quality = _one(QUALITIES[label ^ denied], rng)
    return _filled(DENYING if denied else SAYING, rng, quality)


def _filled(sentences: tuple[str, ...], rng: np.random.Generator, quality: str = "") -> str:
    return _one(sentences, rng).format(
        subject=_one(SUBJECTS, rng),
        quality=quality,
        day=_one(DAYS, rng),
        minutes=rng.integers(*MINUTES),
    )


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[rng.integers(len(choices))]
