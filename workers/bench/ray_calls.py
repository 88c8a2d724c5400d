"""Processes that keep calls under way with an actor of Ray, and the calls that were answered."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
WARM_SECONDS = 0.1

MakeCall = Callable[[int], Any]
"""Starts the call of a number and returns its reference."""


class Caller:
    """An actor that keeps calls under way with another one, which answers them in their order."""

    def __init__(self, in_flight: int):
        self._in_flight, self._numbers = in_flight, count()

    def run(self, make_call: MakeCall, seconds: float) -> Calls:
        """Call for ``seconds``, and wait for the last answers; no two calls have one number."""
        pending, latencies = deque[tuple[Any, float]](), []
        began, before = time.perf_counter(), time.process_time()
        while True:
            while len(pending) < self._in_flight and time.perf_counter() < began + seconds:
                sent = time.perf_counter()
                pending.append((make_call(next(self._numbers)), sent))
            if not pending:
                break
            call, sent = pending.popleft()
            ray.get(call, timeout=ANSWER_SECONDS)
            latencies.append(time.perf_counter() - sent)
        lasted, cpu = time.perf_counter() - began, time.process_time() - before
        return Calls(lasted, cpu, np.array(latencies, np.float32))


class Callers:
    """Several callers of one actor, a process each; and the CPU time of that actor."""

    def __init__(self, pid: int, number: int, in_flight: int):
        """``pid``: the process of the actor that ``number`` callers call."""
        self._pid = pid
        actor = ray.remote(Caller).options(num_cpus=0)
        self._callers: list[Any] = [actor.remote(in_flight) for _ in range(number)]

    def call(self, calls: Sequence[MakeCall], seconds: float) -> tuple[list[Calls], float]:
        """Each caller makes its item of ``calls`` for ``seconds``, after a tenth of one before it.

        The calls of each caller, and seconds of CPU time of the actor.
        """
        self._run(calls, WARM_SECONDS)
        before = processes.cpu_seconds([self._pid])
        answered = self._run(calls, seconds)
        return answered, processes.cpu_seconds([self._pid]) - before

    def _run(self, calls: Sequence[MakeCall], seconds: float) -> list[Calls]:
        pairs = zip(self._callers, calls, strict=True)
        running = [caller.run.remote(call, seconds) for caller, call in pairs]
        return ray.get(running, timeout=seconds + START_SECONDS)

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


class EvaluatorCalls:
    """A ``transport.Way``: processes that call an actor, which evaluates ``states``."""

    def __init__(self, callers: Callers, evaluate: MakeCall, number: int):
        self._callers, self._calls = callers, [evaluate] * number

    def turn(self, seconds: float) -> tuple[list[Calls], float]:
        return self._callers.call(self._calls, seconds)


@contextmanager
def evaluator_calls(
    make_evaluator: Callable[[], Evaluator], states: States, number: int, in_flight: int
) -> Iterator[EvaluatorCalls]:
    """``number`` callers of an actor that evaluates ``states``; starts Ray where needed."""
    started = connect("local")
    try:
        actor: Any = ray.remote(Answering).options(num_cpus=0).remote(make_evaluator, states.dtype)
        request = states.tobytes()
        pid: Any = ray.get(actor.pid.remote(), timeout=START_SECONDS)
        with closing(Callers(pid, number, in_flight)) as callers:
            yield EvaluatorCalls(callers, lambda _: actor.evaluate.remote(request), number)
        ray.kill(actor)
    finally:
        leave(started)
