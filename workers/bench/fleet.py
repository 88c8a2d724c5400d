"""The whole Ray topology with ever more workers: what goes where, and which part is full first.

A real training run, less the network: the evaluator sleeps as long as a device would compute, and
the learner learns nothing.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, cast

import ray
from rich.console import Console

import games
from alphazero.config import Config
from alphazero.loop import Hooks, Run, train
from alphazero.nn.device import cores
from games.base import Game
from workers.bench import capacity, processes
from workers.bench.measuring import BenchSettings, Figures, weights
from workers.bench.synthetic import IdleLearner, SleepingEvaluator
from workers.cluster.fleet import Plan, RayFleet, connect, nodes, plan
from workers.cluster.supervisor import Patience

DEFAULTS = (
    # Small workers: many of them share few cores, and their games have to end in time.
    "selfplay.games=8",
    "search.simulations=8",
    "replay.min_positions=1",
    "training.checkpoint_every=1000000000",
    "training.steps=1000000000",
)
PATIENCE = Patience(start=900.0)
"""Dozens of processes that begin on two cores take minutes."""
FULL = 0.85
"""Of what a part can do: from here on it holds the others up."""
WARM = 10
"""Moves of each group before measuring begins."""

COUNTED = {
    "requests", "evaluations", "batches", "evaluated", "moves",
    "games", "positions", "pushes", "reads", "samples",
}  # fmt: skip
"""What is taken from the words of servers, workers and the replay actor."""

Report = Callable[[str], object]


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Figures for 1, 2, 4, ... workers, and what each single process can take by itself."""
    processes.insist_on_linux()
    numbers = [2**n for n in range(settings.max_workers.bit_length())]
    started = connect("local")
    try:
        with Console(stderr=True).status("") as status:
            rows = [_row(chosen, settings, number, status.update) for number in numbers]
            alone = capacity.measure(chosen, settings, status.update)
    finally:
        if started:
            ray.shutdown()
    return {
        "first_bottleneck": first_bottleneck(rows[-1]),
        **alone,
        "by_workers": rows,
        "game": chosen.game,
        "cores": cores(),
        "latency_ms": settings.latency_ms,
        "seconds": settings.seconds,
        "games": chosen.selfplay.games * chosen.selfplay.groups,
        "simulations": chosen.search.simulations,
    }


def first_bottleneck(row: Figures) -> str:
    """Which of the single processes would fill a core first if there were ever more workers."""
    cpu = row["cpu"]
    return max(("driver", "replay", "server"), key=lambda kind: cpu[kind])


def full(use: dict[str, float]) -> str:
    """The part that is used most, each given as a share of what it can do.

    ``none`` where none is full: then they wait for each other's messages.
    """
    part = max(use, key=lambda name: use[name])
    return part if use[part] >= FULL else "none"


def link_bytes(game: Game, counted: Counter[str], batch_size: int) -> dict[str, int]:
    """What the arrays hold that went over each link; Ray's envelopes are not in it."""
    state, actions = game.dtype.itemsize, game.num_actions
    recorded = state + 2 * actions + 2 + 2 + 4  # policy, value, action and outcome of a position
    sampled = state + 4 * actions + 8 + 4 + 4  # policy, symmetry, value and outcome
    return {
        "worker_to_server": counted["evaluations"] * state,
        "server_to_worker": counted["evaluations"] * 4 * (actions + 1),
        "worker_to_replay": counted["positions"] * recorded,
        "replay_to_driver": counted["positions"] * recorded
        + counted["samples"] * batch_size * sampled,
    }


def link_messages(counted: Counter[str]) -> dict[str, int]:
    return {
        "worker_to_server": counted["requests"],
        "server_to_worker": counted["requests"],
        "worker_to_replay": counted["pushes"],
        "replay_to_driver": counted["reads"] + counted["samples"],
    }


class Look(NamedTuple):
    """What all actors had counted, and used of the CPU, at one moment."""

    at: float
    counted: Counter[str]
    cpu: Counter[str]
    """Seconds by kind of process."""
    workers: list[dict]
    """What each of them said."""


def look(fleet: RayFleet) -> Look:
    at, answers = time.monotonic(), fleet.ask()
    counted, pids = Counter[str](), {"driver": [os.getpid()]}
    for kind, status in answers:
        pids.setdefault(kind, []).append(status["pid"])
        counted.update({name: status[name] for name in COUNTED & status.keys()})
    known = {pid for group in pids.values() for pid in group}
    pids["ray"] = [pid for pid in processes.family() if pid not in known]
    cpu = Counter({kind: processes.cpu_seconds(group) for kind, group in pids.items()})
    return Look(at, counted, cpu, [status for kind, status in answers if kind == "worker"])


@dataclass
class Watch:
    """Looks at a fleet when each group of games has made ``WARM`` moves, and again later."""

    fleet: RayFleet
    seconds: float
    """Between the two looks."""
    report: Report
    looks: list[Look] = field(default_factory=list)
    _next: float = 0.0

    def enough(self) -> bool:
        """Asked over and over by whoever drives the fleet; True when both looks are taken."""
        now = time.monotonic()
        if now >= self._next:
            self._look()
        return len(self.looks) > 1

    def _look(self) -> None:
        found, layout = look(self.fleet), self.fleet.plan
        warm = min(worker["moves"] for worker in found.workers) >= WARM * layout.groups
        going = warm and found.counted["positions"] > 0
        if self.looks or going:
            self.looks.append(found)
        self._next = found.at + (self.seconds if self.looks else 1.0)
        self.report(f"{layout.workers} workers: {'measuring' if self.looks else 'warming up'}")


def _row(chosen: Config, settings: BenchSettings, workers: int, report: Report) -> Figures:
    """The figures of so many workers."""
    report(f"{workers} workers: starting")
    selfplay = replace(chosen.selfplay, workers=workers)
    chosen = replace(chosen, selfplay=selfplay)
    # As with a GPU: the device is not one of the cores, and computes one batch at a time.
    layout = replace(plan(chosen, nodes()), lanes=1, groups=selfplay.groups)
    make = partial(SleepingEvaluator, latency=settings.latency_ms / 1000)
    game = games.make(chosen.game)
    with TemporaryDirectory(prefix="alphazero-bench-") as folder:
        fleet = RayFleet(chosen, Path(folder), "local", make, PATIENCE, layout)
        try:
            watch = Watch(fleet, settings.seconds, report)
            learner = cast(Any, IdleLearner(weights(chosen, game)))
            run = Run(chosen, Path(folder), learner, fleet.replay, fleet)
            train(run, Hooks(stop=watch.enough))
            pids = [worker["pid"] for worker in watch.looks[-1].workers]
            memory = processes.memory(pids) / workers
        finally:
            fleet.close()
    counts = growth(*watch.looks)
    row = figures(game, layout, counts, chosen.training.batch_size)
    use = {
        "cores": sum(row["cpu"].values()) / cores(),
        "device": row["batches_per_second"] * settings.latency_ms / 1000 / layout.servers,
        "server": row["cpu"]["server"] / layout.servers,
        "replay": row["cpu"]["replay"],
        "driver": row["cpu"]["driver"],
        "worker": row["cpu"]["worker"] / workers,
    }
    return row | {"worker_megabytes": memory / 2**20, "use": use, "full": full(use)}


class Growth(NamedTuple):
    """What lies between two looks."""

    seconds: float
    counted: Counter[str]
    cpu: Counter[str]


def growth(before: Look, after: Look) -> Growth:
    def difference(one: Counter[str], other: Counter[str]) -> Counter[str]:
        return Counter({name: one[name] - other[name] for name in one})

    counted = difference(after.counted, before.counted)
    return Growth(after.at - before.at, counted, difference(after.cpu, before.cpu))


def figures(game: Game, layout: Plan, counts: Growth, batch_size: int) -> Figures:
    """What was counted, as rates."""
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
