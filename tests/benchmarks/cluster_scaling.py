"""Positions per second with 1, 2, 4 and 8 machines, and what each process of the control costs.

    python tests/benchmarks/cluster_scaling.py [--machines 1 2 4 8] [--seconds 20]

The machines are raylets of this one, each with one search process and one evaluator, on a head
without cores. The evaluator sleeps, so that a machine needs little of a core, and as many of them
as possible fit into the cores that there are. The driver samples batches as a learner would.

Printed is a row per number of machines: the rate as a multiple of that of the first row, the cores
in use, and microseconds of CPU time per position of the driver, the replay actor, Ray's gcs_server
and all raylets. From these follows the rate at which each of them would fill a core.
"""

import argparse
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

os.environ |= {  # before Ray is imported, which reads the mode of authentication then
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_worker_niceness": "0",
}

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

    def __init__(self, fleet: RayFleet):
        self._fleet, self.positions = fleet, 0
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
        for pid in processes.process_tree():
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
    """Figures with so many machines."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(machines):
            cluster.add_node(num_cpus=1)
        make = partial(SleepingEvaluator, latency=options.latency_ms / 1000)
        plan = lambda machine, learns: PLAN  # noqa: E731
        fleet = RayFleet(CONFIG, folder / str(machines), cluster.address, make, plan=plan)
        fleet.publish({"none": np.zeros(1)}, 0)
        load, began = Load(fleet), time.monotonic()
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
    finally:
        cluster.shutdown()
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
    options = parser.parse_args()
    print(f"| machines | positions/s | of linear | cores | {' | '.join(CONTROL)} |")
    print("|---" * (4 + len(CONTROL)) + "|")
    rows = []
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        for machines in options.machines:
            row = measure(Path(folder), machines, options)
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
        full = 1e6 / last[kind]
        count = full * last["machines"] / last["rate"]
        print(f"the {kind} would fill a core at {full:,.0f} positions/s: {count:,.0f} machines")
    return 0


if __name__ == "__main__":
    sys.exit(main())
