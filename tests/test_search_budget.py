"""Searches with limits: simulations, seconds, or both."""

from collections.abc import Callable

import numpy as np
import pytest
from made_up_games import OneMove
from reference_search import hashing, random_positions

import games
from alphazero import search
from alphazero.evaluators import uniform
from alphazero.search import budget, gumbel, run, strongest_moves, tree
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Limits

BOTH = pytest.mark.parametrize("kind", [PUCT, Gumbel])


def generators(number):
    return [np.random.default_rng(i) for i in range(number)]


def fields(result):
    names = ("action", "policy", "value", "visits", "action_value", "proven", "prior")
    return [getattr(result, name).tobytes() for name in names]


class Clock:
    """Time stands still except in evaluations, each of which takes ``step`` seconds."""

    def __init__(self, monkeypatch, step: float):
        self.now, self.step = 1000.0, step
        for module in (budget, gumbel):
            monkeypatch.setattr(module, "clock", lambda: self.now)

    def wrap(self, evaluate: Callable) -> Callable:
        def slow(states):
            self.now += self.step
            return evaluate(states)

        return slow


@BOTH
@pytest.mark.parametrize("leaves", [1, 4])
@pytest.mark.parametrize("name", ["tic_tac_toe", "connect_four", "othello:size=6"])
def test_a_limit_of_simulations_is_the_search_with_that_number(name, kind, leaves):
    game = games.make(name)
    states, evaluate = random_positions(game, 5, 1), hashing(game)
    many, few = (kind(simulations=number, leaves=leaves) for number in (90, 23))
    limited = strongest_moves(many, game, states, generators(5), evaluate, Limits(23))
    plain = strongest_moves(few, game, states, generators(5), evaluate)
    assert fields(limited) == fields(plain)


@BOTH
def test_a_time_that_is_long_enough_changes_nothing(kind, monkeypatch):
    game = games.make("connect_four")
    states, clock = random_positions(game, 5, 1), Clock(monkeypatch, 0.001)
    evaluate, search = clock.wrap(hashing(game)), kind(leaves=4)
    # 600 simulations need more room than there is at first.
    limited = strongest_moves(search, game, states, generators(5), evaluate, Limits(600, 1e6))
    plain = strongest_moves(search, game, states, generators(5), evaluate, Limits(600))
    assert fields(limited) == fields(plain)


def test_puct_with_a_time_limit_only_searches_until_then(monkeypatch):
    game = games.make("connect_four")
    clock = Clock(monkeypatch, 0.5)
    result = strongest_moves(
        PUCT(simulations=3, proofs=False).without_noise(), game, game.initial(2), generators(2),
        clock.wrap(uniform(game)), Limits(seconds=400),
    )  # fmt: skip
    # The root's evaluation takes the first half second, each simulation another.
    assert result.visits.sum(axis=1).tolist() == [799, 799]
    same = strongest_moves(
        PUCT(simulations=799, proofs=False).without_noise(), game, game.initial(2), generators(2),
        uniform(game),
    )  # fmt: skip
    assert fields(result) == fields(same)
    assert clock.now == 1400


def test_gumbel_with_a_time_limit_searches_anew_with_as_many_simulations_as_fit(monkeypatch):
    game = games.make("connect_four")
    states, clock = random_positions(game, 3, 2), Clock(monkeypatch, 0.25)
    search = Gumbel(simulations=5, proofs=False)
    result = strongest_moves(
        search, game, states, generators(3), clock.wrap(hashing(game)), Limits(seconds=108.25)
    )
    # After the root and a pilot of 32 simulations of 0.25 s each, 100 s are left.
    assert result.visits.sum(axis=1).tolist() == [400] * 3
    assert 1100 < clock.now <= 1108.25, "rounds of finished games only take no time here"
    same = strongest_moves(search, game, states, generators(3), hashing(game), Limits(400))
    assert fields(result) == fields(same)


def test_gumbel_uses_the_same_noise_in_both_of_its_searches(monkeypatch):
    game = games.make("connect_four")
    clock = Clock(monkeypatch, 0.25)
    evaluate, warm = clock.wrap(hashing(game)), np.ones(3, np.float32)
    search = Gumbel(proofs=False)
    steps = search(game, game.initial(3), generators(3), warm, Limits(seconds=108.25))
    result = run(steps, evaluate)
    plain = run(search(game, game.initial(3), generators(3), warm, Limits(400)), hashing(game))
    assert fields(result) == fields(plain)


@BOTH
@pytest.mark.parametrize("seconds", [1e-9, 0.1, 1.0, 2.5, 9.1])
@pytest.mark.parametrize("simulations", [None, 60])
def test_a_search_that_is_cut_short_has_a_valid_result(kind, seconds, simulations, monkeypatch):
    game = games.make("connect_four")
    states, clock = random_positions(game, 4, 3), Clock(monkeypatch, 0.25)
    limits = Limits(simulations, seconds)
    evaluate = clock.wrap(hashing(game))
    result = strongest_moves(kind(leaves=3), game, states, generators(4), evaluate, limits)
    assert result.visits.sum(axis=1).min() >= 1
    assert clock.now <= 1000 + seconds + 0.5, "at most one round after the time"
    legal, rows = game.legal(states), np.arange(4)
    assert legal[rows, result.action].all()
    assert (result.policy[rows, result.action] > 0).all()
    np.testing.assert_allclose(result.policy.sum(axis=1), 1, atol=1e-5)
    assert not result.tree.nodes["pending"][:, 0].any()
    assert (np.abs(result.value) <= 1).all()


@BOTH
def test_a_search_ends_before_its_time_where_its_result_is_proven(kind, monkeypatch):
    game, clock = OneMove([-1, 0, -1]), Clock(monkeypatch, 0.25)
    search = kind().without_noise()
    evaluate = clock.wrap(uniform(game))
    result = strongest_moves(
        search, game, game.initial(2), generators(2), evaluate, Limits(None, 9)
    )
    assert result.proven.all()
    assert result.action.tolist() == [1, 1]


@BOTH
def test_a_search_ends_before_its_time_where_its_trees_are_as_large_as_allowed(kind, monkeypatch):
    game, clock = games.make("connect_four"), Clock(monkeypatch, 1e-6)
    for module in (tree, gumbel):
        monkeypatch.setattr(module, "LARGEST", 200_000)
    evaluate = clock.wrap(hashing(game))
    search = kind().without_noise()
    result = strongest_moves(
        search, game, game.initial(2), generators(2), evaluate, Limits(None, 9)
    )
    assert 100_000 < result.tree.used_bytes < 250_000
    assert clock.now < 1001


@pytest.mark.parametrize("limits", [Limits(0), Limits(-3), Limits(None, 0.0), Limits(5, -1.0)])
@BOTH
def test_limits_that_allow_nothing_are_refused_in_one_line(kind, limits):
    game = games.make("tic_tac_toe")
    with pytest.raises(ValueError, match=r"^limits\.(simulations|seconds): .*should be") as error:
        strongest_moves(kind(), game, game.initial(1), generators(1), uniform(game), limits)
    assert "\n" not in str(error.value)


def test_limits_and_trees_are_passed_to_searches_that_have_parameters_for_them_only():
    game, passed = games.make("tic_tac_toe"), {}
    plain = PUCT(simulations=4).without_noise()

    class Four:
        def __call__(self, game, states, rngs, temperature):
            return plain(game, states, rngs, temperature)

    class Five:
        def __call__(self, game, states, rngs, temperature, limits=None):
            passed["limits"] = limits
            return plain(game, states, rngs, temperature)

    class Any:
        def __call__(self, game, states, rngs, temperature, **more):
            passed.update(more)
            return plain(game, states, rngs, temperature)

    arguments = game, game.initial(1), generators(1), uniform(game), Limits(9), [None]
    assert strongest_moves(Four(), *arguments).visits.sum() == 4
    assert strongest_moves(Five(), *arguments).visits.sum() == 4
    assert passed == {"limits": Limits(9)}
    passed.clear()
    assert strongest_moves(Any(), *arguments).visits.sum() == 4
    assert passed == {"limits": Limits(9), "kept": [None]}
    assert strongest_moves(plain, *arguments).visits.sum() == 9
    assert strongest_moves(Gumbel(), *arguments).visits.sum() == 9


def test_what_a_first_search_compiles_does_not_count_as_time(monkeypatch):
    """The first evaluation, as one that compiles, takes 100 s, all others a millisecond."""
    game, time, steps = games.make("connect_four"), Clock(monkeypatch, 0.0), iter([100.0])
    monkeypatch.setattr(search, "_warm", set())

    def slow_at_first(states):
        time.now += next(steps, 0.001)
        return uniform(game)(states)

    puct, states = PUCT().without_noise(), game.initial(1)
    limits = Limits(seconds=0.1)
    result = strongest_moves(puct, game, states, generators(1), slow_at_first, limits)
    assert 50 < result.visits.sum() < 150
