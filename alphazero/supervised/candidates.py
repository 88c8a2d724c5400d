"""Which settings a search tries: every combination of a grid, or random ones.

What is tried is written like any override, ``optimizer.learning_rate=1e-3``, and read by the same
``config.load``: every candidate is valid before the first is trained. Nothing here imports torch.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import yaml

from alphazero import config_file
from alphazero.config_file import ConfigError
from alphazero.nn.settings import GAN, TrackingSettings
from alphazero.supervised import config as configs
from alphazero.supervised.config import SupervisedConfig

MOST = 10_000
"""Candidates that are held at once."""
DECADE = 10.0
"""A range whose ends are so many times apart, or more, is drawn from on a logarithmic scale."""
TRIES = 100
"""Draws for each random candidate that is asked for, until one is new."""
DIGITS = 4
"""Significant ones of a number drawn from a range: it is written out as it was tried."""
SAME_EXAMPLES = ("path", "limit")
"""Keys of ``data`` that say what candidates are measured on, and so are the same for all."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A key and the values it may take."""

    key: str
    values: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True, slots=True)
class Range:
    """A key and the ends, both possible, that its value lies between."""

    key: str
    low: float
    high: float
    whole: bool
    """Both ends are written without point and exponent: so are the values."""

    def draw(self, rng: np.random.Generator) -> str:
        """Log-uniform where both ends are positive and a decade or more apart, else uniform."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.low > 0 and self.high >= DECADE * self.low:
            value = math.exp(rng.uniform(math.log(low), math.log(high)))
        else:
            value = rng.uniform(low, high)
        rounded = round(value) if self.whole else float(f"{value:.{DIGITS}g}")
        inside = min(max(rounded, self.low), self.high)
        return str(int(inside)) if self.whole else repr(float(inside))


Axis = Choices | Range


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to set what is searched."""

    values: dict[str, str]
    """By key, as written on the command line; no more than what is searched."""
    config: SupervisedConfig

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items())


def axes(grids: Sequence[str], ranges: Sequence[str] = ()) -> list[Axis]:
    """What is searched, from ``key=value,value,...`` and ``key=low..high`` texts.

    A value is YAML and may hold commas within brackets: ``model.hidden=[128, 256],[64]``. Raises
    ``ConfigError`` with one line for each thing wrong.
    """
    found, errors = [], []
    texts = [*((_choices, text) for text in grids), *((_range, text) for text in ranges)]
    for read, text in texts:
        try:
            found.append(read(text))
        except ValueError as error:
            errors.append(str(error))
    known = config_file.paths(SupervisedConfig)
    keys = [config_file.in_full(axis.key, known) for axis in found]
    errors += [f"{key}: given twice" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if errors:
        raise ConfigError(errors)
    return found


def grid(name: str, overrides: Sequence[str], choices: Sequence[Choices]) -> list[Candidate]:
    """Every combination, the last key changing fastest, on top of configuration ``name``.

    Raises ``ConfigError`` with one line for each thing wrong with any of them, or where two would
    train the same.
    """
    count = math.prod(len(each.values) for each in choices)
    if count > MOST:
        raise ConfigError([f"--grid: {count:,} combinations; --random N tries N of them"])
    read = _reader(name, overrides)
    combinations = itertools.product(*(each.values for each in choices))
    return _valid(read, [_named(choices, values) for values in combinations])


def draw(
    name: str, overrides: Sequence[str], searched: Sequence[Axis], count: int, seed: int
) -> list[Candidate]:
    """``count`` different random combinations; with one seed, fewer are the first of more.

    Raises ``ConfigError`` as ``grid`` does, or where there are not so many.
    """
    if not 1 <= count <= MOST:
        raise ConfigError([f"--random: got {count}, should be from 1 to {MOST:,}"])
    read, rng = _reader(name, overrides), np.random.default_rng(seed)
    drawn: dict[tuple[str, ...], None] = {}
    for _ in range(TRIES * count):
        drawn[tuple(axis.draw(rng) for axis in searched)] = None
        if len(drawn) == count:
            return _valid(read, [_named(searched, values) for values in drawn])
    raise ConfigError(
        [f"--random: {count} asked for, but only {len(drawn)} different ones were found"]
    )


def untracked(config: SupervisedConfig) -> SupervisedConfig:
    """``config`` without what changes no figure of it."""
    return replace(config, tracking=TrackingSettings())


def _choices(text: str) -> Choices:
    key, equals, values = text.partition("=")
    rule = f"--grid {text}: should be key.sub=value,value"
    if not (key.strip() and equals and values.strip()):
        raise ValueError(f"{rule}, as in optimizer.name=adam,rmsprop")
    listed = f"[{values}]"
    try:
        items = yaml.compose(listed, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{rule}: {getattr(error, 'problem', error)}") from None
    assert isinstance(items, yaml.SequenceNode)
    # As they were written: tables, pictures and files show what the user knows them by.
    spans = [(item.start_mark.index, item.end_mark.index) for item in items.value]
    found = tuple(listed[start:end].strip() for start, end in spans)
    if len(set(found)) < len(found):
        raise ValueError(f"--grid {text}: a value is given twice")
    return Choices(key.strip(), found)


def _range(text: str) -> Range:
    key, _, ends = text.partition("=")
    low, dots, high = (part.strip() for part in ends.partition(".."))
    rule = f"--range {text}: should be key.sub=low..high, as in optimizer.learning_rate=1e-4..1e-1"
    if not (key.strip() and dots):
        raise ValueError(rule)
    try:
        first, last = float(low), float(high)
    except ValueError:
        raise ValueError(rule) from None
    if not (math.isfinite(first) and math.isfinite(last) and first < last):
        raise ValueError(f"{rule}, the first end below the second")
    whole = all(end.lstrip("+-").isdigit() for end in (low, high))
    return Range(key.strip(), first, last, whole)


def _named(searched: Sequence[Axis], values: Iterable[str]) -> dict[str, str]:
    return {axis.key: value for axis, value in zip(searched, values, strict=True)}


def _reader(name: str, overrides: Sequence[str]) -> Callable[[dict[str, str]], Candidate]:
    """Makes a candidate of values by key; ``ConfigError`` where it is none."""
    base = configs.load(name, overrides)

    def read(values: dict[str, str]) -> Candidate:
        chosen = [f"{key}={value}" for key, value in values.items()]
        config = configs.load(name, [*overrides, *chosen])
        problems = list(_unfit(config, base))
        if problems:
            raise ConfigError(problems)
        return Candidate(values, config)

    return read


def _unfit(config: SupervisedConfig, base: SupervisedConfig) -> Iterator[str]:
    if isinstance(config.model, GAN):
        yield "model.kind: a gan names no classes, so there is no accuracy to choose by"
    if config.data.kind != base.data.kind:
        yield "data.kind: is the same for all that is compared"
        return
    for key in SAME_EXAMPLES:
        if getattr(config.data, key) != getattr(base.data, key):
            yield f"data.{key}: is the same for all that is compared; give it once: data.{key}=..."


def _valid(
    read: Callable[[dict[str, str]], Candidate], wanted: Iterable[dict[str, str]]
) -> list[Candidate]:
    candidates, errors = [], []
    for values in wanted:
        try:
            candidates.append(read(values))
        except ConfigError as error:
            errors += error.lines
    if errors:
        raise ConfigError(list(dict.fromkeys(errors)))
    seen: dict[SupervisedConfig, Candidate] = {}
    for each in candidates:
        first = seen.setdefault(untracked(each.config), each)
        if first is not each:
            raise ConfigError([f"{first.name} and {each.name} say the same"])
    return candidates
