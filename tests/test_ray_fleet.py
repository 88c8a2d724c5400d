"""The fleet on a real Ray, and its behaviour when its processes are killed or stopped."""

import itertools
import logging
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import node_doubles as doubles
import numpy as np
import psutil
import pytest
from node_doubles import wait_until

import games
from alphazero import wire
from alphazero.config import Config, InferenceSettings, SelfPlaySettings
from alphazero.errors import FleetLost
from alphazero.protocols import Collected
from alphazero.search.gumbel import Gumbel
from workers.cluster import fleet
from workers.cluster.fleet import RayFleet
from workers.cluster.members import Timeouts
from workers.node.node import NodeTimeouts
from workers.node.plan import Plan

GAME = games.make("tic_tac_toe")
CONFIG = Config(
    game=GAME.name,
    search=Gumbel(simulations=8),
    selfplay=SelfPlaySettings(games=8, groups=2),
    inference=InferenceSettings(batch_size=64),
)
PLAN = Plan(players=2, evaluators=1, lanes=1, groups=2, on_gpu=False)
TIMEOUTS = Timeouts(
    interval=0.1,
    ping=90.0,
    start=90.0,
    stall=120.0,
    max_failures=4,
    node=NodeTimeouts(interval=0.05, max_failures=4),
)
pytestmark = [pytest.mark.usefixtures("ray_session"), pytest.mark.timeout(600)]


class Run:
    """A fleet and all that was collected from it."""

    def __init__(self, directory: Path, make_evaluator=doubles.hashing, timeouts=TIMEOUTS):
        self.directory = directory
        self.fleet = RayFleet(
            CONFIG, directory, "local", make_evaluator, timeouts, lambda machine, learns: PLAN
        )
        self.supervisor = self.fleet._supervisor
        self.collected: list[Collected] = []

    @property
    def games(self) -> int:
        """The number of games collected so far."""
        return sum(collected.games for collected in self.collected)

    def records(self) -> list:
        """The games collected so far, read from the shards; not in a resumed run."""
        return self.stored()[: self.games]

    def stored(self) -> list:
        """The games on disk; one that is being written is left out."""
        shards = sorted((self.directory / "games").glob("shard_*.bin"))
        return [r for path in shards for _, r in wire.read_shard(GAME, path, lambda line: None)]

    def collect_until(self, enough, seconds=240.0) -> list[Collected]:
        """Collect until ``enough()``; returns what was collected from now on."""
        first, deadline = len(self.collected), time.monotonic() + seconds
        while not enough():
            assert time.monotonic() < deadline, f"{self.games} games, {self.fleet.stats()}"
            self.collected.append(self.fleet.collect())
        return self.collected[first:]

    def collect(self, games: int) -> list[Collected]:
        """Collect until there are so many more games."""
        enough = self.games + games
        return self.collect_until(lambda: self.games >= enough)

    def member(self, kind):
        """The actor of a kind, once it has answered."""

        def live():
            return [m for m in self.supervisor.members if m.kind == kind and m.alive]

        wait_until(live)
        return live()[0]

    def kill(self, kind, how=signal.SIGKILL) -> int:
        pid = self.member(kind).pid
        os.kill(pid, how)
        return pid

    def settle(self):
        """Collect the games that are still on their way while play holds."""
        quiet = 0
        while quiet < 3:
            self.collected.append(self.fleet.collect())
            quiet = 0 if self.collected[-1].games else quiet + 1

    def assert_stored_exactly_once(self):
        """The collected games are those on disk, each once and in the same order."""
        self.fleet.allow(0)
        self.settle()
        stored = self.stored()
        assert len({record.game_id for record in stored}) == len(stored) == self.games
        versions = np.concatenate([collected.versions for collected in self.collected])
        assert versions.tolist() == [record.version for record in stored]
        endings = np.bincount([record.ending for record in stored], minlength=4)
        assert sum(c.endings for c in self.collected).tolist() == endings.tolist()
        positions = sum(map(len, stored))
        assert sum(collected.positions for collected in self.collected) == positions
        assert self.fleet.replay.games == len(stored)
        assert self.fleet.replay.positions == positions
        # Each example is the last game that was collected with it.
        for count, collected in zip(
            itertools.accumulate(c.games for c in self.collected), self.collected, strict=True
        ):
            assert (collected.example is None) == (collected.games == 0)
            if collected.example is not None:
                assert collected.example.game_id == stored[count - 1].game_id


def incarnations(records) -> set[int]:
    return {record.game_id >> 32 for record in records}


@pytest.fixture(scope="module")
def shared(ray_session, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("shared"))
    yield run
    run.fleet.close()


@pytest.fixture
def run(shared):
    """One fleet for all tests that leave it working; it plays on with new weights."""
    shared.fleet.allow(10**9)
    version = shared.games
    shared.fleet.publish(doubles.weights(version), version)
    shared.collect(1)
    shared.collect_until(lambda: version in shared.collected[-1].versions)
    return shared


@pytest.fixture
def start(tmp_path):
    """A function that starts runs for one test, which end with the test."""
    runs = []

    def start_one(**settings) -> Run:
        runs.append(Run(tmp_path, **settings))
        runs[-1].fleet.publish(doubles.weights(0), 0)
        return runs[-1]

    yield start_one
    for run in runs:
        run.fleet.close()


def test_games_are_stored_and_collected_once(run):
    first = run.games
    run.collect_until(lambda: run.games >= first + 100 and len(incarnations(run.records())) > 1)
    stats = run.fleet.stats()
    assert (stats["nodes"], stats["players"], stats["evaluators"]) == (1, 2, 1)
    run.assert_stored_exactly_once()


def test_self_play_holds_at_the_allowance_and_goes_on_above_it(run):
    run.fleet.allow(0)
    run.settle()
    allowance = run.fleet.replay.positions + 300
    run.fleet.allow(allowance)
    run.collect_until(lambda: run.fleet.replay.positions >= allowance)
    run.settle()
    held = run.fleet.replay.positions
    # At most the games that were in flight, and those that were not delivered yet.
    games_in_flight = PLAN.players * PLAN.groups * CONFIG.selfplay.games
    assert held <= allowance + 3 * games_in_flight * GAME.max_plies
    run.fleet.allow(held + 100)
    run.collect_until(lambda: run.fleet.replay.positions >= held + 100)


def test_of_weights_that_are_published_in_a_row_the_last_are_sent_after_a_while(run, monkeypatch):
    run.fleet._send_newest()
    sent, publish = [], run.supervisor.publish
    monkeypatch.setattr(run.supervisor, "publish", lambda w, v: (sent.append(v), publish(w, v)))
    first = run.fleet.version + 1
    began = time.monotonic()
    for version in range(first, first + 20):
        run.fleet.publish(doubles.weights(version), version)
    run.collect_until(lambda: sent and sent[-1] == first + 19)
    assert len(sent) <= 1 + (time.monotonic() - began) / fleet.PUBLISH_SECONDS
    run.collect_until(lambda: first + 19 in run.collected[-1].versions)


def test_a_search_process_that_was_killed_is_replaced_by_its_node(run, caplog):
    before, restarts = incarnations(run.records()), run.fleet.stats()["restarts"]
    node = run.member("node")
    (pid, _) = node.status["pids"]["player"]
    with caplog.at_level(logging.WARNING, logger="workers.cluster.supervisor"):
        os.kill(pid, signal.SIGKILL)
        run.collect_until(lambda: incarnations(run.records()) - before)
        # Ray itself may log the late end of an actor of another test.
        ours = lambda: [r.message for r in caplog.records if r.name.startswith("workers.")]  # noqa: E731
        wait_until(ours)
    assert run.fleet.stats()["restarts"] == restarts + 1
    assert ours() == [f"{node.name}: search process 0 ended: killed by SIGKILL"]
    run.assert_stored_exactly_once()


def test_a_lost_node_is_one_failure_and_another_one_is_started(run, caplog):
    before, old = incarnations(run.records()), run.member("node")
    evaluations = run.supervisor.totals()["evaluations"]
    with caplog.at_level(logging.WARNING, logger="workers.cluster.supervisor"):
        run.kill("node")
        run.collect_until(lambda: incarnations(run.records()) - before)
    lost = [line for line in caplog.messages if "is lost" in line]
    assert len(lost) == 1
    assert lost[0].startswith(f"{old.name} is lost: ")
    assert run.supervisor.totals()["evaluations"] >= evaluations
    run.assert_stored_exactly_once()


def test_a_restarted_replay_actor_has_all_acknowledged_games(run):
    before = incarnations(run.records())
    run.kill("replay")
    run.collect(games=100)
    assert incarnations(run.records()) == before  # the search processes were not restarted
    run.assert_stored_exactly_once()


def test_a_resumed_run_gives_its_games_new_ids(start):
    first = start()
    first.collect(games=10)
    state = {"fleet": first.fleet.state(), "replay": first.fleet.replay.state()}
    first.fleet.close()
    again = start()
    before = again.fleet.replay.games
    assert before >= 10
    again.fleet.replay.restore(state["replay"], truncate=False)
    again.fleet.restore(state["fleet"])
    again.collect(games=10)
    stored = again.stored()
    assert not incarnations(stored[:before]) & incarnations(stored[before:])
    assert again.fleet.replay.games >= before + again.games


def test_an_evaluator_that_fails_ends_the_run_with_its_error(start):
    run = start(make_evaluator=doubles.failing_at_once)
    with pytest.raises(FleetLost, match=r"node .*: evaluator 0 failed: .*not finite") as failure:
        run.collect_until(lambda: False)
    assert "\n" not in str(failure.value)
    with pytest.raises(FleetLost, match="not finite"):
        run.fleet.publish(doubles.weights(1), 1)


def test_a_machine_with_other_versions_is_left_out_with_both_in_the_log(start, monkeypatch, caplog):
    monkeypatch.setattr("workers.cluster.fleet.versions", lambda: "alphazero 9.9 (abcdef01)")
    monkeypatch.setattr("workers.cluster.supervisor.this_node", lambda: "another machine")
    with caplog.at_level(logging.WARNING, logger="workers.cluster.supervisor"):
        run = start()
        wait_until(lambda: "waiting for one to join" in caplog.text)
    (line,) = [line for line in caplog.messages if "is left out" in line]
    assert "the machine has Ray" in line
    assert line.endswith("but the run has alphazero 9.9 (abcdef01)")
    assert run.supervisor.failure is None


def test_a_driver_whose_own_machine_has_other_sources_now_is_told_so(start, monkeypatch):
    monkeypatch.setattr("workers.cluster.fleet.versions", lambda: "alphazero 9.9 (abcdef01)")
    with pytest.raises(FleetLost, match=r"the machine has Ray .*, but the run has alphazero 9\.9"):
        start().collect_until(lambda: False)


def test_closing_leaves_no_process_behind(start):
    run = start()
    run.collect(games=5)
    node = run.member("node")
    pids = [node.pid, run.member("replay").pid]
    for kind in ("player", "evaluator"):
        pids += node.status["pids"][kind]
    assert len(pids) == 5
    run.fleet.close()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["node", "replay"])
def test_a_stopped_actor_is_detected_and_replaced(start, kind):
    run = start(timeouts=replace(TIMEOUTS, stopped=1.0))
    run.collect(games=30)
    stopped = run.kill(kind, signal.SIGSTOP)
    wait_until(lambda: not psutil.pid_exists(stopped))
    run.member(kind)
    run.collect(games=100)
    run.assert_stored_exactly_once()


@pytest.mark.slow
def test_a_stopped_actor_on_another_machine_is_detected_by_a_task_there(start, monkeypatch):
    monkeypatch.setattr("workers.cluster.supervisor.this_node", lambda: "another machine")
    run = start(timeouts=replace(TIMEOUTS, stopped=1.0))
    run.collect(games=30)
    stopped = run.kill("node", signal.SIGSTOP)
    wait_until(lambda: not psutil.pid_exists(stopped))
