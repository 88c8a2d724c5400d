"""Benchmarks of the whole Ray topology, at a small size, and their arithmetic."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from random_positions import positions

import games
from alphazero.config import Config, ReplaySettings
from alphazero.protocols import count_game, summarize
from alphazero.records import states_of
from alphazero.replay import Replay
from workers import bench, cli
from workers.bench import fleet, processes
from workers.bench.synthetic import CountingStore, SleepingEvaluator, play_games

GAME = games.make("connect_four")
SMALL = ["config=tic_tac_toe", "games=4", "simulations=4", "blocks=1", "channels=8"]


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


@pytest.mark.usefixtures("ray_session")
def test_self_play_on_ray_is_compared_with_the_network_alone():
    figures = bench.run(
        "selfplay", [*SMALL, "ray=local", "seconds=0.4", "threads=1", "selfplay.workers=1"]
    )
    assert figures["ray"] == "local"
    assert (figures["workers"], figures["servers"]) == (1, 1)
    share = figures["evaluations_per_second"] / figures["ceiling_evaluations_per_second"]
    assert figures["fraction_of_ceiling"] == pytest.approx(share)
    assert figures["simulations_per_second"] == pytest.approx(4 * figures["positions_per_second"])
    # A finished game needs no evaluation, nor does a position in the cache.
    assert 0 < figures["evaluations_per_second"] < figures["simulations_per_second"]


@pytest.fixture(scope="module")
def figures(ray_session):
    options = ["max_workers=3", "seconds=0.5", "latency_ms=1"]
    return bench.run("fleet", [*SMALL, *options])


@linux
def test_a_fleet_is_measured_with_one_worker_and_with_two(figures):
    assert [row["workers"] for row in figures["by_workers"]] == [1, 2]
    assert figures["first_bottleneck"] in ("driver", "replay", "server")


@linux
def test_workers_and_servers_count_the_same_evaluations(figures):
    for row in figures["by_workers"]:
        counted, groups = row["counted"], row["workers"] * 2
        # A snapshot takes the counters of the actors at slightly different moments.
        assert abs(counted["evaluated"] - counted["evaluations"]) <= 2 * groups * 4
        assert 0 < counted["batches"] <= counted["requests"]
        assert row["mean_batch"] == pytest.approx(counted["evaluations"] / counted["batches"])
        assert row["mean_request"] <= 4


@linux
def test_every_link_and_every_kind_of_process_has_positive_figures(figures):
    for row in figures["by_workers"]:
        for rates in ("messages_per_second", "bytes_per_second"):
            assert len(row[rates]) == 4
            assert all(figure > 0 for figure in row[rates].values())
        assert set(row["cpu"]) == {"driver", "replay", "server", "worker", "ray"}
        assert row["cpu"]["worker"] > 0
        assert row["worker_megabytes"] > 10


@linux
def test_each_single_process_has_positive_rates(figures):
    for process in ("server_alone", "replay_alone", "driver_alone"):
        assert all(figure > 0 for row in figures[process] for figure in row.values())


def test_bytes_of_games_and_samples_are_those_of_their_arrays(tmp_path):
    record = next(record for record in play_games(GAME, 40) if len(record) == len(record.actions))
    replay = Replay(GAME, tmp_path, ReplaySettings(window_min=50))
    replay.extend([record])
    samples = replay.sample(10, np.random.default_rng(0))
    states = states_of(record.rows)
    counted = Counter(
        evaluations=len(states), positions=2 * len(record), games=2, reads=1,
        example_positions=len(record), samples=1,
    )  # fmt: skip
    sent = fleet.link_bytes(GAME, counted, batch_size=10)
    stored = record.actions.nbytes + record.rows.nbytes
    collected = summarize([count_game(GAME, record)] * 2, record)
    evaluation = SleepingEvaluator(Config(game=GAME.name), 0)(states)
    assert sent == {
        "worker_to_server": states.nbytes,
        "server_to_worker": evaluation.logits.nbytes + evaluation.value.nbytes,
        "worker_to_replay": 2 * stored,
        "replay_to_driver": collected.versions.nbytes + collected.endings.nbytes + stored
        + sum(column.nbytes for column in samples),
    }  # fmt: skip


def test_a_request_and_its_answer_are_one_message_each():
    counted = Counter(requests=5, batches=2, pushes=3, reads=7, samples=11)
    assert fleet.link_messages(counted) == {
        "worker_to_server": 5,
        "server_to_worker": 5,
        "worker_to_replay": 3,
        "replay_to_driver": 18,
    }


def test_the_fullest_part_is_named_if_it_is_full():
    assert fleet.fullest({"driver": 0.3, "device": 0.95, "cores": 0.9}) == "device"
    assert fleet.fullest({"driver": 0.3, "device": 0.6}) == "none"


def test_growth_is_the_difference_of_two_snapshots():
    before = fleet.Snapshot(10.0, Counter(games=3), Counter(driver=1.5), [])
    after = fleet.Snapshot(12.5, Counter(games=7, samples=2), Counter(driver=2.0), [])
    grown = fleet.growth(before, after)
    assert grown.seconds == 2.5
    assert grown.counted == {"games": 4, "samples": 2}
    assert grown.cpu == {"driver": 0.5}


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
    for part in (records[:7], [], records[7:]):
        assert store.extend(part) == replay.extend(part)
        assert (store.games, store.positions) == (replay.games, replay.positions)


def test_synthetic_games_have_distinct_ids():
    records = play_games(GAME, 70)
    assert len({record.game_id for record in records}) == 70


@pytest.mark.parametrize("module", ["workers.bench.synthetic", "workers.cluster.selfplay"])
def test_workers_and_synthetic_servers_need_no_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "False"


def test_figures_for_several_numbers_of_workers_are_printed_side_by_side(monkeypatch, capsys):
    def row(workers, rate):
        return {
            "workers": workers,
            "games_per_second": rate,
            "cpu": {"driver": rate / 1e5},
            "counted": {"games": 1},
        }

    result = {"first_bottleneck": "server", "by_workers": [row(1, 12345.0), row(64, 99.6)]}
    monkeypatch.setattr(bench, "run", lambda what, options: result)
    assert cli.main(["bench", "fleet"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["workers", "1", "64"] in lines
    assert ["games/s", "12k", "100"] in lines
    assert ["driver", "0.12", "0.00"] in lines
    assert not [line for line in lines if "counted" in line]
    assert cli.main(["bench", "fleet", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == result
