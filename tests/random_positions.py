"""Unfinished positions from uniformly random games, as inputs for networks."""

import numpy as np

from games.base import Game, States


def positions(game: Game, count: int, seed: int) -> States:
    """``count`` unfinished positions, each after 0 to 12 plies."""
    rng = np.random.default_rng(seed)
    chosen = states = game.initial(count)
    for _ in range(12):
        scores = rng.random((count, game.num_actions)) * game.legal(states)
        after = game.step(states, scores.argmax(axis=1))
        states = np.where(np.isnan(game.outcome(after)), after, states)
        chosen = np.where(rng.random(count) < 0.7, states, chosen)
    return chosen
