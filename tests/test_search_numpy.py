"""The NumPy search of the benchmark makes the same visits as the kernels."""

import numpy as np
import pytest
import slow_numpy_search
from made_up_games import DoubleNim
from reference_search import hashing, random_positions

import games
from alphazero.search import run
from alphazero.search.puct import PUCT


@pytest.mark.parametrize("name", ["tic_tac_toe", "connect_four", "othello:size=6", "double_nim"])
def test_the_numpy_search_visits_what_the_kernels_visit(name):
    game = DoubleNim() if name == "double_nim" else games.make(name)
    states = game.initial(40) if name == "double_nim" else random_positions(game, 40, 8)
    search = PUCT(simulations=60, dirichlet_fraction=0.0, proofs=False)
    evaluate = hashing(game)
    trees = slow_numpy_search.search(game, states, search, evaluate)
    rngs = [np.random.default_rng(i) for i in range(40)]
    result = run(search(game, states, rngs, np.zeros(40, np.float32)), evaluate)
    assert trees.count[:, 0].tolist() == result.visits.tolist()
    assert (trees.sums[:, 0] / 61).tolist() == pytest.approx(result.value.tolist())
