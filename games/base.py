"""The contract every game fulfils: batched, stateless rules over plain NumPy records.

States are a 1-D array ``[B]`` of records of the game's own ``dtype``. They index, compare, hash
(as bytes), store into a search tree and travel between processes without help from the game.

Shapes: ``B`` positions, ``A`` actions, ``C, H, W`` observation planes. The batch axis leads.
Every value is seen by the player about to move: +1 a win, 0 a draw, -1 a loss.

``games.conformance.check(game)`` executes the promises made on this page.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

States = np.ndarray
"""``[B]`` records of one game's ``dtype``."""

Symmetry = tuple[NDArray[np.intp], NDArray[np.intp]]
"""``(cells [H*W], actions [A])``, both gathers: ``new[i] = old[index[i]]``."""


class Transition(NamedTuple):
    """Where moves lead, and all that a search must know of it."""

    states: States
    """``[B]``."""
    legal: NDArray[np.bool_]
    """``[B, A]``."""
    outcome: NDArray[np.float32]
    """``[B]``."""
    to_move: NDArray[np.int8]
    """``[B]``."""


class Game(ABC):
    """A set of rules for two players and zero sum. Instances hold no position and are immutable.

    ``Othello(6)`` and ``Othello(8)`` are two instances; equal ``name`` means equal rules.
    """

    name: str
    """What ``games.make`` builds this instance from, parameters included: ``"othello:size=6"``."""
    num_actions: int
    observation_shape: tuple[int, int, int]
    """``(C, H, W)`` of one observation."""
    max_plies: int
    """No game is longer, passes counted."""
    dtype: np.dtype
    """Of one state. No padding and one encoding a position: equal bytes mean equal states."""

    @abstractmethod
    def initial(self, batch: int) -> States:
        """``batch`` copies of the starting position."""

    @abstractmethod
    def legal(self, states: States) -> NDArray[np.bool_]:
        """``[B, A]``, True = allowed. A row is all False exactly when that game is over."""

    @abstractmethod
    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        """The states after ``actions [B]``. Pure. An illegal action's result is undefined."""

    @abstractmethod
    def outcome(self, states: States) -> NDArray[np.float32]:
        """``[B]`` in {-1, 0, +1} for the player about to move; NaN while the game goes on."""

    @abstractmethod
    def to_move(self, states: States) -> NDArray[np.int8]:
        """``[B]``: 0 for the player who began, 1 for the other; defined in finished games too."""

    @abstractmethod
    def observe(self, states: States) -> NDArray[np.float32]:
        """``[B, C, H, W]``, as the player about to move sees the board."""

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        """``step`` and what the other methods say of its result, all in arrays of their own.

        This is what a search calls; a game whose methods are compiled saves time with a faster one.
        """
        after = self.step(states, actions)
        return Transition(after, self.legal(after), self.outcome(after), self.to_move(after))

    def symmetries(self) -> list[Symmetry]:
        """The board's symmetries, identity first; a game without any keeps this default."""
        _, height, width = self.observation_shape
        return [(np.arange(height * width), np.arange(self.num_actions))]

    @abstractmethod
    def render(self, state: np.void) -> str:
        """A multi-line drawing of one state with coordinates; ``X`` began, ``O`` is the other."""

    def action_to_text(self, action: int) -> str:
        """The action in the notation the game's players use; by default counted from 1."""
        return str(action + 1)

    def text_to_action(self, text: str) -> int:
        """The inverse of ``action_to_text``; ``ValueError`` (one line, what would be right)."""
        by_text = {self.action_to_text(action): action for action in range(self.num_actions)}
        key = text.strip()
        if key not in by_text:
            first, last = self.action_to_text(0), self.action_to_text(self.num_actions - 1)
            raise ValueError(f"{key!r} is not a move here; moves run from {first} to {last}")
        return by_text[key]

    def __repr__(self) -> str:
        return f"<game {self.name}>"
