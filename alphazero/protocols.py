"""The interfaces of those parts of a training run that have several implementations."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from alphazero.nn.weights import Weights
from alphazero.replay import Samples
from alphazero.types import GameRecord


class Fleet(Protocol):
    """A fleet generates self-play games: ``LocalFleet`` in this process, ``RayFleet`` on a cluster.

    Runs on a laptop and on a cluster differ in the fleet and in where it stores its games
    (``Buffer``); everything else is the same.
    """

    reproducible: bool
    """Whether a restored fleet plays the same games again, bit for bit."""
    version: int | None
    """The version of the weights published last; None before the first ``publish``."""

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; ``version`` is the learner's step."""

    def collect(self) -> list[GameRecord]:
        """The games finished since the last call.

        Waits for a game for a bounded time only, so the list may be empty.
        """
        ...

    def allow(self, positions: int) -> None:
        """Play until the run has stored about ``positions`` positions in total, then wait."""

    def stats(self) -> dict[str, float]:
        """Rates and counts for the log; takes almost no time."""
        ...

    def state(self) -> dict:
        """Everything that ``restore`` needs, as bytes and plain values."""
        ...

    def restore(self, state: dict) -> None:
        """Continue from a ``state``; ``ValueError`` if this fleet cannot continue from it."""

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
        """Positions stored since the run began, including those outside the window."""
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
        """Everything that ``restore`` needs, as plain values; the games themselves are on disk."""
        ...

    def restore(self, state: dict, truncate: bool) -> None:
        """Return to the contents that ``state`` describes; ``truncate`` deletes later games."""
