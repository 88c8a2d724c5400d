"""Both searches in games and positions whose best moves are known."""

import numpy as np
import pytest
from made_up_games import DoubleNim, OneMove, double_nim_values
from reference_search import hashing

import games
from alphazero.evaluators import uniform
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT

BOTH = pytest.mark.parametrize("kind", [PUCT, Gumbel])


def searched(game, states, search, evaluate):
    rngs = [np.random.default_rng(i) for i in range(len(states))]
    return run(search(game, states, rngs, np.zeros(len(states), np.float32)), evaluate)


def connect_four_after(columns):
    game = games.make("connect_four")
    state = game.initial(1)
    for column in columns:
        state = game.step(state, np.array([int(column) - 1]))
    return game, state


@BOTH
@pytest.mark.parametrize("leaves", [1, 4])
def test_the_best_move_is_chosen_where_a_player_moves_twice(kind, leaves):
    game = DoubleNim()
    stones = np.arange(1, 10)
    search = kind(simulations=1000).without_noise(leaves=leaves)
    result = searched(game, game.piles(*stones.tolist()), search, uniform(game))
    for i, action in enumerate(result.action):
        values = double_nim_values(i + 1)
        assert values[action] == max(values), f"{i + 1} stones, took {action + 1}"
        assert result.action_value[i, action] == pytest.approx(max(values), abs=0.3)


def test_the_sign_of_a_value_stays_where_the_same_player_moves_again():
    game = DoubleNim()
    search = PUCT(simulations=400, proofs=False).without_noise()
    result = searched(game, game.piles(3), search, uniform(game))
    # One more stone after taking two wins at once; taking one leaves two, which the other wins.
    assert result.action_value[0, 1] == pytest.approx(1, abs=0.01)
    assert result.action_value[0, 0] < -0.5


@BOTH
def test_a_win_in_one_is_found_and_its_value_is_exact(kind):
    game, state = connect_four_after("414141")
    result = searched(game, state, kind(simulations=64).without_noise(), uniform(game))
    assert result.action.tolist() == [3]
    assert result.action_value[0, 3] == 1
    assert result.policy[0].argmax() == 3


@BOTH
def test_a_threat_is_blocked(kind):
    # Column 1 holds three stones of the first player, the second one moves.
    game, state = connect_four_after("14131")
    result = searched(game, state, kind(simulations=100).without_noise(), uniform(game))
    assert result.action.tolist() == [0]
    assert np.nanmax(np.delete(result.action_value[0], 0)) < result.action_value[0, 0]


@BOTH
def test_a_misleading_evaluator_does_not_hide_a_win(kind):
    game = OneMove([-1, 0, 1, 0, -1])

    def evaluate(states):
        logits = np.tile(np.array([3, 1, 0, 1, 0], np.float32), (len(states), 1))
        return uniform(game)(states)._replace(logits=logits)

    result = searched(game, game.initial(3), kind(simulations=200).without_noise(), evaluate)
    assert result.action.tolist() == [2, 2, 2]
    assert result.action_value[:, 2].tolist() == [1, 1, 1]
    assert result.action_value[:, 1].tolist() == [0, 0, 0]


@BOTH
def test_a_finished_game_is_never_sent_to_the_evaluator(kind):
    game, state = connect_four_after("12122112664466446")
    sizes = []

    def evaluate(states):
        sizes.append(len(states))
        assert np.isnan(game.outcome(states)).all()
        assert game.legal(states).any(axis=1).all()
        return hashing(game)(states)

    result = searched(game, state.repeat(4), kind(simulations=300).without_noise(), evaluate)
    assert result.visits.sum(axis=1).tolist() == [300] * 4
    assert sum(sizes) < 4 * 301, "some of these games end within the search"


@BOTH
def test_values_are_exact_where_every_line_is_searched_to_its_end(kind):
    game = games.make("tic_tac_toe")
    state = game.initial(1)
    for cell in (5, 1, 9, 3, 2, 8, 6):
        state = game.step(state, np.array([cell - 1]))
    # X: 2 5 6 9, O: 1 3 8, O moves; 4 blocks and draws, 7 lets X win on 4.
    result = searched(game, state, kind(simulations=40).without_noise(), uniform(game))
    assert result.action.tolist() == [3]
    assert result.action_value[0, 3] == 0
    assert -1 <= result.action_value[0, 6] < -0.4


def test_gumbels_root_value_is_the_value_of_its_policy_not_the_mean_over_all_simulations():
    game = DoubleNim()
    stones = np.arange(4, 12)
    states = game.piles(*stones)
    exact = np.array([max(double_nim_values(int(pile))) for pile in stones])
    result = searched(game, states, Gumbel(simulations=2000), uniform(game))
    assert (result.value * exact > 0.5).all()
