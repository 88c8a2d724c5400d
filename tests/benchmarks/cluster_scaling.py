"""Positions per second with 1, 2, 4 and 8 machines, and what each process of the control costs.

    python tests/benchmarks/cluster_scaling.py [--machines 1 2 4 8] [--seconds 20] [--delay-ms 0.5]

The machines are raylets of this one, each with one search process and one evaluator, on a head
without cores. The evaluator sleeps, so that a machine needs little of a core, and as many of them
as possible fit into the cores that there are. The driver samples batches as a learner would.

Printed is a row per number of machines: the rate as a multiple of that of the first row, the cores
in use, and microseconds of CPU time per position of the driver, the replay actor, Ray's gcs_server
and all raylets. From these follows the rate at which each of them would fill a core.

With ``--delay-ms`` each machine has a network of its own behind a relay, which delays its packets
by so much in both directions. Cores and raylets are those of the head then.
"""

import argparse
import json
import os
import secrets
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

os.environ |= {  # before Ray is imported, which reads the mode of authentication then
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_worker_niceness": "0",
} | dict(os.environ)

import cluster_runs
import made_up_machines
import numpy as np
from ray.cluster_utils import Cluster

from alphazero.config import Config, InferenceSettings, ReplaySettings, SelfPlaySettings
from alphazero.search.gumbel import Gumbel
from workers.bench import processes
from workers.bench.synthetic import SleepingEvaluator
from workers.cluster.fleet import RayFleet
from workers.node.plan import Plan

PLAN = Plan(players=1, evaluators=1, lanes=1, groups=2, on_gpu=False)
CONFIG = Config(
    game="connect_four",
    search=Gumbel(simulations=16),
    selfplay=SelfPlaySettings(games=32, groups=2, random_opening_plies=10),
    inference=InferenceSettings(batch_size=64),
    replay=ReplaySettings(window_min=100_000),
)
BATCH = 256
SAMPLES_PER_POSITION = 4
START_SECONDS = 300.0
WARM_SECONDS = 10.0
CONTROL = ("driver", "replay actor", "gcs_server", "raylets")


class Load:
    """CPU time of the cluster's processes by kind, in seconds, and positions collected."""

    def __init__(self, fleet: RayFleet, pids: Callable[[], Iterable[int]]):
        """``pids``: the processes whose CPU time counts."""
        self._fleet, self._pids, self.positions = fleet, pids, 0
        self._rng, self._due = np.random.default_rng(0), 0.0

    def play(self, seconds: float) -> None:
        """Collect and sample for some seconds."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            positions = self._fleet.collect().positions
            self.positions += positions
            self._due += positions * SAMPLES_PER_POSITION / BATCH
            while self._due >= 1:
                self._fleet.replay.sample(BATCH, self._rng)
                self._due -= 1

    def cpu(self) -> Counter[str]:
        used: Counter[str] = Counter()
        for pid in self._pids():
            try:
                used[self._kind(pid)] += processes.cpu_seconds([pid])  # pyright: ignore
            except (FileNotFoundError, ProcessLookupError):
                continue
        return used

    def _kind(self, pid: int) -> str:
        command = (processes.PROC / str(pid) / "cmdline").read_bytes()
        if pid == os.getpid():
            return "driver"
        if b"ReplayStore" in command:
            return "replay actor"
        for name in ("gcs_server", "raylet"):
            if Path(command.split(b"\0")[0].decode()).name == name:
                return {"raylet": "raylets"}.get(name, name)
        return "others"


def measure(folder: Path, machines: int, options: argparse.Namespace) -> dict:
    """Figures with so many machines, each a raylet."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(machines):
            cluster.add_node(num_cpus=1)
        return played(folder, cluster.address, machines, options)
    finally:
        cluster.shutdown()


def measure_behind_relays(folder: Path, machines: int, options: argparse.Namespace) -> dict:
    """Figures with so many machines, each with a network of its own."""
    with made_up_machines.Lab(folder / str(machines)) as lab:
        cluster = cluster_runs.Cluster(lab)
        for number in range(machines):
            cluster.add(f"machine{number}", options.delay_ms / 1000)
        words = [__file__, "--join", cluster.address, "--machines", str(machines)]
        words += ["--seconds", str(options.seconds), "--latency-ms", str(options.latency_ms)]
        longest = START_SECONDS + WARM_SECONDS + options.seconds + 60
        text = cluster.head.run(shlex.join([sys.executable, *words]), longest)
        return json.loads(text.splitlines()[-1])


def all_processes() -> list[int]:
    return [int(path.name) for path in processes.PROC.iterdir() if path.name.isdigit()]


def played(folder: Path, address: str, machines: int, options: argparse.Namespace) -> dict:
    """The figures of a fleet on a cluster of so many machines."""
    make = partial(SleepingEvaluator, latency=options.latency_ms / 1000)
    plan = lambda machine, learns: PLAN  # noqa: E731
    fleet = RayFleet(CONFIG, folder / f"run{machines}", address, make, plan=plan)
    fleet.publish({"none": np.zeros(1)}, 0)
    pids = all_processes if options.join else processes.process_tree
    load, began = Load(fleet, pids), time.monotonic()
    while fleet.stats()["players"] < machines:
        load.play(0.5)
        if time.monotonic() - began > START_SECONDS:
            raise SystemExit(f"{machines} machines do not play: {fleet.stats()}")
    load.play(WARM_SECONDS)
    positions, cpu, at = load.positions, load.cpu(), time.monotonic()
    load.play(options.seconds)
    seconds, used = time.monotonic() - at, load.cpu()
    used.subtract(cpu)
    rate = (load.positions - positions) / seconds
    fleet.close()
    return {
        "machines": machines,
        "rate": rate,
        "cores": sum(used.values()) / seconds,
        **{kind: 1e6 * used[kind] / seconds / rate for kind in CONTROL},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--latency-ms", type=float, default=20.0)
    parser.add_argument(
        "--delay-ms", type=float, default=None, help="of each packet, on a network of its own"
    )
    parser.add_argument("--join", help=argparse.SUPPRESS)  # the script on the head behind relays
    options = parser.parse_args()
    if options.join:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(played(Path(folder), options.join, options.machines[0], options)))
        return 0
    if options.delay_ms is not None and (reason := made_up_machines.missing()):
        print(f"there can be no made-up machines here: {reason}", file=sys.stderr)
        return 2
    print_rows(options)
    return 0


def print_rows(options: argparse.Namespace) -> None:
    """Measure and print the table."""
    way = measure if options.delay_ms is None else measure_behind_relays
    print(f"| machines | positions/s | of linear | cores | {' | '.join(CONTROL)} |")
    print("|---" * (4 + len(CONTROL)) + "|")
    rows = []
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        for machines in options.machines:
            row = way(Path(folder), machines, options)
            rows.append(row)
            linear = rows[0]["rate"] * machines / rows[0]["machines"]
            costs = " | ".join(f"{row[kind]:.1f}" for kind in CONTROL)
            print(
                f"| {machines} | {row['rate']:.0f} | {row['rate'] / linear:.2f} | "
                f"{row['cores']:.2f} | {costs} |",
                flush=True,
            )
    last = rows[-1]
    for kind in CONTROL:
        full = 1e6 / max(last[kind], 1e-3)
        count = full * last["machines"] / last["rate"]
        print(f"the {kind} would fill a core at {full:,.0f} positions/s: {count:,.0f} machines")


if __name__ == "__main__":
    sys.exit(main())
