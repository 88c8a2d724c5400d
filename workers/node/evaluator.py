"""The process of an evaluator: it answers the requests in the slots with one network.

Requests that arrive during an evaluation wait; the next one takes all of them, up to a largest
batch. It never waits for a batch to fill: a single request is evaluated at once, and under load the
batches grow.

Example with one lane and batches of 256 positions. A request of 16 arrives while the evaluator is
idle and is evaluated by itself. Meanwhile nine requests of 32 arrive. The next batch takes eight of
them (256 positions); the ninth goes into the batch after that.
"""

import os
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from alphazero.config import Config
from alphazero.nn.weights import Weights
from alphazero.parts import game_of
from alphazero.types import Evaluation
from games.base import States
from workers.node.child import FAILED, Failure, Sender, with_place
from workers.node.counters import Counters
from workers.node.published import PublishedWeights
from workers.node.slots import Request, Slots

PAUSE = 0.1
"""The longest time in seconds that a lane waits for a request before it counts an iteration."""
LOAD_SECONDS = 0.02
"""Seconds between two looks for new weights."""


class LoadableEvaluator(Protocol):
    """An evaluator whose weights can be replaced while other threads call it."""

    def load(self, weights: Weights, version: int) -> None: ...

    def __call__(self, states: States) -> Evaluation: ...


def network_evaluator(config: Config) -> LoadableEvaluator:
    """The network of ``config``; torch is imported here, in the process of the evaluator."""
    import torch

    from alphazero.inference import NetworkEvaluator

    torch.set_num_threads(1)
    return NetworkEvaluator(game_of(config), config.network, config.inference)


class Shared(NamedTuple):
    """The shared memory of a machine's processes."""

    slots: Slots
    counters: Counters
    weights: PublishedWeights

    @property
    def descriptors(self) -> list[int]:
        """Those that a child process has to inherit."""
        memories = self.counters.memory, self.weights.memory
        return [*self.slots.descriptors, *(memory.descriptor for memory in memories)]

    def close(self) -> None:
        """Close all of it in this process."""
        for part in (self.slots, self.counters.memory, self.weights.memory):
            part.close()


class Work(NamedTuple):
    """How an evaluator works."""

    make: Callable[[int], LoadableEvaluator]
    """Called in its process, with the evaluator's number: each has a GPU of its own."""
    batch_size: int
    """Positions per call of the network, at most; the evaluator may state a smaller number."""
    lanes: int
    """Threads that evaluate a batch each: on a GPU one copies while another one computes."""
    sharing: int
    """Lanes of all evaluators of the machine, among which waiting requests are divided."""


def evaluate(number: int, shared: Shared, work: Work, sender: Sender) -> None:
    """Answer requests until the process is killed, always with the newest weights."""
    evaluator = work.make(number)
    count = _load(evaluator, number, shared)
    lanes = [_Lane(number, evaluator, shared, work) for _ in range(work.lanes)]
    for lane in lanes[1:]:
        _start(lane.run, sender)
    _start(lambda: _load_newest(evaluator, number, shared, count), sender)
    lanes[0].run()


def _start(function: Callable[[], None], sender: Sender) -> None:
    """Run ``function`` on a thread; its error ends the process."""

    def run() -> None:
        try:
            function()
        except BaseException as error:
            sender.send(Failure(with_place(error)))
            os._exit(FAILED)

    threading.Thread(target=run, daemon=True).start()


def _load(evaluator: LoadableEvaluator, number: int, shared: Shared) -> int:
    """Load the newest weights; returns how often some had been published before."""
    count = shared.weights.count
    weights, version = shared.weights.read()
    evaluator.load(weights, version)
    shared.counters.evaluators["version"][number] = version
    return count


def _load_newest(evaluator: LoadableEvaluator, number: int, shared: Shared, count: int) -> None:
    while True:
        if shared.weights.count != count:
            count = _load(evaluator, number, shared)
        time.sleep(LOAD_SECONDS)


class _Lane:
    """One thread of an evaluator, which answers one batch after the other."""

    counting = threading.Lock()

    def __init__(self, number: int, evaluator: LoadableEvaluator, shared: Shared, work: Work):
        self._number, self._evaluator, self._slots = number, evaluator, shared.slots
        self._sharing, self._counters = work.sharing, shared.counters.of_evaluator(number)
        # Of evaluators only the network on a CUDA device has a best size.
        best = getattr(evaluator, "batch_size", None)
        self._size = min(best or work.batch_size, work.batch_size)

    def run(self) -> None:
        while True:
            requests = self._slots.take(self._number, self._size, self._sharing, PAUSE)
            began = time.perf_counter_ns()
            counts = self._answer(requests) if requests else (0, 0)
            with self.counting:  # the lanes share the counters
                self._counters.add("iterations", 1)
                if requests:
                    self._counters.add("requests", len(requests))
                    self._counters.add("evaluations", counts[0])
                    self._counters.add("batches", counts[1])
                    self._counters.add("room", counts[1] * self._size)
                    self._counters.add("busy_nanoseconds", time.perf_counter_ns() - began)

    def _answer(self, requests: list[Request]) -> tuple[int, int]:
        """Answer the requests; returns the numbers of positions and of calls of the network."""
        states = self._slots.states(requests)
        evaluation, calls = evaluate_in_parts(self._evaluator, states, self._size)
        self._slots.answer(requests, evaluation)
        return len(states), calls


def evaluate_in_parts(
    evaluator: Callable[[States], Evaluation], states: States, size: int
) -> tuple[Evaluation, int]:
    """Evaluate ``states [B]`` in parts of at most ``size``, all with the same version.

    Returns the number of calls, too. Where new weights are loaded between two parts, all are
    evaluated again.
    """
    starts, calls = range(0, len(states), size), 0
    while True:
        parts = [evaluator(states[start : start + size]) for start in starts]
        calls += len(parts)
        if len({part.version for part in parts}) == 1:
            break
    return joined(parts), calls


def joined(parts: list[Evaluation]) -> Evaluation:
    """The evaluation of all positions of ``parts``, which have the same version."""
    if len(parts) == 1:
        return parts[0]
    logits, value = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:2])
    return Evaluation(logits, value, parts[0].version)
