"""The actor of a machine by itself: finished games reach the replay actor also after a failure."""

from types import SimpleNamespace

import node_doubles as doubles
import pytest
from test_node_fleet import CONFIG, PLAN

pytest.importorskip("ray")
from ray.exceptions import GetTimeoutError

from alphazero.errors import RunFailed
from workers.cluster import node_actor, supervisor
from workers.cluster.connection import versions
from workers.cluster.members import Member, Timeouts
from workers.cluster.node_actor import NodeActor, NodeLost


class FailedNode:
    """A node with finished games whose play is given up during the first delivery."""

    traceback = ""

    def __init__(self, raised):
        self.raised, self.failure, self.games = raised, "", ["game 1", "game 2"]

    def take_games(self, number, timeout):
        games, self.games = self.games, []
        return games

    def allow(self, positions):
        pass


@pytest.mark.parametrize(("raised", "error"), [(True, RunFailed), (False, NodeLost)])
def test_games_that_finished_before_play_was_given_up_are_delivered(raised, error, monkeypatch):
    node, stored = FailedNode(raised), []

    def push(games):
        def answer():
            if not node.failure:
                node.failure, node.games = "it has failed", ["game 3"]
                raise GetTimeoutError  # the replay actor is restarting
            stored.extend(games)
            return False

        return answer

    monkeypatch.setattr(node_actor.ray, "get", lambda call, timeout: call())
    actor = NodeActor(CONFIG, PLAN, doubles.hashing, 1, versions())
    actor._node = node
    with pytest.raises(error, match="it has failed"):
        actor.run(SimpleNamespace(push=SimpleNamespace(remote=push)))
    assert stored == ["game 1", "game 2", "game 3"]


def test_a_supervisor_that_cannot_start_calls_the_cluster_no_more(monkeypatch):
    """A call after the shutdown of Ray would start a new cluster."""
    machine = {"NodeID": "here", "Alive": True, "Resources": {"CPU": 2.0}, "NodeManagerAddress": ""}
    closed = []
    plane = SimpleNamespace(nodes=[machine], close=lambda: closed.append(True))

    def start_node(node):
        raise OSError("No space left on device")

    monkeypatch.setattr(supervisor, "ControlPlane", lambda look: plane)
    monkeypatch.setattr(supervisor, "this_node", lambda: "here")
    with pytest.raises(OSError, match="No space left"):
        supervisor.Supervisor(Member("the replay actor", "replay", None), start_node, Timeouts())
    assert closed == [True]
