"""The batched searches against slow trees of objects, and against batches of other sizes."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_games import DoubleNim
from reference_search import gumbel, hashing, puct, random_positions

import games
from alphazero.evaluators import uniform
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT

GAMES = ["tic_tac_toe", "connect_four", "othello:size=6", "double_nim"]
EVALUATORS = {"hashing": hashing, "uniform": uniform}
SIMULATIONS = [2, 3, 7, 16, 40, 200]


def make(name):
    return DoubleNim() if name == "double_nim" else games.make(name)


def positions(game, number, seed=0):
    if isinstance(game, DoubleNim):
        return game.piles(*np.random.default_rng(seed).integers(1, 30, size=number))
    return random_positions(game, number, seed)


def generators(number, seed=100):
    return [np.random.default_rng(seed + i) for i in range(number)]


def objects(reference, game, states, search, evaluate, rngs):
    """The same searches by the object tree, one position at a time."""
    return [reference(game, states[i : i + 1], search, evaluate, rng) for i, rng in enumerate(rngs)]


def zero_temperature(number):
    return np.zeros(number, np.float32)


def count_of_positions(simulations):
    return max(3, 300 // simulations)


def assert_same(result, expected, exact_policy):
    assert result.visits.tolist() == [reference.visits for reference in expected]
    np.testing.assert_allclose(
        result.value,
        [reference.value for reference in expected],
        rtol=0,
        atol=0 if exact_policy else 1e-6,
    )
    assert result.action.tolist() == [reference.action for reference in expected]
    assert result.proven.tolist() == [reference.proven for reference in expected]
    policy = np.array([reference.policy for reference in expected], np.float32)
    np.testing.assert_allclose(result.policy, policy, rtol=0 if exact_policy else 1e-4, atol=1e-7)


@pytest.mark.parametrize("leaves", [1, 4, 8])
@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("name", GAMES)
def test_puct_visits_values_and_policies_are_those_of_the_object_tree(name, evaluator, leaves):
    game = make(name)
    evaluate = EVALUATORS[evaluator](game)
    for simulations in SIMULATIONS:
        states = positions(game, count_of_positions(simulations), simulations)
        search = PUCT(simulations=simulations, leaves=leaves, dirichlet_fraction=0.0)
        steps = search(game, states, generators(len(states)), zero_temperature(len(states)))
        expected = objects(puct, game, states, search, evaluate, generators(len(states)))
        assert_same(run(steps, evaluate), expected, exact_policy=True)


@pytest.mark.parametrize(("leaves", "considered"), [(1, 6), (4, 6), (8, 6), (1, 2), (4, 2)])
@pytest.mark.parametrize("evaluator", EVALUATORS)
@pytest.mark.parametrize("name", GAMES)
def test_gumbel_visits_values_and_policies_are_those_of_the_object_tree(
    name, evaluator, leaves, considered
):
    game = make(name)
    evaluate = EVALUATORS[evaluator](game)
    for simulations in SIMULATIONS:
        states = positions(game, count_of_positions(simulations), simulations)
        search = Gumbel(simulations=simulations, leaves=leaves, max_considered_actions=considered)
        steps = search(game, states, generators(len(states)), zero_temperature(len(states)))
        expected = objects(gumbel, game, states, search, evaluate, generators(len(states)))
        assert_same(run(steps, evaluate), expected, exact_policy=False)


@pytest.mark.parametrize("name", GAMES)
def test_puct_with_dirichlet_noise_is_the_object_tree_with_the_same_generators(name):
    game = make(name)
    states, evaluate = positions(game, 12), hashing(game)
    search = PUCT(simulations=50)
    result = run(search(game, states, generators(12), zero_temperature(12)), evaluate)
    expected = objects(puct, game, states, search, evaluate, generators(12))
    assert_same(result, expected, exact_policy=True)


@pytest.mark.parametrize("leaves", [1, 4])
@pytest.mark.parametrize("forced", [0.5, 2.0, 20.0])
@pytest.mark.parametrize("name", GAMES)
def test_forced_playouts_and_pruned_targets_are_those_of_the_object_tree(name, forced, leaves):
    game = make(name)
    states, evaluate = positions(game, 12), hashing(game)
    for simulations in (7, 80):
        search = PUCT(simulations=simulations, forced_playouts=forced, leaves=leaves)
        result = run(search(game, states, generators(12), zero_temperature(12)), evaluate)
        expected = objects(puct, game, states, search, evaluate, generators(12))
        assert_same(result, expected, exact_policy=True)


@pytest.mark.parametrize("name", GAMES)
def test_gumbel_with_noise_is_the_object_tree_with_the_same_generators(name):
    game = make(name)
    states, evaluate = positions(game, 12), hashing(game)
    search, temperature = Gumbel(simulations=50), np.linspace(0.5, 1.5, 12, dtype=np.float32)
    result = run(search(game, states, generators(12), temperature), evaluate)
    expected = [
        gumbel(game, states[i : i + 1], search, evaluate, rng, float(temperature[i]))
        for i, rng in enumerate(generators(12))
    ]
    assert_same(result, expected, exact_policy=False)


@pytest.mark.parametrize("leaves", [1, 4])
@pytest.mark.parametrize("kind", [PUCT, Gumbel])
@pytest.mark.parametrize("name", GAMES)
def test_a_positions_search_does_not_depend_on_the_other_positions_of_its_batch(name, kind, leaves):
    game = make(name)
    states, evaluate = positions(game, 16), hashing(game)
    search, temperature = kind(simulations=30, leaves=leaves), np.ones(16, np.float32)

    def outcome(chosen):
        rngs = [generators(16)[i] for i in chosen]
        result = run(search(game, states[chosen], rngs, temperature[chosen]), evaluate)
        fields = result.action, result.policy, result.value, result.visits, result.action_value
        return [[field[i].tobytes() for field in fields] for i in range(len(chosen))]

    together = outcome(np.arange(16))
    assert together == outcome(np.arange(16)), "the same seed must give the same result"
    assert together[::-1] == outcome(np.arange(16)[::-1])
    assert together[3:8] == outcome(np.arange(3, 8))
    assert together == [outcome(np.array([i]))[0] for i in range(16)]


def assert_object_trees(game, evaluate, search, number, seed=0):
    """``number`` searches without noise are those of the object tree, in each of these modes."""
    reference = puct if search.kind == "puct" else gumbel
    for proofs, ahead in ((True, False), (False, False), (True, True)):
        quiet = search.without_noise(leaves=search.leaves)
        chosen = replace(quiet, proofs=proofs, look_ahead=ahead)
        states = positions(game, number, seed)
        steps = chosen(game, states, generators(number), zero_temperature(number))
        expected = objects(reference, game, states, chosen, evaluate, generators(number))
        assert_same(run(steps, evaluate), expected, exact_policy=search.kind == "puct")


@pytest.mark.parametrize("leaves", [1, 4, 8])
@pytest.mark.parametrize("kind", [PUCT, Gumbel])
@pytest.mark.parametrize("name", GAMES)
def test_searches_with_proofs_or_a_look_ahead_are_those_of_the_object_tree(name, kind, leaves):
    game = make(name)
    evaluate = hashing(game)
    for simulations in (3, 40):
        assert_object_trees(game, evaluate, kind(simulations=simulations, leaves=leaves), 10)


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [1, 4, 8])
@pytest.mark.parametrize("kind", [PUCT, Gumbel])
@pytest.mark.parametrize("name", GAMES)
def test_a_thousand_searches_of_each_kind_are_those_of_the_object_tree(name, kind, leaves):
    game = make(name)
    search = kind(simulations=64, leaves=leaves)
    assert_object_trees(game, hashing(game), search, 250, seed=77)
