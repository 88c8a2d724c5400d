"""Natural batching: requests that arrive during a computation are queued.

The whole queue, up to the largest batch, becomes the next batch. No request waits for a batch to
fill: a single request is computed at once, and under load the batches grow. For example, with
10 ms per computation and a request every 4 ms the first request is computed alone, the two that
arrive meanwhile become the next batch, and so on.

Everything but the computation runs in the event loop, so no lock is needed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from workers.serve.limits import Limits

Input = TypeVar("Input")
Result = TypeVar("Result")


class Unavailable(Exception):
    """The server cannot answer now; the same request may succeed later (HTTP status 503)."""


class BatchedResults(NamedTuple, Generic[Result]):
    """The results of one request."""

    results: Sequence[Result]
    """One for each of its inputs, in their order."""
    batch_size: int
    """Inputs that were computed together, those of other requests included."""


@dataclass(eq=False, slots=True)
class _QueuedRequest(Generic[Input, Result]):
    inputs: Sequence[Input]
    future: "asyncio.Future[BatchedResults[Result]]"


class Batcher(Generic[Input, Result]):
    """Calls ``compute`` for one batch at a time, in a thread of its own."""

    def __init__(
        self,
        compute: Callable[[list[Input]], Sequence[Result]],
        limits: Limits,
        report: Callable[[int], object] = lambda size: None,
    ):
        """``compute`` returns one result for each input; ``report`` receives each batch's size."""
        self._compute, self._limits, self._report = compute, limits, report
        self._thread = ThreadPoolExecutor(1, "network")
        self._queue: deque[_QueuedRequest[Input, Result]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._computing_since: float | None = None
        self.waiting = 0
        """Inputs in the queue."""

    async def submit(self, inputs: Sequence[Input]) -> BatchedResults[Result]:
        """Compute ``inputs`` in one batch, with those of other requests where they fit.

        Raises ``Unavailable`` where the queue is full or no result came in time, and whatever
        ``compute`` raises for these inputs.
        """
        if self.waiting + len(inputs) > self._limits.queue:
            raise Unavailable(f"{self.waiting} inputs are waiting already")
        request = _QueuedRequest(inputs, asyncio.get_running_loop().create_future())
        self._queue.append(request)
        self.waiting += len(inputs)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await request.future
        except TimeoutError:
            raise Unavailable(f"no answer within {self._limits.seconds:g} s") from None
        finally:
            self._remove(request)

    @property
    def stuck(self) -> bool:
        """Whether the current computation has lasted longer than any request may wait."""
        since = self._computing_since
        return since is not None and time.monotonic() - since > self._limits.seconds

    @property
    def busy(self) -> bool:
        """Whether inputs are computed or wait."""
        return self._running is not None and not self._running.done()

    def close(self) -> None:
        """End the thread after the current computation."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _remove(self, request: _QueuedRequest[Input, Result]) -> None:
        """Take a request whose client has gone, or whose time is over, out of the queue."""
        if request in self._queue:
            self._queue.remove(request)
            self.waiting -= len(request.inputs)

    async def _run(self) -> None:
        while self._queue:
            await self._compute_batch(self._next_batch())

    def _next_batch(self) -> list[_QueuedRequest[Input, Result]]:
        """The oldest requests that fit into one batch, at least one; no request is split."""
        batch, size, limit = [], 0, self._limits.batch
        while self._queue and (not batch or size + len(self._queue[0].inputs) <= limit):
            batch.append(self._queue.popleft())
            size += len(batch[-1].inputs)
        self.waiting -= size
        return batch

    async def _compute_batch(self, batch: list[_QueuedRequest[Input, Result]]) -> None:
        inputs = [item for request in batch for item in request.inputs]
        self._computing_since = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._thread, self._compute, inputs)
        except Exception as error:
            await self._compute_separately(batch, error)
            return
        finally:
            self._computing_since = None
        self._report(len(inputs))
        start = 0
        for request in batch:
            end = start + len(request.inputs)
            if not request.future.done():
                request.future.set_result(BatchedResults(results[start:end], len(inputs)))
            start = end

    async def _compute_separately(
        self, batch: list[_QueuedRequest[Input, Result]], error: Exception
    ) -> None:
        """Compute each request of a failed batch alone, so that only the faulty one fails."""
        if len(batch) > 1:
            for request in batch:
                await self._compute_batch([request])
        elif not batch[0].future.done():
            batch[0].future.set_exception(error)
