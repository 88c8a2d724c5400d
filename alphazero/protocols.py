"""The parts of a training run that have several implementations, as the loop uses them."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from alphazero.nn.weights import Weights
from alphazero.replay import Samples
from alphazero.types import GameRecord


class Fleet(Protocol):
    """A fleet generates self-play games: ``LocalFleet`` in this process, ``RayFleet`` on a cluster.

    The only part of a run that differs between a laptop and a cluster.
    """

    reproducible: bool
    """Whether a restored fleet plays the same games again, bit for bit."""
    version: int | None
    """The version of the weights published last; None before the first."""

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; ``version`` is the learner's step."""

    def collect(self) -> list[GameRecord]:
        """The games finished since the last call.

        Waits for some, but not for long: the list may be empty.
        """
        ...

    def allow(self, positions: int) -> None:
        """Play until about ``positions`` positions are stored in all since the run began."""

    def stats(self) -> dict[str, float]:
        """Rates and counts for the log; takes almost no time."""
        ...

    def state(self) -> dict:
        """All that ``restore`` needs, as bytes and plain values."""
        ...

    def restore(self, state: dict) -> None:
        """Continue from a ``state``; ``ValueError`` where it is of a fleet of another kind."""

    def close(self) -> None:
        """Stop playing and release threads, processes and files."""


class Buffer(Protocol):
    """A replay buffer: ``replay.Replay``, or on a cluster an actor that holds one."""

    @property
    def games(self) -> int:
        """Games stored since the run began."""
        ...

    @property
    def positions(self) -> int:
        """Positions stored since the run began, those outside the window included."""
        ...

    @property
    def window(self) -> int:
        """The number of newest positions that samples are drawn from."""
        ...

    def extend(self, records: Sequence[GameRecord]) -> int:
        """Store finished games; returns how many of them were new."""
        ...

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """``size`` positions drawn uniformly from the window, with replacement."""
        ...

    def state(self) -> dict:
        """All that ``restore`` needs, as plain values; the games themselves are on disk."""
        ...

    def restore(self, state: dict, truncate: bool) -> None:
        """Return to a ``state``. ``truncate``: delete the games stored after it."""
