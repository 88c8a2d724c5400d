"""A worker's memory of evaluations, without Ray."""

from collections import Counter
from itertools import count

import numpy as np
import pytest
from random_positions import positions

import games
from alphazero.cache import EvaluationCache
from alphazero.config import SelfPlaySettings
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.selfplay import GameGroup
from alphazero.types import Evaluation

GAME = games.make("connect_four")


class Noting:
    """Logits and values are a hash of the state and the version. Notes every state it is asked."""

    def __init__(self, version=0):
        self.version = version
        self.asked: Counter[bytes] = Counter()

    def __call__(self, states):
        self.asked.update(state.tobytes() for state in states)
        return self.expected(states)

    def expected(self, states):
        rows = np.frombuffer(states.tobytes(), np.uint8).reshape(len(states), -1)
        value = np.sin((rows * np.arange(1, rows.shape[1] + 1)).sum(1) + 7 * self.version)
        logits = np.sin(value[:, None] * np.arange(1, GAME.num_actions + 1))
        return Evaluation(logits.astype(np.float32), value.astype(np.float32), self.version)


def asking(*questions):
    """Asks for all of them, one after the other, and returns the answers."""
    answers = []
    for states in questions:
        answer = yield states
        answers.append(answer)
    return answers


def group_of(seed=3):
    return GameGroup(GAME, Gumbel(simulations=12), SelfPlaySettings(games=6), seed, count())


def test_games_are_the_same_with_a_memory_and_ask_less():
    plain, remembering = group_of(), group_of()
    every, fewer = Noting(), Noting()
    memory = EvaluationCache(GAME, 2**14)
    finished = 0
    for _ in range(60):
        expected = run(plain.move(), every)
        found = run(memory.through(remembering.move()), fewer)
        finished += len(found)
        for one, other in zip(expected, found, strict=True):
            assert one.game_id == other.game_id
            np.testing.assert_array_equal(one.actions, other.actions)
            np.testing.assert_array_equal(one.policy, other.policy)
            np.testing.assert_array_equal(one.value, other.value)
    assert finished
    assert fewer.asked.total() < 0.8 * every.asked.total()
    assert set(fewer.asked) == set(every.asked)


def test_nothing_is_asked_twice_where_there_is_room():
    states = np.unique(positions(GAME, 200, seed=0))
    evaluate, memory = Noting(), EvaluationCache(GAME, 2**22)
    rng = np.random.default_rng(1)
    questions = [states[rng.integers(len(states), size=50)] for _ in range(20)]
    answers = run(memory.through(asking(*questions)), evaluate)
    assert max(evaluate.asked.values()) == 1
    for question, answer in zip(questions, answers, strict=True):
        np.testing.assert_array_equal(answer.logits, evaluate.expected(question).logits)
        np.testing.assert_array_equal(answer.value, evaluate.expected(question).value)


@pytest.mark.parametrize("capacity", [1, 8, 2**14])
def test_each_answer_is_of_the_version_it_names_or_of_a_newer_one(capacity):
    """The version of a mixed answer is the oldest one in it, as a game's record wants it."""
    states = np.unique(positions(GAME, 60, seed=0))
    evaluate, memory = Noting(), EvaluationCache(GAME, capacity)
    rng = np.random.default_rng(1)
    mixed = 0
    for turn in range(300):
        evaluate.version = turn // 10
        question = states[rng.integers(len(states), size=rng.integers(1, 30))]
        (answer,) = run(memory.through(asking(question)), evaluate)
        assert answer.version <= evaluate.version
        fits = np.zeros(len(question), bool)
        for version in range(answer.version, evaluate.version + 1):
            known = Noting(version).expected(question)
            fits |= (answer.logits == known.logits).all(1) & (answer.value == known.value)
        assert fits.all()
        mixed += answer.version != evaluate.version
    assert mixed < 300 if capacity == 1 else mixed


def test_an_answer_of_new_weights_makes_it_forget_the_old_ones():
    states = np.unique(positions(GAME, 30, seed=0))
    evaluate, memory = Noting(), EvaluationCache(GAME, 2**22)
    run(memory.through(asking(states[:20])), evaluate)
    evaluate.version = 5
    (before,) = run(memory.through(asking(states)), evaluate)  # ten are new, and bring the news
    assert before.version == 0
    (after,) = run(memory.through(asking(states)), evaluate)
    assert after.version == 5
    np.testing.assert_array_equal(after.value, evaluate.expected(states).value)


def test_the_first_answer_names_its_own_version_even_where_positions_repeat():
    states = np.repeat(GAME.initial(1), 5)
    (answer,) = run(EvaluationCache(GAME, 8).through(asking(states)), Noting(version=9))
    assert answer.version == 9
