"""Rows of recorded positions: their layout, and policies packed into indices and weights."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_positions import positions

import games
from alphazero import records
from games.base import Game

GAMES = [games.make(name) for name in ("tic_tac_toe", "connect_four", "othello:size=6")]


class Wide(type(GAMES[0])):
    """Tic-tac-toe with more actions than it has cells."""

    def __init__(self, num_actions=300, max_legal=9):
        self.num_actions, self._max_legal = num_actions, max_legal

    @property
    def max_legal(self):
        return self._max_legal

    def legal(self, states):
        wide = np.zeros((len(states), self.num_actions), bool)
        wide[:, 100:109] = super().legal(states)
        return wide


@pytest.mark.parametrize(
    ("game", "action", "width", "size"),
    [
        (GAMES[0], "u1", 9, 9 + 9 * (1 + 2) + 2 + 2 + 4),
        (GAMES[1], "u1", 7, 16 + 7 * (1 + 2) + 2 + 2 + 4),
        (Wide(), "u2", 9, 9 + 9 * (2 + 2) + 2 + 2 + 4),
        (Wide(255), "u1", 9, 9 + 9 * (1 + 2) + 2 + 2 + 4),
        (Wide(256), "u2", 9, 9 + 9 * (2 + 2) + 2 + 2 + 4),
    ],
)
def test_a_row_has_room_for_the_legal_moves_and_no_padding(game, action, width, size):
    row = records.row(game)
    assert row["policy_action"].subdtype == (np.dtype(action), (width,))
    assert row["policy_weight"].subdtype == (np.dtype(np.float16), (width,))
    assert row.itemsize == size


def slow_pack(game, legal, policy):
    actions = np.full((len(legal), game.max_legal), game.num_actions)
    weights = np.zeros((len(legal), game.max_legal), np.float16)
    for i in range(len(legal)):
        place = 0
        for action in range(game.num_actions):
            if legal[i, action]:
                actions[i, place], weights[i, place] = action, policy[i, action]
                place += 1
    return actions, weights


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(0, 9), which=st.integers(0, 3))
def test_packing_equals_a_loop_and_unpacking_is_its_inverse(seed, size, which):
    game: Game = [*GAMES, Wide()][which]
    rng = np.random.default_rng(seed)
    legal = np.zeros((size, game.num_actions), bool)
    for row in legal:
        row[rng.choice(game.num_actions, rng.integers(game.max_legal + 1), replace=False)] = True
    policy = rng.random((size, game.num_actions)).astype(np.float16)
    actions, weights = records.pack_policy(game, legal, policy)
    slow_actions, slow_weights = slow_pack(game, legal, policy)
    assert np.array_equal(actions, slow_actions)
    assert np.array_equal(weights, slow_weights)
    assert np.array_equal(records.legal_actions(game, legal), slow_actions)
    back, dense = records.unpack_policy(game, actions, weights)
    assert np.array_equal(back, legal)
    assert np.array_equal(dense, np.where(legal, policy, 0))
    assert dense.dtype == np.float32


def test_more_legal_moves_than_the_game_promises_are_named():
    game = Wide(max_legal=4)
    with pytest.raises(ValueError, match="9 legal actions; its max_legal says at most 4"):
        records.legal_actions(game, game.legal(game.initial(1)))


def slow_divergence(policy, prior):
    used = policy > 0
    return (policy[used] * np.log(policy[used] / prior[used])).sum()


@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_rows_of_a_search_hold_its_result_and_the_divergence_from_the_prior(game):
    states, rng = positions(game, 40, 1), np.random.default_rng(0)
    states = states[game.legal(states).any(1)]
    legal = game.legal(states)
    policy, prior = (np.where(legal, rng.exponential(size=legal.shape) ** 3, 0) for _ in range(2))
    policy, prior = (p / p.sum(1, keepdims=True) for p in (policy, prior))
    value = rng.uniform(-1, 1, len(states))
    result = SimpleNamespace(policy=policy, value=value, prior=prior)
    rows = records.of_search(game, states, result)
    assert np.array_equal(records.states_of(rows), states)
    assert np.array_equal(rows["value"], value.astype(np.float16))
    assert np.isnan(rows["outcome"]).all()
    back, dense = records.unpack_policy(game, rows["policy_action"], rows["policy_weight"])
    assert np.array_equal(back, legal)
    assert np.array_equal(dense, policy.astype(np.float16))
    expected = [slow_divergence(p, q) for p, q in zip(policy, prior, strict=True)]
    assert np.allclose(rows["surprise"], expected, rtol=2e-3, atol=1e-3)
    without = records.of_search(
        game, states, SimpleNamespace(policy=policy, value=value, prior=None)
    )
    assert not without["surprise"].any()


def test_the_divergence_of_an_example_by_hand():
    # 0.5 * log(0.5 / 0.9) + 0.5 * log(0.5 / 0.1) = -0.29389 + 0.80472
    policy, prior = np.zeros((1, 7), np.float32), np.zeros((1, 7), np.float32)
    policy[0, :2], prior[0, :2] = 0.5, (0.9, 0.1)
    result = SimpleNamespace(policy=policy, value=np.zeros(1), prior=prior)
    rows = records.of_search(GAMES[1], GAMES[1].initial(1), result)
    assert rows["surprise"][0] == pytest.approx(0.51083, abs=5e-4)
    assert rows["surprise"][0] >= 0


def test_a_prior_of_zero_under_a_good_move_gives_a_finite_divergence():
    policy, prior = np.zeros((1, 7), np.float32), np.zeros((1, 7), np.float32)
    policy[0, 0] = prior[0, 1] = 1
    result = SimpleNamespace(policy=policy, value=np.zeros(1), prior=prior)
    rows = records.of_search(GAMES[1], GAMES[1].initial(1), result)
    assert 60 < rows["surprise"][0] < 100
