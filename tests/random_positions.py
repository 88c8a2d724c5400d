"""Unfinished positions from uniformly random games, to show networks something real."""

import numpy as np

from games.base import Game, States


def positions(game: Game, count: int, seed: int) -> States:
    """``count`` of them, after 0 to a dozen plies each."""
    rng = np.random.default_rng(seed)
    found = states = game.initial(count)
    for _ in range(12):
        scores = rng.random((count, game.num_actions)) * game.legal(states)
        after = game.step(states, scores.argmax(axis=1))
        states = np.where(np.isnan(game.outcome(after)), after, states)
        found = np.where(rng.random(count) < 0.7, states, found)
    return found
