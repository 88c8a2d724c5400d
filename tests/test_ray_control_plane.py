"""Ray's own processes and the actors: when they count as lost or as hanging."""

import os
import signal
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from workers.cluster import control_plane
from workers.cluster.answers import hanging
from workers.cluster.control_plane import Clock, ControlPlane
from workers.cluster.members import Member, Timeouts
from workers.node import processes

TIMEOUTS = Timeouts(ping=30.0, stopped=3.0, start=180.0)


class Ray:
    """Replaces Ray: one node, whose raylet has a socket at ``path``; ``answer`` is gcs_server."""

    def __init__(self, monkeypatch, path):
        self.path = str(path)
        self.answer = threading.Event()
        self.answer.set()
        monkeypatch.setattr(control_plane, "ray", self)
        monkeypatch.setattr(control_plane, "this_node", lambda: "here")
        monkeypatch.setattr(control_plane, "PAUSE", 0.01)

    def nodes(self):
        assert self.answer.wait(timeout=60)
        return [{"NodeID": "here", "RayletSocketName": self.path}]


@pytest.fixture
def raylet(tmp_path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "raylet"))
    listening.listen()
    yield listening
    listening.close()


@pytest.fixture
def watched(monkeypatch, tmp_path, raylet):
    ray = Ray(monkeypatch, tmp_path / "raylet")
    control = ControlPlane()
    yield SimpleNamespace(ray=ray, control=control, raylet=raylet, path=tmp_path / "raylet")
    ray.answer.set()
    control.close()


def wait_for_answers(control, count):
    seen = control._answers
    while control._answers < seen + count:
        threading.Event().wait(0.005)


def test_a_clock_counts_an_hour_between_two_checks_as_one_check():
    clock = Clock(most=2.0)
    clock.advance(to=100.0)
    before = clock.now
    for seconds in (100.5, 101.0, 4701.0, 4701.5):
        clock.advance(to=seconds)
    assert clock.now - before == 0.5 + 0.5 + 2.0 + 0.5


def test_gcs_server_is_silent_from_its_last_answer_on(watched):
    wait_for_answers(watched.control, 2)
    assert watched.control.silence(100.0) == (control_plane.GCS_SERVER, 0.0)
    watched.ray.answer.clear()
    threading.Event().wait(0.1)  # the call under way may still return
    watched.control.silence(101.0)
    name, silence = watched.control.silence(109.5)
    assert name == control_plane.GCS_SERVER
    assert silence in (8.5, 9.5)  # since 101 where it returned, else since 100
    watched.ray.answer.set()
    wait_for_answers(watched.control, 1)
    assert watched.control.silence(110.0)[1] == 0.0


def test_the_end_of_the_raylet_is_seen_at_once_and_a_closed_connection_is_not_its_end(watched):
    accepted, _ = watched.raylet.accept()
    assert watched.control.has_raylet()
    accepted.close()
    assert watched.control.has_raylet()
    accepted, _ = watched.raylet.accept()
    watched.raylet.close()
    accepted.close()
    assert not watched.control.has_raylet()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_stopped_raylet_is_silent_although_its_socket_stays_open(monkeypatch, tmp_path):
    code = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); "
    code += "print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "raylet")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"ready\n"
        Ray(monkeypatch, tmp_path / "raylet")
        control = ControlPlane()
        assert control.silence(50.0)[1] == 0.0 or control._answers == 0
        os.kill(other.pid, signal.SIGSTOP)
        os.waitpid(other.pid, os.WUNTRACED)
        wait_for_answers(control, 1)
        control.silence(51.0)
        wait_for_answers(control, 1)
        name, silence = control.silence(60.0)
        assert (name, silence) == (control_plane.RAYLET, 10.0)
        assert control.has_raylet()
        control.close()
        other.kill()


def member(**fields):
    return Member("node a", "node", None, status={"pid": 1}, **fields)


@pytest.mark.parametrize(
    ("silence", "stopped", "expected"),
    [
        (2.9, True, ""),
        (3.1, True, "is stopped"),
        (29.0, False, ""),  # healthy, on a machine with too much to do
        (31.0, False, "did not answer for 31 s"),
    ],
)
def test_only_a_stopped_process_is_ended_after_seconds(silence, stopped, expected):
    reason = hanging(member(), silence, TIMEOUTS, lambda member: stopped)
    assert expected in reason
    assert bool(expected) == bool(reason)


def test_a_node_that_answers_but_does_not_advance_is_ended():
    stuck = member(last_answer=199.0, running="run")
    assert "not advanced" in hanging(stuck, 200.0, TIMEOUTS, lambda member: False)
    started = Member("node a", "node", None)
    assert not hanging(started, 179.0, TIMEOUTS, lambda member: True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_is_stopped_from_sigstop_to_sigcont():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        assert not processes.is_stopped(other.pid)
        os.kill(other.pid, signal.SIGSTOP)
        os.waitpid(other.pid, os.WUNTRACED)
        assert processes.is_stopped(other.pid)
        os.kill(other.pid, signal.SIGCONT)
        os.waitpid(other.pid, os.WCONTINUED)
        assert not processes.is_stopped(other.pid)
        other.kill()
    assert not processes.is_stopped(other.pid)


def test_a_call_that_never_returns_ends_with_the_error_of_the_check(monkeypatch):
    monkeypatch.setattr(control_plane, "CHECK_SECONDS", 0.01)
    checks = []

    def check():
        checks.append(1)
        if len(checks) == 3:
            raise RuntimeError("lost")

    never = threading.Event()
    with pytest.raises(RuntimeError, match="lost"):
        control_plane.patiently(check, never.wait)
    never.set()
    assert control_plane.patiently(check, lambda: 5) == 5
    with pytest.raises(KeyError):
        control_plane.patiently(check, lambda: {}["missing"])


def test_a_program_that_only_waits_for_its_cluster_ends_with_the_reason(watched, monkeypatch):
    watch = control_plane.Watch(limit=8.0)
    wait_for_answers(watch._control, 1)
    watch.check()
    watch._clock.now = 4.0
    watched.ray.answer.clear()
    threading.Event().wait(0.1)  # the call under way may still return
    watch.check()
    watch._clock.now = 30.0
    with pytest.raises(control_plane.ClusterLost, match="gcs_server has ended or hangs") as loss:
        watch.check()
    assert loss.value.name == control_plane.GCS_SERVER
    watch.close()
