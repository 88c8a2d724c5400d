"""The parts of PUCT: Dirichlet noise at the root, moves drawn from the visits."""

import numpy as np
import pytest
from made_up_games import OneMove
from reference_search import hashing, random_positions
from test_search_tree import edges_of, grown

import games
from alphazero.evaluators import uniform
from alphazero.search import kernels, run
from alphazero.search.puct import PUCT, sample
from alphazero.search.tree import EDGE, NODE


def root_priors(game, states, search, seed=0):
    """``[B, A]``, with the noise; -1 where illegal."""
    tree = grown(game, states, search, uniform(game), seed)
    priors = np.full(tree.prior.shape, -1, np.float32)
    for b, row in enumerate(priors):
        edges = edges_of(tree, b, 0)
        row[edges["action"]] = np.abs(edges["prior"])
    return priors


def chi_square(counts, chances):
    """Pearson's statistic; its mean is ``len(counts) - 1``."""
    expected = counts.sum() * chances
    return ((counts - expected) ** 2 / expected).sum()


def test_noise_goes_to_legal_actions_only_and_leaves_a_distribution():
    game = games.make("othello:size=6")
    states = random_positions(game, 30, 3)
    noisy = root_priors(game, states, PUCT(simulations=1))
    legal = game.legal(states)
    assert (noisy[~legal] == -1).all()
    assert (noisy[legal] > 0).all()
    np.testing.assert_allclose(np.where(legal, noisy, 0).sum(axis=1), 1, atol=1e-5)
    several = legal & (legal.sum(axis=1, keepdims=True) > 1)
    untouched = 1 / legal.sum(axis=1, keepdims=True)
    assert (np.abs(noisy - untouched)[several] > 1e-4).mean() > 0.95


@pytest.mark.parametrize("actions", [2, 7, 40])
def test_the_noise_has_the_mean_and_variance_of_alpha_ten_over_the_number_of_legal_moves(actions):
    game = OneMove([0] * actions)
    search = PUCT(simulations=1, dirichlet_fraction=1.0, dirichlet_total=10.0)
    noise = root_priors(game, game.initial(4000), search)
    # Dirichlet(alpha, ..., alpha) with alpha * actions = 10 has variance m (1 - m) / (10 + 1).
    mean = 1 / actions
    assert noise.mean(axis=0) == pytest.approx(mean, rel=0.12)
    assert noise.var(axis=0).mean() == pytest.approx(mean * (1 - mean) / 11, rel=0.08)


def test_noise_too_small_for_floating_point_leaves_the_priors_as_they_are():
    game = games.make("connect_four")
    tiny = PUCT(simulations=1, dirichlet_total=1e-9)
    assert root_priors(game, game.initial(4), tiny) == pytest.approx(1 / 7)


def test_the_noise_is_mixed_in_by_its_fraction():
    game = games.make("connect_four")
    states = game.initial(500)
    noise = root_priors(game, states, PUCT(simulations=1, dirichlet_fraction=1.0))
    mixed = root_priors(game, states, PUCT(simulations=1, dirichlet_fraction=0.25))
    np.testing.assert_allclose(mixed, 0.75 / 7 + 0.25 * noise, atol=1e-6)


def test_noise_is_drawn_anew_in_every_search_and_never_in_one_without_noise():
    game = games.make("connect_four")
    rngs = [np.random.default_rng(0)]
    search = PUCT(simulations=100)

    def visits(search):
        steps = search(game, game.initial(1), rngs, np.zeros(1, np.float32))
        return run(steps, hashing(game)).visits.tolist()

    assert visits(search) != visits(search)
    assert visits(search.without_noise()) == visits(search.without_noise())


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 2.0])
def test_moves_are_drawn_in_proportion_to_visits_to_the_power_of_one_over_temperature(temperature):
    visits, number = np.array([0, 8, 1, 0, 16, 5, 0], np.int32), 20_000
    rngs = [np.random.default_rng(7)] * number
    temperatures, best = np.full(number, temperature, np.float32), np.full(number, 4)
    drawn = sample(np.tile(visits, (number, 1)), best, rngs, temperatures)
    counts = np.bincount(drawn, minlength=7)
    assert not counts[visits == 0].any()
    played = visits > 0
    chances = visits[played].astype(float) ** (1 / temperature)
    # Three degrees of freedom: above 16.3 one time in a thousand.
    assert chi_square(counts[played], chances / chances.sum()) < 16.3


def test_at_temperature_zero_the_best_move_is_played_and_nothing_is_drawn():
    visits = np.array([[1, 7, 7, 0], [0, 0, 3, 2]], np.int32)
    assert sample(visits, np.array([2, 2]), [], np.zeros(2, np.float32)).tolist() == [2, 2]


def test_a_tiny_temperature_and_huge_counts_stay_finite():
    visits = np.array([[1_000_000, 999_000, 0]] * 50, np.int32)
    rngs = [np.random.default_rng(seed) for seed in range(50)]
    best, temperature = np.zeros(50, np.int64), np.full(50, 1e-6, np.float32)
    assert not sample(visits, best, rngs, temperature).any()


def test_the_policy_does_not_depend_on_the_temperature():
    game = games.make("connect_four")
    results = []
    for temperature in (0, 0.5, 1, 3):
        rngs = [np.random.default_rng(seed) for seed in range(20)]
        temperatures = np.full(20, temperature, np.float32)
        results.append(run(PUCT()(game, game.initial(20), rngs, temperatures), uniform(game)))
    for result in results:
        assert (result.policy == results[0].policy).all()
        np.testing.assert_array_equal(result.policy, (result.visits / 64).astype(np.float32))
    assert (results[3].action != results[0].action).any()


def test_an_unvisited_action_has_the_value_of_first_play_urgency():
    # All moves lose. Without reduction an unvisited move keeps the parent's mean.
    game = OneMove([-1, -1, -1, -1])

    def visits(reduction):
        search = PUCT(
            simulations=3,
            fpu_reduction=reduction,
            dirichlet_fraction=0.0,
            c_puct=0.01,
            proofs=False,
        )
        steps = search(game, game.initial(1), [np.random.default_rng()], np.zeros(1, np.float32))
        return sorted(run(steps, uniform(game)).visits[0].tolist())

    assert visits(0.0) == [0, 1, 1, 1]
    # -0.5 - 3 * sqrt(1 / 4) is less than the loss already seen.
    assert visits(3.0) == [0, 0, 0, 3]


def root_of(visits, prior, value):
    """``nodes, edges`` of one root whose actions have these visits, priors and mean values."""
    nodes, edges = np.zeros((1, 1), NODE), np.zeros(len(visits), EDGE)
    nodes["count"], nodes["visits"] = len(visits), sum(visits) + 1
    edges["action"], edges["visits"], edges["prior"] = range(len(visits)), visits, prior
    edges["value_sum"] = np.multiply(visits, value)
    return nodes, edges


def test_the_policy_target_is_pruned_as_in_the_docstrings_example():
    nodes, edges = root_of([10, 4, 2], [0.5, 0.25, 0.25], [0.3, 0.15, -0.5])
    counts, explore = np.array([[10, 4, 2]], np.int32), np.full(18, 5, np.float32)
    kernels.prune_forced(nodes, edges, np.zeros(1, np.int64), explore, np.float32(2), counts)
    assert counts.tolist() == [[10, 3, 0]]


def numpy_pruned(visits, prior, value, explore, k):
    """The pruned visits, in float64 for all actions at once; None where two scores nearly tie."""
    best = visits.argmax()
    highest = value[best] + explore * prior[best] / (1 + visits[best])
    taken = np.arange(visits.max() + 1)[:, None]  # of each action
    left = visits - taken
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = value + explore * prior / (1 + left)
    allowed = np.sqrt(k * prior * visits.sum())
    if (np.abs(allowed - np.round(allowed)) < 1e-4).any():
        return None
    if (np.abs(scores - highest)[(left >= 0) & (visits != visits[best])] < 1e-4).any():
        return None
    fits = (left >= 0) & (taken <= allowed) & ((scores < highest) | (taken == 0))
    pruned = np.where(fits, left, visits.max()).min(axis=0)
    pruned[best] = visits[best]
    return np.where((pruned > 1) | (np.arange(len(visits)) == best), pruned, 0)


def test_pruned_targets_are_those_of_plain_numpy_on_random_roots():
    rng, compared = np.random.default_rng(0), 0
    for _ in range(400):
        actions, k = rng.integers(2, 12), rng.uniform(0.1, 8)
        visits = rng.geometric(0.08, actions) - 1
        visits[0] = visits.max() + 1
        prior, value = rng.dirichlet(np.ones(actions)), rng.uniform(-1, 1, actions)
        explore = rng.uniform(0.5, 2) * np.sqrt(visits.sum() + 1)
        expected = numpy_pruned(visits, prior, value, explore, k)
        if expected is None:
            continue
        nodes, edges = root_of(visits, prior, value)
        counts = visits[None].astype(np.int32)
        table = np.full(visits.sum() + 2, explore, np.float32)
        kernels.prune_forced(nodes, edges, np.zeros(1, int), table, np.float32(k), counts)
        assert counts[0].tolist() == expected.tolist()
        compared += (expected != visits).any()
    assert compared > 100


def test_every_visited_action_of_a_root_with_noise_is_forced_to_its_number_of_playouts():
    game = games.make("connect_four")
    search = PUCT(simulations=300, forced_playouts=2.0, proofs=False)
    states, evaluate = random_positions(game, 30, 4), hashing(game)
    tree = grown(game, states, search, evaluate, 3)
    plain = grown(game, states, PUCT(simulations=300, proofs=False), evaluate, 3)
    more = 0
    for b in range(30):
        edges, before = edges_of(tree, b, 0), edges_of(plain, b, 0)
        forced = np.sqrt(2 * edges["prior"] * 300)
        visited = edges["visits"] > 0
        # One playout per simulation: an action whose number has just grown may wait for its turn.
        assert (edges["visits"] >= np.floor(forced) - 1)[visited].all()
        more += (before["visits"] < forced - 1)[before["visits"] > 0].sum()
    assert more > 30  # without forcing


def test_no_move_is_drawn_whose_visits_were_all_forced():
    game, number = games.make("connect_four"), 300
    states = random_positions(game, number, 4)
    search = PUCT(simulations=60, forced_playouts=8.0)
    rngs = [np.random.default_rng(i) for i in range(number)]
    result = run(search(game, states, rngs, np.ones(number, np.float32)), hashing(game))
    assert ((result.visits > 0) & (result.policy == 0)).any()
    assert (result.policy[np.arange(number), result.action] > 0).all()


def test_forced_playouts_need_noise():
    game = games.make("connect_four")
    states, evaluate = random_positions(game, 20, 4), hashing(game)

    def visits(**changes):
        search = PUCT(simulations=60, dirichlet_fraction=0.0, **changes)
        rngs = [np.random.default_rng(i) for i in range(20)]
        return run(search(game, states, rngs, np.zeros(20, np.float32)), evaluate).visits.tolist()

    assert visits(forced_playouts=8.0) == visits()
