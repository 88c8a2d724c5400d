"""The fleet on a real Ray, and its behaviour when its processes are killed or stopped."""

import itertools
import logging
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import games
from alphazero import wire
from alphazero.config import Config, InferenceSettings, SelfPlaySettings
from alphazero.errors import FleetLost
from alphazero.protocols import Collected
from alphazero.records import states_of
from alphazero.search.gumbel import Gumbel
from alphazero.types import Evaluation
from games import solvers
from workers.cluster.fleet import RayFleet
from workers.cluster.members import Timeouts

GAME = games.make("tic_tac_toe")
CONFIG = Config(
    game=GAME.name,
    search=Gumbel(simulations=8),
    selfplay=SelfPlaySettings(games=8, groups=2, workers=2),
    inference=InferenceSettings(batch_size=64),
)
TIMEOUTS = Timeouts(interval=0.1, ping=90.0, start=90.0, stall=120.0, max_failures=4)
pytestmark = pytest.mark.usefixtures("ray_session", "_pickled_by_value")


class Hashing:
    """An evaluator without torch: values and logits are a hash of the state and the weights."""

    def __init__(self, num_actions):
        self.num_actions = num_actions
        self.loaded = (0, -1)

    def load(self, weights, version):
        self.loaded = int(weights["salt"]), version

    def __call__(self, states):
        salt, version = self.loaded
        rows = np.frombuffer(states.tobytes(), np.uint8).reshape(len(states), -1)
        mixed = np.sin((rows * np.arange(1, rows.shape[1] + 1)).sum(1) + salt)
        logits = np.sin(mixed[:, None] * np.arange(1, self.num_actions + 1))
        return Evaluation(logits.astype(np.float32), mixed.astype(np.float32), version)


def hashing(config):
    return Hashing(games.make(config.game).num_actions)


@pytest.fixture(scope="module")
def _pickled_by_value():
    """The actors cannot import this file."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def weights(salt: int) -> dict:
    return {"salt": np.array(salt)}


def wait_until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)


class Run:
    """A fleet and all that was collected from it."""

    def __init__(self, directory: Path, config=CONFIG, make_evaluator=hashing, timeouts=TIMEOUTS):
        self.directory = directory
        self.fleet = RayFleet(config, directory, "local", make_evaluator, timeouts)
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

    def collect_until(self, enough, seconds=60.0) -> list[Collected]:
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

    def members(self, kind):
        """The actors of a kind, once all have answered."""
        members = [m for m in self.fleet._supervisor.members if m.kind == kind]
        wait_until(lambda: all(m.alive for m in members))
        return members

    def kill(self, kind):
        os.kill(self.members(kind)[0].pid, signal.SIGKILL)

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


def assert_valid(record):
    """The moves lead through the recorded states to the outcome, or to a proven position."""
    state, states = GAME.initial(1), states_of(record.rows)
    for t, action in enumerate(record.actions):
        assert record.rows["state"][t].tobytes() == state[0].tobytes()
        assert GAME.legal(state)[0, action]
        state = GAME.step(state, np.array([action]))
    last = GAME.outcome(state)[0]
    if np.isnan(last):  # the search had proven it before the last move
        mover = GAME.to_move(states[-1:]) == GAME.to_move(state)
        last = np.where(mover, 1, -1) * solvers.scores(GAME, states[-1:])[0]
    same = GAME.to_move(states) == GAME.to_move(state)
    np.testing.assert_array_equal(record.rows["outcome"], np.where(same, last, -last))
    weights = record.rows["policy_weight"].astype(np.float32)
    np.testing.assert_allclose(weights.sum(1), 1, atol=0.01)


@pytest.fixture(scope="module")
def shared(ray_session, _pickled_by_value, tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("shared"))
    yield run
    run.fleet.close()


@pytest.fixture
def run(shared):
    """One fleet for all tests that leave it working; it plays on with new weights."""
    shared.fleet.allow(10**9)
    version = shared.games
    shared.fleet.publish(weights(version), version)
    shared.collect(1)
    shared.collect_until(lambda: version in shared.collected[-1].versions)
    return shared


@pytest.fixture
def start(tmp_path):
    """A function that starts runs for one test, which end with the test."""
    runs = []

    def start_one(**settings) -> Run:
        runs.append(Run(tmp_path, **settings))
        runs[-1].fleet.publish(weights(0), 0)
        return runs[-1]

    yield start_one
    for run in runs:
        run.fleet.close()


def test_games_are_whole_stored_and_collected_once(run):
    first = run.games
    run.collect_until(lambda: run.games >= first + 100 and len(incarnations(run.records())) > 1)
    for record in run.records():
        assert_valid(record)
    stats = run.fleet.stats()
    assert (stats["workers"], stats["servers"]) == (2, 1)
    run.assert_stored_exactly_once()


def test_self_play_holds_at_the_allowance_and_goes_on_above_it(run):
    run.fleet.allow(0)
    run.settle()
    allowance = run.fleet.replay.positions + 300
    run.fleet.allow(allowance)
    run.collect_until(lambda: run.fleet.replay.positions >= allowance)
    run.settle()
    held = run.fleet.replay.positions
    # At most the games that were in flight, and those that a worker had not delivered yet.
    games_in_flight = 2 * run.fleet.plan.groups * CONFIG.selfplay.games
    assert held <= allowance + 2 * games_in_flight * GAME.max_plies
    run.fleet.allow(held + 100)
    run.collect_until(lambda: run.fleet.replay.positions >= held + 100)


def test_a_killed_worker_is_replaced_and_no_stored_game_is_lost_or_duplicated(run, caplog):
    before, restarts = incarnations(run.records()), run.fleet.stats()["restarts"]
    with caplog.at_level(logging.WARNING, logger="workers.cluster.supervisor"):
        run.kill("worker")
        run.collect_until(lambda: incarnations(run.records()) - before)
    assert run.fleet.stats()["restarts"] == restarts + 1
    assert caplog.messages[0].startswith("self-play worker 0 died")
    assert "\n" not in caplog.messages[0]
    run.assert_stored_exactly_once()


def test_a_restarted_server_gets_the_newest_weights_and_the_games_go_on(run):
    before, newest = incarnations(run.records()), run.games + 1
    run.members("server")
    run.fleet.publish(weights(newest), newest)
    run.kill("server")
    run.collect_until(lambda: sum((c.versions == newest).sum() for c in run.collected) > 50)
    assert incarnations(run.records()) == before  # the workers continued their games
    run.assert_stored_exactly_once()


def test_a_restarted_replay_actor_has_all_acknowledged_games(run):
    before = incarnations(run.records())
    run.kill("replay")
    run.collect(games=100)
    assert incarnations(run.records()) == before  # the workers were not restarted
    run.assert_stored_exactly_once()


def test_every_server_uses_the_published_weights_also_after_a_restart(ray_session, start):
    settings = InferenceSettings(servers=2, batch_size=64)
    selfplay = SelfPlaySettings(games=8, groups=2, workers=1)
    run = start(config=replace(CONFIG, inference=settings, selfplay=selfplay))
    expected, states = Hashing(GAME.num_actions), GAME.initial(3)
    servers = run.members("server")

    def assert_all_answer_with(version):
        expected.load(weights(10 * version), version)
        run.fleet.publish(weights(10 * version), version)
        wait_until(lambda: all(s.status.get("version") == version for s in servers))
        for server in servers:
            answer = ray_session.get(server.actor.evaluate.remote(states), timeout=30)
            assert answer.version == version
            np.testing.assert_array_equal(answer.logits, expected(states).logits)

    assert_all_answer_with(1)
    run.kill("server")
    assert_all_answer_with(2)
    run.collect(games=30)


def test_a_resumed_run_gives_its_games_new_ids(start):
    first = start()
    first.collect(games=10)
    state = {"fleet": first.fleet.state(), "replay": first.fleet.replay.state()}
    first.fleet.close()
    again = start()
    stored = again.fleet.replay.games
    assert stored >= 10
    again.fleet.replay.restore(state["replay"], truncate=False)
    again.fleet.restore(state["fleet"])
    again.collect(games=10)
    assert incarnations(again.stored()[stored:]) <= {3, 4}
    assert again.fleet.replay.games >= stored + again.games


def test_an_evaluator_that_always_fails_ends_the_run_with_its_error(start):
    def failing(config):
        class Failing(Hashing):
            def __call__(self, states):
                raise ValueError("weights version 0 give values that are not finite")

        return Failing(9)

    run = start(make_evaluator=failing)
    with pytest.raises(RuntimeError, match="not finite") as failure:
        run.collect_until(lambda: False)
    assert "\n" not in str(failure.value)
    with pytest.raises(RuntimeError, match="not finite"):
        run.fleet.publish(weights(1), 1)


def test_an_evaluator_that_fails_now_and_then_ends_the_run_however_many_games_are_finished(start):
    def failing(config):
        class Failing(Hashing):
            calls = 0

            def __call__(self, states):
                self.calls += 1
                if self.calls % 400 == 0:
                    raise ValueError("values that are not finite")
                return super().__call__(states)

        return Failing(9)

    run = start(make_evaluator=failing)
    with pytest.raises(FleetLost, match=r"self-play worker \d failed: ValueError: values that are"):
        run.collect_until(lambda: False)
    assert run.games > 0


def test_a_server_that_cannot_start_ends_the_run_with_its_error(start):
    def broken(config):
        raise ValueError("no such device: cuda:7")

    with pytest.raises(RuntimeError, match=r"inference server 0 cannot run.*cuda:7"):
        start(make_evaluator=broken).collect_until(lambda: False)


def test_closing_leaves_no_process_behind(start):
    run = start()
    run.collect(games=5)
    pids = [m.pid for kind in ("replay", "server", "worker") for m in run.members(kind)]
    run.fleet.close()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["worker", "server", "replay"])
def test_a_stopped_actor_is_detected_and_replaced(start, kind):
    run = start(timeouts=replace(TIMEOUTS, stopped=1.0))
    run.collect(games=30)
    stopped = run.members(kind)[0].pid
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: not psutil.pid_exists(stopped))
    run.members(kind)
    run.collect(games=100)
    run.assert_stored_exactly_once()


@pytest.mark.slow
def test_a_stopped_actor_on_another_node_is_detected_by_a_task_there(start):
    run = start(timeouts=replace(TIMEOUTS, stopped=1.0))
    run.collect(games=30)
    run.fleet._supervisor._node = "the node of another driver"
    stopped = run.members("worker")[0].pid
    os.kill(stopped, signal.SIGSTOP)
    wait_until(lambda: not psutil.pid_exists(stopped))


@pytest.mark.slow
def test_closing_ends_a_stopped_process_too(start):
    run = start()
    run.collect(games=5)
    stopped = run.members("worker")[0].pid
    os.kill(stopped, signal.SIGSTOP)
    run.fleet.close()
    wait_until(lambda: not psutil.pid_exists(stopped))
