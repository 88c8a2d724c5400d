"""The inference server: one network, many askers, natural batching.

Whoever asks while a batch is being evaluated waits, and whatever has queued when it is done makes
up the next batch. Nobody waits for a batch to fill: a lone asker is answered at once, and under
load the batches grow by themselves.
"""

import math
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np

import games
from alphazero.config import Config
from alphazero.nn.weights import Weights
from alphazero.types import Evaluation
from games.base import States


class LoadableEvaluator(Protocol):
    """An evaluator whose weights can be replaced while other threads call it."""

    def load(self, weights: Weights, version: int) -> None: ...

    def __call__(self, states: States) -> Evaluation: ...


def network_evaluator(config: Config) -> LoadableEvaluator:
    """The network of ``config``; torch is imported here, in the server's own process."""
    import torch

    from alphazero.inference import NetworkEvaluator

    torch.set_num_threads(1)
    return NetworkEvaluator(games.make(config.game), config.network, config.inference)


def pack(evaluation: Evaluation) -> bytes:
    """``evaluation`` as it travels; Ray carries bytes a third cheaper than arrays."""
    version = np.array([evaluation.version], np.int64)
    return b"".join([version.tobytes(), evaluation.value.tobytes(), evaluation.logits.tobytes()])


def unpack(data: bytes, positions: int) -> Evaluation:
    """What ``pack`` made of so many positions; its arrays are read-only."""
    (version,) = np.frombuffer(data, np.int64, 1)
    value = np.frombuffer(data, np.float32, positions, version.nbytes)
    logits = np.frombuffer(data, np.float32, -1, version.nbytes + value.nbytes)
    return Evaluation(logits.reshape(positions, -1), value, int(version))


class _Request(NamedTuple):
    states: States
    answer: "Future[Evaluation]"


class InferenceServer:
    """Evaluates the requests of many threads in few large batches, ``lanes`` batches at a time.

    A lane is a thread, which on a CPU keeps one core busy. On a GPU there should be one only: a
    second would take what the first one's next batch could have been.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], LoadableEvaluator],
        dtype: np.dtype,
        batch_size: int,
        lanes: int = 1,
    ):
        """``dtype`` is the states'."""
        self._evaluator = make_evaluator()
        self._dtype = dtype
        self._batch_size = batch_size
        self._lanes = lanes
        self._loaded = threading.Event()
        self._arrived = threading.Condition()
        self._queue: deque[_Request] = deque()
        self._queued = 0
        self._version = -1
        self._requests = self._evaluations = self._batches = 0
        self._busy_seconds = 0.0
        for lane in range(lanes):
            threading.Thread(target=self._work, name=f"lane {lane}", daemon=True).start()

    def load(self, weights: Weights, version: int) -> int:
        """Answer with these weights from the next batch on; none is dropped meanwhile."""
        # Arrays that live in Ray's memory would pin it: copy them at the door.
        copied = {name: np.array(array) for name, array in weights.items()}
        self._evaluator.load(copied, version)
        self._version = version
        self._loaded.set()
        return version

    def ask(self, states: bytes) -> bytes:
        """``evaluate`` for those who are far away."""
        return pack(self.evaluate(np.frombuffer(states, self._dtype)))

    def evaluate(self, states: States, timeout: float = 60.0) -> Evaluation:
        """Of ``states [B]``, any ``B >= 1``; one version of the weights answers all of it.

        Raises ``TimeoutError`` where no weights or no answer came in ``timeout`` seconds, and
        whatever the evaluator raised.
        """
        deadline = time.monotonic() + timeout
        if not self._loaded.wait(timeout):
            raise TimeoutError(f"no weights were published within {timeout:g} s")
        request = _Request(states, Future())
        with self._arrived:
            self._queue.append(request)
            self._queued += len(states)
            self._arrived.notify()
        try:
            return request.answer.result(deadline - time.monotonic())
        except TimeoutError:
            raise TimeoutError(f"no answer within {timeout:g} s") from None

    def status(self) -> dict:
        """Counters since the start of this process, and whose weights answer (-1: none yet)."""
        return {
            "pid": os.getpid(),
            "version": self._version,
            "requests": self._requests,
            "evaluations": self._evaluations,
            "batches": self._batches,
            "busy_seconds": self._busy_seconds,
        }

    def _work(self):
        while True:
            self._answer(self._take())

    def _take(self) -> list[_Request]:
        """The oldest requests: this lane's share of all that wait, one at the least."""
        with self._arrived:
            while not self._queue:
                self._arrived.wait()
            share = min(self._batch_size, math.ceil(self._queued / self._lanes))
            batch, size = [], 0
            while self._queue and (not batch or size + len(self._queue[0].states) <= share):
                batch.append(self._queue.popleft())
                size += len(batch[-1].states)
            self._queued -= size
            return batch

    def _answer(self, batch: list[_Request]):
        began = time.perf_counter()
        try:
            evaluation, parts = self._evaluate(np.concatenate([r.states for r in batch]))
        except Exception as error:
            for request in batch:
                request.answer.set_exception(error)
            return
        with self._arrived:  # the lanes share these counters
            self._requests += len(batch)
            self._batches += parts
            self._evaluations += len(evaluation.value)
            self._busy_seconds += time.perf_counter() - began
        start = 0
        for request in batch:
            rows = slice(start, start + len(request.states))
            request.answer.set_result(
                Evaluation(evaluation.logits[rows], evaluation.value[rows], evaluation.version)
            )
            start = rows.stop

    def _evaluate(self, states: States) -> tuple[Evaluation, int]:
        """In parts of at most ``batch_size``, for a single request may be larger; and how many."""
        size, asked = self._batch_size, 0
        while True:
            parts = [
                self._evaluator(states[start : start + size])
                for start in range(0, len(states), size)
            ]
            asked += len(parts)
            if len({part.version for part in parts}) == 1:
                break  # Otherwise new weights came between two parts: ask them all again.
        logits, value = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:2])
        return Evaluation(logits, value, parts[0].version), asked
