"""Two lanes keep a device at work while requests wait, and one does not; nothing is timed here."""

import threading
from contextlib import contextmanager, suppress

import numpy as np

import games
from alphazero.types import Evaluation
from workers.node.counters import Counters
from workers.node.evaluator import Shared, Work, _Lane
from workers.node.published import PublishedWeights
from workers.node.slots import Sizes, Slots

GAME = games.make("tic_tac_toe")
WAITING = 8
"""Requests of one position under way, always."""
SOON = 60.0
"""Seconds within which something that must happen happens."""


class Over(Exception):
    """Ends a lane at the end of a test."""


class Device:
    """An evaluator whose batches end when the test says so."""

    batch_size = 2

    def __init__(self):
        self.submitted, self.may_end = threading.Semaphore(0), threading.Semaphore(0)
        self.is_over = False

    def __call__(self, states):
        if self.is_over:
            raise Over
        self.submitted.release()
        assert self.may_end.acquire(timeout=SOON)
        return Evaluation(
            np.zeros((len(states), 9), np.float32), np.zeros(len(states), np.float32), 1
        )


@contextmanager
def lanes_on(device, lanes):
    """The slots of one player, whose requests all wait, and an evaluator with so many lanes."""
    slots = Slots(Sizes(1, WAITING, 1, 9), GAME.dtype)
    shared = Shared(slots, Counters(1, 1), PublishedWeights({}))
    work = Work(lambda number: device, 1024, lanes, lanes)
    for slot in range(WAITING):
        slots.submit(slot, GAME.initial(1))
    threads = [
        threading.Thread(target=run, args=[_Lane(0, device, shared, work)]) for _ in range(lanes)
    ]
    for thread in threads:
        thread.start()
    try:
        yield shared
    finally:
        device.is_over = True
        while any(thread.is_alive() for thread in threads):
            device.may_end.release()
            for slot, _ in slots.receive(0, 0.01):
                slots.submit(slot, GAME.initial(1))
        shared.close()


def run(lane):
    with suppress(Over):
        lane.run()


def resubmit(slots):
    """Receive answers, at least one, and submit their slots again."""
    answered = slots.receive(0, SOON)
    assert answered
    for slot, _ in answered:
        slots.submit(slot, GAME.initial(1))


def test_with_two_lanes_the_next_batch_is_submitted_before_the_last_one_ends():
    device = Device()
    with lanes_on(device, 2) as shared:
        assert device.submitted.acquire(timeout=SOON)
        for _ in range(30):
            # The device has one batch, and gets the next one while that is computed.
            assert device.submitted.acquire(timeout=SOON)
            device.may_end.release()
            resubmit(shared.slots)


def test_with_one_lane_the_device_has_nothing_to_do_between_two_batches():
    device = Device()
    with lanes_on(device, 1) as shared:
        for _ in range(3):
            assert device.submitted.acquire(timeout=SOON)
            assert not device.submitted.acquire(timeout=0.1)
            device.may_end.release()
            resubmit(shared.slots)


def test_batches_have_the_size_that_the_evaluator_states_and_their_room_is_counted():
    device = Device()
    with lanes_on(device, 1) as shared:
        for _ in range(3):
            assert device.submitted.acquire(timeout=SOON)
            device.may_end.release()
            resubmit(shared.slots)
        assert device.submitted.acquire(timeout=SOON)  # so the three are counted
        row = shared.counters.evaluators[0]
        assert (row["batches"], row["evaluations"], row["room"]) == (3, 6, 6)
