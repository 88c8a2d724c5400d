"""Natural batching: a request never waits for a batch to fill, and gets its own results."""

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.serve.batching import Batcher, Unavailable
from workers.serve.limits import Limits


class Doubling:
    """Computes ``2 * item`` once ``go`` is set; records its batches and threads."""

    def __init__(self, ready=True):
        self.batches, self.threads, self.running = [], set(), 0
        self.go = threading.Event()
        self.started = threading.Event()
        if ready:
            self.go.set()

    def __call__(self, items):
        self.running += 1
        assert self.running == 1
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(items))
        self.started.set()
        assert self.go.wait(30)
        self.running -= 1
        if "bad" in items:
            raise ArithmeticError("bad")
        return [2 * item for item in items]


async def started(compute):
    """Wait until a batch is being computed."""
    while not compute.started.is_set():
        await asyncio.sleep(0.001)


def limits(**changed):
    return Limits(**{"batch": 4, "queue": 8, "seconds": 20.0, **changed})


def test_a_single_request_is_computed_at_once_and_alone():
    compute = Doubling()

    async def scenario():
        return await Batcher(compute, limits()).submit([3, 4])

    assert asyncio.run(scenario()) == ([6, 8], 2)
    assert compute.batches == [[3, 4]]


def test_requests_queued_during_a_computation_form_the_next_batch():
    compute, sizes = Doubling(ready=False), []

    async def scenario():
        batcher = Batcher(compute, limits(), sizes.append)
        first = asyncio.create_task(batcher.submit([1]))
        await started(compute)
        others = [asyncio.create_task(batcher.submit([item])) for item in (2, 3, 4)]
        await asyncio.sleep(0)
        assert batcher.waiting == 3
        compute.go.set()
        return await asyncio.gather(first, *others)

    assert asyncio.run(scenario()) == [([2], 1), ([4], 3), ([6], 3), ([8], 3)]
    assert compute.batches == [[1], [2, 3, 4]]
    assert sizes == [1, 3]
    assert compute.threads == {"network_0"}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(1, 4))
def test_every_request_gets_the_results_of_its_own_inputs_and_none_is_split(sizes, most):
    compute = Doubling(ready=False)
    items = [[f"{request}.{item};" for item in range(size)] for request, size in enumerate(sizes)]

    async def scenario():
        batcher = Batcher(compute, limits(batch=most, queue=1000))
        tasks = [asyncio.create_task(batcher.submit(inputs)) for inputs in items]
        await started(compute)
        compute.go.set()
        return await asyncio.gather(*tasks)

    batched = asyncio.run(scenario())
    expected = [[2 * item for item in inputs] for inputs in items]
    assert [one.results for one in batched] == expected
    assert [item for batch in compute.batches for item in batch] == [
        item for inputs in items for item in inputs
    ]
    for batch in compute.batches:
        requests = {item.partition(".")[0] for item in batch}
        assert len(batch) <= most or len(requests) == 1
        assert len(batch) == sum(sizes[int(request)] for request in requests)


def test_a_full_queue_refuses_at_once_and_takes_more_when_there_is_room():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        tasks = [asyncio.create_task(batcher.submit([0]))]
        await started(compute)
        tasks += [asyncio.create_task(batcher.submit([item, item])) for item in range(1, 5)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="8 inputs are waiting"):
            await batcher.submit([9])
        compute.go.set()
        await asyncio.gather(*tasks)
        assert batcher.waiting == 0
        return await batcher.submit([9])

    assert asyncio.run(scenario()) == ([18], 1)


def test_a_request_that_waits_too_long_fails_and_is_not_computed():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits(seconds=0.2))
        first = asyncio.create_task(batcher.submit([1]))
        await started(compute)
        with pytest.raises(Unavailable, match=r"no answer within 0\.2 s"):
            await batcher.submit([2])
        assert batcher.waiting == 0
        with pytest.raises(Unavailable):
            await first
        assert batcher.stuck
        compute.go.set()
        batched = await batcher.submit([3])
        await asyncio.sleep(0.25)  # longer than the limit, and nothing is being computed
        assert not batcher.stuck
        return batched

    assert asyncio.run(scenario()) == ([6], 1)
    assert compute.batches == [[1], [3]]


def test_a_cancelled_request_leaves_the_queue():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        first = asyncio.create_task(batcher.submit([1]))
        await started(compute)
        cancelled, staying = (asyncio.create_task(batcher.submit([item])) for item in (2, 3))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        compute.go.set()
        return await first, await staying

    assert asyncio.run(scenario()) == (([2], 1), ([6], 1))
    assert compute.batches == [[1], [3]]


def test_a_request_cancelled_while_it_is_computed_does_not_affect_the_others():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        cancelled, staying = (asyncio.create_task(batcher.submit([item])) for item in (1, 2))
        await started(compute)
        cancelled.cancel()
        await asyncio.sleep(0)
        compute.go.set()
        return await staying

    assert asyncio.run(scenario()) == ([4], 2)


def test_a_request_whose_computation_fails_does_not_affect_the_others():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        tasks = [asyncio.create_task(batcher.submit([item])) for item in (1, "bad", 3)]
        await started(compute)
        compute.go.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, bad, last = asyncio.run(scenario())
    assert (first, last) == (([2], 1), ([6], 1))
    assert isinstance(bad, ArithmeticError)
    assert compute.batches == [[1, "bad", 3], [1], ["bad"], [3]]


def test_a_batcher_works_in_one_event_loop_after_another():
    batcher = Batcher(Doubling(), limits())
    assert asyncio.run(batcher.submit([1])) == asyncio.run(batcher.submit([1])) == ([2], 1)
