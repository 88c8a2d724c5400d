"""What a search calls proven must be what exact solvers say."""

import numpy as np
import pytest
from made_up_games import DoubleNim, OneMove, double_nim_values
from reference_search import hashing, random_positions

import games
from alphazero.evaluators import uniform
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from games import solvers

BOTH = pytest.mark.parametrize("kind", [PUCT, Gumbel])


def searched(game, states, search, evaluate, temperature=0.0):
    rngs = [np.random.default_rng(i) for i in range(len(states))]
    warmth = np.full(len(states), temperature, np.float32)
    return run(search(game, states, rngs, warmth), evaluate)


def late_positions(number):
    """Connect Four with at least 18 stones, which a search of 200 simulations often settles."""
    game = games.make("connect_four")
    states = random_positions(game, 4 * number, 3)
    stones = np.array([int(state["mine"] | state["theirs"]).bit_count() for state in states])
    return game, states[stones >= 18][:number]


@BOTH
@pytest.mark.parametrize("leaves", [1, 8])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_proven_in_connect_four_is_what_the_solver_says(kind, leaves, temperature):
    game, states = late_positions(300)
    best, scores = solvers.scores(game, states)
    search = kind(simulations=200, leaves=leaves)
    result = searched(game, states, search, hashing(game), temperature)
    proven = result.proven
    assert 0.2 < proven.mean() < 1
    assert (result.value[proven] == np.sign(best[proven])).all()
    mistake = np.sign(scores) < np.sign(best)[:, None]
    chosen = mistake[np.arange(len(states)), result.action]
    assert not chosen[proven].any(), "a result that is proven is not given away, noise or not"
    assert not result.policy[proven][mistake[proven]].any()


@BOTH
def test_tic_tac_toe_is_settled_as_the_solver_settles_it(kind):
    game = games.make("tic_tac_toe")
    states = random_positions(game, 200, 5)
    best, _ = solvers.scores(game, states)
    result = searched(game, states, kind(simulations=1000), uniform(game))
    assert result.proven.mean() > 0.5
    assert (result.value[result.proven] == best[result.proven]).all()
    assert set(result.value[result.proven].tolist()) == {-1, 0, 1}
    spent = result.visits.sum(axis=1)
    assert (spent[result.proven] < 1000).all(), "no simulation is spent on what is known"


@BOTH
def test_a_player_who_moves_twice_is_understood_by_proofs(kind):
    game, stones = DoubleNim(), np.arange(1, 9)
    result = searched(game, game.piles(*stones.tolist()), kind(simulations=3000), uniform(game))
    assert result.proven.all()
    expected = [max(double_nim_values(number)) for number in stones.tolist()]
    assert result.value.tolist() == expected
    for number, action in zip(stones.tolist(), result.action, strict=True):
        assert double_nim_values(number)[action] == max(double_nim_values(number))


@BOTH
def test_a_draw_in_hand_beats_a_loss_and_an_unknown_move_stays_open(kind):
    game = OneMove([-1, 0, -1])
    result = searched(game, game.initial(1), kind(simulations=20), uniform(game))
    assert result.proven.tolist() == [True]
    assert result.value.tolist() == [0]
    assert result.action.tolist() == [1]
    assert result.policy.tolist() == [[0, 1, 0]]


@BOTH
def test_a_search_without_proofs_settles_nothing(kind):
    game = OneMove([-1, 0, 1])
    search = kind(simulations=20, proofs=False)
    result = searched(game, game.initial(1), search, uniform(game))
    assert result.proven.tolist() == [False]
    assert result.visits.sum() == 20
