"""Results that a search has proven, against exact solvers."""

import numpy as np
import pytest
from made_up_games import DoubleNim, OneMove, double_nim_values
from reference_search import hashing, random_positions
from test_search_tree import grown

import games
from alphazero.evaluators import uniform
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluation
from games import solvers

BOTH = pytest.mark.parametrize("kind", [PUCT, Gumbel])


def searched(game, states, search, evaluate, temperature=0.0):
    rngs = [np.random.default_rng(i) for i in range(len(states))]
    temperatures = np.full(len(states), temperature, np.float32)
    return run(search(game, states, rngs, temperatures), evaluate)


def late_positions(number):
    """Connect Four with at least 18 stones, which a search of 200 simulations often solves."""
    game = games.make("connect_four")
    states = random_positions(game, 4 * number, 3)
    stones = np.array([int(state["mine"] | state["theirs"]).bit_count() for state in states])
    return game, states[stones >= 18][:number]


@BOTH
@pytest.mark.parametrize("leaves", [1, 8])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_results_proven_in_connect_four_agree_with_the_solver(kind, leaves, temperature):
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
def test_results_proven_in_tic_tac_toe_agree_with_the_solver(kind):
    game = games.make("tic_tac_toe")
    states = random_positions(game, 200, 5)
    best, _ = solvers.scores(game, states)
    result = searched(game, states, kind(simulations=1000), uniform(game))
    assert result.proven.mean() > 0.5
    assert (result.value[result.proven] == best[result.proven]).all()
    assert set(result.value[result.proven].tolist()) == {-1, 0, 1}
    spent = result.visits.sum(axis=1)
    assert (spent[result.proven] < 1000).all(), "no simulation is spent after the proof"


@BOTH
def test_proofs_are_right_where_a_player_moves_twice(kind):
    game, stones = DoubleNim(), np.arange(1, 9)
    result = searched(game, game.piles(*stones.tolist()), kind(simulations=3000), uniform(game))
    assert result.proven.all()
    expected = [max(double_nim_values(number)) for number in stones.tolist()]
    assert result.value.tolist() == expected
    for number, action in zip(stones.tolist(), result.action, strict=True):
        assert double_nim_values(number)[action] == max(double_nim_values(number))


@BOTH
def test_a_certain_draw_is_preferred_to_a_loss(kind):
    game = OneMove([-1, 0, -1])
    result = searched(game, game.initial(1), kind(simulations=20), uniform(game))
    assert result.proven.tolist() == [True]
    assert result.value.tolist() == [0]
    assert result.action.tolist() == [1]
    assert result.policy.tolist() == [[0, 1, 0]]


def test_an_unvisited_move_is_chosen_where_all_visited_ones_are_lost():
    game = OneMove([-1, -1, 1, -1])

    def misled(states):
        return Evaluation(np.array([[5, 4, 0, 3]], np.float32), np.zeros(1, np.float32))

    for search in (PUCT(simulations=2, dirichlet_fraction=0.0), Gumbel(simulations=2)):
        result = searched(game, game.initial(1), search, misled)
        assert result.visits.tolist() == [[1, 1, 0, 0]]
        assert not result.proven[0]
        assert result.action[0] in (2, 3)
        assert result.policy[0, :2].tolist() == [0, 0]
        assert result.policy.sum() == pytest.approx(1)


@pytest.mark.parametrize("simulations", [4, 32, 200])
@pytest.mark.parametrize("leaves", [1, 4])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_gumbel_plays_a_legal_move_of_its_policy_however_few_it_considers(
    simulations, leaves, temperature
):
    game, states = late_positions(300)
    search = Gumbel(simulations=simulations, max_considered_actions=2, leaves=leaves)
    result = searched(game, states, search, hashing(game), temperature)
    rows = np.arange(len(states))
    assert game.legal(states)[rows, result.action].all()
    assert (result.policy[rows, result.action] > 0).all()


@BOTH
@pytest.mark.parametrize("leaves", [1, 8])
def test_few_simulations_go_to_moves_that_are_proven_lost(kind, leaves):
    game, states = late_positions(300)
    result = searched(game, states, kind(simulations=200, leaves=leaves), hashing(game))
    open_roots = ~result.proven
    refuted = (result.policy == 0) & (result.visits > 0)
    share = (result.visits * refuted).sum(axis=1) / result.visits.sum(axis=1)
    assert refuted[open_roots].any()
    assert share[open_roots].mean() < 0.2


@BOTH
def test_the_value_lies_within_the_proven_bounds(kind):
    game = games.make("tic_tac_toe")
    states = random_positions(game, 200, 6)
    search = kind(simulations=60).without_noise()
    trees = grown(game, states, search, hashing(game), temperature=0)
    result = searched(game, states, search, hashing(game))
    roots = trees.nodes[:, 0]
    assert ((roots["lower"] == 0) & (roots["upper"] == 1)).any(), "a draw, at least"
    assert (result.value >= roots["lower"]).all()
    assert (result.value <= roots["upper"]).all()


@BOTH
def test_a_search_without_proofs_proves_nothing(kind):
    game = OneMove([-1, 0, 1])
    search = kind(simulations=20, proofs=False)
    result = searched(game, game.initial(1), search, uniform(game))
    assert result.proven.tolist() == [False]
    assert result.visits.sum() == 20
