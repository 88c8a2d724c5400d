"""Searches that play all moves of a new position before it is evaluated."""

import numpy as np
import pytest
from test_search_reference import generators, zero_temperature

import games
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluation

WIN = 2
"""The cell at which X, with the cells 0 and 1, completes the first row."""


def without_a_prior(states):
    """Equal chances and values, but next to no chance for the cell that wins."""
    logits = np.zeros((len(states), 9), np.float32)
    logits[:, WIN] = -40
    return Evaluation(logits, np.zeros(len(states), np.float32), 0)


def searched(kind, look_ahead, evaluate=without_a_prior):
    """The search of the position in which O must stop X, who has the cells 0 and 1."""
    game = games.make("tic_tac_toe")
    states = game.initial(1)
    for cell in (0, 3, 1):
        states = game.step(states, np.array([cell]))
    search = kind(simulations=24, look_ahead=look_ahead).without_noise(24)
    return run(search(game, states, generators(1), zero_temperature(1)), evaluate)


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_a_winning_reply_without_a_prior_is_seen(kind):
    result = searched(kind, True)
    assert result.action[0] == WIN
    visited = result.visits[0] > 0
    visited[WIN] = False
    assert visited.any()
    assert (result.action_value[0][visited] == -1).all()


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_without_a_look_ahead_it_is_overlooked(kind):
    result = searched(kind, False)
    visited = result.visits[0] > 0
    assert (result.action_value[0][visited] > -1).any()


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_positions_that_are_won_at_once_are_not_evaluated(kind):
    game, evaluated = games.make("tic_tac_toe"), []

    def evaluate(states):
        evaluated.append(states.copy())
        return without_a_prior(states)

    searched(kind, True, evaluate)
    below = np.concatenate(evaluated[1:])
    for cell in range(9):
        able = below[game.legal(below)[:, cell]]
        mover, after = game.to_move(able), game.step(able, np.full(len(able), cell))
        wins = game.outcome(after) == np.where(game.to_move(after) == mover, 1, -1)
        assert not wins.any()
