"""Slots in shared memory between the search processes and the evaluators of one machine.

A slot belongs to a search process and carries one request at a time: states in, their evaluation
out. A pipe that all evaluators read carries the numbers of waiting slots, and a pipe per search
process carries those of answered ones. So a request costs two short writes and no copy but that of
its arrays.

A slot's state is FREE, then WAITING, TAKEN by an evaluator, ANSWERED, and FREE again. Any process
may be killed at any moment:

* Each request has a number, ``generation``, which is in both messages. A message whose generation
  is not the slot's is an old one, and is dropped.
* A slot whose search process has ended is given back by ``abandon``: the generation advances, so
  that its messages are old. A slot that is TAKEN stays so until its evaluator has finished writing:
  no answer is ever written into a slot that is in use again.
* The slots of an evaluator that has ended are returned by ``resubmit`` to the queue. A number that
  it had read and not yet claimed is lost, so those of all waiting slots are sent once more; of two
  messages of the same request the second finds nothing to do.

An example: slot 3 is submitted as generation 8, and evaluator A takes it. A is killed. ``resubmit``
makes it WAITING and sends (3, 8) again, evaluator B takes it. The search process is killed, and
``abandon`` makes the generation 9. B finishes, sees 9 in place of 8, and frees the slot. The new
search process submits it as 10.
"""

import math
import os
import select
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.types import Evaluation
from games.base import States
from workers.node.shared import SharedArrays

UNIX = True
if TYPE_CHECKING:
    import fcntl
    import termios
else:
    try:
        import fcntl
        import termios
    except ImportError:  # on Windows
        UNIX = False

FREE, WAITING, TAKEN, ANSWERED = range(4)
NUMBERS = ("state", "generation", "taken", "evaluator", "positions", "version")
"""The numbers of a slot; ``taken``: the generation that an evaluator took last."""
MESSAGE = struct.Struct("=qq")
"""A slot and its generation."""
WHOLE = select.PIPE_BUF // MESSAGE.size * MESSAGE.size if UNIX else 0
"""The most bytes that a pipe takes as a whole while other processes write to it, too."""
PIPE_BYTES = 2**16
LOCK_SECONDS = 2.0
"""The longest wait for the lock of a process that watches the others; it is held for
microseconds."""
MOST_SLOTS = 2048
"""So many that messages, and as many repeated ones, always fit into a pipe of 64 KiB."""


class Sizes(NamedTuple):
    """The sizes of the slots."""

    players: int
    """Search processes."""
    per_player: int
    """Slots of each of them: the requests that it may have under way."""
    capacity: int
    """Positions per slot, at most."""
    actions: int


class Request(NamedTuple):
    """A request that an evaluator has taken."""

    slot: int
    generation: int
    rows: NDArray[np.void]
    """The bytes of its states, in the slot."""


class Pipe(NamedTuple):
    """The two ends of a pipe, as file descriptors that child processes inherit."""

    read: int
    write: int


class Slots:
    """All slots of a machine; search processes submit and receive, evaluators take and answer."""

    def __init__(
        self,
        sizes: Sizes,
        dtype: np.dtype,
        memory: SharedArrays | None = None,
        pipes: Sequence[Pipe] | None = None,
    ):
        """``dtype``: that of the states. ``memory`` and ``pipes``: in a child process.

        ``ValueError`` where there would be more than ``MOST_SLOTS``, and on Windows.
        """
        if not UNIX:
            raise ValueError("selfplay.processes: several processes need Linux or macOS; say 0")
        count = sizes.players * sizes.per_player
        if count > MOST_SLOTS:
            raise ValueError(f"{count:,} requests at once, should be at most {MOST_SLOTS:,}")
        self.sizes, self._dtype = sizes, dtype
        rows = count, sizes.capacity
        self.memory = memory or SharedArrays(
            {
                **{name: ((count,), np.dtype(np.int64)) for name in NUMBERS},
                # Copied as bytes, not field by field, which takes five times as long.
                "states": (rows, np.dtype((np.void, dtype.itemsize))),
                "value": (rows, np.dtype(np.float32)),
                "logits": ((*rows, sizes.actions), np.dtype(np.float32)),
            }
        )
        # The pipe of requests, then one of answers per search process.
        self.pipes = list(pipes or [_pipe() for _ in range(1 + sizes.players)])
        self._states = self.memory["states"]
        self._value, self._logits = self.memory["value"], self.memory["logits"]
        # One number is read or written in a third of the time that it takes in a NumPy array.
        (
            self._state,
            self._generation,
            self._taken,
            self._evaluator,
            self._positions,
            self._version,
        ) = (self.memory[name].data for name in NUMBERS)
        self._lock = threading.Lock()
        self._sent = [0] * count  # generations that this process has submitted

    def __reduce__(self) -> tuple:
        return Slots, (self.sizes, self._dtype, self.memory, self.pipes)

    @property
    def descriptors(self) -> list[int]:
        """Those that a child process has to inherit."""
        return [self.memory.descriptor, *(end for pipe in self.pipes for end in pipe)]

    def close(self) -> None:
        """Close memory and pipes in this process."""
        self.memory.close()
        for end in {end for pipe in self.pipes for end in pipe}:
            os.close(end)

    def of_player(self, player: int) -> range:
        """The numbers of the slots of a search process."""
        return range(player * self.sizes.per_player, (player + 1) * self.sizes.per_player)

    def is_usable(self, slot: int) -> bool:
        """Whether a search process may submit the slot: False while an answer to an earlier process
        is being written into it."""
        return self._state[slot] in (FREE, ANSWERED)

    def submit(self, slot: int, states: States) -> None:
        """Ask for the evaluation of ``states [B]``, ``1 <= B <= capacity``, in a usable slot."""
        size = len(states)
        assert 1 <= size <= self.sizes.capacity
        assert self.is_usable(slot)
        self._states[slot, :size] = states.view(self._states.dtype)
        self._positions[slot] = size
        self._generation[slot] = self._sent[slot] = generation = self._generation[slot] + 1
        self._state[slot] = WAITING
        os.write(self.pipes[0].write, MESSAGE.pack(slot, generation))

    def receive(self, player: int, timeout: float) -> list[tuple[int, Evaluation]]:
        """The answered slots with copies of their evaluations; waits up to ``timeout`` seconds.

        Only answers to requests of this process are among them.
        """
        pipe, answered = self.pipes[1 + player].read, []
        if not _wait(pipe, timeout):
            return answered
        for slot, generation in MESSAGE.iter_unpack(os.read(pipe, PIPE_BYTES)):
            is_own = self._generation[slot] == generation == self._sent[slot]
            if is_own and self._state[slot] == ANSWERED:
                size = self._positions[slot]
                rows = self._logits[slot, :size].copy(), self._value[slot, :size].copy()
                answered.append((slot, Evaluation(*rows, self._version[slot])))
                self._state[slot] = FREE
        return answered

    def take(self, evaluator: int, limit: int, lanes: int, timeout: float) -> list[Request]:
        """Claim waiting requests of up to ``limit`` positions; waits up to ``timeout`` for one.

        Of the waiting requests one of ``lanes`` takes its share, at least one request, so that the
        others have work, too.
        """
        pipe, requests, room = self.pipes[0].read, [], limit
        if not _wait(pipe, timeout):
            return requests
        with self._claim():
            share = math.ceil(_readable(pipe) / lanes)
            # So many that they fit, whatever their sizes are; those that are smaller leave room.
            while number := min(share, max(room // self.sizes.capacity, not requests)):
                share -= number
                for slot, generation in MESSAGE.iter_unpack(os.read(pipe, MESSAGE.size * number)):
                    if self._state[slot] == WAITING and self._generation[slot] == generation:
                        self._evaluator[slot], self._taken[slot] = evaluator, generation
                        self._state[slot] = TAKEN
                        rows = self._states[slot, : self._positions[slot]]
                        requests.append(Request(slot, generation, rows))
                        room -= len(rows)
        return requests

    def states(self, requests: Sequence[Request]) -> States:
        """The states of at least one request, one after the other."""
        return np.concatenate([request.rows for request in requests]).view(self._dtype)

    def answer(self, requests: Sequence[Request], evaluation: Evaluation) -> None:
        """Write the evaluation of the states of ``requests``, in their order.

        The players are notified, each of them once, so that it wakes up once.
        """
        start, answered = 0, []
        for slot, generation, rows in requests:
            size = len(rows)
            own = slice(start, start := start + size)
            self._logits[slot, :size] = evaluation.logits[own]
            self._value[slot, :size] = evaluation.value[own]
            self._version[slot] = evaluation.version
            if self._generation[slot] == generation:
                self._state[slot] = ANSWERED
                answered.append((slot, generation))
            else:  # given back meanwhile
                self._state[slot] = FREE
        self._notify(answered)

    def abandon(self, player: int) -> None:
        """Give back the slots of a search process that has ended.

        ``TimeoutError`` where another process, which must have been stopped, holds the lock.
        """
        with self._claim(LOCK_SECONDS):
            for slot in self.of_player(player):
                self._generation[slot] += 1
                if self._state[slot] != TAKEN:
                    self._state[slot] = FREE

    def resubmit(self, evaluator: int) -> None:
        """Return to the queue what an evaluator that has ended had taken or may have read.

        ``TimeoutError``: as of ``abandon``.
        """
        with self._claim(LOCK_SECONDS):
            # All waiting requests are sent anew, so that what is in the pipe is not needed.
            pipe = self.pipes[0].read
            while waiting := _readable(pipe):
                os.read(pipe, MESSAGE.size * waiting)
            state, generation, taken, by = (self.memory[name] for name in NUMBERS[:4])
            own, is_abandoned = by == evaluator, generation != taken
            lost = own & (state == TAKEN)
            state[lost & is_abandoned], state[lost & ~is_abandoned] = FREE, WAITING
            self._notify(_numbered(own & (state == ANSWERED), generation))
            _write(self.pipes[0].write, _numbered(state == WAITING, generation))

    def _notify(self, answered: Sequence[tuple[int, int]]) -> None:
        """Send the numbers of answered slots, with their generations, to their search processes."""
        of_player: dict[int, list[tuple[int, int]]] = {}
        for message in answered:
            of_player.setdefault(message[0] // self.sizes.per_player, []).append(message)
        for player, messages in of_player.items():
            _write(self.pipes[1 + player].write, messages)

    @contextmanager
    def _claim(self, timeout: float | None = None) -> Iterator[None]:
        """Only one thread of all processes is in here; the system frees it where one is killed.

        ``TimeoutError`` after ``timeout`` seconds; None waits without end.
        """
        with self._lock:
            if timeout is None:
                fcntl.lockf(self.memory.descriptor, fcntl.LOCK_EX)
            else:
                _lock_in_time(self.memory.descriptor, timeout)
            try:
                yield
            finally:
                fcntl.lockf(self.memory.descriptor, fcntl.LOCK_UN)


def _lock_in_time(descriptor: int, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process has it
            if time.monotonic() > deadline:
                raise TimeoutError("the lock of the slots is held") from None
            time.sleep(0.001)
        else:
            return


def _pipe() -> Pipe:
    return Pipe(*os.pipe())


def _wait(pipe: int, timeout: float) -> bool:
    """Whether there is something to read in a pipe within ``timeout`` seconds."""
    poll = select.poll()  # which, unlike select, knows descriptors above 1023
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(1000 * timeout))


def _readable(pipe: int) -> int:
    """The number of messages in a pipe."""
    buffer = fcntl.ioctl(pipe, termios.FIONREAD, struct.pack("i", 0))
    return struct.unpack("i", buffer)[0] // MESSAGE.size


def _write(pipe: int, messages: Sequence[tuple[int, int]]) -> None:
    """Write messages to a pipe, as many as possible at a time."""
    data = b"".join(MESSAGE.pack(*message) for message in messages)
    for start in range(0, len(data), WHOLE):
        os.write(pipe, data[start : start + WHOLE])


def _numbered(chosen: NDArray[np.bool_], generation: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The chosen slots with their generations."""
    return [(slot, int(generation[slot])) for slot in np.flatnonzero(chosen).tolist()]
