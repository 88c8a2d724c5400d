"""Self-play in several processes of one machine, also while these are killed or stopped."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import node_doubles as doubles
import numpy as np
import psutil
import pytest
from node_doubles import wait_until

import games
from alphazero import wire
from alphazero.config import Config, InferenceSettings, ReplaySettings, SelfPlaySettings
from alphazero.errors import FleetLost
from alphazero.records import states_of
from alphazero.replay import Replay
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from games import solvers
from workers.node.fleet import NodeFleet, Rates, evaluator_on, task_of
from workers.node.node import Node, NodeTimeouts
from workers.node.plan import Machine, Plan, make_plan

GAME = games.make("tic_tac_toe")
CONFIG = Config(
    game=GAME.name,
    search=Gumbel(simulations=8),
    selfplay=SelfPlaySettings(games=8, groups=2),
    inference=InferenceSettings(batch_size=64),
)
pytestmark = pytest.mark.timeout(600)  # processes start slowly beside other tests
PLAN = Plan(players=2, evaluators=2, lanes=1, groups=2, on_gpu=False)
TIMEOUTS = NodeTimeouts(interval=0.05, stopped=1.0, stuck=90.0, max_failures=3)


class Run:
    """A fleet, its replay buffer, and all games that were collected."""

    def __init__(self, directory: Path, make_evaluator=doubles.hashing, plan=PLAN, config=CONFIG):
        self.closed = False
        self.replay = Replay(GAME, directory / "games", ReplaySettings())
        self.records = []
        store = self.replay.store

        def keep(packed):
            self.records += [wire.decode(GAME, game.frame) for game in packed]
            return store(packed)

        self.replay.store = keep
        self.fleet = NodeFleet(config, directory, self.replay, make_evaluator, plan, TIMEOUTS)

    def collect(self, number: int, seconds=240.0):
        """Collect so many more games."""
        enough, deadline = len(self.records) + number, time.monotonic() + seconds
        while len(self.records) < enough:
            assert time.monotonic() < deadline, f"{len(self.records)} games, {self.fleet.stats()}"
            collected = self.fleet.collect()
            assert collected.games == len(collected.versions) == collected.endings.sum()

    def kill(self, kind, how=signal.SIGKILL):
        pid = self.fleet.pids(kind)[0]
        os.kill(pid, how)
        return pid

    def close(self):
        self.fleet.close()
        if not self.closed:
            self.replay.close()
        self.closed = True


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
        run.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    run = Run(tmp_path_factory.mktemp("shared"))
    run.fleet.publish(doubles.weights(0), 0)
    yield run
    run.close()


@pytest.fixture
def run(shared):
    """One fleet for all tests that leave it working."""
    shared.fleet.allow(10**9)
    shared.collect(1)
    return shared


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


def test_the_games_of_all_search_processes_are_whole_and_have_unique_ids(run):
    run.collect(100)
    wait_until(lambda: run.collect(1) or len(incarnations(run.records)) > 1)
    for record in run.records:
        assert_valid(record)
    assert len({record.game_id for record in run.records}) == len(run.records)
    assert run.replay.games == len(run.records)
    # On a busy machine one evaluator serves the first games before the other one has started.
    wait_until(lambda: all(run.fleet.stats()[kind] == 2 for kind in ("players", "evaluators")))


def test_play_holds_at_the_allowance_and_goes_on_above_it(run):
    run.fleet.allow(0)
    wait_until(lambda: not run.fleet.collect().games)
    held = run.replay.positions
    assert not run.fleet.collect().games
    run.fleet.allow(held + 100)
    run.collect(1)
    wait_until(lambda: not run.fleet.collect().games)
    in_flight = PLAN.players * PLAN.groups * CONFIG.selfplay.games
    # At most the games that were in flight, one more of each that ended meanwhile.
    assert held + 100 <= run.replay.positions <= held + 100 + 2 * in_flight * GAME.max_plies


def test_play_holds_while_nothing_is_collected(run):
    run.fleet.allow(0)
    wait_until(lambda: not run.fleet.collect().games)
    run.fleet.allow(run.replay.positions + 50)
    node = run.fleet._node
    wait_until(lambda: node._waiting_positions >= 50)
    wait_until(lambda: node._shared.counters.held)
    in_flight = PLAN.players * PLAN.groups * CONFIG.selfplay.games
    assert node._waiting_positions <= 50 + 2 * in_flight * GAME.max_plies
    run.collect(1)


def test_new_weights_are_used_from_their_publication_on(run):
    version = len(run.records) + 1
    run.fleet.publish(doubles.weights(version), version)
    wait_until(lambda: run.collect(1) or run.records[-1].version == version)
    assert run.fleet.status()["version"] == version


def test_a_killed_search_process_is_replaced_and_no_stored_game_is_lost_or_doubled(run, caplog):
    before, restarts = incarnations(run.records), run.fleet.stats()["restarts"]
    with caplog.at_level(logging.WARNING, logger="workers.node.node"):
        run.kill("player")
        wait_until(lambda: run.collect(1) or incarnations(run.records) - before)
    assert run.fleet.stats()["restarts"] == restarts + 1
    assert caplog.messages == ["search process 0 ended: killed by SIGKILL"]
    assert len({record.game_id for record in run.records}) == len(run.records)


def test_a_killed_evaluator_is_replaced_and_the_searches_go_on(run):
    before = incarnations(run.records)
    evaluations = run.fleet.status()["evaluations"]
    old = run.kill("evaluator")
    wait_until(lambda: run.fleet.pids("evaluator") not in ([], [old]))
    run.collect(60)
    assert incarnations(run.records) <= before  # the search processes continued their games
    assert run.fleet.status()["evaluations"] > evaluations  # those of the old one are still counted


@pytest.mark.parametrize("kind", ["player", "evaluator"])
def test_a_stopped_process_is_detected_and_replaced(run, kind):
    stopped = run.kill(kind, signal.SIGSTOP)
    wait_until(lambda: not psutil.pid_exists(stopped))
    run.collect(60)


def test_an_evaluator_that_dies_in_the_middle_of_a_batch_costs_no_game(start, tmp_path):
    run = start(make_evaluator=doubles.KilledAt(tmp_path / "ends"))
    run.collect(100)
    assert run.fleet.stats()["restarts"] == 1
    for record in run.records:
        assert_valid(record)


def test_requests_larger_than_a_slot_are_sent_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("alphazero.memory.MOST_POSITIONS", 3)
    run = Run(tmp_path)
    run.fleet.publish(doubles.weights(0), 0)
    run.collect(30)
    for record in run.records:
        assert_valid(record)
    run.close()


def test_an_evaluator_that_fails_ends_the_run_with_its_error(start):
    run = start(make_evaluator=doubles.failing_at_once)
    line = r"evaluator \d failed: weights version 0 give values that are not finite"
    with pytest.raises(FleetLost, match=line) as failure:
        run.collect(1)
    assert "\n" not in str(failure.value)
    with pytest.raises(FleetLost, match="not finite"):
        run.fleet.publish(doubles.weights(1), 1)


def test_an_evaluator_that_fails_later_ends_the_run_although_games_were_finished(start):
    run = start(make_evaluator=doubles.failing_later)
    run.collect(1)
    run.fleet.publish(doubles.weights(1), 1)
    with pytest.raises(FleetLost, match="not finite"):
        run.collect(10**9)
    assert run.records


def test_an_evaluator_that_cannot_start_ends_the_run_with_its_error(start):
    run = start(make_evaluator=doubles.broken)
    line = r"evaluator \d failed: ValueError: no such device: cuda:7 \(node_doubles.py, line \d+\)"
    with pytest.raises(FleetLost, match=line):
        run.collect(1)


def test_games_that_finished_and_were_not_collected_are_stored_at_the_end(start):
    run = start()
    node = run.fleet._node
    wait_until(lambda: node.status()["games"] >= 20)
    run.fleet.close()
    assert run.replay.games == node.status()["games"]


def node(make_groups) -> Node:
    task = task_of(CONFIG, PLAN, doubles.hashing)
    task = task._replace(playing=task.playing._replace(make_groups=make_groups))
    return Node(PLAN, task, iter(range(1, 100)), TIMEOUTS, report=lambda line: None)


def played(started: Node) -> str:
    started.publish(doubles.weights(0), 0)
    wait_until(lambda: started.failure)
    started.close()
    return started.failure


def test_a_game_that_raises_ends_the_node_with_the_error_and_its_place_in_one_line():
    failure = played(node(partial(doubles.raising_groups, PLAN.groups)))
    line = "failed: IndexError: list index out of range (node_doubles.py, line "
    assert failure.startswith("search process")
    assert line in failure


def test_processes_that_end_in_the_same_moment_are_one_failure(start):
    run = start(plan=PLAN._replace(players=4))
    run.collect(20)
    wait_until(lambda: run.fleet.stats()["players"] == 4)
    for pid in run.fleet.pids("player"):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: run.fleet.status()["restarts"] == 4)
    run.collect(20)


def test_processes_that_are_killed_again_and_again_before_a_game_is_finished_end_the_node():
    failure = played(node(partial(doubles.always_killed, CONFIG, 2)))
    assert failure.startswith("3 failures without a finished game between them, the last one: ")
    assert failure.endswith("ended: killed by SIGKILL")


def test_closing_leaves_no_process_behind_also_of_stopped_ones(start):
    run = start()
    run.collect(5)
    pids = run.fleet.pids("player") + run.fleet.pids("evaluator")
    os.kill(pids[0], signal.SIGSTOP)
    run.close()
    assert not any(psutil.pid_exists(pid) for pid in pids)


SCRIPT = """
import sys
from pathlib import Path
from test_node_fleet import Run, doubles
run = Run(Path(sys.argv[1]))
run.fleet.publish(doubles.weights(0), 0)
run.collect(3)
print(*run.fleet.pids("player"), *run.fleet.pids("evaluator"), flush=True)
run.collect(10**9, 600)
"""


def test_all_processes_end_within_seconds_after_their_parent_was_killed(tmp_path):
    paths = [str(Path(__file__).parent), *sys.path]
    with subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{SCRIPT}", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as driver:
        assert driver.stdout
        pids = [int(pid) for pid in driver.stdout.readline().split()]
        assert len(pids) == 4
        driver.kill()
    wait_until(lambda: not any(psutil.pid_exists(pid) for pid in pids), seconds=10)


def test_a_resumed_run_gives_its_games_new_ids(start):
    first = start()
    first.collect(10)
    state = first.fleet.state()
    first.close()
    again = start()
    again.fleet.restore(state)
    again.collect(10)
    assert not incarnations(first.records) & incarnations(again.records)


def planned(cpus, gpus=0, processes="auto", learns=True, **inference):
    config = Config(
        game="tic_tac_toe",
        selfplay=SelfPlaySettings(processes=processes),
        inference=InferenceSettings(**inference),
    )
    return make_plan(config, Machine(cpus, gpus), learns)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        ({"cpus": 1}, (1, 1, 1, 2)),
        ({"cpus": 2}, (1, 2, 1, 3)),
        ({"cpus": 16}, (8, 16, 1, 3)),
        ({"cpus": 16, "processes": 1}, (1, 16, 1, 8)),  # more groups are no faster
        ({"cpus": 16, "gpus": 1}, (14, 1, 2, 2)),
        ({"cpus": 16, "gpus": 2, "learns": False}, (14, 2, 2, 2)),
        ({"cpus": 16, "gpus": 1, "device": "cpu"}, (8, 16, 1, 3)),
        ({"cpus": 2, "gpus": 2}, (1, 2, 2, 5)),
    ],
)
def test_the_plan_fits_the_machine(machine, expected):
    plan = planned(**machine)
    assert (plan.players, plan.evaluators, plan.lanes, plan.groups) == expected
    assert plan.on_gpu == (machine.get("gpus", 0) > 0 and machine.get("device") != "cpu")


@pytest.mark.parametrize(
    ("on_gpu", "device", "expected"),
    [
        (True, "auto", "cuda:3"),
        (True, "cuda", "cuda:3"),
        (True, "cuda:1", "cuda:1"),
        (False, "auto", "cpu"),
        (False, "cpu", "cpu"),
    ],
)
def test_each_evaluator_has_a_gpu_of_its_own(on_gpu, device, expected):
    config = replace(CONFIG, inference=InferenceSettings(device=device))
    made = evaluator_on(lambda config: config.inference.device, config, on_gpu, 3)
    assert made == expected


def test_a_node_whose_numbers_are_used_up_ends_with_a_line():
    started = Node(PLAN, task_of(CONFIG, PLAN, doubles.hashing), iter([7]), TIMEOUTS)
    assert played(started) == "its search processes have used up their numbers"
    assert not started.raised


def test_a_slot_holds_the_largest_request_of_a_group():
    config = Config(game=GAME.name, search=PUCT(simulations=8, leaves=4), selfplay=CONFIG.selfplay)
    assert task_of(config, PLAN, doubles.hashing).capacity == 4 * CONFIG.selfplay.games


def test_rates_are_those_of_the_last_second_or_more(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("workers.node.fleet.time.monotonic", lambda: now[0])
    rates = Rates()
    now[0] += 2.0
    counts = {"evaluations": 40, "room": 80, "busy_seconds": 3.0}
    expected = {"evaluations_per_second": 20.0, "batch_fill": 0.5, "busy": 0.75}
    assert rates.update(counts, lanes=2) == expected
    now[0] += 0.5
    assert rates.update({name: 2 * value for name, value in counts.items()}, lanes=2) == expected
