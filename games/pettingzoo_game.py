"""Environments of PettingZoo, turn by turn between two agents, as games.

``pettingzoo.classic.tictactoe_v3`` names a module; its ``env`` makes the environment. Agents move
in turns, observations come with an action mask, and the rewards of the two agents sum to zero. The
module is imported: one outside PettingZoo only where the user allowed it, see ``games.address_of``.

Every position is made from a copy of the one before, which is slow: the games of ``games/`` make
thousands of moves in the same time.
"""

import importlib
import os
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from games import environment_copies
from games.environment_copies import Copies, first_line
from games.replayed import MOST_PLIES, TWO, Position, ReplayedGame, equal
from games.spec import parse_call, shown

DEFAULT_PLIES = 512
"""The default of ``max_plies``."""
TRIAL_GAMES, TRIAL_PLIES = 2, 40
"""Random games in which an instance compares copies and seeds when it is made; plies of each."""


class PettingZooEnvironment(ReplayedGame):
    """A turn-based environment of PettingZoo: pettingzoo:pettingzoo.classic.tictactoe_v3."""

    keyless = "environment"

    def __init__(
        self,
        environment: str = "pettingzoo.classic.tictactoe_v3",
        max_plies: int = DEFAULT_PLIES,
    ):
        """``environment``: a module, arguments of its ``env`` in parentheses.

        ``max_plies``: games as long as this are drawn. ``ValueError``, one line: the module cannot
        be imported, or the environment does not fit the contract.
        """
        environment = environment_copies.written("pettingzoo", environment)
        self.name = f"pettingzoo:{environment}"
        if max_plies != DEFAULT_PLIES:
            self.name += f",max_plies={max_plies}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about themselves
            first = _make(self.name, environment)
            first.reset(seed=0)
        self._agents = list(first.possible_agents)
        self._copies = Copies(first, self.name)
        self._check(first)
        agent = first.agent_selection
        self._first = self._agents.index(agent)
        self._space = first.observation_space(agent)
        if hasattr(self._space, "spaces") and "observation" in self._space.spaces:
            self._space = self._space["observation"]
        shape = environment_copies.planes_of(self._space, channels_last=True)
        actions = int(first.action_space(agent).n)
        self._lay_out((environment, max_plies), actions, MOST_PLIES, max_plies, shape)
        self._start = self._position(first, (0.0, 0.0), 1)
        self._try(environment)

    def _check(self, first: Any) -> None:
        """``ValueError`` where the environment is no game for two with discrete actions."""
        from gymnasium import spaces

        agents = self._agents
        if len(agents) != 2:
            raise ValueError(f"{self.name} has {len(agents)} agents, not 2")
        if not all(isinstance(first.action_space(agent), spaces.Discrete) for agent in agents):
            raise ValueError(f"{self.name}: actions must be numbers from 0 (a Discrete space)")
        if len({repr(first.action_space(agent)) for agent in agents}) > 1:
            raise ValueError(f"{self.name}: both agents must have the same actions")

    def _try(self, environment: str) -> None:
        """``ValueError`` where copies of positions differ from replayed ones, or seeds matter."""
        numbers = np.random.PCG64(0)
        for seed in range(1, TRIAL_GAMES + 1):
            other = _make(self.name, environment)
            other.reset(seed=seed)
            position, totals = self._start, (0.0, 0.0)
            for _ in range(min(TRIAL_PLIES, self.max_plies)):
                if not len(position.legal):
                    break
                action = int(position.legal[numbers.random_raw() % len(position.legal)])
                other.step(action)
                totals = self._added(totals, other)
                position = self._play(position, action)
                if not equal(position, self._position(other, totals, 1 - position.mover)):
                    raise ValueError(f"{self.name} has chance, or cannot be copied: {TWO}")

    def _begin(self) -> Position:
        return self._start

    def _play(self, position: Position, action: int) -> Position:
        packed, totals = position.inner
        environment = self._copies.unpack(packed)
        environment.step(action)
        return self._position(environment, self._added(totals, environment), position.mover)

    def _added(self, totals: tuple, environment: Any) -> tuple:
        """The sums of rewards of both agents, those of the last step included."""
        rewards = environment.rewards
        return tuple(
            total + float(rewards.get(agent, 0))
            for total, agent in zip(totals, self._agents, strict=True)
        )

    def _position(self, environment: Any, totals: tuple, mover: int) -> Position:
        """The position after a move of player ``mover``; player 0 is the agent who begins."""
        if all(environment.terminations.values()) or all(environment.truncations.values()):
            mover = 1 - mover
            if abs(sum(totals)) > 1e-6:
                raise ValueError(f"{self.name} is not zero-sum: a game ended with rewards {totals}")
            agent, outcome = (
                self._agents[mover ^ self._first],
                float(np.sign(totals[mover ^ self._first])),
            )
        else:
            agent, outcome = environment.agent_selection, np.nan
            mover = self._agents.index(agent) ^ self._first
        seen = environment.observe(agent)
        mask = seen.get("action_mask") if isinstance(seen, dict) else None
        if mask is None:
            mask = environment.infos[agent].get("action_mask")
        if mask is None:
            raise ValueError(f"{self.name}: observations have no action_mask of legal actions")
        legal = np.flatnonzero(mask).astype(self._move) if np.isnan(outcome) else self._none()
        if np.isnan(outcome) and not len(legal):
            raise ValueError(f"{self.name}: no action is legal in a game that goes on")
        seen = seen["observation"] if isinstance(seen, dict) else seen
        shown_planes = environment_copies.planes(self._space, seen, channels_last=True)
        inner = (self._copies.pack(environment), totals)
        return Position(inner, mover, legal, outcome, shown_planes)

    def _none(self) -> NDArray:
        return np.empty(0, self._move)

    def _size(self, position: Position, plies: int) -> int:
        return len(position.inner[0]) + position.planes.nbytes  # type: ignore[union-attr]

    def _render(self, position: Position) -> str:
        seen = position.planes.reshape(self.observation_shape)  # type: ignore[union-attr]
        return environment_copies.render(
            self._copies.unpack(position.inner[0]), seen, position.mover
        )


def _make(name: str, environment: str) -> Any:
    """The innermost environment: wrappers only check what is checked here."""
    module, texts = parse_call(environment)
    if not re.fullmatch(r"[A-Za-z_][\w.]{0,199}", module):
        raise ValueError(f"pettingzoo: {shown(module)} is no module, as pettingzoo.classic.go_v5")
    values = environment_copies.arguments(name, texts)
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        make = importlib.import_module(module).env
    except Exception as error:  # a module may raise anything
        hint = " (pip install 'pettingzoo[classic]')" if module.startswith("pettingzoo.") else ""
        raise ValueError(f"{name} cannot be imported: {first_line(error)}{hint}") from None
    try:
        made = make(**values).unwrapped
    except Exception as error:
        raise ValueError(f"{name} cannot be made: {first_line(error)}") from None
    for attribute in ("possible_agents", "reset", "step", "observe"):
        if not hasattr(made, attribute):
            raise ValueError(f"{name} is no environment of agents that move in turns (AEC)")
    return made
