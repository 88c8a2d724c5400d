"""A game against a given opponent as a Gymnasium environment, for single-agent libraries."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from games.base import Game, States

Opponent = Callable[[States, np.random.Generator], NDArray[np.integer]]
"""``states [1] -> actions [1]``; all randomness comes from the generator."""


class GymnasiumGame(gymnasium.Env):
    """One seat of ``game``; ``opponent`` answers from the other within the same ``step``.

    ``seat`` is 0 (begins), 1, or None for a seat drawn anew in each episode. An observation is
    float32 ``[C, H, W]`` as this player sees the board when about to move; in a finished game, as
    the player who would move next sees it. ``info["action_mask"]`` (int8 ``[A]``) marks the legal
    actions; an illegal one loses at once. The reward comes with the end: +1, 0 or -1. A game that
    reaches ``max_plies`` is truncated, with the result of ``game.adjudicate`` as its reward.
    """

    def __init__(
        self,
        game: Game,
        opponent: Opponent,
        seat: int | None = None,
        render_mode: str | None = None,
    ):
        self.game, self.opponent, self.seat = game, opponent, seat
        self.render_mode = render_mode
        self.metadata = {"render_modes": ["ansi"]}
        self.action_space = Discrete(game.num_actions)
        self.observation_space = Box(-np.inf, np.inf, game.observation_shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._seat = int(self.np_random.integers(2)) if self.seat is None else self.seat
        self._states, self._plies = self.game.initial(1), 0
        self._await_turn()
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        if action not in np.flatnonzero(self.game.legal(self._states)[0]):
            return self._observation(), -1.0, True, False, self._info()
        self._play(np.array([action]))
        self._await_turn()
        result = self._result()
        terminated = not np.isnan(self.game.outcome(self._states)[0])
        truncated = not np.isnan(result) and not terminated
        mine = self.game.to_move(self._states)[0] == self._seat
        reward = (result if mine else -result) if terminated or truncated else 0.0
        return self._observation(), reward, terminated, truncated, self._info()

    def render(self) -> str | None:
        """The drawing in render mode ``ansi``, nothing without a mode."""
        return self.game.render(self._states[0]) if self.render_mode == "ansi" else None

    def _await_turn(self) -> None:
        """Let the opponent move until it is this player's turn or the game is over."""
        while self.game.to_move(self._states)[0] != self._seat and np.isnan(self._result()):
            self._play(self.opponent(self._states, self.np_random))

    def _play(self, actions: NDArray[np.integer]) -> None:
        self._states, self._plies = self.game.step(self._states, actions), self._plies + 1

    def _result(self) -> float:
        """The result for the player about to move; NaN while the game goes on."""
        return float(self.game.result(self._states, self._plies)[0])

    def _observation(self) -> NDArray[np.float32]:
        return self.game.observe(self._states)[0]

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.game.legal(self._states)[0].astype(np.int8)}


def random_opponent(game: Game) -> Opponent:
    """An opponent that plays every legal move with the same probability."""

    def play(states: States, rng: np.random.Generator) -> NDArray[np.integer]:
        return np.array([rng.choice(np.flatnonzero(game.legal(states)[0]))])

    return play
