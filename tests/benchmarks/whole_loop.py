"""CPU time of a training run by its parts, and how busy it keeps the cores.

    python tests/benchmarks/whole_loop.py [CONFIG] [MINUTES] [key=value ...]

Runs ``alphazero train CONFIG`` without Ray for MINUTES (default: connect_four_large, 10) in a
temporary folder. Every part of the loop is wrapped in clocks of its thread's CPU time: the parts
and the rest add up to the CPU time of the process. Start-up and the last match are not counted.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from numba.core.registry import CPUDispatcher
from rich.console import Console
from rich.table import Table

import games
from alphazero import batches, checkpoint, config, evaluators, local_fleet, loop, selfplay
from alphazero.config_file import ConfigError
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.nn import parallel
from alphazero.nn.device import cores
from alphazero.replay import Replay
from alphazero.search import conclusion, gumbel, kernels, puct, reuse, tree
from workers.runs import monitoring, train

WANTED = ("network evaluation", "network training", "search kernels")
RULES = ("initial", "legal", "step", "advance", "outcome", "to_move", "observe")


class Clocks:
    """CPU seconds by label; time in a nested wrapped call counts for the nested label only."""

    def __init__(self):
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._local = threading.local()
        self._lock = threading.Lock()

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            outer = getattr(self._local, "inner", 0.0)
            self._local.inner, start = 0.0, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                spent = time.thread_time() - start
                with self._lock:
                    self.seconds[label] += spent - self._local.inner
                self._local.inner = outer + spent

        return call

    def wrap(self, label: str, owner: Any, *names: str) -> None:
        for name in names:
            setattr(owner, name, self.timed(label, getattr(owner, name)))


def machine_idle() -> float:
    """Idle seconds of all cores since the machine was started; Linux only."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


class Count:
    """A weighted count of events, from any thread."""

    def __init__(self):
        self.events: list[int] = []  # appending is atomic, adding is not

    def before(self, function: Callable[..., Any], weigh: Callable[..., int]):
        def call(*arguments: Any, **named: Any) -> Any:
            self.events.append(weigh(*arguments, **named))
            return function(*arguments, **named)

        return call

    @property
    def total(self) -> int:
        return sum(self.events)


def wrap_kernels(clocks: Clocks, module: ModuleType) -> None:
    """Time the compiled functions that ``module`` calls: its own and those of ``kernels``."""
    own = {name: f for name, f in vars(module).items() if isinstance(f, CPUDispatcher)}
    inner = {name for f in own.values() for name in f.py_func.__code__.co_names}
    clocks.wrap(WANTED[2], module, *(own.keys() - inner))  # compiled code calls compiled code
    if vars(module).get("kernels") is kernels:
        timed = {
            name: clocks.timed(WANTED[2], f) if isinstance(f, CPUDispatcher) else f
            for name, f in ((name, getattr(kernels, name)) for name in kernels.__all__)
        }
        vars(module)["kernels"] = SimpleNamespace(**timed)


def instrument(game: object) -> tuple[Clocks, Count, Count]:
    """Wrap every part of the loop; return the clocks and counts of evaluations and of plies."""
    clocks, evaluations, moves = Clocks(), Count(), Count()
    for module in (tree, gumbel, puct, conclusion, reuse, evaluators, selfplay):
        wrap_kernels(clocks, module)
    clocks.wrap(WANTED[2], type(game), *RULES)
    clocks.wrap(WANTED[0], NetworkEvaluator, "__call__")
    clocks.wrap(WANTED[1], Learner, "train_step")
    clocks.wrap(WANTED[1], parallel.Replica, "backward")
    clocks.wrap("self-play between kernels and network", local_fleet, "drive")
    clocks.wrap("storing games", Replay, "extend")
    clocks.wrap("drawing batches", Replay, "sample")
    clocks.wrap("drawing batches", batches, "to_batch")
    clocks.wrap("publishing", NetworkEvaluator, "load")
    clocks.wrap("publishing", Learner, "weights")
    clocks.wrap("publishing", local_fleet.LocalFleet, "_begin")
    clocks.wrap("checkpoints", checkpoint, "save")
    clocks.wrap("checkpoints", Learner, "state")
    clocks.wrap("checkpoints", local_fleet.LocalFleet, "state")
    clocks.wrap("logging", monitoring.Monitor, "log", "games", "saved")
    called = NetworkEvaluator.__call__
    NetworkEvaluator.__call__ = evaluations.before(called, lambda _, states: len(states))
    selfplay.GameGroup.move = moves.before(selfplay.GameGroup.move, lambda _: 1)
    return clocks, evaluations, moves


def measure(name: str, minutes: float, overrides: list[str]) -> dict[str, float | dict]:
    """Train, and return the figures of the time that ``loop.train`` took."""
    fixed = ["evaluation.games=0", "tracking.wandb=off", "search.proofs=false"]
    settings = config.load(name, [*overrides, *fixed])
    clocks, evaluations, moves = instrument(games.make(settings.game))
    real, figures = loop.train, {}

    def timed(run: loop.Run, hooks: loop.Hooks, limit: float) -> None:
        clocks.seconds.clear()
        wall, used, idle = time.perf_counter(), time.process_time(), machine_idle()
        real(run, hooks, limit)
        figures["idle"] = machine_idle() - idle
        figures["wall"] = time.perf_counter() - wall
        figures["used"] = time.process_time() - used
        figures["positions"], figures["steps"] = run.replay.positions, run.learner.step

    loop.train = timed
    with tempfile.TemporaryDirectory() as folder:
        train.main(settings, Path(folder) / "run", False, "off", minutes)
    plies = moves.total * settings.selfplay.games
    samples = figures["steps"] * settings.training.batch_size
    return figures | {
        "parts": dict(clocks.seconds),
        "counts": {
            "simulations": plies * settings.search.simulations,
            "evaluations": evaluations.total,
            "positions stored": figures["positions"],
            "samples": samples,
        },
    }


def report(figures: dict[str, Any], console: Console) -> None:
    wall, used, counts = figures["wall"], figures["used"], figures["counts"]
    parts = figures["parts"] | {"the rest": used - sum(figures["parts"].values())}
    table = Table("part", "CPU seconds", "share", title=f"{wall:.0f} s on {cores()} cores")
    for part, seconds in sorted(parts.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{seconds:,.1f}", f"{seconds / used:.1%}")
    console.print(table)
    played = (WANTED[0], WANTED[2], "self-play between kernels and network")
    play = sum(parts[part] for part in played)
    wanted = sum(parts.get(part, 0.0) for part in WANTED)
    lines = {
        "cores busy with this run": f"{used / (wall * cores()):.1%}",
        "cores idle": f"{figures['idle'] / (wall * cores()):.1%}",
        f"of this time in {', '.join(WANTED)}": f"{wanted / used:.1%}",
        **{f"{name} per second": f"{count / wall:,.0f}" for name, count in counts.items()},
        "simulations per second while playing (on all cores)": (
            f"{counts['simulations'] / play * cores():,.0f}"
        ),
        "evaluations per simulation": f"{counts['evaluations'] / counts['simulations']:.2f}",
        "samples per position": f"{counts['samples'] / counts['positions stored']:.2f}",
    }
    for name, figure in lines.items():
        console.print(f"{name}: {figure}", highlight=False)


def main(arguments: list[str]) -> None:
    overrides = [text for text in arguments if "=" in text]
    words = [text for text in arguments if "=" not in text]
    name, minutes, *_ = [*words, "connect_four_large", "10"]
    if len(arguments) - len(overrides) == 1:
        minutes = "10"
    try:
        figures = measure(name, float(minutes), overrides)
    except (ConfigError, ValueError) as error:
        sys.exit(str(error))
    report(figures, Console())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="as above")
    main(parser.parse_args().words)
