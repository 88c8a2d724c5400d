"""Benchmarks of self-play in processes, on Ray and without, at a small size; their arithmetic."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from random_positions import positions

import games
from alphazero.config import Config, ReplaySettings, load
from alphazero.errors import RunFailed
from alphazero.packing import Packing
from alphazero.replay import Replay
from workers import bench, cli
from workers.bench import fleet, processes, selfplay, synthetic, transport
from workers.bench.measuring import TURNS, BenchSettings
from workers.bench.synthetic import CountingStore, SleepingEvaluator, play_games
from workers.node.plan import Plan

GAME = games.make("connect_four")
SMALL = ["config=tic_tac_toe", "games=4", "simulations=4", "blocks=1", "channels=8"]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def one_of_each(config, machine, learns=True):
    """A small plan; that of the Ray session's eight cores would start a dozen processes."""
    return Plan(1, 1, 1, 2, False)


def check_self_play(figures):
    assert (figures["search_processes"], figures["evaluators"]) == (1, 1)
    share = figures["evaluations_per_second"] / figures["ceiling_evaluations_per_second"]
    assert figures["fraction_of_ceiling"] == pytest.approx(share)
    assert figures["simulations_per_second"] == pytest.approx(4 * figures["positions_per_second"])
    # A finished game needs no evaluation, nor does a position in the cache.
    assert 0 < figures["evaluations_per_second"] < figures["simulations_per_second"]
    # Two groups of four games each, whose requests an evaluator may join.
    assert 0 < figures["mean_batch"] <= 8


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_self_play_on_ray_is_compared_with_the_network_alone(monkeypatch):
    monkeypatch.setattr(selfplay, "make_plan", one_of_each)
    figures = bench.run("selfplay", [*SMALL, "ray=local", "seconds=0.3", "threads=1"])
    assert figures["ray"] == "local"
    check_self_play(figures)


def test_self_play_in_processes_of_this_machine_is_measured_like_that_on_ray(monkeypatch):
    monkeypatch.setattr(selfplay, "make_plan", one_of_each)
    options = ["ray=off", "selfplay.processes=1", "seconds=0.3", "threads=1"]
    figures = bench.run("selfplay", [*SMALL, *options])
    assert figures["ray"] == "off"
    check_self_play(figures)


class Pausing:
    """A fleet whose moves in progress need two more batches after play is held."""

    def __init__(self):
        self.left, self.evaluated = 0.0, 0

    def allow(self, positions):
        self.left = 2 if positions == 0 else math.inf

    def collect(self):
        if self.left:
            self.left -= 1
            self.evaluated += 4

    def fetch_statuses(self):
        counted = {"moves": 1, "batches": 1, "players": 1, "evaluators": 1}
        return [("replay", {}), ("node", counted | {"evaluations": self.evaluated})]


def test_play_has_ended_before_the_network_alone_is_measured():
    fleet = Pausing()
    playing = selfplay._Playing(fleet, quiet=0.0)
    with playing.turn():
        assert playing.evaluations(0) == 4
    assert fleet.left == 0
    at_the_end = fleet.evaluated
    fleet.collect()
    assert fleet.evaluated == at_the_end


@pytest.fixture(scope="module")
def figures(ray_session):
    options = ["max_players=3", "seconds=0.3", "latency_ms=1"]
    return bench.run("fleet", [*SMALL, *options])


@linux
def test_the_topology_is_measured_with_one_search_process_and_with_two(figures):
    rows = figures["by_search_processes"]
    assert [row["search_processes"] for row in rows] == [1, 2]
    used = rows[-1]["cpu"]["search_processes"] + rows[-1]["cpu"]["evaluator"]
    per_evaluation = used / rows[-1]["evaluations_per_second"]
    extrapolated = figures["cores_for_2_million_evaluations_per_second"]
    assert extrapolated == pytest.approx(2e6 * per_evaluation)


@linux
def test_sizes_of_requests_and_batches_follow_from_the_counts(figures):
    for row in figures["by_search_processes"]:
        counted = row["counted"]
        assert 0 < counted["batches"] <= counted["requests"] <= counted["evaluations"]
        assert row["mean_batch"] == pytest.approx(counted["evaluations"] / counted["batches"])
        assert row["mean_request"] <= 4  # the games of a group


@linux
def test_every_kind_of_process_has_positive_figures(figures):
    for row in figures["by_search_processes"]:
        assert set(row["cpu"]) == {"driver", "search_processes", "evaluator"}
        assert row["cpu"]["search_processes"] > 0
        assert row["microseconds_per_request"]["search_processes"] > 0
        assert 0 < row["device_busy"] <= 1
        assert row["search_process_megabytes"] > 10


@linux
def test_replay_actor_and_driver_have_positive_rates_by_themselves(figures):
    for process in ("replay_alone", "driver_alone"):
        assert all(figure > 0 for row in figures[process] for figure in row.values())


@linux
def test_without_ray_its_actors_are_left_out_and_the_reason_is_said(monkeypatch):
    monkeypatch.setattr(fleet.importlib.util, "find_spec", lambda name: None)
    settings = BenchSettings()
    single = fleet._single(Config(game=GAME.name), settings, report=lambda line: None)
    assert single == {
        "replay_alone": "the replay actor needs Ray: run python -m pip install --editable "
        "'.[cluster]' in the source folder"
    }


@linux
@pytest.mark.usefixtures("ray_session")
def test_slots_and_calls_of_ray_carry_the_same_requests():
    options = ["seconds=1", "batch=16", "callers=2", "in_flight=2"]
    figures = bench.run("transport", [*SMALL, *options])
    slots, ray = figures["ways"]
    assert (slots["way"], ray["way"]) == ("slots", "ray")
    rates = slots["requests_per_second"], ray["requests_per_second"]
    assert figures["ratio"] == pytest.approx(rates[0] / rates[1])
    for way in (slots, ray):
        assert way["evaluations_per_second"] == pytest.approx(16 * way["requests_per_second"])
        assert way["caller_microseconds_per_request"] > 0
        assert 0 < way["latency_microseconds"] <= way["latency_99th_percentile"]
        # Little's law: the requests under way are rate times mean latency, four at most.
        assert way["requests_per_second"] * way["latency_microseconds"] / 1e6 < 8


@linux
def test_without_ray_the_slots_are_measured_alone(monkeypatch):
    monkeypatch.setattr(transport.importlib.util, "find_spec", lambda name: None)
    options = ["seconds=0.3", "batch=16", "callers=1", "in_flight=2"]
    figures = bench.run("transport", [*SMALL, *options])
    assert [row["way"] for row in figures["ways"]] == ["slots"]
    assert figures["ray"].startswith("its calls need Ray: run python -m pip install")
    assert "ratio" not in figures


def test_rates_of_callers_that_work_at_the_same_time_are_added_up():
    # Two callers and TURNS turns of 2 seconds: 10 requests per second each.
    calls = [transport.Calls(2.0, 0.5, np.full(20, 0.1, np.float32))] * (2 * TURNS)
    row = transport.figures("slots", calls, evaluator_cpu=0.8, positions=16)
    assert row["requests_per_second"] == pytest.approx(20)
    assert row["evaluations_per_second"] == pytest.approx(320)
    assert row["caller_microseconds_per_request"] == pytest.approx(1e6 * 0.5 / 20)
    assert row["evaluator_microseconds_per_request"] == pytest.approx(1e6 * 0.8 / 160)
    assert row["latency_microseconds"] == pytest.approx(1e5)


@linux
def test_a_calling_process_that_ends_is_reported_and_not_waited_for():
    config = load("tic_tac_toe", [])
    slots = transport.SlotCalls(config, BenchSettings(batch=4, callers=1, in_flight=1))
    with closing(slots):
        slots.start()
        os.kill(slots._children[1].pid, signal.SIGKILL)
        with pytest.raises(RunFailed, match="a process of the measurement ended: killed by SIG"):
            slots.turn(0.1)


def test_the_fullest_part_is_named_if_it_is_full():
    assert fleet.fullest({"driver": 0.3, "device": 0.95, "cores": 0.9}) == "device"
    assert fleet.fullest({"driver": 0.3, "device": 0.6}) == "none"


def test_growth_is_the_difference_of_two_snapshots():
    before = fleet.Snapshot(10.0, Counter(games=3), Counter(driver=1.5))
    after = fleet.Snapshot(12.5, Counter(games=7, moves=2), Counter(driver=2.0))
    grown = fleet.growth(before, after)
    assert grown.seconds == 2.5
    assert grown.counted == {"games": 4, "moves": 2}
    assert grown.cpu == {"driver": 0.5}


def test_figures_of_a_row_equal_those_computed_by_hand():
    counted = Counter(requests=200, evaluations=6000, batches=100, moves=10, games=4)
    cpu = Counter(driver=0.1, search_processes=1.0, evaluator=0.4)
    plan = Plan(2, 1, 2, 3, True)
    row = fleet.figures(plan, fleet.Growth(2.0, counted, cpu), latency=0.018)
    assert row["evaluations_per_second"] == 3000
    assert (row["mean_request"], row["mean_batch"]) == (30, 60)
    assert row["device_busy"] == pytest.approx(0.9)
    assert row["full"] == "device"
    assert row["cpu"] == pytest.approx({"driver": 0.05, "search_processes": 0.5, "evaluator": 0.2})
    assert row["microseconds_per_request"] == pytest.approx(
        {"search_processes": 5000, "evaluator": 2000}
    )
    assert row["use"]["search_processes"] == pytest.approx(0.25)  # of two cores
    assert fleet.cores_for(2e6, row) == pytest.approx(2e6 * 0.7 / 3000)


def test_the_simulated_device_has_two_lanes_and_the_search_processes_that_are_wanted():
    config = load("tic_tac_toe", ["inference.device=cpu"])
    for players in (1, 4):
        plan = fleet.device_plan(config, players)
        assert (plan.players, plan.evaluators, plan.lanes) == (players, 1, 2)
        # Every lane can evaluate a group while every search process has one to advance.
        assert plan.players * plan.groups >= plan.lanes + plan.players


def test_the_simulated_device_computes_one_batch_at_a_time_in_the_order_of_the_calls(monkeypatch):
    now, waits = [5.0], []
    monkeypatch.setattr(synthetic.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(synthetic.time, "sleep", waits.append)
    evaluate, states = SleepingEvaluator(Config(game=GAME.name), 0.25), positions(GAME, 4, seed=0)
    for now[0] in (5.0, 5.0, 5.125, 9.0):
        evaluate(states)
    # They end at 5.25, 5.5, 5.75 and 9.25.
    assert waits == [0.25, 0.5, 0.625, 0.25]


@linux
def test_cpu_time_equals_that_reported_by_the_process_itself():
    sum(range(3_000_000))
    assert processes.cpu_seconds([os.getpid()]) == pytest.approx(time.process_time(), abs=0.1)
    assert processes.cpu_seconds([2**22 + 1]) == 0.0  # above the largest id


@linux
def test_the_process_tree_is_this_process_its_children_and_their_children():
    shell = subprocess.Popen(["sh", "-c", "sleep 60; true"])
    try:
        while not (Path("/proc") / str(shell.pid) / "task").exists():
            time.sleep(0.01)
        children = Path(f"/proc/{shell.pid}/task/{shell.pid}/children")
        while not children.read_text():
            time.sleep(0.01)
        grandchild = int(children.read_text())
        assert {os.getpid(), shell.pid, grandchild} <= set(processes.process_tree())
        assert os.getppid() not in processes.process_tree()
    finally:
        os.kill(grandchild, 9)
        shell.wait()


def test_the_synthetic_network_gives_a_position_always_the_same_answer():
    evaluate = SleepingEvaluator(Config(game=GAME.name), 0)
    evaluate.load({}, 3)
    states = positions(GAME, 50, seed=0)
    together = evaluate(states)
    assert together.version == 3
    assert together.logits.shape == (50, GAME.num_actions)
    assert np.abs(together.value).max() <= 1
    assert len(np.unique(together.value)) > 10
    for row in range(0, 50, 7):
        single = evaluate(states[row : row + 1])
        np.testing.assert_array_equal(single.logits[0], together.logits[row])
        assert single.value[0] == together.value[row]


def test_the_counting_store_counts_what_a_replay_buffer_stores(tmp_path):
    records, store = play_games(GAME, 20), CountingStore()
    replay = Replay(GAME, tmp_path, ReplaySettings())
    pack = Packing(GAME, ReplaySettings())
    for part in (records[:7], [], records[7:12]):
        assert store.extend(part) == replay.extend(part)
        assert (store.games, store.positions) == (replay.games, replay.positions)
    assert store.store(map(pack, records[12:])) == replay.store(map(pack, records[12:])) == 8
    assert (store.games, store.positions) == (replay.games, replay.positions)


def test_synthetic_games_have_distinct_ids():
    records = play_games(GAME, 70)
    assert len({record.game_id for record in records}) == 70


@pytest.mark.parametrize("module", ["workers.bench.synthetic", "workers.node.player"])
def test_search_processes_and_synthetic_evaluators_need_no_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "False"


def test_figures_for_several_numbers_of_processes_are_printed_side_by_side(monkeypatch, capsys):
    def row(processes, rate):
        return {
            "search_processes": processes,
            "games_per_second": rate,
            "cpu": {"driver": rate / 1e5},
            "counted": {"games": 1},
        }

    rows = [row(1, 12345.0), row(64, 99.6)]
    result = {"cores": 2, "by_search_processes": rows}
    monkeypatch.setattr(bench, "run", lambda what, options: result)
    assert cli.main(["bench", "fleet"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["search", "processes", "1", "64"] in lines
    assert ["games/s", "12k", "100"] in lines
    assert ["driver", "0.12", "0.00"] in lines
    assert not [line for line in lines if "counted" in line]
    assert cli.main(["bench", "fleet", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == result
