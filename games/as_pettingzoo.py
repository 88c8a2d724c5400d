"""A game as a PettingZoo environment, for libraries that use its agent-environment cycle."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Box, Discrete
from pettingzoo import AECEnv

from games.base import Game
from games.environments import METADATA, Renderer, check_two_players, is_legal, observation_space

_PLAYERS = ["player_0", "player_1"]


class PettingZooGame(AECEnv):
    """``game`` between ``player_0``, who begins, and ``player_1``.

    An observation is ``{"observation": float32 [C, H, W], "action_mask": int8 [A]}`` as in
    PettingZoo's own board games, except that both players are shown the board as the one about to
    move sees it. Rewards come with the last move: +1, 0 or -1. A game that reaches ``max_plies`` is
    truncated, with the result of ``game.adjudicate``. An illegal action raises ``ValueError``;
    PettingZoo's ``TerminateIllegalWrapper`` makes it a loss. A step after all players have left
    raises ``ResetNeeded``. ``ValueError`` for a game of one player, and for a render mode that
    there is not.
    """

    metadata: dict[str, Any] = METADATA | {"name": "game", "is_parallelizable": False}

    def __init__(self, game: Game, render_mode: str | None = None):
        super().__init__()
        check_two_players(game)
        self.game = game
        self.render_mode, self._renderer = render_mode, Renderer(game, render_mode)
        self.metadata = self.metadata | {"name": game.name}
        self.agents: list[str] = []
        self.possible_agents = list(_PLAYERS)
        self.observation_spaces = {player: _observation_space(game) for player in _PLAYERS}
        self.action_spaces = {player: Discrete(game.num_actions) for player in _PLAYERS}

    def observation_space(self, agent: str) -> gymnasium.Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space:
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start a new game. Nothing here is random, so ``seed`` has no effect."""
        self._states, self._plies, self._last = self.game.initial(1), 0, None
        self.agents = list(_PLAYERS)
        self.rewards = dict.fromkeys(_PLAYERS, 0.0)
        self._cumulative_rewards = dict.fromkeys(_PLAYERS, 0.0)
        self.terminations = dict.fromkeys(_PLAYERS, False)
        self.truncations = dict.fromkeys(_PLAYERS, False)
        self.infos = {player: {} for player in _PLAYERS}
        self.agent_selection = _PLAYERS[0]

    def observe(self, agent: str) -> dict[str, np.ndarray]:
        mask = self.game.legal(self._states)[0].astype(np.int8)
        if agent != self._mover():
            mask[:] = 0
        return {"observation": self.game.observe(self._states)[0], "action_mask": mask}

    def step(self, action: int | None) -> None:
        if not self.agents:
            raise ResetNeeded("the game is over: call reset before the next step")
        if self.terminations[self.agent_selection] or self.truncations[self.agent_selection]:
            self._was_dead_step(action)
            return
        if action is None or not is_legal(self.game, self._states, action):
            raise ValueError(f"{action!r} is not a legal action of {self.game.name} here")
        self._last = int(action)
        self._states = self.game.step(self._states, np.array([self._last]))
        self._plies += 1
        self._cumulative_rewards[self.agent_selection] = 0.0
        self.agent_selection = self._mover()
        result = float(self.game.result(self._states, self._plies)[0])
        if not np.isnan(result):
            by_rules = not np.isnan(self.game.outcome(self._states)[0])
            self.terminations = dict.fromkeys(_PLAYERS, by_rules)
            self.truncations = dict.fromkeys(_PLAYERS, not by_rules)
            self.rewards = {
                player: result if player == self.agent_selection else 0 - result
                for player in _PLAYERS
            }
        self._accumulate_rewards()

    def render(self) -> Any:
        """A text in render mode ``ansi``, an image in ``rgb_array``, None without a mode."""
        return self._renderer(self._states[0], self._last)

    def close(self) -> None:
        """Do nothing: the environment holds no window or file open."""

    def _mover(self) -> str:
        return _PLAYERS[self.game.to_move(self._states)[0]]


def _observation_space(game: Game) -> gymnasium.spaces.Dict:
    return gymnasium.spaces.Dict(
        {
            "observation": observation_space(game),
            "action_mask": Box(0, 1, (game.num_actions,), np.int8),
        }
    )
