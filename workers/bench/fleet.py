"""Self-play in 1, 2, 4, ... search processes of this machine: load of each part, CPU per request.

It is a real training run without a network: an evaluator with two lanes, as for a GPU, sleeps as
long as a device would compute, and the learner does nothing. Nothing of it needs Ray.
"""

import importlib.util
import os
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from alphazero.config import Config
from alphazero.errors import RunFailed
from alphazero.loop import Hooks, Run, train
from alphazero.nn import extras
from alphazero.nn.device import cores
from alphazero.parts import game_of, search_of
from alphazero.replay import Replay
from workers.bench import processes
from workers.bench.measuring import BenchSettings, Figures, Report, reporting, weights
from workers.bench.synthetic import IdleLearner, SleepingEvaluator
from workers.node.fleet import NodeFleet
from workers.node.plan import Machine, Plan, make_plan

DEFAULTS = (
    "replay.min_positions=1",
    "training.checkpoint_every=1000000000",
    "training.steps=1000000000",
)
FULL = 0.85
"""Utilization from which on a part counts as the bottleneck."""
WARM = 10
"""Moves per group, on average, before the measurement begins."""
CHECK_SECONDS = 0.5
"""Seconds between two looks whether it may begin."""
TARGET = 2e6
"""Evaluations per second for which the number of cores is extrapolated."""
COUNTED = ("requests", "evaluations", "batches", "moves", "games")
"""The counts taken from a fleet's status."""


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Figures for 1, 2, 4, ... search processes, and the highest rates of Ray's single actors."""
    processes.require_linux()
    numbers = [2**n for n in range(settings.max_players.bit_length())]
    with reporting() as report:
        rows = [_row(chosen, settings, number, report) for number in numbers]
        single = _single(chosen, settings, report)
    return {
        "cores_for_2_million_evaluations_per_second": cores_for(TARGET, rows[-1]),
        **single,
        "by_search_processes": rows,
        "game": chosen.game,
        "cores": cores(),
        "latency_ms": settings.latency_ms,
        "seconds": settings.seconds,
        "games": chosen.selfplay.games,
        "simulations": search_of(chosen).simulations,
    }


def _single(chosen: Config, settings: BenchSettings, report: Report) -> Figures:
    if importlib.util.find_spec("ray") is None:
        return {"replay_alone": extras.missing("the replay actor needs Ray", "cluster")}
    from workers.bench import capacity  # which takes Ray's seconds to import

    return capacity.measure(chosen, settings, report)


def cores_for(rate: float, row: Figures) -> float:
    """Cores of search processes and evaluators for ``rate`` evaluations per second.

    They are extrapolated from the CPU time per evaluation: with 1.5 cores at 500,000 evaluations
    per second, 2 million need 6.
    """
    used = row["cpu"]["search_processes"] + row["cpu"]["evaluator"]
    return rate * used / row["evaluations_per_second"]


def fullest(use: dict[str, float]) -> str:
    """The part with the highest utilization, given as a share of its capacity, 0 to 1.

    ``none`` if no utilization reaches ``FULL``: then the parts wait for each other's messages.
    """
    part = max(use, key=lambda name: use[name])
    return part if use[part] >= FULL else "none"


class Snapshot(NamedTuple):
    """Counts and CPU time of all processes at one moment."""

    at: float
    counted: Counter[str]
    cpu: Counter[str]
    """Seconds of CPU time by kind of process."""


def take_snapshot(fleet: NodeFleet) -> Snapshot:
    at, status = time.monotonic(), fleet.status()
    pids = {
        "driver": [os.getpid()],
        "search_processes": fleet.pids("player"),
        "evaluator": fleet.pids("evaluator"),
    }
    cpu = {kind: processes.cpu_seconds(group) for kind, group in pids.items()}
    counted = {name: int(status[name]) for name in COUNTED}
    return Snapshot(at, Counter(counted), Counter(cpu))  # pyright: ignore[reportArgumentType]


@dataclass
class Watch:
    """Takes a snapshot when the groups of games have made ``WARM`` moves each, and another later.

    A game has to have finished by then, so that storing and sampling are measured, too.
    """

    fleet: NodeFleet
    seconds: float
    """Time between the two snapshots."""
    report: Report
    snapshots: list[Snapshot] = field(default_factory=list)
    _next: float = 0.0

    def enough(self) -> bool:
        """The ``stop`` hook of the run: True when both snapshots are taken."""
        if time.monotonic() >= self._next:
            self._check()
        return len(self.snapshots) > 1

    def _check(self) -> None:
        snapshot, plan = take_snapshot(self.fleet), self.fleet.plan
        enough = WARM * plan.players * plan.groups
        started = self.fleet.status()["players"] == plan.players
        warm = snapshot.counted["moves"] >= enough and snapshot.counted["games"] > 0
        if self.snapshots or (started and warm):
            self.snapshots.append(snapshot)
        self._next = snapshot.at + (self.seconds if self.snapshots else CHECK_SECONDS)
        doing = "measuring" if self.snapshots else "warming up"
        self.report(f"search processes: {plan.players}, {doing}")


def device_plan(chosen: Config, players: int) -> Plan:
    """The plan of a machine with a GPU and this number of search processes."""
    inference = replace(chosen.inference, device="auto")
    selfplay = replace(chosen.selfplay, processes=players)
    config = replace(chosen, inference=inference, selfplay=selfplay)
    return make_plan(config, Machine(cores(), gpus=1))


def _row(chosen: Config, settings: BenchSettings, players: int, report: Report) -> Figures:
    """The figures for this number of search processes."""
    game, plan = game_of(chosen), device_plan(chosen, players)
    make = partial(SleepingEvaluator, latency=settings.latency_ms / 1000)
    with TemporaryDirectory(prefix="alphazero-bench-") as name:
        folder, heads = Path(name), tuple(chosen.network.heads)
        replay = Replay(game, folder / "games", chosen.replay, report, heads=heads)
        fleet = NodeFleet(chosen, folder, replay, make, plan)
        with closing(replay), closing(fleet):
            watch = Watch(fleet, settings.seconds, report)
            learner = IdleLearner(weights(chosen, game))
            train(Run(chosen, folder, learner, replay, fleet), Hooks(stop=watch.enough))
            if fleet.status()["restarts"]:
                raise RunFailed("a process was replaced during the measurement")
            memory = processes.memory(fleet.pids("player")) / players
    row = figures(plan, growth(*watch.snapshots), settings.latency_ms / 1000)
    return row | {"search_process_megabytes": memory / 2**20}


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


def figures(plan: Plan, counts: Growth, latency: float) -> Figures:
    """Rates, mean sizes, CPU time and utilization.

    ``device_busy``: batches times ``latency`` as a share of the time, as the device computes one
    batch at a time: 2,500 batches of 0.3 ms per second are 0.75.
    """
    seconds, counted = counts.seconds, counts.counted
    requests, batches = max(1, counted["requests"]), max(1, counted["batches"])
    cpu = {name: used / seconds for name, used in counts.cpu.items()}
    busy = counted["batches"] * latency / seconds
    use = {
        "device": busy,
        "driver": cpu["driver"],
        "search_processes": cpu["search_processes"] / plan.players,
        "evaluator": cpu["evaluator"],
        "cores": sum(cpu.values()) / cores(),
    }
    return {
        "search_processes": plan.players,
        "evaluations_per_second": counted["evaluations"] / seconds,
        "requests_per_second": counted["requests"] / seconds,
        "games_per_second": counted["games"] / seconds,
        "device_busy": busy,
        "mean_request": counted["evaluations"] / requests,
        "mean_batch": counted["evaluations"] / batches,
        "cpu": cpu,
        "microseconds_per_request": {
            name: 1e6 * counts.cpu[name] / requests for name in ("search_processes", "evaluator")
        },
        "use": use,
        "full": fullest(use),
        "counted": dict(counted),
    }
