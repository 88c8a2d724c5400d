"""The roles in a training run: interfaces of the parts that have several implementations.

Runs on a laptop and on a cluster differ in the fleet and in the replay buffer; benchmarks replace
the learner, too. ``loop.train`` knows these interfaces only.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from alphazero.nn.divergence import Losses
from alphazero.nn.weights import Weights
from alphazero.packing import GameCounts, PackedGame
from alphazero.replay import Batch, Samples
from alphazero.types import Ending, GameRecord


class Collected(NamedTuple):
    """A summary of stored games."""

    games: int
    positions: int
    """Positions of all games together that are trained on."""
    versions: NDArray[np.int64]
    """``[games]``, the version of each game, in the order of storing."""
    plies: int
    """Plies of all games together, those of random openings included."""
    endings: NDArray[np.int64]
    """``[4]``, the number of games by ``Ending``."""
    results: NDArray[np.int64]
    """``[3]``, the games that the player who began has lost, drawn and won."""
    example: GameRecord | None
    """The game stored last; None where there are no games."""
    would_resign: int = 0
    """The games without resignation in which a player would have resigned."""
    mistaken: int = 0
    """Those of them that this player did not lose."""


def summarize(counts: Sequence[GameCounts], example: GameRecord | None) -> Collected:
    """Add up the games of ``counts``, of which ``example`` is the last.

    Two games, (version 5, 7 positions, RULES) and (version 6, 9 positions, LENGTH): 16 positions,
    versions [5, 6], endings [1, 0, 0, 1].
    """
    endings = np.array([game.ending for game in counts], np.int64)
    results = np.array([game.result + 1 for game in counts], np.int64)
    return Collected(
        games=len(counts),
        positions=sum(game.positions for game in counts),
        versions=np.array([game.version for game in counts], np.int64),
        plies=sum(game.plies for game in counts),
        endings=np.bincount(endings, minlength=len(Ending)),
        results=np.bincount(results, minlength=3),
        example=example,
        would_resign=sum(game.would_resign for game in counts),
        mistaken=sum(game.mistaken for game in counts),
    )


class LearnerRole(Protocol):
    """The part that trains the network: ``learner.Learner``."""

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        ...

    @property
    def losses(self) -> Losses:
        """The losses of the last steps, and where they jumped."""
        ...

    @property
    def description(self) -> str:
        """How it computes, for the line that announces the run."""
        ...

    def train_step(self, batch: Batch, progress: float) -> dict[str, float]:
        """Take one optimizer step; ``progress`` in [0, 1] is the share of the run that is over.

        Returns figures for the log. ``divergence.Diverged`` where the loss is no longer finite, or
        stays far above the recent ones.
        """
        ...

    def weights(self) -> Weights:
        """The weights for self-play and for checkpoints."""
        ...

    def state(self) -> dict:
        """Everything that ``restore`` needs, as tensors and plain values."""
        ...

    def restore(self, state: dict) -> None:
        """Continue from a ``state``; ``ValueError`` if this learner cannot continue from it."""


class FleetRole(Protocol):
    """The part that plays and stores what it plays: ``LocalFleet`` here, ``RayFleet`` on Ray."""

    @property
    def reproducible(self) -> bool:
        """Whether a restored fleet plays the same games again, bit for bit."""
        ...

    @property
    def version(self) -> int | None:
        """The version of the weights published last; None before the first ``publish``."""
        ...

    def publish(self, weights: Weights, version: int) -> None:
        """Play with these weights from now on; ``version`` is the learner's step."""

    def collect(self) -> Collected:
        """Summarize the games that were stored since the last call, each of them exactly once.

        Waits for a game for a bounded time only, so there may be none.
        """
        ...

    def allow(self, positions: int) -> None:
        """Set the limit: while the run has stored at least ``positions`` positions, play waits.

        Games in progress may exceed it. Without a call there is no limit.
        """

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


class ReplayRole(Protocol):
    """The part that samples from stored games: ``replay.Replay``, or an actor that holds one."""

    @property
    def games(self) -> int:
        """Games stored since the run began."""
        ...

    @property
    def positions(self) -> int:
        """Positions stored since the run began that are trained on, outside the window too."""
        ...

    @property
    def window(self) -> int:
        """The number of newest positions that samples are drawn from."""
        ...

    def sample(self, size: int, rng: np.random.Generator) -> Samples:
        """``size`` positions drawn uniformly from the window, with replacement."""
        ...

    def state(self) -> dict:
        """Everything that ``restore`` needs, as plain values; the games themselves are on disk."""
        ...

    def restore(self, state: dict, truncate: bool) -> None:
        """Return to the contents that ``state`` describes; ``truncate`` deletes later games."""


class GameStore(Protocol):
    """The place where a fleet stores its games: ``replay.Replay``, or a counter in a benchmark."""

    @property
    def positions(self) -> int:
        """Positions stored since the run began."""
        ...

    def extend(self, records: Iterable[GameRecord]) -> int:
        """Store finished games; returns how many of them were new."""
        ...

    def store(self, games: Iterable[PackedGame]) -> int:
        """Store finished games that are packed already; returns how many of them were new."""
        ...
