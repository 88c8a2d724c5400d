"""Inference on a CUDA device: a few fixed batch sizes, each with a captured CUDA graph.

A small network's forward pass is some forty kernels of a few microseconds each, and launching them
one by one takes longer than running them. A CUDA graph launches them all at once, but for one
batch size only, so a batch is padded to the next larger size. A batch of 70, for example, becomes
one of 96 with 26 rows of zeros, whose results are dropped. ``choose_sizes`` picks the sizes.

A session has lanes, each with a stream, graphs and pinned memory of its own: while one lane's batch
is computed, the inputs and outputs of another one's are copied.

Only ``graphs``, the streams and the pinned memory need such a device: on a CPU the same code
computes eagerly, and so it is tested.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST = 4096
"""Most rows of one pass; a larger batch is split into several passes."""
SMALLEST_TIMED = 32
"""Smaller batches are padded to it where sizes are chosen: on a GPU they take as long."""
LANES = 2
"""Batches in progress at once, at most: more would only wait for the device."""
WARM_UP = 2
"""Runs before a capture, in which libraries choose their kernels and allocate their memory."""
TIMED_RUNS, TIMED_REPEATS = 4, 5
"""Passes that are timed together, and how often; the quickest counts."""
GOOD_RATE = 0.95
"""A share of the best rate with which a smaller batch is preferred: its answers come earlier."""
WORTH_A_SIZE = 0.9
"""A smaller size is kept if it takes less than this share of the next larger one's time."""

Compute = Callable[[Tensor], list[Tensor]]
"""From inputs ``[size, ...]`` on the device to outputs ``[size, ...]``, without any copy from or to
the host, so that it can be captured."""

Forward = Callable[[], list[Tensor]]
"""``Compute`` on inputs at a fixed address; returns new tensors."""

Capture = Callable[[Forward], tuple[Callable[[], None], list[Tensor]]]
"""Turns ``forward`` into ``(replay, outputs)``: each ``replay()`` runs it again into ``outputs``.

Raises ``RuntimeError`` where the device refuses the capture.
"""

log = logging.getLogger(__name__)
_capturing = threading.Lock()
"""Held during a capture: CUDA allows one at a time per process."""


class Pass(NamedTuple):
    """The computation for one batch size, repeated in the same memory."""

    given: Tensor
    """``[size, ...]`` on the host; pinned on CUDA, which then copies it asynchronously."""
    inputs: Tensor
    replay: Callable[[], None]
    outputs: list[Tensor]
    answers: list[Tensor]
    """Memory on the host for the outputs; pinned on CUDA."""


def bucket(rows: int) -> int:
    """The smallest batch size that holds ``rows``: 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, ...

    Above 16 rows less than a third of a pass is padding.
    """
    power = 1 << (rows - 1).bit_length()
    between = power * 3 // 4
    return between if power > 16 and rows <= between else power


def buckets(smallest: int, limit: int) -> list[int]:
    """The batch sizes from ``smallest`` to the one that holds ``limit`` rows, at most ``LARGEST``.

    From 32 to 100: 32, 48, 64, 96, 128.
    """
    largest = bucket(min(limit, LARGEST))
    return sorted({bucket(rows) for rows in range(min(smallest, largest), largest + 1)})


def choose_sizes(seconds: Mapping[int, float], largest: int | None = None) -> list[int]:
    """The batch sizes that are worth a graph, from the seconds per pass by size, ascending.

    ``largest``: by default the smallest size with nearly the best rate. Below it a size is kept if
    it saves time against the next larger one that is kept. An example in microseconds:

        size               32    64   128   256   512  1024  2048  4096
        per pass          100   100   101   105   180   300   585  1200
        rows per us       0.3   0.6   1.3   2.4   2.8   3.4   3.5   3.4

    1,024 rows have 97 % of the best rate, 512 only 81 %. 512 takes 60 % of the time of 1,024, 256
    58 % of that of 512, and 128 rows take as long as 256: the sizes are 256, 512 and 1,024.
    """
    if largest is None:
        rates = {size: size / taken for size, taken in seconds.items()}
        best = max(rates.values())
        largest = min(size for size, rate in rates.items() if rate >= GOOD_RATE * best)
    kept = [largest]
    for size in sorted((size for size in seconds if size < largest), reverse=True):
        if seconds[size] < WORTH_A_SIZE * seconds[kept[-1]]:
            kept.append(size)
    return sorted(kept)


def eagerly(forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
    """A ``Capture`` without a graph: each replay calls ``forward`` again."""
    outputs = forward()

    def replay() -> None:
        for output, fresh in zip(outputs, forward(), strict=True):
            output.copy_(fresh)

    return replay, outputs


def graphs() -> Capture:
    """A ``Capture`` of CUDA graphs on the current stream; they share intermediate memory.

    So they must not run at the same time: each lane has its own.
    """
    pool = torch.cuda.graph_pool_handle()

    def capture(forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        with _capturing:
            for _ in range(WARM_UP):
                forward()
            # Capture this thread's calls only: other threads may use the device meanwhile.
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                outputs = forward()
        return graph.replay, outputs

    return capture


class CudaGraphSession:
    """A computation on batches ``[B, ...]``; its outputs ``[B, ...]`` are returned in float32.

    A pass is captured when a lane first needs its size. Calls are thread-safe: each takes an idle
    lane; where all are busy it waits for one.
    """

    def __init__(
        self,
        compute: Compute,
        row: Tensor,
        device: torch.device,
        sizes: Iterable[int] = (),
        ready: Iterable[Sequence[int]] = (),
        make_capture: Callable[[], Capture] | None = None,
    ):
        """``row``: an input, for its shape and type. ``sizes``: batch sizes, at least one.

        ``ready``: for each lane that is made now the sizes that it captures now. ``make_capture``
        is called once per lane: by default ``graphs`` on CUDA, else ``eagerly``. Where the device
        refuses a capture, a warning is logged and ``eagerly`` takes its place.
        """
        self.sizes = sorted(sizes)
        self._compute, self._row, self._device = compute, row, device
        on_cuda = device.type == "cuda"
        self._captures = Captures(make_capture or (graphs if on_cuda else lambda: eagerly))
        if on_cuda:  # what ``compute`` uses has been copied on another stream than those of lanes
            with _capturing:
                torch.cuda.synchronize(device)
        self._room = threading.BoundedSemaphore(LANES)
        self._lanes: list[Lane] = []
        for captured in ready:
            lane = self._new_lane()
            for size in sorted(
                captured, reverse=True
            ):  # smaller ones fit into the largest's memory
                lane.prepare(size)
        self._idle = list(self._lanes)

    @property
    def captured(self) -> list[list[int]]:
        """The batch sizes that have been captured until now, for each lane."""
        return [lane.captured for lane in self._lanes]

    def __call__(self, inputs: NDArray[Any]) -> list[NDArray[np.float32]]:
        largest = self.sizes[-1]
        with self._lane() as lane:
            parts = [
                lane.run(inputs[start : start + largest], self.sizes)
                for start in range(0, len(inputs), largest)
            ]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def seconds(self, size: int) -> float:
        """How long one pass of this size takes on the device, without its copies."""
        with self._lane() as lane:
            return lane.seconds(size)

    @contextmanager
    def _lane(self) -> Iterator["Lane"]:
        """A lane that no other call uses."""
        with self._room:
            try:
                lane = self._idle.pop()  # atomic
            except IndexError:
                lane = self._new_lane()
            try:
                yield lane
            finally:
                self._idle.append(lane)

    def _new_lane(self) -> "Lane":
        lane = Lane(self._compute, self._row, self._device, self._captures)
        self._lanes.append(lane)
        return lane


class Captures:
    """How the lanes of a session capture: each in its own way, all eagerly after a refusal.

    Lanes know this object in place of their session, whose memory on the device is then freed as
    soon as the session is no longer used.
    """

    def __init__(self, make: Callable[[], Capture]):
        self.make = make

    def refuse(self, error: RuntimeError) -> Capture:
        """Log the refusal; the lane that met it and new lanes compute eagerly from now on."""
        log.warning("inference continues without CUDA graphs: %s", str(error).split("\n")[0])
        self.make = lambda: eagerly
        return eagerly


class Lane:
    """One batch at a time, with a stream, graphs and memory of its own."""

    def __init__(
        self,
        compute: Compute,
        row: Tensor,
        device: torch.device,
        captures: Captures,
    ):
        self._compute, self._row, self._device = compute, row, device
        self._pinned = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._pinned else None
        self._captures, self._capture = captures, captures.make()
        self._passes: dict[int, Pass] = {}

    @property
    def captured(self) -> list[int]:
        """Batch sizes captured until now."""
        return list(self._passes)

    def prepare(self, size: int) -> None:
        """Capture the pass of this size."""
        with self._working():
            self._pass(size)

    def run(self, inputs: NDArray[Any], sizes: Sequence[int]) -> list[NDArray[np.float32]]:
        """The outputs of ``inputs [B, ...]``, with the smallest of the ascending ``sizes`` that
        holds them."""
        rows = len(inputs)
        with self._working():
            run = self._pass(next(size for size in sizes if size >= rows))
            padded = run.given.numpy()
            padded[:rows], padded[rows:] = inputs, 0
            run.inputs.copy_(run.given, non_blocking=True)
            run.replay()
            for answer, output in zip(run.answers, run.outputs, strict=True):
                answer.copy_(output, non_blocking=True)
            self._wait()
            # Copies: the next call uses the same memory.
            return [answer[:rows].to(torch.float32, copy=True).numpy() for answer in run.answers]

    def seconds(self, size: int) -> float:
        """As of the session."""
        with self._working():
            run, quickest = self._pass(size), float("inf")
            for _ in range(1 + TIMED_REPEATS):
                start = time.perf_counter()
                for _ in range(TIMED_RUNS):
                    run.replay()
                self._wait()
                quickest = min(quickest, (time.perf_counter() - start) / TIMED_RUNS)
        return quickest

    @contextmanager
    def _working(self) -> Iterator[None]:
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            yield

    def _wait(self) -> None:
        """Wait until the device has done all that was submitted."""
        if self._stream:
            # Blocking: the waiting thread sleeps, so that other processes can use its core.
            self._stream.record_event(torch.cuda.Event(blocking=True)).synchronize()

    def _pass(self, size: int) -> Pass:
        if size not in self._passes:
            shape, dtype = (size, *self._row.shape), self._row.dtype
            given = torch.zeros(shape, dtype=dtype, pin_memory=self._pinned)
            inputs = torch.zeros(shape, dtype=dtype, device=self._device)
            replay, outputs = self._try_capture(partial(self._compute, inputs))
            answers = [
                torch.empty(output.shape, dtype=output.dtype, pin_memory=self._pinned)
                for output in outputs
            ]
            self._passes[size] = Pass(given, inputs, replay, outputs, answers)
        return self._passes[size]

    def _try_capture(self, forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
        try:
            return self._capture(forward)
        except RuntimeError as error:
            if self._capture is eagerly:
                raise
            self._capture = self._captures.refuse(error)
            return self._capture(forward)
