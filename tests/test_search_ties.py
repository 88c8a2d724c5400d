"""Exact ties are broken at random: no action is preferred because of its number."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_games import OneMove

from alphazero.evaluators import uniform
from alphazero.judging import decisions, players
from alphazero.search import kernels, strongest_moves
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluation

SEARCHES = {
    "puct": PUCT(simulations=5).without_noise(),
    "puct of a run": PUCT(simulations=5),
    "gumbel": Gumbel(simulations=6, max_considered_actions=4),
    "gumbel of all actions": Gumbel(simulations=12, max_considered_actions=12),
}
NUMBER = 1200


def generators(seed=0, number=NUMBER):
    return [np.random.default_rng([seed, index]) for index in range(number)]


def moves(search, game, seed=0, number=NUMBER):
    rngs = generators(seed, number)
    return strongest_moves(search, game, game.initial(number), rngs, uniform(game)).action


def assert_uniform(actions, count):
    """As many draws of each of ``count`` actions as chance allows, one time in 10,000."""
    expected = len(actions) / count
    counts = np.bincount(actions, minlength=count)
    assert ((counts - expected) ** 2 / expected).sum() < count - 1 + 4.5 * np.sqrt(2 * count)


@pytest.mark.parametrize("name", SEARCHES)
def test_equal_moves_are_played_equally_often_and_the_seed_decides(name):
    game = OneMove([0] * 12)  # twelve moves, all of them draws
    search = replace(SEARCHES[name], proofs=False)
    played = moves(search, game)
    assert_uniform(played, 12)
    assert played.tolist() == moves(search, game).tolist()
    assert played.tolist() != moves(search, game, seed=1).tolist()
    first = moves(search, game, number=3)
    assert first.tolist() == played[:3].tolist(), "the rest of the batch has no influence"


@pytest.mark.parametrize("winner", [0, 20, 40, 59])
def test_one_winning_move_of_sixty_is_found_as_often_whatever_its_number(winner):
    game = OneMove([1 if action == winner else -1 for action in range(60)])
    share = (moves(PUCT(simulations=30).without_noise(), game, number=400) == winner).mean()
    # 30 simulations visit half of the moves; four standard deviations are 0.1.
    assert 0.4 < share < 0.6


def test_of_equally_visited_moves_the_one_of_higher_value_is_played():
    game = OneMove([-1, 0, -1, -1, 0, -1])
    search = PUCT(simulations=6, c_puct=100, proofs=False).without_noise()
    result = strongest_moves(search, game, game.initial(200), generators(0, 200), uniform(game))
    assert (result.visits == 1).all()
    assert set(result.action.tolist()) == {1, 4}


def test_proven_draws_with_equal_visits_are_a_tie():
    game = OneMove([0, -1, 0, -1])
    assert set(moves(PUCT(simulations=4, c_puct=100).without_noise(), game).tolist()) == {0, 2}


def test_the_order_of_a_roots_edges_is_any_permutation_with_the_same_probability():
    nodes = np.zeros((2400, 1), [("first", np.int32), ("count", np.int32), ("edge", np.int32)])
    edges = np.zeros(2400 * 4, [("action", np.int32), ("child", np.int32), ("more", np.int32)])
    nodes["first"][:, 0], nodes["count"] = np.arange(0, len(edges), 4), 4
    edges["action"], edges["child"] = np.tile(np.arange(4), 2400), -1
    chances = np.array([rng.random() for rng in generators(3, 2400)])
    kernels.shuffle_roots(nodes, edges, np.arange(2400), chances)
    orders = edges["action"].reshape(-1, 4)
    assert (np.sort(orders) == np.arange(4)).all()
    _, number = np.unique(orders, axis=0, return_inverse=True)
    assert_uniform(number.reshape(-1), 24)


def test_a_policy_without_search_plays_equal_moves_equally_often():
    game = OneMove([0] * 5)

    def evaluate(states):
        logits = np.tile(np.array([1, 2, 2, 0, 2], np.float32), (len(states), 1))
        return Evaluation(logits, np.zeros(len(states), np.float32))

    played = decisions.policy_player("policy", evaluate, game)(
        game.initial(900), generators()[:900]
    )
    assert np.bincount(played.action, minlength=5)[[0, 3]].tolist() == [0, 0]
    assert_uniform(np.searchsorted([1, 2, 4], played.action), 3)


@pytest.mark.parametrize("spec", ["mcts:simulations=8", "minimax:depth=2", "random"])
def test_players_play_equal_moves_equally_often(spec):
    game = OneMove([0] * 8)
    assert_uniform(players.make(spec, game)(game.initial(800), generators()[:800]).action, 8)
