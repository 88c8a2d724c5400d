"""Processes that keep calls under way with an actor of Ray, and the calls that were answered."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import numpy as np
import ray

from alphazero.types import Evaluator
from games.base import States
from workers.bench import processes
from workers.bench.measuring import Calls
from workers.cluster.connection import connect, leave

START_SECONDS = 120.0
"""The longest time in seconds that a first answer takes."""
ANSWER_SECONDS = 60.0

MakeCall = Callable[[int], Any]
"""Starts the call of a number and returns its reference."""


class Caller:
    """An actor that keeps calls under way with another one, which answers them in their order."""

    def __init__(self, make_call: MakeCall, in_flight: int):
        self._make_call, self._in_flight, self._numbers = make_call, in_flight, count()

    def run(self, seconds: float) -> Calls:
        """Call for ``seconds``, and wait for the last answers."""
        pending, latencies = deque[tuple[Any, float]](), []
        began, before = time.perf_counter(), time.process_time()
        while True:
            while len(pending) < self._in_flight and time.perf_counter() < began + seconds:
                sent = time.perf_counter()
                pending.append((self._make_call(next(self._numbers)), sent))
            if not pending:
                break
            call, sent = pending.popleft()
            ray.get(call, timeout=ANSWER_SECONDS)
            latencies.append(time.perf_counter() - sent)
        lasted, cpu = time.perf_counter() - began, time.process_time() - before
        return Calls(lasted, cpu, np.array(latencies, np.float32))


class Callers:
    """Several callers of one actor, a process each; and the CPU time of that actor."""

    def __init__(self, pid: int, calls: list[MakeCall], in_flight: int):
        """``pid``: the process of the actor that is called."""
        self._pid = pid
        self._callers: list[Any] = [
            ray.remote(Caller).options(num_cpus=0).remote(call, in_flight) for call in calls
        ]
        ray.get([caller.run.remote(0.1) for caller in self._callers], timeout=START_SECONDS)

    def turn(self, seconds: float) -> tuple[list[Calls], float]:
        """Call for ``seconds``; the calls of each caller, and seconds of the actor's CPU time."""
        before = processes.cpu_seconds([self._pid])
        calls = [caller.run.remote(seconds) for caller in self._callers]
        answered = ray.get(calls, timeout=seconds + START_SECONDS)
        return answered, processes.cpu_seconds([self._pid]) - before

    def close(self) -> None:
        for caller in self._callers:
            ray.kill(caller)


class Answering:
    """An actor with an evaluator: the bytes of positions in, those of their evaluation out."""

    def __init__(self, make_evaluator: Callable[[], Evaluator], dtype: np.dtype):
        self._evaluator, self._dtype = make_evaluator(), dtype

    def evaluate(self, states: bytes) -> bytes:
        evaluation = self._evaluator(np.frombuffer(states, self._dtype))
        return evaluation.logits.tobytes() + evaluation.value.tobytes()

    def pid(self) -> int:
        return os.getpid()


@contextmanager
def evaluator_calls(
    make_evaluator: Callable[[], Evaluator], states: States, callers: int, in_flight: int
) -> Iterator[Callers]:
    """Callers of an actor that evaluates ``states``; starts Ray where it does not run."""
    started = connect("local")
    try:
        actor: Any = ray.remote(Answering).options(num_cpus=0).remote(make_evaluator, states.dtype)
        request = states.tobytes()
        pid: Any = ray.get(actor.pid.remote(), timeout=START_SECONDS)
        calls: list[MakeCall] = [lambda _: actor.evaluate.remote(request)] * callers
        with closing(Callers(pid, calls, in_flight)) as calling:
            yield calling
        ray.kill(actor)
    finally:
        leave(started)
