"""A game against a given opponent as a Gymnasium environment, for single-agent libraries."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Discrete
from numpy.typing import NDArray

from games.base import Game, States
from games.environments import METADATA, Renderer, check_two_players, is_legal, observation_space

Opponent = Callable[[States, np.random.Generator], NDArray[np.integer]]
"""``states [1] -> actions [1]``; all randomness comes from the generator."""


class GymnasiumGame(gymnasium.Env):
    """One seat of ``game``; ``opponent`` answers from the other within the same ``step``.

    ``seat`` is 0 (begins), 1, or None for a seat drawn anew in each episode. An observation is
    float32 ``[C, H, W]`` as this player sees the board when about to move; in a finished game, as
    the player who would move next sees it. ``action_masks()`` and, as int8, ``info["action_mask"]``
    mark the legal actions ``[A]``; an illegal one loses at once. The reward comes with the end: +1,
    0 or -1. A game that reaches ``max_plies`` is truncated, with the result of ``game.adjudicate``
    as its reward. After the end ``step`` raises ``ResetNeeded``. All randomness, the opponent's
    too, comes from the seed of ``reset``.

    ``ValueError`` for a game of one player, another seat, a render mode that there is not, and in
    an episode for an illegal action of the opponent.
    """

    metadata: dict[str, Any] = METADATA

    def __init__(
        self,
        game: Game,
        opponent: Opponent,
        seat: int | None = None,
        render_mode: str | None = None,
    ):
        check_two_players(game)
        if seat not in (0, 1, None):
            raise ValueError(f"seat must be 0 (begins), 1, or None for either, not {seat!r}")
        self.game, self.opponent, self.seat = game, opponent, seat
        self.render_mode, self._renderer = render_mode, Renderer(game, render_mode)
        self.action_space = Discrete(game.num_actions)
        self.observation_space = observation_space(game)
        self._over = True  # before the first reset

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        super().reset(seed=seed)
        self._seat = int(self.np_random.integers(2)) if self.seat is None else self.seat
        self._states, self._plies, self._last = self.game.initial(1), 0, None
        self._over = False
        self._await_turn()
        return self._observation(), self._info()

    def step(self, action: int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        if self._over:
            raise ResetNeeded("the episode is over: call reset before the next step")
        if np.isnan(self._result()):  # else the opponent's first move has ended the game
            if not is_legal(self.game, self._states, action):
                self._over = True
                return self._observation(), -1.0, True, False, self._info()
            self._play(action)
            self._await_turn()
        result = self._result()
        self._over = not np.isnan(result)
        terminated = not np.isnan(self.game.outcome(self._states)[0])
        mine = self.game.to_move(self._states)[0] == self._seat
        reward = (result if mine else 0 - result) if self._over else 0.0
        truncated = self._over and not terminated
        return self._observation(), reward, terminated, truncated, self._info()

    def action_masks(self) -> NDArray[np.bool_]:
        """``bool [A]``: the legal actions, under the name by which MaskablePPO looks for them."""
        return self.game.legal(self._states)[0]

    def render(self) -> Any:
        """A text in render mode ``ansi``, an image in ``rgb_array``, None without a mode."""
        return self._renderer(self._states[0], self._last)

    def _await_turn(self) -> None:
        """Let the opponent move until it is this player's turn or the game is over."""
        while self.game.to_move(self._states)[0] != self._seat and np.isnan(self._result()):
            (action,) = self.opponent(self._states, self.np_random)
            if not is_legal(self.game, self._states, action):
                raise ValueError(f"the opponent's action {action!r} is not legal here")
            self._play(action)

    def _play(self, action: Any) -> None:
        self._last = int(action)
        self._states = self.game.step(self._states, np.array([self._last]))
        self._plies += 1

    def _result(self) -> float:
        """The result for the player about to move; NaN while the game goes on."""
        return float(self.game.result(self._states, self._plies)[0])

    def _observation(self) -> NDArray[np.float32]:
        return self.game.observe(self._states)[0]

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self.action_masks().astype(np.int8)}


def random_opponent(game: Game) -> Opponent:
    """An opponent that plays every legal move with the same probability."""

    def play(states: States, rng: np.random.Generator) -> NDArray[np.integer]:
        return np.array([rng.choice(np.flatnonzero(game.legal(states)[0]))])

    return play
