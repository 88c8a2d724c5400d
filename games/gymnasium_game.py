"""Environments of Gymnasium for one player, as games whose every move is player 0's.

This is outside of the contract of two-player games: there is no opponent, and the result is the
return of the episode (the sum of its rewards), scaled so that ``lowest`` is -1 and ``highest`` +1.
Search works on copies of the environment, as with the rules of any game. Chance is refused: a
random start is that of ``seed``. Played games are called won, drawn or lost by the whole part of
the scaled return: won is the highest return only.
"""

import re
import warnings
from typing import Any

import numpy as np

from games import environment_copies
from games.environment_copies import Copies, first_line
from games.replayed import TWO, Position, ReplayedGame, equal
from games.spec import parse_call, shown, suggest

LONGEST = 200
"""``max_plies`` of an environment that does not state the length of its episodes."""
TRIAL_GAMES, TRIAL_PLIES = 4, 1000
"""Random episodes in which an instance looks for chance when it is made; plies of each, at most."""

_ID = re.compile(r"([A-Za-z_][\w.]{0,199}:)?[\w.-]{1,100}(/[\w.-]{1,100})?")


class GymnasiumEnvironment(ReplayedGame):
    """An environment of Gymnasium for one player: gymnasium:FrozenLake-v1(is_slippery=false)."""

    keyless = "environment"
    one_player = True
    """Whether player 0 makes all moves, so that there is no opponent and no match."""

    def __init__(
        self,
        environment: str = "FrozenLake-v1(is_slippery=false)",
        lowest: float = 0.0,
        highest: float = 1.0,
        max_plies: int = 0,
        seed: int = 0,
    ):
        """``environment``: an id of Gymnasium, arguments in parentheses.

        One that Gymnasium does not have itself is ``module:id``, where the module registers it.
        ``lowest``, ``highest``: the returns that count as -1 and +1, and everything beyond them.
        ``max_plies``: the length of an episode; 0: the environment's own. ``seed``: of the start.
        ``ValueError``, one line: there is no such environment, or it cannot be searched.
        """
        environment = environment_copies.written("gymnasium", environment)
        given = {"lowest": lowest, "highest": highest, "max_plies": max_plies, "seed": seed}
        defaults = {"lowest": 0.0, "highest": 1.0, "max_plies": 0, "seed": 0}
        changed = [f",{key}={given[key]}" for key in given if given[key] != defaults[key]]
        self.name = f"gymnasium:{environment}{''.join(changed)}"
        if not (np.isfinite([lowest, highest]).all() and lowest < highest):
            raise ValueError(f"{self.name}: lowest must be a number below highest")
        self._range = lowest, highest
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Gymnasium about versions of environments
            first, longest = _make(self.name, environment)
            seen, _ = first.reset(seed=seed)
        self._space, self._copies = first.observation_space, Copies(first, self.name)
        length = max_plies or longest or LONGEST
        shape = environment_copies.planes_of(self._space, channels_last=True)
        arguments = (environment, lowest, highest, max_plies, seed)
        self._lay_out(arguments, int(first.action_space.n), length, length, shape)
        self._every = np.arange(self.num_actions).astype(self._move)
        self._start = self._position(first, seen, 0.0, False)
        self._try()

    def _try(self) -> None:
        """``ValueError`` where the same moves lead to two positions, or returns are too high."""
        numbers = np.random.PCG64(0)
        for game in range(TRIAL_GAMES):
            position = self._start
            for _ in range(min(self.max_plies, TRIAL_PLIES)):
                action = int(numbers.random_raw() % self.num_actions)
                before, position = position, self._play(position, action)
                again = self._play(before, action, np.random.default_rng(game))
                if not equal(position, again):
                    raise ValueError(f"{self.name} has chance: {TWO}")
                if position.inner[1] > self._range[1]:
                    raise ValueError(
                        f"{self.name}: a random episode had the return {position.inner[1]:g}; "
                        "state the bounds of returns as lowest=...,highest=..."
                    )
                if not len(position.legal):
                    break

    def _begin(self) -> Position:
        return self._start

    def _play(
        self, position: Position, action: int, numbers: np.random.Generator | None = None
    ) -> Position:
        """``numbers`` replaces the environment's own random numbers."""
        packed, total = position.inner
        environment = self._copies.unpack(packed)
        if numbers is not None:
            environment.np_random = numbers
        seen, reward, terminated, truncated, _ = environment.step(action)
        return self._position(environment, seen, total + float(reward), terminated or truncated)

    def _position(self, environment: Any, seen: Any, total: float, over: bool) -> Position:
        planes = environment_copies.planes(self._space, seen, channels_last=True)
        outcome = self._scaled(total) if over else np.nan
        inner = (self._copies.pack(environment), total)
        return Position(inner, 0, self._every[:0] if over else self._every, outcome, planes)

    def _scaled(self, total: float) -> float:
        lowest, highest = self._range
        return float(np.clip(2 * (total - lowest) / (highest - lowest) - 1, -1, 1))

    def _cut(self, position: Position) -> float:
        return self._scaled(position.inner[1])

    def _size(self, position: Position, plies: int) -> int:
        return len(position.inner[0]) + position.planes.nbytes  # type: ignore[union-attr]

    def _render(self, position: Position) -> str:
        seen = position.planes.reshape(self.observation_shape)  # type: ignore[union-attr]
        drawn = environment_copies.render(self._copies.unpack(position.inner[0]), seen, 0)
        return f"{drawn.rstrip()}\nreturn {position.inner[1]:g}"


def _own() -> list[str]:
    """The ids of the environments that come with Gymnasium."""
    import gymnasium

    points = {key: spec.entry_point for key, spec in gymnasium.registry.items()}
    return [
        key for key, at in points.items() if isinstance(at, str) and at.startswith("gymnasium.")
    ]


def _make(name: str, environment: str) -> tuple[Any, int | None]:
    """The innermost environment and the length of its episodes, None where it is not stated."""
    import gymnasium
    from gymnasium import spaces

    identity, texts = parse_call(environment)
    if not _ID.fullmatch(identity):
        raise ValueError(f"gymnasium: {shown(identity)} is no id, as CartPole-v1 or module:Mine-v0")
    values = environment_copies.arguments(name, texts)
    if ":" not in identity:
        if identity not in gymnasium.registry:
            raise ValueError(f"{name}: no such environment; {suggest(identity, _own())}")
        if identity not in _own():
            raise ValueError(f"{name} is not Gymnasium's own: write module:{identity}")
    try:
        made = gymnasium.make(identity, disable_env_checker=True, **values)
    except Exception as error:  # an environment may raise anything
        raise ValueError(f"{name} cannot be made: {first_line(error)}") from None
    space = made.action_space
    if not isinstance(space, spaces.Discrete) or space.start:
        raise ValueError(f"{name}: actions must be numbers from 0 (a Discrete space), not {space}")
    return made.unwrapped, made.spec.max_episode_steps if made.spec else None
