"""The inference server as a plain class: requests from threads, no Ray."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from alphazero.types import Evaluation
from workers.cluster.inference import InferenceServer, unpack

ACTIONS = 3


class Doubling:
    """Logits are twice the state plus 0, 1, 2; the value is the weight. Records batch sizes."""

    def __init__(self):
        self.loaded = (0.0, -1)
        self.sizes: list[int] = []

    def load(self, weights, version):
        self.loaded = float(weights["w"]), version

    def __call__(self, states):
        value, version = self.loaded
        self.sizes.append(len(states))
        logits = 2 * states[:, None].astype(np.float32) + np.arange(ACTIONS, dtype=np.float32)
        return Evaluation(logits, np.full(len(states), value, np.float32), version)


class Gated(Doubling):
    """Waits for the gate in its first ``calls`` calls, one per lane."""

    def __init__(self, calls=1):
        super().__init__()
        self.calls, self.inside = calls, 0
        self.entered, self.gate = threading.Event(), threading.Event()

    def __call__(self, states):
        self.inside += 1
        if self.inside == self.calls:
            self.entered.set()
        assert self.gate.wait(10)
        return super().__call__(states)


def server_of(evaluator, batch_size=1000, version=0, lanes=1):
    server = InferenceServer(lambda: evaluator, np.dtype(np.int64), batch_size, lanes)
    server.load({"w": np.array(float(version))}, version)
    return server


def queue_behind_a_batch(server, evaluator, requests):
    """The answers to ``requests``, all sent while each lane evaluates a first batch of one."""
    with ThreadPoolExecutor(len(requests) + evaluator.calls) as pool:
        first = [pool.submit(server.evaluate, np.array([0])) for _ in range(evaluator.calls)]
        assert evaluator.entered.wait(10)
        answers = [pool.submit(server.evaluate, request) for request in requests]
        deadline = time.monotonic() + 10
        while len(server._queue) < len(requests) and time.monotonic() < deadline:
            time.sleep(0.001)
        evaluator.gate.set()
        for answer in first:
            answer.result(10)
        return [answer.result(10) for answer in answers]


def test_requests_that_arrive_during_a_batch_are_the_next_batch():
    evaluator = Gated()
    server = server_of(evaluator)
    requests = [np.arange(n) + 100 * n for n in (1, 5, 2, 7)]
    answers = queue_behind_a_batch(server, evaluator, requests)
    assert evaluator.sizes == [1, 15]
    for request, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer.logits[:, 0], 2 * request)


def test_a_batch_takes_whole_requests_up_to_its_size():
    evaluator = Gated()
    server = server_of(evaluator, batch_size=10)
    queue_behind_a_batch(server, evaluator, [np.arange(4)] * 5)
    assert evaluator.sizes == [1, 8, 8, 4]


def test_lanes_evaluate_at_the_same_time_and_share_the_queue():
    evaluator = Gated(calls=2)
    server = server_of(evaluator, lanes=2)
    queue_behind_a_batch(server, evaluator, [np.arange(5)] * 4)
    # Half of the queue each time: the rest is left for the other lane.
    assert sorted(evaluator.sizes) == [1, 1, 5, 5, 10]


@pytest.mark.parametrize("lanes", [1, 3])
def test_every_client_gets_the_answer_to_its_own_request(lanes):
    server = server_of(Doubling(), batch_size=64, lanes=lanes)
    rng = np.random.default_rng(0)
    requests = [rng.integers(0, 10**6, rng.integers(1, 40)) for _ in range(400)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(server.evaluate, requests))
    for request, answer in zip(requests, answers, strict=True):
        expected = (2 * request[:, None] + np.arange(ACTIONS)).astype(np.float32)
        np.testing.assert_array_equal(answer.logits, expected)
        assert answer.value.shape == request.shape
    status = server.status()
    assert status["evaluations"] == sum(map(len, requests))
    assert status["requests"] == len(requests) >= status["batches"]


def test_an_answer_as_bytes_is_the_same():
    server, states = server_of(Doubling(), version=7), np.arange(5) * 3
    local = server.evaluate(states)
    remote = unpack(server.evaluate_bytes(states.tobytes()), len(states))
    np.testing.assert_array_equal(remote.logits, local.logits)
    np.testing.assert_array_equal(remote.value, local.value)
    assert remote.version == local.version == 7


def test_a_request_larger_than_a_batch_is_answered_in_one_piece():
    evaluator = Doubling()
    answer = server_of(evaluator, batch_size=8).evaluate(np.arange(20))
    assert evaluator.sizes == [8, 8, 4]
    np.testing.assert_array_equal(answer.logits[:, 0], 2 * np.arange(20))


def test_one_version_answers_all_of_a_large_request():
    class Reloading(Doubling):
        """New weights arrive after its first part."""

        def __call__(self, states):
            answer = super().__call__(states)
            self.loaded = (5.0, 5)
            return answer

    answer = server_of(Reloading(), batch_size=4).evaluate(np.arange(10))
    assert answer.version == 5
    np.testing.assert_array_equal(answer.value, np.full(10, 5, np.float32))


def test_new_weights_drop_no_request_and_every_answer_has_the_version_of_its_weights():
    server = server_of(Doubling())
    answers = []

    def request():
        answers.extend(server.evaluate(np.arange(3)) for _ in range(200))

    clients = [threading.Thread(target=request) for _ in range(4)]
    for client in clients:
        client.start()
    for version in range(1, 50):
        server.load({"w": np.array(float(version))}, version)
    for client in clients:
        client.join(20)
    assert len(answers) == 800
    assert all((answer.value == answer.version).all() for answer in answers)
    assert server.evaluate(np.arange(1)).version == 49


def test_an_error_reaches_all_requests_of_its_batch_and_the_next_batch_works():
    class Failing(Gated):
        def __call__(self, states):
            answer = super().__call__(states)
            if 13 in states:
                raise ValueError("thirteen")
            return answer

    evaluator = Failing()
    server = server_of(evaluator)
    with pytest.raises(ValueError, match="thirteen"):
        queue_behind_a_batch(server, evaluator, [np.array([13]), np.array([2])])
    assert server.evaluate(np.array([2])).logits[0, 0] == 4


def test_a_request_without_weights_times_out():
    server = InferenceServer(Doubling, np.dtype(np.int64), 8)
    with pytest.raises(TimeoutError, match="no weights were published"):
        server.evaluate(np.arange(2), timeout=0.05)


def test_a_request_behind_a_batch_that_never_ends_times_out():
    evaluator = Gated()
    server = server_of(evaluator)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.evaluate, np.array([0]))
        assert evaluator.entered.wait(10)
        with pytest.raises(TimeoutError, match="no answer within"):
            server.evaluate(np.arange(2), timeout=0.05)
        evaluator.gate.set()
        first.result(10)
