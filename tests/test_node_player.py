"""The search process in this one: the weights of the evaluations that its games use."""

from typing import Any

import numpy as np
import pytest

import games
from alphazero.cache import EvaluationCache
from alphazero.types import Evaluation
from workers.node.counters import Counters
from workers.node.evaluator import Shared, evaluate_in_parts
from workers.node.player import CachedGroup, Playing, Turn, play
from workers.node.published import PublishedWeights
from workers.node.slots import Sizes, Slots

GAME = games.make("tic_tac_toe")


class Opening:
    """A group whose every move evaluates the first position of the game."""

    def move(self):
        evaluation = yield GAME.initial(1)
        return [evaluation.version]


def test_what_is_in_the_cache_is_evaluated_again_once_an_evaluator_has_newer_weights():
    opening: Any = Opening()
    group, requests = CachedGroup(opening, EvaluationCache(GAME, 16)), []

    def play_move(newest):
        move = group.move(newest)
        try:
            states = next(move)
            requests.append(len(states))
            zeros = np.zeros((1, 9), np.float32), np.zeros(1, np.float32)
            move.send(Evaluation(*zeros, newest))
        except StopIteration as end:
            return end.value

    assert [play_move(version) for version in (4, 4, 4, 7, 7)] == [[4], [4], [4], [7], [7]]
    assert requests == [1, 1]


class Over(Exception):
    """Ends the play of a test."""


class Last:
    """The sending end of a process that ends with its first message."""

    def send(self, message):
        raise Over


class Noting:
    """A group that keeps the versions with which its moves begin."""

    def __init__(self):
        self.newest = []

    def move(self, newest):
        self.newest.append(newest)
        return ["a game"]
        yield


def test_a_move_begins_with_the_newest_version_that_an_evaluator_has():
    slots, group = Slots(Sizes(1, 1, 1, 9), GAME.dtype), Noting()
    playing: Any = Playing(lambda game_ids: [group], lambda game: game)
    sender: Any = Last()
    shared = Shared(slots, Counters(1, 3), PublishedWeights({}))
    shared.counters.evaluators["version"] = [3, 5, -1]
    with pytest.raises(Over):
        play(0, shared, playing, 1, sender)
    assert group.newest == [5]
    shared.close()


def evaluation(version, *values):
    return Evaluation(np.zeros((len(values), 9), np.float32), np.array(values, np.float32), version)


class Large:
    """A group whose move asks for three positions, in slots of two, and keeps their evaluation."""

    def __init__(self):
        self.given = None

    def move(self, newest):
        self.given = yield GAME.initial(3)
        return []


class Counting:
    """The slots of a search process, which note what is submitted."""

    sizes = Sizes(1, 1, capacity=2, actions=9)

    def __init__(self):
        self.sizes_submitted = []

    def submit(self, slot, states):
        self.sizes_submitted.append(len(states))


def test_all_parts_of_a_request_are_sent_again_where_the_weights_change_between_two():
    group: Any = Large()
    slots: Any = Counting()
    turn = Turn(group, 0, slots)
    turn.begin(7)
    for part in ((7, 1, 2), (8, 3), (8, 4, 5), (8, 6)):
        assert not turn.is_idle
        turn.resume(evaluation(*part))
    assert turn.is_idle
    assert slots.sizes_submitted == [2, 1, 2, 1]
    assert group.given.version == 8
    assert group.given.value.tolist() == [4, 5, 6]


def test_an_evaluator_evaluates_all_parts_again_where_the_weights_change_between_two():
    answers = iter([(7, 1, 2), (8, 3), (8, 4, 5), (8, 6)])
    whole, calls = evaluate_in_parts(lambda states: evaluation(*next(answers)), GAME.initial(3), 2)
    assert (whole.version, whole.value.tolist(), calls) == (8, [4, 5, 6], 4)
