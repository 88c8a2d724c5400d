"""The default recipe: the settings of a run that its configuration leaves open, for any game.

The sizes follow from three figures of random games: the length, the number of legal moves and the
number of cells of the board. ``docs/recipe.md`` explains them.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from alphazero import targets
from alphazero.errors import reason
from alphazero.evaluators import random_actions
from games.base import Game

RANDOM_GAMES = 16
"""Random games from which length and number of moves are estimated."""
LONGEST = 1000
"""Plies after which they end: in games of other libraries a late ply takes long."""
LARGE = 128
"""Cells of a board above which the network is deeper."""
LONG = 150
"""Mean plies of random games above which the match at the end is against random moves: rollouts of
such games take longer than the training."""
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


def settings(game: Game, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by section and key for what ``given``, the values of a configuration, leaves open.

    ``ValueError``, one line, where random games of ``game`` fail. None are played where all that
    the recipe could fill is given, as in a run's own configuration.
    """
    timed = "steps" not in (given.get("training") or {})
    keys = sizes(Figures(plies=1, moves=1, cells=1), HEADS, timed)
    if all(keys[name].keys() <= (given.get(name) or {}).keys() for name in keys):
        return {}
    try:
        measured = measure(game)
    except Exception as error:  # a user's own game may raise anything
        raise ValueError(
            f"random games of {game.name} fail: {reason(error)}; `alphazero check` says more"
        ) from error
    network = given.get("network")
    network = network if isinstance(network, Mapping) else {}
    heads = _heads(game, network)
    filling = sizes(measured, heads, timed)
    if network.get("kind") == "perceptron":
        filling["network"] = {"kind": "perceptron", "heads": heads}
    return filling


def _heads(game: Game, network: Mapping[str, Any]) -> Mapping[str, float]:
    """The auxiliary heads of a run whose configuration has ``network``, with their weights."""
    if network.get("kind", "residual") not in ("residual", "perceptron"):
        return {}
    given = network.get("heads")
    offered = {name: weight for name, weight in HEADS.items() if targets.offered(name, game)}
    return given if isinstance(given, Mapping) else offered


def measure(game: Game) -> Figures:
    """The figures of ``game``, the same at each call: its random games are drawn from seed 0."""
    rng, states = np.random.default_rng(0), game.initial(RANDOM_GAMES)
    positions = moves = 0
    for _ in range(min(game.max_plies, LONGEST)):
        legal = game.legal(states)
        positions += len(states)
        moves += int(np.count_nonzero(legal))
        states = game.step(states, random_actions(legal, rng))
        states = states[np.isnan(game.outcome(states))]
        if not len(states):
            break
    _, height, width = game.observation_shape
    return Figures(positions / RANDOM_GAMES, moves / positions, height * width)


def sizes(measured: Figures, heads: Mapping[str, float], timed: bool) -> dict[str, Any]:
    """Settings by section and key for a game of these figures.

    ``timed``: no number of steps is given, so that the run ends after 30 minutes.
    """
    plies, moves, cells = measured
    limit = {"time_limit_minutes": 30.0} if timed else {}
    return {
        "search": {"kind": "gumbel", "simulations": 24, "value_scale": value_scale(moves)},
        "selfplay": {
            "games": 128,
            "random_opening_plies": min(8, int(plies / 6)),
            "temperature_plies": math.ceil(plies / 2),
            # A game that ends by a proof, as most of Go do, would teach these heads nothing.
            "stop_when_proven": not targets.of_finished_games(heads),
        },
        "network": {
            "kind": "residual",
            "blocks": 4 if cells <= LARGE else 6,
            "channels": 32,
            "value_hidden": 32,
            "attention": "global_pooling",
            "heads": dict(heads),
        },
        "optimizer": {"learning_rate": 4e-3},
        "replay": {"samples_per_position": 3.0, "min_positions": 5_000, "window_min": 40_000},
        "training": {"steps": MANY_STEPS, "batch_size": 256, "publish_every": 40, **limit},
        "evaluation": {
            "games": 40,
            "opponent": "mcts:simulations=100" if plies <= LONG else "random",
            "simulations": 100,
        },
    }


def value_scale(moves: float) -> float:
    """Gumbel's ``value_scale`` for ``moves`` legal moves per position: 0.1 per 7, from 0.1 to 0.5.

    With many moves each gets few simulations and the prior is flat, and a small scale hardly
    changes it: docs/recipe.md. Connect Four has 7 moves (0.1), Go on 9x9 in random games 34
    (0.48).
    """
    return round(min(0.5, max(0.1, moves / 70)), 2)
