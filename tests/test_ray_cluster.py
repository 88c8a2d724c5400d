"""A cluster as its users see it: its test before a run, and machines that join and leave."""

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import made_up_machines
import pytest

from workers import cli
from workers.cluster import machines


@pytest.fixture
def check(ray_session, capsys):
    """Runs the test of the cluster; returns the exit status and the results by test."""
    address = ray_session.get_runtime_context().gcs_address

    def run(*options):
        status = cli.main(["cluster", "check", address, "--json", "-", *options])
        result = json.loads(capsys.readouterr().out)
        return status, result["tests"]

    return run


def test_a_good_cluster_passes_every_test_with_the_facts_of_each_machine(check):
    status, tests = check("--game", "tic_tac_toe")
    assert status == 0
    assert [test["passed"] for test in tests] == [True] * 3
    assert tests[1]["result"] == "1 with a core"
    assert "8 cores, 0 GPUs" in tests[2]["result"]
    assert "clock" in tests[2]["result"]


def test_a_game_that_a_machine_cannot_import_fails_the_test_of_the_machine(check):
    status, tests = check("--game", "nowhere_to_be_found:Game")
    assert status == 1
    assert [test["passed"] for test in tests] == [True, True, False]
    assert "nowhere_to_be_found" in tests[2]["result"]


def test_too_little_shared_memory_fails_with_the_way_to_have_more(check, monkeypatch):
    monkeypatch.setattr(machines, "LEAST_SHARED_MEMORY", 2**60)
    status, tests = check()
    assert status == 1
    assert "--shm-size" in tests[2]["result"]


def test_each_machine_with_other_versions_fails_and_the_others_are_reported_too(
    ray_session, monkeypatch
):
    (node,) = machines.list_nodes(ray_session.nodes())
    monkeypatch.setattr(machines, "versions", lambda: "Ray 2.9.1, Python 3.9.7, alphazero 1")
    results = machines.examine([node, node._replace(id="ab" * 28), node], print)
    assert [passed for passed, _ in results] == [False] * 3
    assert results[0] == results[2]
    assert results[0][1].endswith("but this process has Ray 2.9.1, Python 3.9.7, alphazero 1")
    assert results[0][1].startswith(f"it has Ray {ray_session.__version__}, Python ")
    assert "it has" not in results[1][1]


def test_all_machines_are_examined_within_one_deadline(ray_session):
    (node,) = machines.list_nodes(ray_session.nodes())
    slow = partial(time.sleep, 5.0)
    results = machines.examine([node] * 3, slow, seconds=0.0)
    assert results[2] == (False, "no answer within 0 s")
    assert all(passed for passed, _ in machines.examine([node] * 3, print))


def test_an_address_where_nothing_listens_is_one_failed_test(capsys, monkeypatch, no_ray):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    status = cli.main(["cluster", "check", "127.0.0.1:9", "--json", "-"])
    (test,) = json.loads(capsys.readouterr().out)["tests"]
    assert status == 1
    assert "no connection is accepted there" in test["result"]


def run_benchmark(name, *options):
    """The output of a script that disturbs a run on made-up machines."""
    if reason := made_up_machines.missing():
        pytest.skip(f"no made-up machines: {reason}")
    script = Path(__file__).parent / "benchmarks" / name
    ended = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("join", "nodes 2"),
        ("power_cut", "is lost"),
        ("head", "gcs_server"),
        ("empty_cluster", "waiting for one to join"),
        ("other_version", "is left out"),
        ("missing_module", "ray job submit"),
    ],
)
def test_a_fault_of_a_machine_loses_no_acknowledged_game(event, line):
    *_, row = run_benchmark("cluster_faults.py", "--only", event).splitlines()
    _, name, times, _, _, lost, read, _ = row.split("|")
    assert (name.strip(), int(times), int(lost)) == (event, 1, 0)
    assert line in read


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_outlives_its_cluster_and_goes_on_elsewhere_without_a_gap():
    printed = run_benchmark("cluster_life.py")
    assert "resumed on a new cluster until its end" in printed
    assert "steps without a gap" in printed
    assert "all ids differ, all are stored" in printed
