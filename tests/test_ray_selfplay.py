"""The parts of the self-play worker and the plan of a fleet, without Ray."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError

from alphazero.config import Config, InferenceSettings, SelfPlaySettings
from alphazero.errors import RunFailed
from alphazero.types import Evaluation
from workers.cluster import selfplay
from workers.node.incarnations import Incarnations
from workers.cluster.plan import Node, make_plan
from workers.cluster.selfplay import Outbox, Peers, PendingMove, SelfPlayWorker


class TwoRequests:
    """A group whose moves make two requests; the values of the answers are its "games"."""

    def move(self):
        first = yield np.array([1, 2])
        second = yield np.array([3])
        return [*first.value, *second.value]


class NoRequest:
    """A group whose moves need no evaluation."""

    def move(self):
        return ["game"]
        yield


def evaluation(*values) -> Evaluation:
    return Evaluation(np.zeros((len(values), 1), np.float32), np.array(values, np.float32))


def test_a_pending_move_resumes_with_the_answer_to_each_of_its_requests():
    move = PendingMove(TwoRequests())
    assert move.begin() == []
    assert move.states.tolist() == [1, 2]
    assert move.resume(evaluation(10, 20)) == []
    assert move.states.tolist() == [3]
    assert move.resume(evaluation(30)) == [10, 20, 30]
    assert move.states is None


def test_a_move_without_a_request_ends_at_once():
    move = PendingMove(NoRequest())
    assert move.begin() == ["game"]
    assert move.states is None


class Post:
    """Replaces Ray and the replay actor: records deliveries, returns prepared results."""

    def __init__(self, monkeypatch):
        self.deliveries: list[list] = []
        self.results: dict[int, object] = {}
        self.now = 0.0
        monkeypatch.setattr(selfplay, "ray", self)
        monkeypatch.setattr(selfplay, "time", SimpleNamespace(monotonic=lambda: self.now))

    def push(self, records):
        self.deliveries.append(list(records))
        return len(self.deliveries) - 1

    def wait(self, references, timeout):
        return [r for r in references if r in self.results], []

    def get(self, reference, timeout):
        if isinstance(self.results[reference], Exception):
            raise self.results[reference]
        return self.results[reference]


@pytest.fixture
def post(monkeypatch):
    return Post(monkeypatch)


def test_games_are_kept_until_they_are_acknowledged(post):
    outbox = Outbox(10, post.push)
    outbox.add(["a", "b"])
    outbox.exchange()
    outbox.add(["c"])
    outbox.exchange()
    assert post.deliveries == [["a", "b"]]  # one at a time
    post.results[0] = ActorUnavailableError("gone", None)
    outbox.exchange()
    post.now += 1
    outbox.exchange()
    assert post.deliveries[1:] == [["a", "b", "c"]]
    post.results[1] = False
    outbox.exchange()
    post.now += 1
    outbox.exchange()
    assert len(post.deliveries) == 2  # nothing is left to send


def test_play_holds_while_too_many_games_wait_for_their_acknowledgement(post):
    outbox = Outbox(3, post.push)
    outbox.add(["a", "b"])
    outbox.exchange()
    assert not outbox.hold
    outbox.add(["c"])
    assert outbox.hold
    post.results[0] = False
    outbox.exchange()
    assert not outbox.hold


def test_held_play_polls_at_intervals_until_it_may_go_on(post):
    outbox = Outbox(3, post.push)
    outbox.add(["a"])
    outbox.exchange()
    post.results[0] = True
    outbox.exchange()
    assert outbox.hold
    assert post.deliveries[1:] == [[]]
    post.results[1] = True
    outbox.exchange()
    assert len(post.deliveries) == 2  # the next poll comes after a pause
    post.now += 1
    outbox.exchange()
    post.results[2] = False
    outbox.exchange()
    assert not outbox.hold


def planned(nodes, workers="auto", servers=1, **inference):
    config = Config(
        game="tic_tac_toe",
        selfplay=SelfPlaySettings(workers=workers),
        inference=InferenceSettings(servers=servers, **inference),
    )
    return make_plan(config, nodes)


@pytest.mark.parametrize(
    ("cpus", "gpus", "servers", "workers", "expected"),
    [
        (2, 0, 1, "auto", (1, 1, 1.0, 0.0)),
        (1, 0, 1, "auto", (1, 1, 0.5, 0.0)),
        (16, 0, 2, "auto", (13, 2, 1.0, 0.0)),
        (64, 1, 1, "auto", (62, 1, 1.0, 1.0)),
        (64, 2, 3, "auto", (60, 3, 1.0, 0.5)),
        (2, 0, 1, 7, (7, 1, 0.25, 0.0)),
    ],
)
def test_the_plan_fits_the_cluster(cpus, gpus, servers, workers, expected):
    layout = planned([Node(cpus, gpus)], workers, servers)
    assert (layout.workers, layout.servers, layout.cpus, layout.gpus) == expected
    assert layout.cpus * (layout.workers + layout.servers) <= cpus


def test_the_plan_counts_the_cores_and_gpus_of_all_nodes():
    layout = planned([Node(8, 1), Node(8, 0), Node(4, 1)], servers=2)
    assert (layout.workers, layout.gpus) == (17, 1.0)


def test_without_a_gpu_the_servers_of_a_node_share_its_cores():
    assert planned([Node(2, 0)]).lanes == 2
    assert planned([Node(16, 0)], servers=2).lanes == 8
    assert planned([Node(16, 0)] * 4, servers=4).lanes == 16
    assert planned([Node(16, 0), Node(4, 0)]).lanes == 4  # the server may be on either node
    assert planned([Node(1, 0)], servers=3).lanes == 1


def test_a_gpu_evaluates_one_batch_at_a_time():
    assert planned([Node(16, 1)]).lanes == 1
    layout = planned([Node(16, 1)], device="cpu")
    assert (layout.lanes, layout.gpus) == (16, 0.0)


def test_there_is_one_group_per_lane_and_one_more_per_worker():
    assert planned([Node(2, 0)]).groups == 3
    assert planned([Node(16, 0)]).groups == 3
    assert planned([Node(16, 1)]).groups == 2
    assert planned([Node(16, 0)], workers=1).groups <= 8  # more groups are no faster


def test_no_incarnation_number_is_drawn_twice_in_any_session(tmp_path):
    first = Incarnations(tmp_path / "number")
    drawn = [first.draw() for _ in range(3)]
    drawn.append(Incarnations(tmp_path / "number").draw())
    assert drawn == [1, 2, 3, 4]


class Raising:
    """A group whose game raises at its second move."""

    def __init__(self):
        self.moves = 0

    def move(self):
        self.moves += 1
        if self.moves == 2:
            raise IndexError("list index\nout of range")
        return []
        yield


def test_a_game_that_raises_ends_its_worker_with_the_error_and_its_place_in_one_line():
    worker = SelfPlayWorker(lambda ids: [Raising()], bound=8)
    peers = Peers([], SimpleNamespace(push=SimpleNamespace(remote=None)))
    with pytest.raises(RunFailed) as failure:
        worker.run(1, peers)
    line = r"IndexError: list index out of range \(test_ray_selfplay\.py, line \d+\)"
    assert re.fullmatch(line, str(failure.value))
