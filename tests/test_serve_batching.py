"""Natural batching: nobody waits for company, nobody's answer goes to another, all ends in time."""

import asyncio
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.serve.batching import Batcher, Busy
from workers.serve.limits import Limits


class Doubling:
    """Computes ``2 * item`` once ``go`` is set; notes its batches and threads."""

    def __init__(self, ready=True):
        self.batches, self.threads, self.running = [], set(), 0
        self.go = threading.Event()
        self.began = threading.Event()
        if ready:
            self.go.set()

    def __call__(self, items):
        self.running += 1
        assert self.running == 1
        self.threads.add(threading.current_thread().name)
        self.batches.append(list(items))
        self.began.set()
        assert self.go.wait(30)
        self.running -= 1
        if "bad" in items:
            raise ArithmeticError("bad")
        return [2 * item for item in items]


async def begun(compute):
    """Waits until a batch is being computed."""
    while not compute.began.is_set():
        await asyncio.sleep(0.001)


def limits(**changed):
    return Limits(**{"batch": 4, "queue": 8, "seconds": 20.0, **changed})


def test_a_lone_request_is_computed_at_once_and_alone():
    compute = Doubling()

    async def scenario():
        return await Batcher(compute, limits()).ask([3, 4])

    assert asyncio.run(scenario()) == ([6, 8], 2)
    assert compute.batches == [[3, 4]]


def test_what_queued_while_a_batch_ran_is_the_next_batch():
    compute, sizes = Doubling(ready=False), []

    async def scenario():
        batcher = Batcher(compute, limits(), sizes.append)
        first = asyncio.create_task(batcher.ask([1]))
        await begun(compute)
        others = [asyncio.create_task(batcher.ask([item])) for item in (2, 3, 4)]
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
def test_everyone_gets_the_answers_to_their_own_items_and_no_request_is_split(sizes, most):
    compute = Doubling(ready=False)
    items = [[f"{request}.{item};" for item in range(size)] for request, size in enumerate(sizes)]

    async def scenario():
        batcher = Batcher(compute, limits(batch=most, queue=1000))
        asked = [asyncio.create_task(batcher.ask(each)) for each in items]
        await begun(compute)
        compute.go.set()
        return await asyncio.gather(*asked)

    found = asyncio.run(scenario())
    assert [each.answers for each in found] == [[2 * item for item in each] for each in items]
    assert [item for batch in compute.batches for item in batch] == [
        item for each in items for item in each
    ]
    for batch in compute.batches:
        requests = {item.partition(".")[0] for item in batch}
        assert len(batch) <= most or len(requests) == 1
        assert len(batch) == sum(sizes[int(request)] for request in requests)


def test_a_full_queue_refuses_at_once_and_takes_more_when_there_is_room():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        asked = [asyncio.create_task(batcher.ask([0]))]
        await begun(compute)
        asked += [asyncio.create_task(batcher.ask([item, item])) for item in range(1, 5)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="8 inputs are waiting"):
            await batcher.ask([9])
        compute.go.set()
        await asyncio.gather(*asked)
        assert batcher.waiting == 0
        return await batcher.ask([9])

    assert asyncio.run(scenario()) == ([18], 1)


def test_who_waited_too_long_is_told_so_and_is_not_computed_any_more():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits(seconds=0.2))
        first = asyncio.create_task(batcher.ask([1]))
        await begun(compute)
        with pytest.raises(Busy, match=r"no answer within 0\.2 s"):
            await batcher.ask([2])
        assert batcher.waiting == 0
        with pytest.raises(Busy):
            await first
        assert batcher.stuck
        compute.go.set()
        found = await batcher.ask([3])
        await asyncio.sleep(0.25)  # longer than anybody waits, and nothing is being computed
        assert not batcher.stuck
        return found

    assert asyncio.run(scenario()) == ([6], 1)
    assert compute.batches == [[1], [3]]


def test_who_goes_away_leaves_the_queue():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        first = asyncio.create_task(batcher.ask([1]))
        await begun(compute)
        gone, staying = (asyncio.create_task(batcher.ask([item])) for item in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        compute.go.set()
        return await first, await staying

    assert asyncio.run(scenario()) == (([2], 1), ([6], 1))
    assert compute.batches == [[1], [3]]


def test_who_goes_away_while_computed_does_not_disturb_the_others():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        gone, staying = (asyncio.create_task(batcher.ask([item])) for item in (1, 2))
        await begun(compute)
        gone.cancel()
        await asyncio.sleep(0)
        compute.go.set()
        return await staying

    assert asyncio.run(scenario()) == ([4], 2)


def test_a_request_that_cannot_be_computed_spoils_no_other():
    compute = Doubling(ready=False)

    async def scenario():
        batcher = Batcher(compute, limits())
        asked = [asyncio.create_task(batcher.ask([item])) for item in (1, "bad", 3)]
        await begun(compute)
        compute.go.set()
        return await asyncio.gather(*asked, return_exceptions=True)

    first, bad, last = asyncio.run(scenario())
    assert (first, last) == (([2], 1), ([6], 1))
    assert isinstance(bad, ArithmeticError)
    assert compute.batches == [[1, "bad", 3], [1], ["bad"], [3]]


def test_a_batcher_works_in_one_event_loop_after_another():
    batcher = Batcher(Doubling(), limits())
    assert asyncio.run(batcher.ask([1])) == asyncio.run(batcher.ask([1])) == ([2], 1)
