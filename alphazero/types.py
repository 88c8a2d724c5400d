"""The nouns that travel between the rooms. Plain arrays, batch axis first.

``B`` positions, ``A`` actions, ``T`` recorded positions, ``P`` plies, ``N`` nodes; ``C, H, W``
observation planes. Every value is seen by the player about to move: +1 win, 0 draw, -1 loss. A
*value* is an estimate, an *outcome* is a fact; *policy* sums to one, *logits* do not.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States

Generators = Sequence[np.random.Generator]
"""One generator a position, so that a game's randomness does not depend on its batch mates."""


class Evaluation(NamedTuple):
    """What an evaluator says of ``B`` unfinished positions."""

    logits: NDArray[np.float32]
    """``[B, A]``, unmasked: entries of illegal actions are ignored by whoever reads them."""
    value: NDArray[np.float32]
    """``[B]`` in [-1, 1], for the player about to move."""
    version: int = 0
    """Of the weights that answered; 0 where there are none."""


class Stream(IntEnum):
    """What a generator's randomness is for: ``default_rng([seed, stream, number])``.

    Never 0, which NumPy does not tell from a key that is shorter.
    """

    GAME = 1
    BATCH = 2
    OPENINGS = 3
    MATCH = 4


Evaluator = Callable[[States], Evaluation]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search concludes about ``B`` positions."""

    action: NDArray[np.int64]
    """``[B]``, the move to play."""
    policy: NDArray[np.float32]
    """``[B, A]``, the improved policy: the training target, free of temperature."""
    value: NDArray[np.float32]
    """``[B]``, the root's value after the search."""
    visits: NDArray[np.int32]
    """``[B, A]``, how often each root action was searched."""
    action_value: NDArray[np.float32]
    """``[B, A]``, the mean value of each root action for the root's mover; NaN where unvisited."""
    version: int = 0
    """The oldest weights version that evaluated any of it."""
    proven: NDArray[np.bool_] | None = None
    """``[B]``: whether ``value`` is the result for certain, under best play. None: nowhere."""


SearchSteps = Generator[States, Evaluation, SearchResult]


class Search(Protocol):
    """A frozen dataclass of an algorithm's constants, callable on a batch of positions.

    The call is a generator: it yields the states it wants evaluated (``[B']``, any ``B' >= 1``,
    never a finished game), receives their ``Evaluation`` and returns a ``SearchResult``. It owns
    no network and no game loop.
    """

    @property
    def simulations(self) -> int: ...

    def __call__(
        self, game: Game, states: States, rngs: Generators, temperature: NDArray[np.float32]
    ) -> SearchSteps:
        """Search ``states [B]`` (none finished).

        ``temperature [B]`` scales the exploration in ``action``: 0 asks for the strongest move.
        """
        ...

    def without_noise(self, simulations: int | None = None, leaves: int = 1) -> "Search":
        """The same algorithm without exploration noise, ``leaves`` leaves a tree and batch."""
        ...


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One finished game, as self-play emits it and replay stores it.

    The last ``T`` of the game's ``P`` plies are recorded; the first ``P - T`` were a random
    opening.
    """

    game_id: int
    """Unique in a run; replay refuses a second record with the same id."""
    version: int
    """The oldest weights version used in the game."""
    actions: NDArray[np.int16]
    """``[P]``, every move from the initial position."""
    states: States
    """``[T]``."""
    policy: NDArray[np.float16]
    """``[T, A]``, the search's improved policy."""
    value: NDArray[np.float16]
    """``[T]``, the search's root value."""
    outcome: NDArray[np.float32]
    """``[T]``, the game's result for the player about to move in ``states[t]``."""

    def __len__(self) -> int:
        return len(self.states)
