"""The inference server: one network, many clients, batches that form by themselves.

Requests that arrive during an evaluation are queued; the whole queue becomes the next batch, up to
``batch_size`` positions. The server never waits for a batch to fill: a single request is evaluated
at once, and under load the batches grow.

Example with one lane and ``batch_size`` 256. A request of 16 positions arrives at an idle server
and is evaluated by itself. Meanwhile nine requests of 32 positions arrive, 288 positions in all.
The next batch takes eight of them (256 positions); the ninth goes into the batch after that.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

import numpy as np

from alphazero.config import Config
from alphazero.nn.weights import Weights
from alphazero.parts import game_of
from alphazero.types import Evaluation
from games.base import States
from workers.cluster.connection import identity


class LoadableEvaluator(Protocol):
    """An evaluator whose weights can be replaced while other threads call it."""

    def load(self, weights: Weights, version: int) -> None: ...

    def __call__(self, states: States) -> Evaluation: ...


def network_evaluator(config: Config) -> LoadableEvaluator:
    """The network of ``config``; torch is imported here, in the process of the server."""
    import torch

    from alphazero.inference import NetworkEvaluator

    torch.set_num_threads(1)
    return NetworkEvaluator(game_of(config), config.network, config.inference)


def pack(evaluation: Evaluation) -> bytes:
    """``evaluation`` as bytes, which Ray carries at two thirds of the cost of arrays.

    8 bytes version, then ``B`` float32 values, then ``B * A`` float32 logits.
    """
    version = np.array([evaluation.version], np.int64)
    return b"".join([version.tobytes(), evaluation.value.tobytes(), evaluation.logits.tobytes()])


def unpack(data: bytes, positions: int) -> Evaluation:
    """The inverse of ``pack`` for this number of positions; the arrays are read-only."""
    (version,) = np.frombuffer(data, np.int64, 1)
    value = np.frombuffer(data, np.float32, positions, version.nbytes)
    logits = np.frombuffer(data, np.float32, -1, version.nbytes + value.nbytes)
    return Evaluation(logits.reshape(positions, -1), value, int(version))


class _Request(NamedTuple):
    states: States
    result: "Future[Evaluation]"


class InferenceServer:
    """Evaluates the requests of many threads in few large batches, ``lanes`` batches at a time.

    A lane is a thread; on a CPU it keeps one core busy. On a GPU there should be one lane only: a
    second one would take the requests that could have been the next batch of the first.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], LoadableEvaluator],
        dtype: np.dtype,
        batch_size: int,
        lanes: int = 1,
    ):
        """``dtype``: that of the states; ``batch_size``: positions per evaluation at most."""
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
            threading.Thread(target=self._run_lane, name=f"lane {lane}", daemon=True).start()

    def load(self, weights: Weights, version: int) -> int:
        """Evaluate with these weights from the next batch on; no request is dropped meanwhile."""
        # Copies, because arrays that are views into Ray's memory would keep it allocated.
        copied = {name: np.array(array) for name, array in weights.items()}
        self._evaluator.load(copied, version)
        self._version = version
        self._loaded.set()
        return version

    def evaluate_bytes(self, states: bytes) -> bytes:
        """``evaluate`` for other processes: the bytes of states in, ``pack`` of the result out."""
        return pack(self.evaluate(np.frombuffer(states, self._dtype)))

    def evaluate(self, states: States, timeout: float = 60.0) -> Evaluation:
        """Evaluate ``states [B]``, any ``B >= 1``, all with the same version of the weights.

        Raises ``TimeoutError`` if there are no weights or no result within ``timeout`` seconds,
        and whatever the evaluator raises.
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
            return request.result.result(deadline - time.monotonic())
        except TimeoutError:
            raise TimeoutError(f"no answer within {timeout:g} s") from None

    def status(self) -> dict:
        """Counters since the start of this process, and the weights' version (-1: none yet)."""
        return {
            **identity(),
            "version": self._version,
            "requests": self._requests,
            "evaluations": self._evaluations,
            "batches": self._batches,
            "busy_seconds": self._busy_seconds,
        }

    def _run_lane(self):
        while True:
            self._process(self._take_batch())

    def _take_batch(self) -> list[_Request]:
        """The oldest requests, at least one: this lane's share of all queued positions.

        With two lanes and four queued requests of 5 positions each, the share is 20 / 2 = 10: two
        requests are taken, and two are left for the other lane.
        """
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

    def _process(self, batch: list[_Request]):
        """Evaluate a batch and give every request its rows of the result, or the error."""
        began = time.perf_counter()
        try:
            evaluation, parts = self._evaluate(np.concatenate([r.states for r in batch]))
        except Exception as error:
            for request in batch:
                request.result.set_exception(error)
            return
        with self._arrived:  # the lanes share these counters
            self._requests += len(batch)
            self._batches += parts
            self._evaluations += len(evaluation.value)
            self._busy_seconds += time.perf_counter() - began
        start = 0
        for request in batch:
            rows = slice(start, start + len(request.states))
            request.result.set_result(
                Evaluation(evaluation.logits[rows], evaluation.value[rows], evaluation.version)
            )
            start = rows.stop

    def _evaluate(self, states: States) -> tuple[Evaluation, int]:
        """The evaluation of ``states`` and the number of evaluator calls that it took.

        A single request may be larger than ``batch_size``; it is evaluated in parts.
        """
        size, calls = self._batch_size, 0
        while True:
            parts = [
                self._evaluator(states[start : start + size])
                for start in range(0, len(states), size)
            ]
            calls += len(parts)
            if len({part.version for part in parts}) == 1:
                break  # Otherwise new weights were loaded between two parts: evaluate all again.
        logits, value = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:2])
        return Evaluation(logits, value, parts[0].version), calls
