"""The inference server: one network, many askers, natural batching.

Whoever asks while a batch is being evaluated waits, and whatever has queued when it is done makes
up the next batch. Nobody waits for a batch to fill: a lone asker is answered at once, and under
load the batches grow by themselves.
"""

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
from alphazero.types import Evaluation, Weights
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


class _Request(NamedTuple):
    states: States
    answer: "Future[Evaluation]"


class InferenceServer:
    """Evaluates the requests of many threads in few large batches. No thread of its own.

    Of the threads that ask, one evaluates for all and the others wait: the one that finds no batch
    in progress takes the oldest requests, up to ``batch_size`` positions, and answers them.
    """

    def __init__(self, make_evaluator: Callable[[], LoadableEvaluator], batch_size: int):
        self._evaluator = make_evaluator()
        self._batch_size = batch_size
        self._loaded = threading.Event()
        self._turn = threading.Condition()
        self._queue: deque[_Request] = deque()
        self._evaluating = False
        self._version = -1
        self._evaluations = self._batches = 0
        self._busy_seconds = 0.0

    def load(self, weights: Weights, version: int) -> int:
        """Answer with these weights from the next batch on; none is dropped meanwhile."""
        # Arrays that live in Ray's memory would pin it: copy them at the door.
        copied = {name: np.array(array) for name, array in weights.items()}
        self._evaluator.load(copied, version)
        self._version = version
        self._loaded.set()
        return version

    def evaluate(self, states: States, timeout: float = 60.0) -> Evaluation:
        """Of ``states [B]``, any ``B >= 1``; one version of the weights answers all of it.

        Raises ``TimeoutError`` where no weights or no turn came in ``timeout`` seconds, and
        whatever the evaluator raised.
        """
        deadline = time.monotonic() + timeout
        if not self._loaded.wait(timeout):
            raise TimeoutError(f"no weights were published within {timeout:g} s")
        request = _Request(np.array(states), Future())
        with self._turn:
            self._queue.append(request)
        while not request.answer.done():
            batch = self._take(request, deadline)
            if batch:
                self._answer(batch)
        return request.answer.result(0)

    def status(self) -> dict:
        """Counters since the start of this process, and whose weights answer (-1: none yet)."""
        return {
            "pid": os.getpid(),
            "version": self._version,
            "evaluations": self._evaluations,
            "batches": self._batches,
            "busy_seconds": self._busy_seconds,
        }

    def _take(self, request: _Request, deadline: float) -> list[_Request]:
        """The next batch, for the caller to evaluate; none once its own request is answered."""
        with self._turn:
            while self._evaluating and not request.answer.done():
                if not self._turn.wait(deadline - time.monotonic()):
                    raise TimeoutError("the batch before this request did not end in time")
            if request.answer.done():
                return []
            self._evaluating = True
            batch, size = [], 0
            while self._queue and (
                not batch or size + len(self._queue[0].states) <= self._batch_size
            ):
                batch.append(self._queue.popleft())
                size += len(batch[-1].states)
            return batch

    def _answer(self, batch: list[_Request]):
        began = time.perf_counter()
        try:
            self._split(self._evaluate(np.concatenate([r.states for r in batch])), batch)
        except Exception as error:
            for request in batch:
                request.answer.set_exception(error)
        finally:
            self._busy_seconds += time.perf_counter() - began
            with self._turn:
                self._evaluating = False
                self._turn.notify_all()

    def _evaluate(self, states: States) -> Evaluation:
        """In parts of at most ``batch_size``: a single request may be larger than that."""
        size = self._batch_size
        while True:
            parts = [
                self._evaluator(states[start : start + size])
                for start in range(0, len(states), size)
            ]
            self._batches += len(parts)
            if len({part.version for part in parts}) == 1:
                break  # Otherwise new weights came between two parts: ask them all again.
        self._evaluations += len(states)
        logits, value = (np.concatenate(column) for column in list(zip(*parts, strict=True))[:2])
        return Evaluation(logits, value, parts[0].version)

    @staticmethod
    def _split(evaluation: Evaluation, batch: list[_Request]):
        start = 0
        for request in batch:
            rows = slice(start, start + len(request.states))
            request.answer.set_result(
                Evaluation(evaluation.logits[rows], evaluation.value[rows], evaluation.version)
            )
            start = rows.stop
