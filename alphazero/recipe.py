"""The default recipe: the settings of a run that its configuration leaves open, for any game.

The sizes follow from three figures of random games: the length, the number of legal moves and the
number of cells of the board. ``docs/recipe.md`` has the measurements behind each choice.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alphazero.evaluators import random_actions
from alphazero.targets import TARGETS
from games.base import Game

PROBED = 64
"""Random games from which length and number of moves are estimated."""
HEADS = {"ownership": 0.5, "score": 0.2}
"""Auxiliary heads of games that have their targets, with the weights of their losses."""
MANY_STEPS = 1_000_000
"""Optimizer steps of a run that ends by its time limit."""


class Figures(NamedTuple):
    """Figures of a game from which sizes follow."""

    plies: float
    """Mean length of random games."""
    moves: float
    """Mean number of legal moves in the positions of random games."""
    cells: int
    """Cells of the board: height times width of the observation."""


def figures(game: Game) -> Figures:
    """The figures of ``game``, the same at each call: its random games are drawn from seed 0."""
    rng, states = np.random.default_rng(0), game.initial(PROBED)
    positions = moves = 0
    for _ in range(game.max_plies):
        legal = game.legal(states)
        positions += len(states)
        moves += int(np.count_nonzero(legal))
        states = game.step(states, random_actions(legal, rng))
        states = states[np.isnan(game.outcome(states))]
        if not len(states):
            break
    _, height, width = game.observation_shape
    return Figures(positions / PROBED, moves / positions, height * width)


def settings(game: Game, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by section and key for what ``given``, the values of a configuration, leaves open.

    A run lasts 30 minutes unless a number of steps or a time limit is given.
    """
    measured, training = figures(game), given.get("training") or {}
    timed = {"time_limit_minutes": 30.0} if "steps" not in training else {}
    return {
        "search": {"kind": "gumbel", "simulations": 24, "value_scale": value_scale(measured.moves)},
        "selfplay": {
            "games": 128,
            "random_opening_plies": min(8, int(measured.plies / 6)),
            "temperature_plies": math.ceil(measured.plies / 2),
        },
        "network": {
            "kind": "residual",
            "blocks": 4 if measured.cells <= 128 else 6,
            "channels": 32,
            "value_hidden": 32,
            "attention": "global_pooling",
            "heads": {name: weight for name, weight in HEADS.items() if _offers(game, name)},
        },
        "optimizer": {"learning_rate": 4e-3},
        "replay": {"samples_per_position": 3.0, "min_positions": 5_000, "window_min": 40_000},
        "training": {"steps": MANY_STEPS, "batch_size": 256, "publish_every": 40, **timed},
        "evaluation": {"games": 100, "opponent": "mcts:simulations=200", "simulations": 200},
    }


def value_scale(moves: float) -> float:
    """Gumbel's ``value_scale`` for ``moves`` legal moves per position: 0.1 per 7, from 0.1 to 0.5.

    With many moves each gets few simulations and the prior is flat, and a small scale hardly
    changes it: docs/decisions/0006. Connect Four has 7 moves (0.1), Go on 9x9 in random games 33
    (0.47).
    """
    return round(min(0.5, max(0.1, moves / 70)), 2)


def _offers(game: Game, head: str) -> bool:
    """Whether ``game`` has the method that the target of ``head`` needs."""
    method = TARGETS[head].needs
    return method is None or getattr(game, method)(game.initial(0)) is not None
