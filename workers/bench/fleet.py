"""The whole Ray topology with 1, 2, 4, ... workers: traffic of each link, load of each part.

It is a real training run without a network: the evaluator sleeps as long as a device would compute,
and the learner does nothing.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import ray
from rich.console import Console

from alphazero import records, targets
from alphazero.config import Config, ReplaySettings
from alphazero.loop import Hooks, Run, train
from alphazero.nn.device import cores
from alphazero.parts import game_of, search_of
from alphazero.types import Ending
from games.base import Game
from workers.bench import capacity, processes
from workers.bench.measuring import BenchSettings, Figures, weights
from workers.bench.synthetic import IdleLearner, SleepingEvaluator
from workers.cluster.connection import connect
from workers.cluster.fleet import RayFleet
from workers.cluster.members import Timeouts
from workers.cluster.plan import Plan, list_nodes, make_plan

DEFAULTS = (
    # Small workers: many of them share few cores, and their games have to end in time.
    "selfplay.games=8",
    "search.simulations=8",
    "replay.min_positions=1",
    "training.checkpoint_every=1000000000",
    "training.steps=1000000000",
)
TIMEOUTS = Timeouts(start=900.0)
"""Dozens of processes that start on two cores take minutes."""
FULL = 0.85
"""Utilization from which on a part counts as the bottleneck."""
WARM = 10
"""Moves per group before the measurement begins."""

COUNTED = {
    "requests", "evaluations", "batches", "evaluated", "moves",
    "games", "positions", "pushes", "reads", "example_positions", "samples",
}  # fmt: skip
"""The counters taken from the statuses of servers, workers and the replay actor."""

Report = Callable[[str], object]


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Figures for 1, 2, 4, ... workers, and the highest rates of each single process."""
    processes.require_linux()
    numbers = [2**n for n in range(settings.max_workers.bit_length())]
    started = connect("local")
    try:
        with Console(stderr=True).status("", spinner="line") as status:
            rows = [_row(chosen, settings, number, status.update) for number in numbers]
            single = capacity.measure(chosen, settings, status.update)
    finally:
        if started:
            ray.shutdown()
    return {
        "first_bottleneck": first_bottleneck(rows[-1]),
        **single,
        "by_workers": rows,
        "game": chosen.game,
        "cores": cores(),
        "latency_ms": settings.latency_ms,
        "seconds": settings.seconds,
        "games": chosen.selfplay.games * chosen.selfplay.groups,
        "simulations": search_of(chosen).simulations,
    }


def first_bottleneck(row: Figures) -> str:
    """The one of the single processes that would fill a core first with more and more workers."""
    cpu = row["cpu"]
    return max(("driver", "replay", "server"), key=lambda kind: cpu[kind])


def fullest(use: dict[str, float]) -> str:
    """The part with the highest utilization, given as a share of its capacity, 0 to 1.

    ``none`` if no utilization reaches ``FULL``: then the parts wait for each other's messages.
    """
    part = max(use, key=lambda name: use[name])
    return part if use[part] >= FULL else "none"


def link_bytes(game: Game, counted: Counter[str], batch_size: int) -> dict[str, int]:
    """Bytes of the arrays that were sent over each link, without the overhead of Ray.

    Samples are counted without auxiliary targets and weights.
    """
    state, actions = game.dtype.itemsize, game.num_actions
    recorded = records.row(game).itemsize + 4  # with its action
    sampled = targets.columns(game, ReplaySettings()).itemsize + 8  # with its symmetry
    return {
        "worker_to_server": counted["evaluations"] * state,
        "server_to_worker": counted["evaluations"] * 4 * (actions + 1),
        "worker_to_replay": counted["positions"] * recorded,
        "replay_to_driver": counted["games"] * 8  # a version each
        + counted["reads"] * 8 * len(Ending)
        + counted["example_positions"] * recorded
        + counted["samples"] * batch_size * sampled,
    }


def link_messages(counted: Counter[str]) -> dict[str, int]:
    """Messages that were sent over each link; an answer is a message too."""
    return {
        "worker_to_server": counted["requests"],
        "server_to_worker": counted["requests"],
        "worker_to_replay": counted["pushes"],
        "replay_to_driver": counted["reads"] + counted["samples"],
    }


class Snapshot(NamedTuple):
    """Counters and CPU time of all actors at one moment."""

    at: float
    counted: Counter[str]
    cpu: Counter[str]
    """Seconds of CPU time by kind of process."""
    workers: list[dict]
    """The status of every worker."""


def take_snapshot(fleet: RayFleet) -> Snapshot:
    at, statuses = time.monotonic(), fleet.fetch_statuses()
    counted, pids = Counter[str](), {"driver": [os.getpid()]}
    for kind, status in statuses:
        pids.setdefault(kind, []).append(status["pid"])
        counted.update({name: status[name] for name in COUNTED & status.keys()})
    known = {pid for group in pids.values() for pid in group}
    pids["ray"] = [pid for pid in processes.process_tree() if pid not in known]
    cpu = Counter({kind: processes.cpu_seconds(group) for kind, group in pids.items()})
    return Snapshot(at, counted, cpu, [status for kind, status in statuses if kind == "worker"])


@dataclass
class Watch:
    """Takes a snapshot when each group of games has made ``WARM`` moves, and a second one later."""

    fleet: RayFleet
    seconds: float
    """Time between the two snapshots."""
    report: Report
    snapshots: list[Snapshot] = field(default_factory=list)
    _next: float = 0.0

    def enough(self) -> bool:
        """The ``stop`` hook of the run: True when both snapshots are taken."""
        now = time.monotonic()
        if now >= self._next:
            self._check()
        return len(self.snapshots) > 1

    def _check(self) -> None:
        snapshot, layout = take_snapshot(self.fleet), self.fleet.plan
        warm = min(worker["moves"] for worker in snapshot.workers) >= WARM * layout.groups
        started = warm and snapshot.counted["positions"] > 0
        if self.snapshots or started:
            self.snapshots.append(snapshot)
        self._next = snapshot.at + (self.seconds if self.snapshots else 1.0)
        self.report(f"{layout.workers} workers: {'measuring' if self.snapshots else 'warming up'}")


def _row(chosen: Config, settings: BenchSettings, workers: int, report: Report) -> Figures:
    """The figures for this number of workers."""
    report(f"{workers} workers: starting")
    selfplay = replace(chosen.selfplay, workers=workers)
    chosen = replace(chosen, selfplay=selfplay)
    # As with a GPU: the device is not one of the cores, and computes one batch at a time.
    layout = replace(make_plan(chosen, list_nodes()), lanes=1, groups=selfplay.groups)
    make = partial(SleepingEvaluator, latency=settings.latency_ms / 1000)
    game = game_of(chosen)
    with TemporaryDirectory(prefix="alphazero-bench-") as folder:
        fleet = RayFleet(chosen, Path(folder), "local", make, TIMEOUTS, layout)
        try:
            watch = Watch(fleet, settings.seconds, report)
            learner = IdleLearner(weights(chosen, game))
            run = Run(chosen, Path(folder), learner, fleet.replay, fleet)
            train(run, Hooks(stop=watch.enough))
            pids = [worker["pid"] for worker in watch.snapshots[-1].workers]
            memory = processes.memory(pids) / workers
        finally:
            fleet.close()
    counts = growth(*watch.snapshots)
    row = figures(game, layout, counts, chosen.training.batch_size)
    use = {
        "cores": sum(row["cpu"].values()) / cores(),
        "device": row["batches_per_second"] * settings.latency_ms / 1000 / layout.servers,
        "server": row["cpu"]["server"] / layout.servers,
        "replay": row["cpu"]["replay"],
        "driver": row["cpu"]["driver"],
        "worker": row["cpu"]["worker"] / workers,
    }
    return row | {"worker_megabytes": memory / 2**20, "use": use, "full": fullest(use)}


class Growth(NamedTuple):
    """Differences between two snapshots."""

    seconds: float
    counted: Counter[str]
    cpu: Counter[str]


def growth(before: Snapshot, after: Snapshot) -> Growth:
    def difference(one: Counter[str], other: Counter[str]) -> Counter[str]:
        return Counter({name: one[name] - other[name] for name in one})

    counted = difference(after.counted, before.counted)
    return Growth(after.at - before.at, counted, difference(after.cpu, before.cpu))


def figures(game: Game, layout: Plan, counts: Growth, batch_size: int) -> Figures:
    """The counts as rates, and the mean sizes of requests and batches."""
    seconds, counted = counts.seconds, counts.counted

    def rates(numbers: Mapping[str, float]) -> dict[str, float]:
        return {name: number / seconds for name, number in numbers.items()}

    return {
        "workers": layout.workers,
        "positions_per_second": counted["positions"] / seconds,
        "evaluations_per_second": counted["evaluations"] / seconds,
        "batches_per_second": counted["batches"] / seconds,
        "mean_request": counted["evaluations"] / max(1, counted["requests"]),
        "mean_batch": counted["evaluations"] / max(1, counted["batches"]),
        "messages_per_second": rates(link_messages(counted)),
        "bytes_per_second": rates(link_bytes(game, counted, batch_size)),
        "cpu": rates(counts.cpu),
        "counted": dict(counted),
    }
