"""The candidates of a search for settings: every combination of a grid, or random ones.

Their settings are written like overrides on the command line, ``optimizer.learning_rate=1e-3``, and
read by the same ``config.load``, so all candidates are validated before the first is trained.
Nothing here imports torch.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import yaml

from alphazero import config_file, plain_yaml
from alphazero.config_file import ConfigError
from alphazero.nn.settings import GAN, TrackingSettings
from alphazero.plain_yaml import NotPlainYaml
from alphazero.supervised import config as configs
from alphazero.supervised.config import SupervisedConfig

MAX_CANDIDATES = 10_000
"""Largest number of candidates in a search."""
DECADE = 10.0
"""A range of positive numbers whose high end is at least this many times its low end is drawn from
on a logarithmic scale."""
DRAWS_PER_CANDIDATE = 100
"""Limit of random draws per candidate: repeated combinations are dropped and drawn anew."""
SIGNIFICANT_DIGITS = 4
"""Digits of a number drawn from a range. It is rounded first, then used: tables show exactly what
was tried."""
SAME_EXAMPLES = ("path", "limit")
"""Keys of ``data`` that choose the examples, which must be the same for all candidates."""


@dataclass(frozen=True, slots=True)
class Choices:
    """A key and the values to try for it."""

    key: str
    values: tuple[str, ...]

    def draw(self, rng: np.random.Generator) -> str:
        """One of the values, uniformly at random."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True, slots=True)
class Range:
    """A key and the interval of its values, both ends included."""

    key: str
    low: float
    high: float
    whole: bool
    """True: values are whole numbers, as both ends were written."""

    def draw(self, rng: np.random.Generator) -> str:
        """A random value: log-uniform over a decade or more of positive numbers, else uniform.

        1e-4..1e-1 is drawn on a logarithmic scale, a third of the values from each decade; 0..0.5
        and 2..8 are drawn evenly.
        """
        # Whole numbers are rounded: without the halves both ends would be half as likely.
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.low > 0 and self.high >= DECADE * self.low:
            value = math.exp(rng.uniform(math.log(low), math.log(high)))
        else:
            value = rng.uniform(low, high)
        rounded = round(value) if self.whole else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
        inside = min(max(rounded, self.low), self.high)
        return str(int(inside)) if self.whole else repr(float(inside))


Axis = Choices | Range


@dataclass(frozen=True, slots=True)
class Candidate:
    """One combination of the searched settings."""

    values: dict[str, str]
    """The searched settings by key, as written on the command line."""
    config: SupervisedConfig
    """All settings."""

    @property
    def name(self) -> str:
        """The searched settings in one line: ``optimizer.name=adam model.dropout=0``."""
        return " ".join(f"{key}={value}" for key, value in self.values.items())


def axes(grids: Sequence[str], ranges: Sequence[str] = ()) -> list[Axis]:
    """Parse the searched settings: ``key=value,value,...`` and ``key=low..high`` texts.

    A value is YAML and may hold commas within brackets: ``model.hidden=[128, 256],[64]``. Raises
    ``ConfigError`` with one line per mistake.
    """
    parsed, errors = [], []
    texts = [
        *((_parse_choices, text) for text in grids),
        *((_parse_range, text) for text in ranges),
    ]
    for parse, text in texts:
        try:
            parsed.append(parse(text))
        except ValueError as error:
            errors.append(str(error))
    known = config_file.paths(SupervisedConfig)
    keys = [config_file.in_full(axis.key, known) for axis in parsed]
    errors += [f"{key}: given twice" for key in dict.fromkeys(keys) if keys.count(key) > 1]
    if errors:
        raise ConfigError(errors)
    return parsed


def grid(name: str, overrides: Sequence[str], choices: Sequence[Choices]) -> list[Candidate]:
    """Every combination of ``choices`` in the configuration ``name``; the last key varies fastest.

    Raises ``ConfigError`` with one line per mistake, or where two candidates have equal settings.
    """
    count = math.prod(len(axis.values) for axis in choices)
    if count > MAX_CANDIDATES:
        raise ConfigError([f"--grid: {count:,} combinations; --random N tries N of them"])
    read = _reader(name, overrides)
    combinations = itertools.product(*(axis.values for axis in choices))
    return _read_all(read, [_by_key(choices, values) for values in combinations])


def draw(
    name: str, overrides: Sequence[str], searched: Sequence[Axis], count: int, seed: int
) -> list[Candidate]:
    """``count`` different random combinations.

    With the same seed a smaller ``count`` gives the first candidates of a larger one. Raises
    ``ConfigError`` as ``grid`` does, or where there are fewer combinations.
    """
    if not 1 <= count <= MAX_CANDIDATES:
        raise ConfigError([f"--random: got {count}, should be from 1 to {MAX_CANDIDATES:,}"])
    read, rng = _reader(name, overrides), np.random.default_rng(seed)
    drawn: dict[tuple[str, ...], None] = {}  # keys in the order of their first draw
    for _ in range(DRAWS_PER_CANDIDATE * count):
        drawn[tuple(axis.draw(rng) for axis in searched)] = None
        if len(drawn) == count:
            return _read_all(read, [_by_key(searched, values) for values in drawn])
    raise ConfigError(
        [f"--random: got {count}, but there are only {len(drawn)} different combinations"]
    )


def without_tracking(config: SupervisedConfig) -> SupervisedConfig:
    """``config`` with the default tracking, which changes no result of a training."""
    return replace(config, tracking=TrackingSettings())


def _parse_choices(text: str) -> Choices:
    key, equals, values = text.partition("=")
    rule = f"--grid {text[:80]}: should be key.sub=value,value"
    if not (key.strip() and equals and values.strip()):
        raise ValueError(f"{rule}, as in optimizer.name=adam,rmsprop")
    listed = f"[{values}]"
    try:
        items = plain_yaml.compose(listed)
    except NotPlainYaml as error:
        raise ValueError(f"{rule}: {error}") from None
    assert isinstance(items, yaml.SequenceNode)
    # Values are kept as they were written, 1e-3 and not 0.001, for tables, pictures and files.
    spans = [(item.start_mark.index, item.end_mark.index) for item in items.value]
    written = tuple(listed[start:end].strip() for start, end in spans)
    if len(set(written)) < len(written):
        raise ValueError(f"--grid {text}: a value is given twice")
    return Choices(key.strip(), written)


def _parse_range(text: str) -> Range:
    key, _, ends = text.partition("=")
    low, dots, high = (part.strip() for part in ends.partition(".."))
    example = "optimizer.learning_rate=1e-4..1e-1"
    rule = f"--range {text[:80]}: should be key.sub=low..high, as in {example}"
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


def _by_key(searched: Sequence[Axis], values: Iterable[str]) -> dict[str, str]:
    return {axis.key: value for axis, value in zip(searched, values, strict=True)}


def _reader(name: str, overrides: Sequence[str]) -> Callable[[dict[str, str]], Candidate]:
    """A function from values by key to a candidate; it raises ``ConfigError`` for invalid ones."""
    base = configs.load(name, overrides)

    def read(values: dict[str, str]) -> Candidate:
        chosen = [f"{key}={value}" for key, value in values.items()]
        config = configs.load(name, [*overrides, *chosen])
        problems = list(_obstacles(config, base))
        if problems:
            raise ConfigError(problems)
        return Candidate(values, config)

    return read


def _obstacles(config: SupervisedConfig, base: SupervisedConfig) -> Iterator[str]:
    """The reasons, one line each, for which ``config`` cannot be compared with others."""
    if isinstance(config.model, GAN):
        yield "model.kind: a gan is no classifier, so it has no accuracy to choose by"
    if config.data.kind != base.data.kind:
        yield "data.kind: must be the same for all candidates"
        return
    for key in SAME_EXAMPLES:
        if getattr(config.data, key) != getattr(base.data, key):
            yield f"data.{key}: must be the same for all candidates; give it once: data.{key}=..."


def _read_all(
    read: Callable[[dict[str, str]], Candidate], combinations: Iterable[dict[str, str]]
) -> list[Candidate]:
    """The candidates, all valid and different; ``ConfigError`` with all mistakes otherwise."""
    candidates, errors = [], []
    for values in combinations:
        try:
            candidates.append(read(values))
        except ConfigError as error:
            errors += error.lines
    if errors:
        raise ConfigError(list(dict.fromkeys(errors)))
    seen: dict[SupervisedConfig, Candidate] = {}
    for candidate in candidates:
        first = seen.setdefault(without_tracking(candidate.config), candidate)
        if first is not candidate:
            raise ConfigError([f"{first.name} and {candidate.name} are the same settings"])
    return candidates
