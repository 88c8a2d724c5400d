"""A game whose states also hold the positions before: for network inputs with history planes.

A state of ``WithHistory(game, 2)`` is a record of the game's own state, how many of the two
positions before are known, and these two, the latest first; unknown ones are zero bytes. After the
moves a, b and c from the start S0 it is ``(S3, 2, [S2, S1])``, after a alone ``(S1, 1, [S0, 0])``.

The rules are those of the game, and so is the name: agents meet those without a history. Only the
states are larger, which makes a layout of shards of its own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States, Symmetry, Transition
from games.drawing import Drawing

LONGEST = 255
"""The largest number of earlier positions: how many are known is one byte."""
MOST_BYTES = 2**20
"""Bytes of a state with its history, at most: a search and a batch hold thousands of states."""


def present(states: States) -> States:
    """``[B]``: the game's own states of ``states``, as a new array."""
    return np.array(states["state"])


def earlier(states: States, back: int) -> States:
    """``[B]``: the game's own states ``back`` plies ago, 1 or more, as a new array.

    Zero bytes where they are not known, that is, where ``states["known"] < back``.
    """
    return np.array(states["earlier"][:, back - 1])


def replay(game: Game, lines: Sequence[Sequence[int]]) -> States:
    """The states ``[B]`` after each of ``lines``, legal actions from the start, ply by ply."""
    states = game.initial(len(lines))
    for ply in range(max(map(len, lines), default=0)):
        rows = np.array([row for row, line in enumerate(lines) if len(line) > ply])
        states[rows] = game.step(states[rows], np.array([lines[row][ply] for row in rows]))
    return states


class WithHistory(Game):
    """``game`` with the last ``plies`` positions in each state."""

    def __init__(self, game: Game, plies: int):
        """``ValueError`` for ``plies`` that are not 1 to 255, and for states that are too large."""
        if not 1 <= plies <= LONGEST:
            raise ValueError(f"a history has 1 to {LONGEST} plies, not {plies}")
        self.game, self.plies = game, plies
        self.name, self.num_actions, self.max_plies = game.name, game.num_actions, game.max_plies
        self.observation_shape, self.max_legal = game.observation_shape, game.max_legal
        self.observation_bounds, self.keyless = game.observation_bounds, game.keyless
        self.rules_version = game.rules_version
        self.dtype = np.dtype(
            [("state", game.dtype), ("known", "u1"), ("earlier", game.dtype, (plies,))]
        )
        if self.dtype.itemsize > MOST_BYTES:
            raise ValueError(
                f"a state of {game.name} with {plies} earlier ones would have "
                f"{self.dtype.itemsize:,} bytes; at most {MOST_BYTES:,} are possible"
            )

    def without_earlier(self, states: States) -> States:
        """``[B]``: states of this game for the game's own, of whose history nothing is known."""
        result = np.zeros(len(states), self.dtype)
        result["state"] = states
        return result

    def initial(self, batch: int) -> States:
        return self.without_earlier(self.game.initial(batch))

    def step(self, states: States, actions: NDArray[np.integer]) -> States:
        return self._after(states, self.game.step(present(states), actions))

    def advance(self, states: States, actions: NDArray[np.integer]) -> Transition:
        result = self.game.advance(present(states), actions)
        return result._replace(states=self._after(states, result.states))

    def _after(self, states: States, after: States) -> States:
        """``after`` with the positions of ``states`` moved one place back."""
        result = np.empty(len(states), self.dtype)
        result["state"] = after
        result["known"] = np.minimum(states["known"], self.plies - 1) + 1
        result["earlier"][:, 0] = states["state"]
        result["earlier"][:, 1:] = states["earlier"][:, :-1]
        return result

    def legal(self, states: States) -> NDArray[np.bool_]:
        return self.game.legal(present(states))

    def outcome(self, states: States) -> NDArray[np.float32]:
        return self.game.outcome(present(states))

    def to_move(self, states: States) -> NDArray[np.int8]:
        return self.game.to_move(present(states))

    def observe(self, states: States) -> NDArray[np.float32]:
        """The game's own planes, without a history; an encoder makes others."""
        return self.game.observe(present(states))

    def observe_earlier(self, states: States, turned: NDArray[np.bool_]) -> NDArray[np.float32]:
        return self.game.observe_earlier(present(states), turned)

    def symmetries(self) -> list[Symmetry]:
        return self.game.symmetries()

    def render(self, state: np.void) -> str:
        return self.game.render(state["state"])

    def action_to_text(self, action: int) -> str:
        return self.game.action_to_text(action)

    def text_to_action(self, text: str) -> int:
        return self.game.text_to_action(text)

    def move_to_text(self, state: np.void, action: int) -> str:
        return self.game.move_to_text(state["state"], action)

    def text_to_move(self, state: np.void, text: str) -> int:
        return self.game.text_to_move(state["state"], text)

    def drawing(self, state: np.void, last_action: int | None = None) -> Drawing:
        return self.game.drawing(state["state"], last_action)

    def adjudicate(self, states: States) -> NDArray[np.float32]:
        return self.game.adjudicate(present(states))

    def final_ownership(self, states: States) -> NDArray[np.float32] | None:
        return self.game.final_ownership(present(states))

    def final_score(self, states: States) -> NDArray[np.float32] | None:
        return self.game.final_score(present(states))
