"""The slots between search processes and evaluators, and what is left of killed processes."""

import os
import threading
import time

import numpy as np
import pytest
from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alphazero.types import Evaluation
from workers.node import slots as module
from workers.node.child import Child
from workers.node.counters import Counters, Row
from workers.node.published import PublishedWeights
from workers.node.shared import SharedArrays
from workers.node.slots import ANSWERED, FREE, MESSAGE, TAKEN, Sizes, Slots

DTYPE = np.dtype([("number", np.int64)])


def states(*numbers):
    return np.array([(number,) for number in numbers], DTYPE)


@pytest.fixture
def make():
    made = []

    def make_one(players=2, per_player=2, capacity=4):
        made.append(Slots(Sizes(players, per_player, capacity, actions=3), DTYPE))
        return made[-1]

    yield make_one
    for slots in made:
        slots.close()


def answer(slots, *requests, version=7):
    """Value ``n / 10`` and logits ``n, n + 1, n + 2`` for the state with number ``n``."""
    numbers = slots.states(requests)["number"].astype(np.float32)
    logits = numbers[:, None] + np.arange(3, dtype=np.float32)
    slots.answer(requests, Evaluation(logits, numbers / 10, version))


def take(slots, evaluator=0, limit=100, lanes=1):
    return slots.take(evaluator, limit, lanes, timeout=0.0)


def test_an_answer_reaches_the_process_that_asked_with_its_own_rows(make):
    slots = make()
    slots.submit(1, states(5, 6))
    slots.submit(2, states(8))
    answer(slots, *take(slots))
    ((slot, evaluation),) = slots.receive(0, 0.0)
    assert (slot, evaluation.version) == (1, 7)
    np.testing.assert_allclose(evaluation.value, [0.5, 0.6])
    np.testing.assert_array_equal(evaluation.logits, [[5, 6, 7], [6, 7, 8]])
    ((slot, evaluation),) = slots.receive(1, 0.0)
    assert slot == 2
    np.testing.assert_allclose(evaluation.value, [0.8])


def test_an_evaluation_is_a_copy_that_the_next_request_does_not_change(make):
    slots = make()
    slots.submit(0, states(1))
    answer(slots, *take(slots))
    ((_, first),) = slots.receive(0, 0.0)
    slots.submit(0, states(9))
    answer(slots, *take(slots))
    slots.receive(0, 0.0)
    np.testing.assert_allclose(first.value, [0.1])


def test_of_the_waiting_requests_each_lane_takes_its_share(make):
    slots = make(players=2, per_player=2)
    for slot in range(4):
        slots.submit(slot, states(slot))
    assert [request.slot for request in take(slots, lanes=2)] == [0, 1]
    assert [request.slot for request in take(slots, lanes=2)] == [2]
    assert [request.slot for request in take(slots, lanes=2)] == [3]
    assert take(slots, lanes=2) == []


def test_a_batch_has_no_more_positions_than_its_limit_but_for_a_single_request(make):
    slots = make(players=2, per_player=2, capacity=4)
    for slot in range(4):
        slots.submit(slot, states(1, 2, 3, 4))
    assert [request.slot for request in take(slots, limit=8)] == [0, 1]
    assert [request.slot for request in take(slots, limit=3)] == [2]


def test_requests_that_an_evaluator_had_taken_are_answered_by_another_one(make):
    slots = make()
    slots.submit(0, states(1))
    slots.submit(1, states(2))
    take(slots, evaluator=0)  # and is killed
    assert take(slots, evaluator=1) == []
    slots.resubmit(0)
    for request in take(slots, evaluator=1):
        answer(slots, request)
    assert [slot for slot, _ in slots.receive(0, 0.0)] == [0, 1]


def test_a_number_that_was_read_and_not_claimed_is_sent_again(make):
    slots = make()
    slots.submit(0, states(1))
    os.read(slots.pipes[0].read, MESSAGE.size)  # by an evaluator that is killed now
    assert take(slots) == []
    slots.resubmit(0)
    answer(slots, *take(slots))
    assert [slot for slot, _ in slots.receive(0, 0.0)] == [0]


def test_an_answer_whose_message_was_not_sent_arrives_once(make, monkeypatch):
    slots = make()
    slots.submit(0, states(1))
    (request,) = take(slots, evaluator=3)
    monkeypatch.setattr(slots, "_notify", lambda answered: None)  # killed before it
    answer(slots, request)
    monkeypatch.undo()
    slots.resubmit(3)
    slots.resubmit(3)
    assert [slot for slot, _ in slots.receive(0, 0.0)] == [0]


def test_a_request_whose_number_is_sent_twice_is_evaluated_once(make):
    slots = make()
    slots.submit(0, states(1))
    slots.resubmit(5)
    assert len(take(slots)) == 1
    assert take(slots) == []


def test_a_slot_is_not_used_again_while_an_answer_to_a_killed_process_is_written(make):
    slots = make()
    slots.submit(0, states(1))
    (request,) = take(slots)
    slots.abandon(0)
    assert not slots.is_usable(0)
    answer(slots, request)
    assert slots.is_usable(0)
    assert slots.receive(0, 0.0) == []
    slots.submit(0, states(2))
    answer(slots, *take(slots))
    ((_, evaluation),) = slots.receive(0, 0.0)
    np.testing.assert_allclose(evaluation.value, [0.2])


def test_the_request_of_a_killed_process_is_not_evaluated(make):
    slots = make()
    slots.submit(0, states(1))
    slots.abandon(0)
    assert take(slots) == []
    assert slots.memory["state"][0] == FREE


def test_where_both_processes_of_a_request_are_killed_its_slot_is_free(make):
    slots = make()
    slots.submit(0, states(1))
    take(slots, evaluator=0)
    slots.abandon(0)
    slots.resubmit(0)
    assert slots.is_usable(0)
    assert take(slots, evaluator=1) == []


def test_an_answer_to_an_earlier_process_is_not_received_by_the_next_one(make):
    slots = make()
    slots.submit(0, states(1))
    answer(slots, *take(slots))  # its message is in the pipe when the process is killed
    slots.abandon(0)
    again = Slots(slots.sizes, DTYPE, slots.memory, slots.pipes)
    assert again.receive(0, 0.0) == []
    again.submit(0, states(4))
    answer(slots, *take(slots))
    ((_, evaluation),) = again.receive(0, 0.0)
    np.testing.assert_allclose(evaluation.value, [0.4])


def test_an_answer_that_was_written_while_its_process_ended_reaches_no_other_one(make):
    slots = make()
    slots.submit(0, states(1))
    take(slots, evaluator=3)
    slots.abandon(0)
    slots.memory["state"][0] = ANSWERED  # by the evaluator, which had compared the numbers before
    slots.resubmit(3)  # it was killed then
    again = Slots(slots.sizes, DTYPE, slots.memory, slots.pipes)
    assert again.is_usable(0)
    assert again.receive(0, 0.0) == []


def test_so_many_slots_that_their_messages_would_not_fit_into_a_pipe_are_refused():
    with pytest.raises(ValueError, match="4,096 requests at once, should be at most 2,048"):
        Slots(Sizes(64, 64, 1, 1), DTYPE)


def test_the_pipe_holds_the_messages_of_all_slots_and_as_many_repeated_ones(make):
    slots = make(players=1, per_player=module.MOST_SLOTS, capacity=1)
    for slot in range(module.MOST_SLOTS):
        slots.submit(slot, states(slot))
    for _ in range(5):
        slots.resubmit(0)  # would wait for ever where the pipe was full
    assert len(take(slots, limit=10**6)) == module.MOST_SLOTS


def test_two_evaluators_never_take_the_same_request(make):
    slots = make(players=4, per_player=64, capacity=1)
    taken = []

    def run(evaluator):
        for _ in range(200):
            for request in slots.take(evaluator, 3, 4, 0.001):
                taken.append(request.slot)
                answer(slots, request)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for slot in range(256):
        slots.submit(slot, states(slot))
        if slot % 16 == 0:
            slots.resubmit(99)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(256))


def add_to_counter(shared, times, sender):
    """Add to a counter without atomicity, within the lock; in a process of its own."""
    slots, counter = shared
    for _ in range(times):
        with slots._claim():
            seen = int(counter["count"][0])
            time.sleep(0)
            counter["count"][0] = seen + 1
    sender.send("done")


def test_the_lock_of_the_slots_excludes_other_processes(make):
    slots, counter = make(), SharedArrays({"count": ((1,), np.dtype(np.int64))})
    messages: list = []
    descriptors = [*slots.descriptors, counter.descriptor]
    children = [
        Child(add_to_counter, ((slots, counter), 3000), descriptors, messages.append)
        for _ in range(2)
    ]
    deadline = time.monotonic() + 60
    while len(messages) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    for child in children:
        child.close()
    assert messages == ["done", "done"]
    assert counter["count"][0] == 6000


class Killings(RuleBasedStateMachine):
    """Any order of submissions, takes, answers and kills.

    The model keeps for each player what it waits for; whatever happens, a player receives only the
    answer to its own last request, and once all that is taken is answered, every slot is usable.
    """

    def __init__(self):
        super().__init__()
        self.slots = Slots(Sizes(2, 2, 2, actions=1), DTYPE)
        self.of_player = [self.slots, Slots(self.slots.sizes, DTYPE, *self._shared())]
        self.waiting: dict[int, int] = {}
        self.taken = {0: [], 1: []}
        self.number = 0

    def _shared(self):
        return self.slots.memory, self.slots.pipes

    def teardown(self):
        self.slots.close()

    @rule(slot=strategies.integers(0, 3))
    def submit(self, slot):
        if slot in self.waiting or not self.slots.is_usable(slot):
            return
        self.number += 1
        self.waiting[slot] = self.number
        self.of_player[slot // 2].submit(slot, states(self.number))

    @rule(evaluator=strategies.integers(0, 1), limit=strategies.integers(1, 6))
    def take(self, evaluator, limit):
        self.taken[evaluator] += self.slots.take(evaluator, limit, 1, 0.0)

    @rule(evaluator=strategies.integers(0, 1))
    def answer(self, evaluator):
        requests, self.taken[evaluator] = self.taken[evaluator], []
        if requests:
            value = self.slots.states(requests)["number"].astype(np.float32)
            self.slots.answer(requests, Evaluation(value[:, None], value, 0))

    @rule(evaluator=strategies.integers(0, 1))
    def kill_evaluator(self, evaluator):
        self.taken[evaluator] = []
        self.slots.resubmit(evaluator)

    @rule(player=strategies.integers(0, 1))
    def kill_player(self, player):
        self.slots.abandon(player)
        for slot in self.slots.of_player(player):
            self.waiting.pop(slot, None)
        self.of_player[player] = Slots(self.slots.sizes, DTYPE, *self._shared())

    @rule(player=strategies.integers(0, 1))
    def receive(self, player):
        for slot, evaluation in self.of_player[player].receive(player, 0.0):
            assert evaluation.value.tolist() == [self.waiting.pop(slot)]

    @precondition(lambda self: not any(self.taken.values()))
    @rule()
    def finish(self):
        self.take(0, 100)
        self.answer(0)
        for player in (0, 1):
            self.receive(player)
        assert self.waiting == {}
        assert all(self.slots.is_usable(slot) for slot in range(4))

    @invariant()
    def what_is_taken_was_taken_by_an_evaluator(self):
        held = {request.slot for requests in self.taken.values() for request in requests}
        assert set(np.flatnonzero(self.slots.memory["state"] == TAKEN).tolist()) == held


TestKillings = Killings.TestCase
TestKillings.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_the_newest_weights_are_read_whole_while_others_are_written():
    weights = {"a": np.zeros(1000), "b": np.zeros((2, 3), np.float32)}
    published = PublishedWeights(weights)
    published.publish(weights, 0)
    stop = threading.Event()

    def write():
        number = 1
        while not stop.is_set():
            published.publish(
                {name: np.full_like(a, number) for name, a in weights.items()}, number
            )
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    end, versions = time.monotonic() + 0.5, set()
    while time.monotonic() < end:
        read, version = published.read()
        versions.add(version)
        assert all((array == version).all() for array in read.values())
    stop.set()
    thread.join()
    assert len(versions) > 2


class Interrupted:
    """The memory of weights, in which others are published twice before ``b`` is read."""

    def __init__(self, memory):
        self.memory, self.specs = memory, memory.specs
        self.left = [2, 3]

    def __getitem__(self, name):
        while name == "b" and self.left:
            number = self.left.pop(0)
            values = {"a": np.full(2, number), "b": np.full(2, number)}
            PublishedWeights({}, self.memory).publish(values, number)
        return self.memory[name]


def test_weights_that_are_replaced_while_they_are_read_are_read_again():
    published = PublishedWeights({"a": np.zeros(2), "b": np.zeros(2)})
    published.publish({"a": np.ones(2), "b": np.ones(2)}, 1)
    published.memory = Interrupted(published.memory)
    read, version = published.read()
    assert (version, read["a"].tolist(), read["b"].tolist()) == (3, [3, 3], [3, 3])


def test_weights_with_other_names_are_refused():
    published = PublishedWeights({"a": np.zeros(2)})
    with pytest.raises(ValueError, match="other names"):
        published.publish({"b": np.zeros(2)}, 1)


@pytest.mark.parametrize("array", [np.zeros(1), np.array(0.0), np.zeros(3)])
def test_weights_of_another_shape_are_refused(array):
    published = PublishedWeights({"a": np.zeros(2)})
    with pytest.raises(ValueError, match="the weights a have another shape"):
        published.publish({"a": array}, 1)
    assert published.count == 0


def test_the_counts_of_a_process_go_on_in_the_one_that_replaces_it():
    counters = Counters(players=1, evaluators=2)
    for kind, name in (("player", "moves"), ("evaluator", "evaluations")):
        Row(counters.of_kind(kind), 0).add(name, 5)
        counters.of_kind(kind)["iterations"] = 9
    counters.evaluators["version"] = 4
    counters.restart("player", 0)
    counters.restart("evaluator", 0)
    assert counters.players["moves"].tolist() == [5]
    assert counters.players["iterations"].tolist() == [0]
    assert counters.evaluators["evaluations"].tolist() == [5, 0]
    assert counters.evaluators["iterations"].tolist() == [0, 9]
    assert counters.evaluators["version"].tolist() == [-1, 4]
    counters.memory.close()
