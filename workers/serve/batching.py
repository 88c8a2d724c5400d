"""Natural batching: whatever has queued while the last batch ran is the next batch.

Nobody waits for a batch to fill: a lone request is answered at once, and under load the batches
grow by themselves. All but the computation happens in the event loop, so nothing needs a lock.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from workers.serve.limits import Limits

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Busy(Exception):
    """Too much is asked at the moment; later there may be an answer."""


class Batched(NamedTuple, Generic[Answer]):
    """What became of one request."""

    answers: Sequence[Answer]
    """One for each of its items, in their order."""
    batch: int
    """Items that were computed together."""


@dataclass(eq=False, slots=True)
class _Request(Generic[Item, Answer]):
    items: Sequence[Item]
    batched: "asyncio.Future[Batched[Answer]]"


class Batcher(Generic[Item, Answer]):
    """Calls ``compute`` for one batch at a time, in a thread of its own, for many who ask."""

    def __init__(
        self,
        compute: Callable[[list[Item]], Sequence[Answer]],
        limits: Limits,
        report: Callable[[int], object] = lambda size: None,
    ):
        """``compute`` gives one answer for each item; ``report`` hears of the size of a batch."""
        self._compute, self._limits, self._report = compute, limits, report
        self._thread = ThreadPoolExecutor(1, "network")
        self._queue: deque[_Request[Item, Answer]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._began: float | None = None
        self.waiting = 0
        """Items in the queue."""

    async def ask(self, items: Sequence[Item]) -> Batched[Answer]:
        """Computed together, with those of other requests if there is room: ``limits.batch``.

        ``Busy`` where the queue is full or no answer came in time; whatever ``compute`` raises.
        """
        if self.waiting + len(items) > self._limits.queue:
            raise Busy(f"{self.waiting} inputs are waiting already")
        request = _Request(items, asyncio.get_running_loop().create_future())
        self._queue.append(request)
        self.waiting += len(items)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await request.batched
        except TimeoutError:
            raise Busy(f"no answer within {self._limits.seconds:g} s") from None
        finally:
            self._forget(request)

    @property
    def stuck(self) -> bool:
        """Whether the batch that is being computed takes longer than anybody waits for it."""
        return self._began is not None and time.monotonic() - self._began > self._limits.seconds

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _forget(self, request: _Request[Item, Answer]) -> None:
        """Take a request that is not waited for any more out of the queue, if it is there yet."""
        if request in self._queue:
            self._queue.remove(request)
            self.waiting -= len(request.items)

    async def _run(self) -> None:
        while self._queue:
            await self._answer(self._take())

    def _take(self) -> list[_Request[Item, Answer]]:
        """The oldest requests, none of them split: one at the least, together one batch at most."""
        batch, size = [], 0
        while self._queue and (not batch or size + len(self._queue[0].items) <= self._limits.batch):
            batch.append(self._queue.popleft())
            size += len(batch[-1].items)
        self.waiting -= size
        return batch

    async def _answer(self, batch: list[_Request[Item, Answer]]) -> None:
        items = [item for request in batch for item in request.items]
        self._began = time.monotonic()
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self._thread, self._compute, items)
        except Exception as error:
            await self._answer_apart(batch, error)
            return
        finally:
            self._began = None
        self._report(len(items))
        start = 0
        for request in batch:
            end = start + len(request.items)
            if not request.batched.done():
                request.batched.set_result(Batched(answers[start:end], len(items)))
            start = end

    async def _answer_apart(self, batch: list[_Request[Item, Answer]], error: Exception) -> None:
        """Each request of a failed batch, alone: one that cannot be computed spoils no other."""
        if len(batch) > 1:
            for request in batch:
                await self._answer([request])
        elif not batch[0].batched.done():
            batch[0].batched.set_exception(error)
