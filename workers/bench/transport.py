"""Requests to an evaluator: slots in shared memory, and in turns with them Ray's actor calls.

Both carry the same positions to the same synthetic evaluator, which takes no time, and its answer
back. What is measured is what a request costs beside its evaluation.
"""

import importlib.util
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any, Protocol

import numpy as np

from alphazero.config import Config
from alphazero.errors import RunFailed
from alphazero.nn import extras
from alphazero.nn.device import cores
from alphazero.parts import game_of
from games.base import States
from workers.bench import processes
from workers.bench.measuring import (
    TURNS,
    BenchSettings,
    Calls,
    Figures,
    Report,
    midgame,
    reporting,
)
from workers.bench.synthetic import SleepingEvaluator
from workers.node.child import Child, Failure, Sender, Warned
from workers.node.counters import Counters, Row
from workers.node.evaluator import Shared, Work, evaluate
from workers.node.plan import largest_batch
from workers.node.published import PublishedWeights
from workers.node.slots import Sizes, Slots

START_SECONDS = 120.0
"""The longest time in seconds that processes take to start, or to end a turn."""
PAUSE = 0.01
"""Seconds between two looks whether a turn has begun."""
WARM_SECONDS = 0.1


class Way(Protocol):
    """A way for requests, with its processes."""

    def turn(self, seconds: float) -> tuple[list[Calls], float]:
        """The calls of each caller during a turn, and seconds of CPU time of the evaluator."""
        ...


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure slots and, where it is installed, Ray in turns."""
    processes.require_linux()
    has_ray = importlib.util.find_spec("ray") is not None
    makes = {"slots": _slots} | ({"ray": _ray} if has_ray else {})
    with reporting() as report, ExitStack() as stack:
        ways: dict[str, Way] = {}
        for name, make in makes.items():
            report(f"{name}: processes start")
            ways[name] = stack.enter_context(make(chosen, settings))
        tallies = _measure(ways, settings.seconds / (TURNS * len(ways)), report)
    rows = [figures(name, *tally, settings.batch) for name, tally in tallies.items()]
    if has_ray:
        compared: Figures = {
            "ratio": rows[0]["requests_per_second"] / rows[1]["requests_per_second"]
        }
    else:
        compared = {"ray": extras.missing("its calls need Ray", "cluster")}
    return {
        **compared,
        "ways": rows,
        "positions_per_request": settings.batch,
        "callers": settings.callers,
        "in_flight": settings.in_flight,
        "game": chosen.game,
        "cores": cores(),
        "seconds": settings.seconds,
    }


def _measure(
    ways: dict[str, Way], seconds: float, report: Report
) -> dict[str, tuple[list[Calls], float]]:
    """All calls of each way, and the CPU time of its evaluator, after ``TURNS`` turns each."""
    tallies: dict[str, tuple[list[Calls], float]] = {name: ([], 0.0) for name in ways}
    for way in ways.values():
        way.turn(WARM_SECONDS)
    for turn in range(TURNS):
        report(f"turn {turn + 1} of {TURNS}")
        for name, way in ways.items():
            (before, cpu), (calls, grown) = tallies[name], way.turn(seconds)
            tallies[name] = before + calls, cpu + grown
    return tallies


def figures(name: str, calls: list[Calls], evaluator_cpu: float, positions: int) -> Figures:
    """Rates, CPU time per request and latencies of one way, from the ``calls`` of all its turns.

    The callers of a turn work at the same time, so that their rates are added up.
    """
    latencies = 1e6 * np.concatenate([made.latencies for made in calls])
    turn_seconds = sum(made.seconds for made in calls) / len(calls) * TURNS
    rate = len(latencies) / turn_seconds
    caller_cpu = sum(made.cpu_seconds for made in calls)
    return {
        "way": name,
        "requests_per_second": rate,
        "evaluations_per_second": rate * positions,
        "caller_microseconds_per_request": 1e6 * caller_cpu / len(latencies),
        "evaluator_microseconds_per_request": 1e6 * evaluator_cpu / len(latencies),
        "latency_microseconds": float(np.median(latencies)),
        "latency_99th_percentile": float(np.percentile(latencies, 99)),
    }


@contextmanager
def _slots(chosen: Config, settings: BenchSettings) -> Iterator[Way]:
    with closing(SlotCalls(chosen, settings)) as slots:
        slots.start()
        yield slots


@contextmanager
def _ray(chosen: Config, settings: BenchSettings) -> Iterator[Way]:
    from workers.bench.ray_calls import evaluator_calls  # which takes Ray's seconds to import

    states = midgame(game_of(chosen), settings.batch)
    make = partial(SleepingEvaluator, chosen, 0.0)
    with evaluator_calls(make, states, settings.callers, settings.in_flight) as callers:
        yield callers


def call(number: int, shared: Shared, states: States, sender: Sender) -> None:
    """Keep a request under way in each own slot while a turn lasts; sends the calls of each turn.

    A turn lasts while play is not held; ``iterations`` counts those that were begun, and the start
    of this process.
    """
    counter = shared.counters.of_player(number)
    while True:
        counter.add("iterations", 1)
        while shared.counters.held:
            time.sleep(PAUSE)
        sender.send(_turn(number, shared, states, counter))


def _turn(number: int, shared: Shared, states: States, counter: Row) -> Calls:
    slots, counters, sent, latencies = shared.slots, shared.counters, {}, []

    def submit(slot: int) -> None:
        sent[slot] = time.perf_counter()
        slots.submit(slot, states)

    began, before = time.perf_counter(), time.process_time()
    for slot in slots.of_player(number):
        submit(slot)
    counter.add("iterations", 1)
    while sent:
        for slot, _ in slots.receive(number, START_SECONDS):
            latencies.append(time.perf_counter() - sent.pop(slot))
            if not counters.held:
                submit(slot)
    lasted, cpu = time.perf_counter() - began, time.process_time() - before
    return Calls(lasted, cpu, np.array(latencies, np.float32))


class SlotCalls:
    """Processes that call an evaluator's process through slots."""

    def __init__(
        self, chosen: Config, settings: BenchSettings, lanes: int = 1, latency: float = 0.0
    ):
        """``lanes``: of the evaluator; ``latency``: seconds per batch on its simulated device."""
        game, callers = game_of(chosen), settings.callers
        sizes = Sizes(callers, settings.in_flight, settings.batch, game.num_actions)
        self._shared = Shared(Slots(sizes, game.dtype), Counters(callers, 1), PublishedWeights({}))
        self._shared.weights.publish({}, 0)
        self._shared.counters.held = True
        size = largest_batch(chosen, on_gpu=False)
        work = Work(partial(_evaluator, chosen, latency), size, lanes, lanes)
        self._received: queue.Queue[Calls] = queue.Queue()
        self._failure = ""
        states = midgame(game, settings.batch)
        self._children = [
            self._start(evaluate, 0, self._shared, work),
            *(self._start(call, number, self._shared, states) for number in range(callers)),
        ]

    def start(self) -> None:
        """Wait until the processes work."""
        counters = self._shared.counters
        self._wait(lambda: counters.evaluators["iterations"][0] > 0)
        self._wait(lambda: bool((counters.players["iterations"] > 0).all()))

    def turn(self, seconds: float) -> tuple[list[Calls], float]:
        """Call for ``seconds``; see ``Way``."""
        counters, evaluator = self._shared.counters, [self._children[0].pid]
        iterations, before = counters.players["iterations"].copy(), processes.cpu_seconds(evaluator)
        counters.held = False
        self._wait(lambda: bool((counters.players["iterations"] > iterations).all()))
        time.sleep(seconds)
        counters.held = True
        calls = [self._next() for _ in counters.players]
        # The callers count the beginning of their next wait.
        self._wait(lambda: bool((counters.players["iterations"] > iterations + 1).all()))
        return calls, processes.cpu_seconds(evaluator) - before

    def batches(self) -> int:
        """Batches that the evaluator has answered since its start."""
        return int(self._shared.counters.evaluators["batches"][0])

    def close(self) -> None:
        for child in self._children:
            child.close()
        self._shared.close()

    def _start(self, target: Callable[..., None], *arguments: Any) -> Child:
        return Child(target, arguments, self._shared.descriptors, self._receive)

    def _receive(self, message: Calls | Failure | Warned) -> None:
        if isinstance(message, Failure):
            self._failure = message.text
        elif not isinstance(message, Warned):
            self._received.put(message)

    def _next(self) -> Calls:
        self._wait(lambda: not self._received.empty())
        return self._received.get()

    def _wait(self, reached: Callable[[], bool]) -> None:
        """Wait until ``reached``; ``RunFailed`` where a process ends meanwhile."""
        while not reached():
            ended = [child.end() for child in self._children if not child.is_alive]
            if ended:
                reason = self._failure or ended[0]
                raise RunFailed(f"a process of the measurement ended: {reason}")
            time.sleep(PAUSE)


def _evaluator(chosen: Config, latency: float, number: int) -> SleepingEvaluator:
    """The evaluator of the only process, whose ``number`` is 0."""
    return SleepingEvaluator(chosen, latency)
