"""Tiny games with known values, for tests of searches."""

from functools import cache

import numpy as np

from games.base import Game, States


class OneMove(Game):
    """One move ends the game; ``results[a]`` in {-1, 0, 1} is the result for its mover."""

    observation_shape = (1, 1, 1)
    max_plies = 1
    dtype = np.dtype([("played", "i1")])

    def __init__(self, results):
        self.name = "one_move"
        self.results = np.array(results, np.float32)
        self.num_actions = len(results)

    def initial(self, batch: int) -> States:
        return np.full(batch, -1, self.dtype)

    def legal(self, states: States) -> np.ndarray:
        return np.repeat((states["played"] < 0)[:, None], self.num_actions, axis=1)

    def step(self, states: States, actions: np.ndarray) -> States:
        return np.asarray(actions).astype(np.int8).view(self.dtype)

    def outcome(self, states: States) -> np.ndarray:
        # Adding zero turns -0 into 0.
        over = states["played"] >= 0
        return np.where(over, 0 - self.results[states["played"]], np.nan).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return (states["played"] >= 0).astype(np.int8)

    def observe(self, states: States) -> np.ndarray:
        return np.zeros((len(states), 1, 1, 1), np.float32)

    def render(self, state: np.void) -> str:
        return str(state["played"])


class DoubleNim(Game):
    """Take one, two or three stones; after taking two move again; taking the last stone wins.

    Turns do not alternate, and the winner of a finished game may be the player to move.
    """

    name = "double_nim"
    num_actions = 3
    observation_shape = (1, 1, 1)
    max_plies = 40
    dtype = np.dtype([("stones", "i1"), ("player", "i1"), ("moved", "i1")])
    """``player`` moves next, ``moved`` moved last."""

    def piles(self, *stones: int) -> States:
        return np.array([(pile, 0, 0) for pile in stones], self.dtype)

    def initial(self, batch: int) -> States:
        return self.piles(*[15] * batch)

    def legal(self, states: States) -> np.ndarray:
        return states["stones"][:, None] >= np.arange(1, 4)

    def step(self, states: States, actions: np.ndarray) -> States:
        after = states.copy()
        after["stones"] -= np.asarray(actions).astype(np.int8) + 1
        after["moved"] = states["player"]
        after["player"] ^= (np.asarray(actions) != 1).astype(np.int8)
        return after

    def outcome(self, states: States) -> np.ndarray:
        result = np.where(states["player"] == states["moved"], 1, -1)
        return np.where(states["stones"] > 0, np.nan, result).astype(np.float32)

    def to_move(self, states: States) -> np.ndarray:
        return states["player"].copy()

    def observe(self, states: States) -> np.ndarray:
        return states["stones"].astype(np.float32).reshape(-1, 1, 1, 1)

    def render(self, state: np.void) -> str:
        return str(state["stones"])


@cache
def double_nim_values(stones: int) -> tuple[int, ...]:
    """The results for the mover of taking 1, 2 or 3 of ``stones``, under best play."""
    values = []
    for taken in range(1, min(stones, 3) + 1):
        again = 1 if taken == 2 else -1
        rest = stones - taken
        values.append(1 if rest == 0 else again * max(double_nim_values(rest)))
    return tuple(values)
