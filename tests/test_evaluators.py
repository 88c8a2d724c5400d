"""Evaluators without a network, and the cached evaluator against the one behind it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import TugNearerEnd
from reference_search import hashing

import games
from alphazero.cache import CachedEvaluator
from alphazero.evaluators import playout, random_actions, rollout, uniform
from alphazero.types import Evaluation

GAME, TUG = games.make("tic_tac_toe"), TugNearerEnd()


def positions(number, plies, seed=0):
    rng, states = np.random.default_rng(seed), GAME.initial(number)
    for _ in range(plies):
        states = GAME.step(states, random_actions(GAME.legal(states), rng))
    return states


class Counting:
    """An evaluator that records the sizes of its batches."""

    def __init__(self, answer, version=3):
        self.answer, self.sizes, self.version = answer, [], version

    def __call__(self, states):
        self.sizes.append(len(states))
        return self.answer(states)._replace(version=self.version)


@pytest.mark.parametrize("capacity", [1, 2, 64, 4096])
@settings(deadline=None)
@given(batches=st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=40), max_size=8))
def test_a_cache_of_any_size_gives_the_evaluations_of_its_evaluator(capacity, batches):
    states, evaluate = positions(100, 4), hashing(GAME)
    cached = CachedEvaluator(GAME, evaluate, capacity)
    for rows in batches:
        answer, expected = cached(states[rows]), evaluate(states[rows])
        assert np.array_equal(answer.logits, expected.logits)
        assert np.array_equal(answer.value, expected.value)


def test_a_position_is_evaluated_once_per_batch_and_once_in_a_row_of_batches():
    inner = Counting(uniform(GAME))
    cached = CachedEvaluator(GAME, inner, 4096)
    states = np.unique(positions(50, 3))
    cached(np.concatenate([states, states]))
    assert inner.sizes == [len(states)]
    answer = cached(states)
    assert inner.sizes == [len(states)]
    assert answer.version == 3


def test_a_cleared_cache_evaluates_again_and_has_the_new_version():
    inner = Counting(uniform(GAME))
    cached = CachedEvaluator(GAME, inner, 64)
    cached(GAME.initial(1))
    inner.answer = lambda states: Evaluation(np.ones((1, 9), np.float32), np.ones(1, np.float32))
    inner.version = 4
    assert cached(GAME.initial(1)).value[0] == 0
    cached.cache.clear()
    answer = cached(GAME.initial(1))
    assert (answer.value[0], answer.version) == (1, 4)


def test_an_evaluator_that_fails_leaves_no_wrong_entries():
    def failing(states):
        raise RuntimeError("gone")

    cached = CachedEvaluator(GAME, failing, 64)
    with pytest.raises(RuntimeError, match="gone"):
        cached(GAME.initial(2))
    cached._evaluate = hashing(GAME)
    assert np.array_equal(cached(GAME.initial(1)).logits, hashing(GAME)(GAME.initial(1)).logits)


def test_an_evaluation_may_be_written_to_without_changing_the_cache():
    cached = CachedEvaluator(GAME, hashing(GAME), 64)
    first = cached(GAME.initial(1))
    first.logits[:] = 7
    assert np.array_equal(cached(GAME.initial(1)).logits, hashing(GAME)(GAME.initial(1)).logits)


def test_a_capacity_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="power of two, not 100"):
        CachedEvaluator(GAME, uniform(GAME), 100)


def test_playouts_of_the_first_player_win_as_often_as_random_tic_tac_toe_does():
    values = playout(GAME, GAME.initial(20_000), np.random.default_rng(0))
    # 58.49 % wins, 28.81 % losses: the known shares of uniformly random play.
    assert np.mean(values == 1) == pytest.approx(0.5849, abs=0.012)
    assert np.mean(values == -1) == pytest.approx(0.2881, abs=0.012)


def test_random_actions_are_legal_and_all_equally_likely():
    legal = np.tile([True, False, True, True, False], (30_000, 1))
    drawn = random_actions(legal, np.random.default_rng(1))
    shares = np.bincount(drawn, minlength=5) / len(drawn)
    assert shares == pytest.approx([1 / 3, 0, 1 / 3, 1 / 3, 0], abs=0.01)


def expected_result(states, plies):
    """The expected result of random play from one Tug position, by recursion; the mover's view."""
    result = TUG.result(states, plies)[0]
    if not np.isnan(result):
        return float(result)
    after = [TUG.step(states, np.array([action])) for action in (0, 1)]
    return sum(-expected_result(state, plies + 1) for state in after) / 2


@pytest.mark.parametrize(("at", "player"), [(1, 0), (2, 1), (3, 0)])
def test_a_playout_of_a_game_without_end_is_adjudicated_after_max_plies(at, player):
    states = np.array([(at, player)] * 20_000, TUG.dtype)
    values = playout(TUG, states, np.random.default_rng(0))
    assert set(np.unique(values)) <= {-1, 0, 1}
    assert values.mean() == pytest.approx(expected_result(states[:1], 0), abs=0.02)


def test_a_playout_that_never_ends_by_the_rules_gets_the_adjudicated_result_for_its_mover(
    monkeypatch,
):
    # Both pull to their own ends: the token is back in the middle after two plies, and one square
    # to the right of it after the 13th.
    monkeypatch.setattr("alphazero.evaluators.random_actions", lambda legal, rng: 0 * legal[:, 0])
    states = np.array([(2, 0), (2, 1), (3, 1)], TUG.dtype)
    assert playout(TUG, states, np.random.default_rng(0)).tolist() == [1, 1, 0]


def test_a_playout_whose_time_is_over_is_adjudicated_where_it_stands(monkeypatch):
    # Both pull to their own ends: the token goes to and fro.
    monkeypatch.setattr("alphazero.evaluators.random_actions", lambda legal, rng: 0 * legal[:, 0])
    states = np.array([(1, 0), (1, 1), (3, 0), (3, 1)], TUG.dtype)
    rng = np.random.default_rng(0)
    at_once = playout(TUG, states, rng, lambda: False)
    np.testing.assert_array_equal(at_once, TUG.result(states, TUG.max_plies))
    # Not the same as those of whole games.
    assert at_once.tolist() != playout(TUG, states, rng).tolist()


def test_each_call_of_a_rollout_evaluator_has_so_many_seconds_of_its_own():
    game, clock = games.make("connect_four"), [0.0]
    plies = []

    def now():
        clock[0] += 1.0
        return clock[0]

    class Counting(type(game)):
        def step(self, states, actions):
            plies.append(len(states))
            return super().step(states, actions)

    counting = Counting()
    for seconds, most in ((3.0, 2), (5.0, 4)):
        evaluate = rollout(counting, np.random.default_rng(0), seconds, now)
        for _ in range(2):
            plies.clear()
            value = evaluate(counting.initial(10)).value
            # The clock moves by one second whenever it is read, once per ply.
            assert plies == [10] * most
            assert value.tolist() == [0.0] * 10, "adjudicated: a draw"


def test_random_actions_are_legal_ones_alike_and_0_where_there_is_none():
    legal = np.zeros((3, 5000), bool)
    legal[0, [7, 4999]] = legal[2, 40] = True
    drawn = np.array([random_actions(legal, np.random.default_rng(i)) for i in range(400)])
    assert set(drawn[:, 0].tolist()) == {7, 4999}
    assert 150 < np.count_nonzero(drawn[:, 0] == 7) < 250
    assert set(drawn[:, 1].tolist()) == {0}
    assert set(drawn[:, 2].tolist()) == {40}


def test_answers_of_equal_logits_do_not_depend_on_earlier_ones():
    game = games.make("tic_tac_toe")
    evaluate = uniform(game)
    for batch in (3, 1, 5):
        answer = evaluate(game.initial(batch))
        assert answer.logits.shape == (batch, 9)
        assert not answer.logits.any()
        assert answer.value.tolist() == [0.0] * batch
