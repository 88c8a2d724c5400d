"""The worker's parts without Ray: tables, outbox, plan."""

from types import SimpleNamespace

import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError

from alphazero.config import Config, InferenceSettings, SelfPlaySettings
from alphazero.types import Evaluation
from workers.cluster import selfplay
from workers.cluster.fleet import Node, insist_on_token, plan
from workers.cluster.selfplay import Outbox, Table
from workers.cluster.supervisor import Incarnations


class TwoQuestions:
    """A group whose moves ask twice; each answer's values are the "games" they finish."""

    def move(self):
        first = yield np.array([1, 2])
        second = yield np.array([3])
        return [*first.value, *second.value]


class NoQuestion:
    """A group whose moves need no evaluation."""

    def move(self):
        return ["game"]
        yield


def evaluation(*values) -> Evaluation:
    return Evaluation(np.zeros((len(values), 1), np.float32), np.array(values, np.float32))


def test_a_table_passes_answers_to_the_move_that_asked():
    table = Table(TwoQuestions())
    assert table.begin() == []
    assert table.states.tolist() == [1, 2]
    assert table.answer(evaluation(10, 20)) == []
    assert table.states.tolist() == [3]
    assert table.answer(evaluation(30)) == [10, 20, 30]
    assert table.states is None


def test_a_move_without_a_question_ends_at_once():
    table = Table(NoQuestion())
    assert table.begin() == ["game"]
    assert table.states is None


class Post:
    """Stands in for Ray and the replay actor: deliveries, and what becomes of them."""

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


def test_held_play_asks_now_and_then_whether_it_may_go_on(post):
    outbox = Outbox(3, post.push)
    outbox.add(["a"])
    outbox.exchange()
    post.results[0] = True
    outbox.exchange()
    assert outbox.hold
    assert post.deliveries[1:] == [[]]
    post.results[1] = True
    outbox.exchange()
    assert len(post.deliveries) == 2  # not at once again
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
    return plan(config, nodes)


@pytest.mark.parametrize(
    ("cpus", "gpus", "servers", "asked", "expected"),
    [
        (2, 0, 1, "auto", (1, 1, 1.0, 0.0)),
        (1, 0, 1, "auto", (1, 1, 0.5, 0.0)),
        (16, 0, 2, "auto", (13, 2, 1.0, 0.0)),
        (64, 1, 1, "auto", (62, 1, 1.0, 1.0)),
        (64, 2, 3, "auto", (60, 3, 1.0, 0.5)),
        (2, 0, 1, 7, (7, 1, 0.25, 0.0)),
    ],
)
def test_the_plan_fits_the_cluster(cpus, gpus, servers, asked, expected):
    layout = planned([Node(cpus, gpus)], asked, servers)
    assert (layout.workers, layout.servers, layout.cpus, layout.gpus) == expected
    assert layout.cpus * (layout.workers + layout.servers) <= cpus


def test_the_plan_counts_the_cores_and_gpus_of_all_nodes():
    layout = planned([Node(8, 1), Node(8, 0), Node(4, 1)], servers=2)
    assert (layout.workers, layout.gpus) == (17, 1.0)


def test_without_a_gpu_the_servers_of_a_node_share_its_cores():
    assert planned([Node(2, 0)]).lanes == 2
    assert planned([Node(16, 0)], servers=2).lanes == 8
    assert planned([Node(16, 0)] * 4, servers=4).lanes == 16
    assert planned([Node(16, 0), Node(4, 0)]).lanes == 4  # wherever the server is put
    assert planned([Node(1, 0)], servers=3).lanes == 1


def test_a_gpu_evaluates_one_batch_at_a_time():
    assert planned([Node(16, 1)]).lanes == 1
    layout = planned([Node(16, 1)], device="cpu")
    assert (layout.lanes, layout.gpus) == (16, 0.0)


def test_there_is_a_group_for_each_lane_and_one_in_each_workers_hand():
    assert planned([Node(2, 0)]).groups == 3
    assert planned([Node(16, 0)]).groups == 3
    assert planned([Node(16, 1)]).groups == 2
    assert planned([Node(16, 0)], workers=1).groups <= 8  # thousands of games help nobody


@pytest.mark.parametrize("mode", ["", "disabled"])
def test_a_cluster_without_a_token_is_refused_in_one_line(mode):
    with pytest.raises(ValueError, match="needs token authentication") as refusal:
        insist_on_token("10.0.0.1:6379", mode)
    assert "\n" not in str(refusal.value)
    insist_on_token("10.0.0.1:6379", "token")


def test_no_two_lives_of_a_worker_share_a_number_in_any_session(tmp_path):
    first = Incarnations(tmp_path / "number")
    drawn = [first.draw() for _ in range(3)]
    drawn.append(Incarnations(tmp_path / "number").draw())
    assert drawn == [1, 2, 3, 4]
