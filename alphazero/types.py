"""The types that the packages exchange. Plain arrays, batch axis first.

Sizes: ``B`` positions, ``A`` actions, ``T`` recorded positions, ``P`` plies, ``N`` nodes;
``C, H, W`` observation planes. Every value is from the point of view of the player about to move:
+1 win, 0 draw, -1 loss. A *value* is an estimate, an *outcome* is a fact; a *policy* sums to one,
*logits* do not.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States

if TYPE_CHECKING:
    from alphazero.search.tree import Tree

Generators = Sequence[np.random.Generator]
"""One generator per position, so that the randomness of a game does not depend on the other games
in its batch."""


class Evaluation(NamedTuple):
    """An evaluator's output for ``B`` unfinished positions."""

    logits: NDArray[np.float32]
    """``[B, A]``, unmasked: entries of illegal actions mean nothing, and readers ignore them."""
    value: NDArray[np.float32]
    """``[B]`` in [-1, 1], for the player about to move."""
    version: int = 0
    """The version of the network's weights; 0 where there is no network."""


class Stream(IntEnum):
    """The purpose of a generator's randomness: ``default_rng([seed, stream, number])``.

    Never 0: NumPy seeds ``[seed, 0]`` and ``[seed]`` alike.
    """

    GAME = 1
    BATCH = 2
    OPENINGS = 3
    MATCH = 4


Evaluator = Callable[[States], Evaluation]
"""From ``states [B]``, ``B >= 1`` and none finished, to their evaluation."""


class Ending(IntEnum):
    """Why a game of self-play ended; stored with each game."""

    RULES = 0
    """The game was over by its rules."""
    PROVEN = 1
    """The search had proven the result."""
    RESIGNED = 2
    LENGTH = 3
    """The game had reached ``max_plies``, and ``game.adjudicate`` gave the result."""


class Limits(NamedTuple):
    """How much one call of a search or a player may compute; the first limit reached ends it."""

    simulations: int | None = None
    """Simulations per position; None: the search's own number, or no limit if there is a time."""
    seconds: float | None = None
    """Seconds for the whole batch; None: no time limit."""
    watch: Callable[["Tree"], bool] | None = None
    """Called with the trees after each round of a search; True ends it. Only searches call it."""


UNTRAINED = -1.0
"""The surprise in the row of a position that is not trained on, because its move was searched with
few simulations (``selfplay.fast_fraction``). Its policy is 0 everywhere; its value counts."""


def is_trained(surprise: NDArray[np.floating]) -> NDArray[np.bool_]:
    """``[T]``: which positions are trained on, by the column ``surprise [T]`` of their rows."""
    return surprise != UNTRAINED


Lines = Sequence[Sequence[int]]
"""For each position of a batch the actions that led to it from the initial position."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search's results for ``B`` positions."""

    action: NDArray[np.int64]
    """``[B]``, the move to play."""
    policy: NDArray[np.float32]
    """``[B, A]``, the improved policy: the training target, free of temperature."""
    value: NDArray[np.float32]
    """``[B]`` in [-1, 1], the root's value after the search, for the root's mover."""
    visits: NDArray[np.int32]
    """``[B, A]``, how often each root action was searched."""
    action_value: NDArray[np.float32]
    """``[B, A]``, the mean value of each root action for the root's mover; NaN where unvisited."""
    version: int = 0
    """The oldest weights version among all evaluations in the search and in a tree that it kept."""
    proven: NDArray[np.bool_] | None = None
    """``[B]``: whether ``value`` is the result under best play, proven by finished games in the
    tree. None: nowhere."""
    prior: NDArray[np.float32] | None = None
    """``[B, A]``, the roots' priors without noise, 0 where illegal; None: unknown."""
    tree: "Tree | None" = None
    """The trees of this search, one per position; None for a search without trees."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One position's tree of an earlier search, and the moves since, which lead to its subtree."""

    tree: "Tree"
    index: int
    """The tree's number in its batch."""
    actions: Sequence[int]
    """The moves played after the position that was searched; none: the same position again."""


SearchSteps = Generator[States, Evaluation, SearchResult]


class Search(Protocol):
    """A frozen dataclass of an algorithm's constants, callable on a batch of positions.

    ``search.strongest_moves`` also passes ``limits: Limits`` and ``kept: Sequence[Kept | None]``,
    one per position, to a search whose call has parameters of these names.

    The call is a generator: it yields the states to evaluate (``[B']``, any ``B' >= 1``, never a
    finished game), receives their ``Evaluation`` and returns a ``SearchResult``. It contains no
    network and no game loop.
    """

    @property
    def simulations(self) -> int:
        """Simulations per move."""
        ...

    def __call__(
        self, game: Game, states: States, rngs: Generators, temperature: NDArray[np.float32]
    ) -> SearchSteps:
        """Search ``states [B]`` (none finished).

        ``rngs``: one generator per position. ``temperature [B]`` scales the exploration in
        ``action``: at 0 it is the strongest move.
        """
        ...

    def without_noise(self, simulations: int | None = None, leaves: int = 1) -> "Search":
        """The same algorithm without exploration noise, for play instead of self-play.

        ``simulations``: per move; None keeps their number. ``leaves``: leaves per tree and batch.
        """
        ...


@dataclass(frozen=True, slots=True)
class GameRecord:
    """One finished game, as self-play produces it and the replay buffer stores it.

    The last ``T`` of the game's ``P`` plies are recorded; the first ``P - T`` were a random
    opening. Some of the recorded positions may be ``UNTRAINED``.
    """

    game_id: int
    """Unique in a run; the replay buffer skips a second record with the same id."""
    version: int
    """The oldest weights version used in the game."""
    actions: NDArray[np.int32]
    """``[P]``, every move from the initial position."""
    rows: NDArray
    """``[T]`` of ``records.row(game)``: state, policy, value, surprise and outcome of each recorded
    position."""
    ending: Ending
    """Why the game ended."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def positions(self) -> int:
        """The number of recorded positions that are trained on."""
        return int(np.count_nonzero(is_trained(self.rows["surprise"])))
