"""The parts of Gumbel AlphaZero against the properties proven in the paper."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import OneMove
from pydantic import ValidationError
from reference_search import hashing

import games
from alphazero.evaluators import uniform
from alphazero.search import halving, run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluation

LOGITS = np.array([0.5, -1.0, 1.5, 0.0, -0.5], np.float32)
CHANCES = np.exp(LOGITS) / np.exp(LOGITS).sum()


def constant(logits, value=0.0):
    """An evaluator with the same output for every position."""

    def evaluate(states):
        shape = len(states), len(logits)
        return Evaluation(
            np.broadcast_to(np.asarray(logits, np.float32), shape),
            np.full(len(states), value, np.float32),
        )

    return evaluate


def searched(game, number, search, evaluate, temperature=1.0, seed=0):
    rngs = [np.random.default_rng([seed, i]) for i in range(number)]
    temperatures = np.full(number, temperature, np.float32)
    return run(search(game, game.initial(number), rngs, temperatures), evaluate)


def chi_square(counts, chances):
    expected = counts.sum() * chances
    return ((counts - expected) ** 2 / expected).sum()


def test_where_all_moves_are_equal_the_chosen_one_follows_the_prior():
    game = OneMove([0] * 5)
    result = searched(game, 20_000, Gumbel(simulations=4), constant(LOGITS))
    # Four degrees of freedom: above 18.5 one time in a thousand.
    assert chi_square(np.bincount(result.action, minlength=5), CHANCES) < 18.5
    np.testing.assert_allclose(result.policy, np.tile(CHANCES, (20_000, 1)), atol=1e-6)


def test_the_actions_considered_are_a_sample_without_replacement():
    game = OneMove([0] * 5)
    search = Gumbel(simulations=2, max_considered_actions=2)
    result = searched(game, 20_000, search, constant(LOGITS))
    assert (np.sort(result.visits, axis=1)[:, -2:] == 1).all()
    pairs, counts = np.unique(result.visits, axis=0, return_counts=True)
    chances = []
    for i, j in (np.flatnonzero(pair) for pair in pairs):
        p, q = CHANCES[i], CHANCES[j]
        chances.append(p * q / (1 - p) + q * p / (1 - q))
    assert len(pairs) == 10
    # Nine degrees of freedom: above 27.9 one time in a thousand.
    assert chi_square(counts, np.array(chances)) < 27.9


def test_at_temperature_zero_there_is_no_noise():
    game = OneMove([0] * 5)
    search = Gumbel(simulations=3, max_considered_actions=3)
    result = searched(game, 50, search, constant(LOGITS), temperature=0.0)
    assert (result.visits == [1, 0, 1, 1, 0]).all()
    assert (result.action == LOGITS.argmax()).all()


def test_the_temperature_scales_the_noise():
    game = OneMove([0] * 5)
    result = searched(game, 10_000, Gumbel(simulations=2), constant(LOGITS), temperature=0.5)
    sharper = CHANCES**2 / (CHANCES**2).sum()
    assert chi_square(np.bincount(result.action, minlength=5), sharper) < 18.5


@pytest.mark.parametrize(
    ("considered", "simulations", "visits"),
    [
        (16, 200, [49] * 2 + [21] * 2 + [9] * 4 + [3] * 8),
        (4, 16, [6, 6, 2, 2]),
        (16, 32, [4] * 4 + [2] * 4 + [1] * 8),
        (3, 5, [2, 2, 1]),
        (2, 9, [5, 4]),
    ],
)
def test_sequential_halving_spends_its_budget_as_in_the_paper(considered, simulations, visits):
    """Each of ceil(log2 m) phases has simulations / phases, shared equally by its survivors."""
    game = OneMove([0] * 16)
    search = Gumbel(simulations=simulations, max_considered_actions=considered, proofs=False)
    result = searched(game, 5, search, constant(np.zeros(16)))
    expected = visits + [0] * (16 - considered)
    assert (np.sort(result.visits, axis=1)[:, ::-1] == expected).all()


def test_fewer_simulations_than_actions_visit_each_once():
    game = OneMove([0] * 16)
    result = searched(game, 5, Gumbel(simulations=6), constant(np.zeros(16)))
    assert (np.sort(result.visits, axis=1)[:, -7:] == [0, 1, 1, 1, 1, 1, 1]).all()


results_of_moves = st.lists(st.sampled_from([-1, 0, 1]), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(results=results_of_moves, seed=st.integers(0, 10_000), leaves=st.sampled_from([1, 4]))
def test_search_never_chooses_worse_than_a_draw_from_the_prior(results, seed, leaves):
    """Policy improvement, equation 7: with exact values, sample by sample."""
    game, actions = OneMove(results), len(results)
    logits = np.random.default_rng(seed).normal(size=actions).astype(np.float32)
    search = Gumbel(simulations=4 * actions, max_considered_actions=16, leaves=leaves)
    result = searched(game, 20, search, constant(logits), seed=seed)
    for i in range(20):
        noise = np.random.default_rng([seed, i]).gumbel(size=actions)
        assert results[result.action[i]] >= results[np.argmax(noise + logits)]


@settings(max_examples=60, deadline=None)
@given(results=results_of_moves, seed=st.integers(0, 10_000))
def test_the_improved_policy_has_a_higher_value_than_the_prior(results, seed):
    """Equation 11: with every move searched, sum of pi' q >= sum of pi q."""
    game, actions = OneMove(results), len(results)
    logits = np.random.default_rng(seed).normal(size=actions).astype(np.float32)
    search = Gumbel(simulations=actions, max_considered_actions=16, proofs=False)
    result = searched(game, 3, search, constant(logits, value=0.5), seed=seed)
    prior = np.exp(logits) / np.exp(logits).sum()
    assert (result.visits == 1).all()
    assert (result.policy @ results >= prior @ results - 1e-6).all()
    # sigma = (50 + 1) * 0.1 * q
    weights = prior * np.exp(5.1 * np.array(results))
    np.testing.assert_allclose(result.policy, [weights / weights.sum()] * 3, atol=1e-5)


def test_unvisited_actions_are_completed_with_the_mixed_value():
    game = OneMove([1, 0, -1, 0])
    search = Gumbel(simulations=2, max_considered_actions=2, proofs=False)
    logits = np.log([0.4, 0.3, 0.2, 0.1])
    result = searched(game, 1, search, constant(logits, value=-0.5), temperature=0.0)
    # Equation 33: moves 0 and 1 were visited; (v + N * weighted mean of their q) / (1 + N).
    mixed = (-0.5 + 2 * (0.4 * 1 + 0.3 * 0) / 0.7) / 3
    weights = np.exp(logits + 5.1 * np.array([1, 0, mixed, mixed]))
    assert result.visits.tolist() == [[1, 1, 0, 0]]
    np.testing.assert_allclose(result.policy[0], weights / weights.sum(), rtol=1e-5)


def test_several_leaves_at_once_do_not_drop_the_move_that_was_searched_last():
    game = OneMove([-1, -1, -1, -1, 1])
    for leaves in (2, 3, 4, 5, 8, 64):
        search = Gumbel(simulations=12, leaves=leaves, proofs=False)
        result = searched(game, 1, search, uniform(game), temperature=0.0)
        assert result.action.tolist() == [4]
        assert result.visits[0].argmax() == 4


def test_illegal_moves_get_no_visits_and_no_policy():
    game = games.make("connect_four")
    state = game.initial(1)
    for _ in range(6):
        state = game.step(state, np.array([2]))
    steps = Gumbel()(game, state, [np.random.default_rng(0)], np.ones(1, np.float32))
    result = run(steps, hashing(game))
    assert result.visits[0, 2] == result.policy[0, 2] == 0
    assert result.policy.sum() == pytest.approx(1)


@pytest.mark.parametrize("simulations", [1, 12, halving.LONGEST_KEPT + 1])
def test_each_tree_has_the_schedule_of_its_actions_and_equal_ones_are_there_once(simulations):
    considered = np.array([3, 100_000, 16, 3, 0, 1, 20_000, 16])
    schedules, which = halving.schedules(considered, simulations)
    for number, row in zip(considered.tolist(), which, strict=True):
        assert np.array_equal(schedules[row], halving.schedule(max(1, number), simulations))
    assert len({rows.tobytes() for rows in schedules}) == len(schedules)


def test_more_simulations_than_searches_have_in_common_are_not_kept():
    before = halving._kept.cache_info().currsize
    halving.schedules(np.arange(2, 5), halving.LONGEST_KEPT + 1)
    assert halving._kept.cache_info().currsize == before
    largest = halving.LONGEST_KEPT * 2 * 4 * halving._kept.cache_info().maxsize
    assert largest <= 21 * 10**6


@pytest.mark.parametrize("value", [1e-6, 1e9])
def test_the_constants_at_the_ends_of_their_ranges_give_finite_results(value):
    game = games.make("connect_four")
    one = np.ones(1, np.float32)
    for search in (
        Gumbel(visit_offset=value, value_scale=value),
        PUCT(c_puct=value, c_base=value, dirichlet_total=value),
    ):
        steps = search(game, game.initial(1), [np.random.default_rng(0)], one)
        result = run(steps, hashing(game))
        for part in (result.policy, result.value):
            assert np.isfinite(part).all()
        assert result.policy.sum() == pytest.approx(1, abs=1e-5)
    for constant in ("visit_offset", "value_scale"):
        with pytest.raises(ValidationError):
            Gumbel(**{constant: 1e-50})
