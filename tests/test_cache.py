"""The cache of evaluations around generators that yield states."""

from collections import Counter
from itertools import count

import numpy as np
import pytest
from random_positions import positions

import games
from alphazero.cache import CachedEvaluator, EvaluationCache, entry_bytes
from alphazero.config import SelfPlaySettings
from alphazero.evaluators import uniform
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation
from games.base import Game
from games.tic_tac_toe import TicTacToe

GAME = games.make("connect_four")


class Counting:
    """An evaluator that counts its states; logits and values are a hash of state and version."""

    def __init__(self, version=0):
        self.version = version
        self.states: Counter[bytes] = Counter()

    def __call__(self, states):
        self.states.update(state.tobytes() for state in states)
        return self.expected(states)

    def expected(self, states):
        rows = np.frombuffer(states.tobytes(), np.uint8).reshape(len(states), -1)
        value = np.sin((rows * np.arange(1, rows.shape[1] + 1)).sum(1) + 7 * self.version)
        logits = np.sin(value[:, None] * np.arange(1, GAME.num_actions + 1))
        return Evaluation(logits.astype(np.float32), value.astype(np.float32), self.version)


def yielding(*batches):
    """A generator that yields one batch of states after another and returns their evaluations."""
    evaluations = []
    for states in batches:
        evaluation = yield states
        evaluations.append(evaluation)
    return evaluations


def group_of(seed=3):
    return GameGroup(GAME, Gumbel(simulations=12), SelfPlaySettings(games=6), seed, count())


def test_games_with_a_cache_are_the_same_and_evaluate_less():
    plain, cached = group_of(), group_of()
    every, fewer = Counting(), Counting()
    cache = EvaluationCache(GAME, 2**14)
    finished = 0
    for _ in range(60):
        expected = run(plain.move(), every)
        records = run(cache.wrap(cached.move()), fewer)
        finished += len(records)
        for one, other in zip(expected, records, strict=True):
            assert one.game_id == other.game_id
            np.testing.assert_array_equal(one.actions, other.actions)
            np.testing.assert_array_equal(one.rows, other.rows)
    assert finished
    assert fewer.states.total() < 0.8 * every.states.total()
    assert set(fewer.states) == set(every.states)


def test_no_state_is_evaluated_twice_where_the_cache_is_large_enough():
    states = np.unique(positions(GAME, 200, seed=0))
    evaluate, cache = Counting(), EvaluationCache(GAME, 2**22)
    rng = np.random.default_rng(1)
    batches = [states[rng.integers(len(states), size=50)] for _ in range(20)]
    answers = run(cache.wrap(yielding(*batches)), evaluate)
    assert max(evaluate.states.values()) == 1
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answer.logits, evaluate.expected(batch).logits)
        np.testing.assert_array_equal(answer.value, evaluate.expected(batch).value)


@pytest.mark.parametrize("capacity", [1, 8, 2**14])
def test_each_evaluation_is_of_its_stated_version_or_of_a_newer_one(capacity):
    """The version of a mixed evaluation is the oldest of its parts, as a game's record needs it."""
    states = np.unique(positions(GAME, 60, seed=0))
    evaluate, cache = Counting(), EvaluationCache(GAME, capacity)
    rng = np.random.default_rng(1)
    mixed = 0
    for turn in range(300):
        evaluate.version = turn // 10
        batch = states[rng.integers(len(states), size=rng.integers(1, 30))]
        (answer,) = run(cache.wrap(yielding(batch)), evaluate)
        assert answer.version <= evaluate.version
        fits = np.zeros(len(batch), bool)
        for version in range(answer.version, evaluate.version + 1):
            known = Counting(version).expected(batch)
            fits |= (answer.logits == known.logits).all(1) & (answer.value == known.value)
        assert fits.all()
        mixed += answer.version != evaluate.version
    assert mixed < 300 if capacity == 1 else mixed


def test_an_evaluation_by_new_weights_drops_those_by_the_old_ones():
    states = np.unique(positions(GAME, 30, seed=0))
    evaluate, cache = Counting(), EvaluationCache(GAME, 2**22)
    run(cache.wrap(yielding(states[:20])), evaluate)
    evaluate.version = 5
    (before,) = run(cache.wrap(yielding(states)), evaluate)  # ten misses, by version 5
    assert before.version == 0
    (after,) = run(cache.wrap(yielding(states)), evaluate)
    assert after.version == 5
    np.testing.assert_array_equal(after.value, evaluate.expected(states).value)


class Counted(TicTacToe):
    """Tic-tac-toe whose states count the plies, which ``identity`` leaves out."""

    dtype = np.dtype([*TicTacToe.dtype.descr, ("plies", "u1")])

    def initial(self, batch):
        return np.zeros(batch, self.dtype)

    def identity(self, states):
        return super().identity(states)[:, :-1]


def test_positions_with_one_identity_share_an_entry():
    game = Counted()
    evaluate, states = uniform(game), game.initial(4)
    states["plies"] = [0, 5, 5, 7]
    batches: list[int] = []

    def counting(states):
        batches.append(len(states))
        return evaluate(states)

    by_identity = CachedEvaluator(game, counting, 64)
    by_identity(states[:1])
    by_identity(states)
    assert batches == [1]
    assert (by_identity.cache.lookups, by_identity.cache.misses) == (5, 1)
    whole = CachedEvaluator(game, evaluate, 64, lambda s: Game.identity(game, s))
    whole(states)
    assert whole.cache.misses == 3


@pytest.mark.parametrize("game", [GAME, Counted()])
def test_the_memory_of_a_cache_is_as_documented(game):
    cache, capacity = EvaluationCache(game, 2**10), 2**10
    arrays = [part for part in vars(cache).values() if isinstance(part, np.ndarray)]
    size = sum(array.nbytes for array in arrays)
    key = game.identity(game.initial(1)).shape[1]
    assert size == capacity * entry_bytes(game) == capacity * (4 * game.num_actions + 12 + key)


def test_the_first_evaluation_has_its_own_version_even_where_positions_repeat():
    states = np.repeat(GAME.initial(1), 5)
    (answer,) = run(EvaluationCache(GAME, 8).wrap(yielding(states)), Counting(version=9))
    assert answer.version == 9
