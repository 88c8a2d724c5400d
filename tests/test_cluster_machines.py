"""Machines of a cluster: requests for them, those that are drained, and their figures."""

import logging
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from ray.exceptions import RayTaskError
from test_ray_fleet import CONFIG, PLAN, TIMEOUTS, doubles, wait_until

from alphazero import config
from alphazero.cluster_settings import ClusterSettings, NodeLimits
from alphazero.config_checks import check_nodes
from alphazero.config_file import ConfigError
from alphazero.errors import FleetLost
from workers.cluster import machines, node_figures, supervisor
from workers.cluster.answers import traceback_there
from workers.cluster.autoscaler import Demand, bundles
from workers.cluster.fleet import RayFleet
from workers.cluster.machines import ClusterNode
from workers.cluster.members import Member, Timeouts
from workers.cluster.node_figures import FIGURES, NodeFigures
from workers.cluster.progress import Progress
from workers.node.plan import Machine


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["cluster.nodes={min: 3, max: 2}"], "cluster.nodes.min: 3 is more than .*max, 2"),
        (["nodes.min=0"], "cluster.nodes.min: got 0"),
        (["nodes.max=none"], "cluster.nodes.max: got 'none'"),
    ],
)
def test_limits_of_machines_that_make_no_sense_are_refused_by_their_key(overrides, line):
    with pytest.raises(ConfigError, match=line):
        config.load("tic_tac_toe", overrides)


def test_limits_of_machines_are_read_from_their_section():
    loaded = config.load("tic_tac_toe", ["cluster.nodes={min: 2, max: 5}"])
    assert loaded.cluster.nodes == NodeLimits(min=2, max=5)
    assert config.load("tic_tac_toe", []).cluster.nodes == NodeLimits()


def test_limits_of_machines_without_ray_are_reported_and_two_machines_that_are_one_refused():
    assert check_nodes(NodeLimits(min=2), "off") == "cluster.nodes has no effect without Ray"
    assert check_nodes(NodeLimits(), "off") == ""
    assert check_nodes(NodeLimits(min=2), "10.0.0.1:6379") == ""
    assert check_nodes(NodeLimits(min=1, max=3), "local") == ""
    with pytest.raises(ValueError, match=r"cluster\.nodes\.min: 2 machines, but ray=local"):
        check_nodes(NodeLimits(min=2), "local")


def test_the_bundles_of_a_request_fit_no_fewer_machines_than_are_requested():
    large, small = Machine(16, 1), Machine(4, 0)
    four = [{"CPU": 16.0, "GPU": 1.0}] + 3 * [{"CPU": 4.0}]
    assert bundles(4, [small, large], small) == four
    assert bundles(1, [small, large], Machine(1, 0)) == four[:1]
    assert bundles(2, [], Machine(1, 1)) == 2 * [{"CPU": 1.0, "GPU": 1.0}]
    assert bundles(0, [small], Machine(1, 0)) == []


class Autoscaler:
    """Keeps the numbers of machines that were requested."""

    def __init__(self, **limits):
        self.requests = []
        self.demand = Demand(NodeLimits(**limits), send=self.send)

    def send(self, *, bundles):
        self.requests.append(len(bundles))

    def update(self, now, held=False, playing=1):
        self.demand.update(now, held, *[[Machine(4, 0)] * playing] * 2)


def test_the_most_machines_are_requested_once_and_the_fewest_after_a_minute_of_held_play():
    autoscaler = Autoscaler(min=2, max=5)
    for now in (0.0, 1.0, 2.0):
        autoscaler.update(now)
    autoscaler.update(10.0, held=True)
    autoscaler.update(60.0, held=False)  # before a minute was over
    autoscaler.update(70.0, held=True)
    autoscaler.update(129.0, held=True)
    assert autoscaler.requests == [5]
    autoscaler.update(130.0, held=True)
    assert autoscaler.requests == [5, 2]
    autoscaler.update(131.0)
    autoscaler.demand.withdraw()
    assert autoscaler.requests == [5, 2, 5, 0]


def test_a_request_has_the_size_of_a_machine_as_soon_as_one_has_joined():
    sent = []
    demand = Demand(NodeLimits(min=2), send=lambda bundles: sent.append(bundles))
    demand.update(0.0, False, [], [])
    demand.update(1.0, False, [Machine(8, 0)], [Machine(8, 0)])
    assert sent == [2 * [{"CPU": 1.0}], 2 * [{"CPU": 8.0}]]


def test_nothing_is_requested_or_withdrawn_without_limits():
    autoscaler = Autoscaler()
    autoscaler.update(0.0)
    autoscaler.demand.withdraw()
    assert autoscaler.requests == []


def test_an_autoscaler_that_cannot_be_reached_is_a_line_in_the_log(caplog):
    def fail(bundles):
        raise RuntimeError("Ray is not initialized yet")

    with caplog.at_level(logging.WARNING):
        Demand(NodeLimits(min=1), send=fail).update(0.0, False, [], [])
    line = "the autoscaler was not requested for machines: Ray is not initialized yet"
    assert caplog.messages == [line]


def test_the_request_reaches_ray_and_is_withdrawn(ray_session):
    from ray.experimental.internal_kv import _internal_kv_get  # what Ray's autoscaler reads

    demand = Demand(NodeLimits(max=2))
    demand.update(0.0, False, *[[Machine(8, 0)]] * 2)
    assert _internal_kv_get("autoscaler_resource_request") == b'[{"CPU": 8.0}, {"CPU": 8.0}]'
    demand.withdraw()
    assert _internal_kv_get("autoscaler_resource_request") == b"[]"


def node(id_, cpus=4, gpus=0, **more):
    resources = {"CPU": cpus, "GPU": gpus}
    return {"NodeID": id_, "Alive": True, "Resources": resources, "NodeManagerHostname": id_} | more


def test_a_machine_that_is_drained_is_listed_no_more_and_its_time_is_known(monkeypatch):
    monkeypatch.setattr(machines.ray, "nodes", lambda: [node("a"), node("b"), node("c")])
    drained = {"b": 1_030_000, "c": 0}
    monkeypatch.setattr(machines.state, "get_draining_nodes", lambda: drained)
    listed = machines.list_all()
    assert [entry.id for entry in machines.list_nodes(listed)] == ["a"]
    assert machines.draining(listed, now=1000.0) == {"b": 30.0, "c": None}
    assert machines.draining(listed, now=2000.0) == {"b": 0.0, "c": None}


def test_ray_shows_no_draining_machine_where_none_is_drained(ray_session):
    assert machines.draining(machines.list_all(), time.time()) == {}


def test_the_largest_machines_are_used_where_not_all_may_be():
    sizes = {"a": Machine(8, 0), "b": Machine(4, 1), "c": Machine(16, 0)}
    nodes = [ClusterNode(name, name, machine) for name, machine in sizes.items()]
    assert [entry.id for entry in machines.largest(nodes, 2)] == ["b", "c"]
    assert len(machines.largest(nodes, None)) == 3
    assert machines.largest(nodes, -1) == []


class Gauge:
    values: ClassVar[dict] = {}

    def __init__(self, name, description, tag_keys):
        assert description
        assert tag_keys == ("node",)
        self.name = name

    def set(self, value, tags):
        self.values[self.name, tags["node"]] = value


@pytest.fixture
def figures(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(node_figures, "Gauge", Gauge)
    monkeypatch.setattr(node_figures.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Gauge, "values", {})
    return SimpleNamespace(now=now, made=NodeFigures())


def member(id_, host, rate):
    rates = {"evaluations_per_second": rate, "games_per_second": 2.0, "busy": 0.5}
    status = {"rates": rates | {"batch_fill": 0.25}, "waiting_requests": 7, "restarts": 1}
    return Member(f"node {host} ({id_[:6]})", "node", None, id_, status=status)


def test_the_figures_of_a_machine_are_metrics_and_gauges_with_its_name(figures):
    metrics = figures.made.of([member("aaaaaaaa", "gpu1.local", 100.0)])
    assert metrics == {
        "node/gpu1-local/evaluations_per_second": 100.0,
        "node/gpu1-local/games_per_second": 2.0,
        "node/gpu1-local/busy": 0.5,
        "node/gpu1-local/batch_fill": 0.25,
        "node/gpu1-local/waiting_requests": 7.0,
        "node/gpu1-local/restarts": 1.0,
    }
    assert Gauge.values["alphazero_node_evaluations_per_second", "gpu1-local"] == 100.0
    assert len(Gauge.values) == len(FIGURES)


def test_figures_of_machines_come_every_ten_seconds_and_names_are_kept(figures):
    first, second = member("aaaaaaaa", "host", 1.0), member("bbbbbbbb", "host", 2.0)
    figures.made.of([second])
    figures.now[0] += 9.0
    assert figures.made.of([second]) == {}
    figures.now[0] += 1.0
    metrics = figures.made.of([first, second])
    assert metrics["node/host/evaluations_per_second"] == 2.0
    assert metrics["node/host-aaaaaa/evaluations_per_second"] == 1.0


def test_the_gauges_of_a_machine_that_has_gone_become_0(figures):
    figures.made.of([member("aaaaaaaa", "one", 1.0), member("bbbbbbbb", "two", 2.0)])
    figures.now[0] += 10.0
    figures.made.of([member("aaaaaaaa", "one", 1.0)])
    assert Gauge.values["alphazero_node_busy", "two"] == 0.0
    assert Gauge.values["alphazero_node_busy", "one"] == 0.5


def test_ray_accepts_the_gauges(ray_session):
    assert len(NodeFigures().of([member("aaaaaaaa", "one", 1.0)])) == len(FIGURES)


def test_failures_end_a_run_only_in_a_row_and_while_no_node_plays():
    progress = Progress(Timeouts(max_failures=2, stall=100.0))
    progress.fail("one", held=False)
    progress.fail("two", held=True)
    assert progress.problem(0.0, 0, waits=False, playing=False) == ""
    progress.fail("three", held=False)
    assert progress.problem(0.0, 0, waits=False, playing=True) == ""
    line = "2 failures without a finished game between them, the last one: three"
    assert progress.problem(0.0, 0, waits=False, playing=False) == line
    progress.games(5)
    assert progress.problem(0.0, 0, waits=False, playing=False) == ""


def test_a_run_without_progress_ends_unless_it_waits():
    progress = Progress(Timeouts(stall=100.0))
    assert progress.problem(0.0, 10, waits=False, playing=True) == ""
    assert progress.problem(90.0, 10, waits=True, playing=True) == ""
    assert progress.problem(190.0, 10, waits=False, playing=True) == ""
    line = "self-play made no progress for 100 s"
    assert progress.problem(191.0, 10, waits=False, playing=True) == line
    assert progress.problem(192.0, 11, waits=False, playing=True) == ""


def test_the_log_that_ray_prints_at_the_loss_of_a_machine_is_not_in_the_terminal():
    code = (
        "import workers\n"
        "from ray._private.worker import print_to_stdstream\n"
        "lost = 'The node with node id: 1 has been marked dead because\\n\\t(1) it crashes'\n"
        "ended = 'Raylet is terminated. Termination is unexpected.\\nlog'\n"
        "for line in [ended, lost, 'other words']:\n"
        "    data = {'lines': [line], 'pid': 'raylet', 'is_err': False}\n"
        "    print_to_stdstream(data, ignore_prefix=False)\n"
    )
    run = [sys.executable, "-c", code]
    ended = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120)
    assert "other words" in ended.stdout
    assert ended.stdout.count("\n") == 1
    assert ended.stderr == ""


def test_a_machine_that_joins_later_is_named_in_the_terminal_and_the_first_ones_in_the_log(
    fleet, caplog
):
    caplog.set_level(logging.INFO, "workers")
    run = fleet()
    (first,) = run._supervisor.nodes.values()
    deadline = time.monotonic() + 60
    while not run._supervisor.ready and time.monotonic() < deadline:
        time.sleep(0.1)
    joined = [record for record in caplog.records if "has joined" in record.message]
    assert [(one.levelno, one.message) for one in joined] == [
        (logging.INFO, f"{first.name} has joined: {first.machine.describe()}")
    ]
    caplog.clear()
    with run._supervisor._lock:
        later = replace(first, name="node later", node="later", pid=None, status={}, is_first=False)
        run._supervisor._update(later, first.status)
        run._supervisor._update(later, first.status)
    joined = [record for record in caplog.records if "has joined" in record.message]
    assert [(one.levelno, one.message) for one in joined] == [
        (logging.WARNING, f"node later has joined: {first.machine.describe()}")
    ]


@pytest.fixture
def fleet(ray_session, tmp_path):
    """Starts a fleet with limits of machines; ends it with the test."""
    fleets = []

    def start(make_evaluator=doubles.hashing, **limits):
        limited = replace(CONFIG, cluster=ClusterSettings(nodes=NodeLimits(**limits)))
        make_plan = lambda machine, learns: PLAN  # noqa: E731
        arguments = limited, tmp_path, "local", make_evaluator, TIMEOUTS, make_plan
        fleets.append(RayFleet(*arguments))
        return fleets[-1]

    yield start
    for started in fleets:
        started.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_node_on_a_machine_that_is_drained_delivers_its_games_and_counts_as_no_failure(
    fleet, monkeypatch, caplog
):
    drained = {}
    monkeypatch.setattr(machines.state, "get_draining_nodes", lambda: drained)
    caplog.set_level(logging.WARNING)
    run = fleet(min=1)
    lines = []
    run.await_nodes(lines.append)
    run.publish(doubles.weights(0), 0)
    games = 0

    def collect():
        nonlocal games
        games += run.collect().games
        return games

    wait_until(lambda: collect() >= 30)
    figures = {key.split("/")[2] for key in run.stats() if key.startswith("node/")}
    assert figures
    assert figures <= {*FIGURES}
    (machine,) = run._supervisor.nodes
    drained[machine] = int(1000 * (time.time() + 30))
    wait_until(lambda: not run._supervisor.nodes and not run._supervisor._leaving.statuses)
    assert [line for line in lines if "0 of cluster.nodes.min=1" in line] in ([], lines[:1])
    assert run._supervisor.losses == 0
    assert run._supervisor._progress.failures == 0
    evaluations = run._supervisor.totals()["evaluations"]
    assert evaluations > 0
    (notice,) = [line for line in caplog.messages if "drained" in line]
    form = r"node .* is being drained and ends in \d+ s: no new moves begin there"
    assert re.fullmatch(form, notice)
    drained.clear()  # in place of another machine that joins
    wait_until(lambda: run._supervisor.ready)
    assert run._supervisor.totals()["evaluations"] >= evaluations


def test_a_run_waits_for_its_machines_and_names_their_number(fleet, monkeypatch):
    run = fleet(min=2)
    lines = []

    def report(line):
        lines.append(line)
        if "1 of" in line:  # in place of another machine that joins
            monkeypatch.setattr(supervisor.Supervisor, "ready", 2)

    run.await_nodes(report)
    assert lines[-1] == "waiting for machines: 1 of cluster.nodes.min=2 are ready"


def test_a_missing_machine_is_requested_as_large_as_one_that_joined_not_as_the_driver_s():
    sent = []
    demand = Demand(NodeLimits(min=2), send=lambda bundles: sent.append(bundles))
    head = Machine(64, 0)
    demand.update(0.0, False, [head], [])
    assert sent[-1] == [{"CPU": 64.0}, {"CPU": 1.0}]
    demand = Demand(NodeLimits(min=3), send=lambda bundles: sent.append(bundles))
    demand.update(1.0, False, [head, Machine(16, 0)], [Machine(16, 0)])
    assert sent[-1] == [{"CPU": 64.0}, {"CPU": 16.0}, {"CPU": 16.0}]


@pytest.mark.parametrize("raised", [AttributeError("no such thing"), OSError(28, "No space")])
def test_the_traceback_of_an_error_of_any_kind_is_there(raised):
    lines = ["Traceback (most recent call last):", '  File "mine.py", line 3, in move', "x"]
    sent = RayTaskError("run", "\n".join(lines), raised, "NodeActor")
    assert "mine.py" in traceback_there(sent.as_instanceof_cause())


def test_an_error_of_a_game_on_a_machine_that_is_drained_ends_the_run(fleet, ray_session):
    run, never = fleet(), ray_session.remote(doubles.asleep).options(num_cpus=0).remote(600)
    broken = ray_session.remote(doubles.broken).options(num_cpus=0).remote(None)
    leaving = Member("node two", "node", None, "two", running=broken)
    with run._supervisor._lock:
        run._supervisor._leaving._nodes["two"] = leaving, never, run._supervisor._clock.now
    with pytest.raises(FleetLost, match="node two: ValueError: no such device"):
        wait_until(lambda: run.collect().games < 0)


def test_no_more_machines_play_than_may(fleet, monkeypatch):
    run = fleet(max=1)
    (real,) = machines.list_nodes(machines.list_all())
    more = real._replace(id="f" * 56, machine=Machine(1, 0))
    monkeypatch.setattr(supervisor, "list_nodes", lambda listed: [real, more])
    with run._supervisor._lock:
        run._supervisor._look_for_nodes()
    assert list(run._supervisor.nodes) == [real.id]
    monkeypatch.setattr("workers.cluster.fleet.list_nodes", lambda listed: [real, more])
    assert run.describe()[-1] == "cluster.nodes.max=1: 1 more not used"


@pytest.mark.timeout(600)
def test_the_traceback_of_an_evaluator_on_another_machine_is_in_the_log_below_warnings(
    fleet, caplog
):
    caplog.set_level(logging.INFO, logger="workers.cluster.supervisor")
    run = fleet(make_evaluator=doubles.broken)
    run.publish(doubles.weights(0), 0)
    wait_until(lambda: run._supervisor.failure)
    (entry,) = [record for record in caplog.records if "traceback:" in record.message]
    assert entry.levelno == logging.INFO
    head, *lines = entry.message.splitlines()
    (machine,) = run._supervisor.nodes.values()
    assert head == f"{machine.name}, traceback:"
    assert all(line.startswith("    ") for line in lines)
    assert "no such device: cuda:7" in lines[-1]
    assert any("in broken" in line for line in lines)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_that_ray_drains_is_replaced_by_another_one_without_a_failure():
    script = Path(__file__).parent / "benchmarks" / "cluster_drain.py"
    run = [sys.executable, str(script)]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=590, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "cluster.nodes.max=1: 1 more not used" in ended.stdout
    assert "all of them different" in ended.stdout
    assert "is being drained and ends in" in ended.stderr
    assert "is lost" not in ended.stderr
