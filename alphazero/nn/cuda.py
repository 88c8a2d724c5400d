"""Inference copies for a CUDA device: batches of a few fixed sizes, each a graph captured once.

A small network's forward pass is some forty kernels of a few microseconds each, and launching them
one by one takes longer than running them. A CUDA graph launches them all at once, but for one
batch size only; so a batch is padded to the next size there is.

Nothing but ``graphs``, the stream and the pinned memory asks for such a device: on a CPU the same
code runs the modules eagerly, which is how it is tested.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphazero.nn.export import fold

LARGEST = 4096
"""Rows of one pass; a larger batch is several passes."""

WARM_UP = 2
"""Runs before a capture, in which libraries choose their kernels and take their memory."""

Forward = Callable[[], list[Tensor]]
"""Runs the modules on inputs that stay in one place; a new tensor a head."""

Capture = Callable[[Forward], tuple[Callable[[], None], list[Tensor]]]
"""``(replay, outputs)``: each ``replay()`` runs ``forward`` again and overwrites ``outputs``.

``RuntimeError`` where that cannot be had.
"""

log = logging.getLogger(__name__)
_capturing = threading.Lock()
"""CUDA allows one capture at a time in a process."""


class Pass(NamedTuple):
    """What computes a batch of one size, again and again in the same memory."""

    inputs: Tensor
    """``[size, ...]``, float32."""
    replay: Callable[[], None]
    outputs: list[Tensor]
    """``[size, K]`` a head, float32."""


def bucket(rows: int) -> int:
    """The smallest size that holds ``rows``: 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, ...

    Above 16 rows less than a third of a pass is padding.
    """
    power = 1 << (rows - 1).bit_length()
    between = power * 3 // 4
    return between if power > 16 and rows <= between else power


def eagerly(forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
    """A ``Capture`` that captures nothing: each replay is ``forward`` anew."""
    outputs = forward()

    def replay() -> None:
        for output, fresh in zip(outputs, forward(), strict=True):
            output.copy_(fresh)

    return replay, outputs


def graphs() -> Capture:
    """A ``Capture`` of CUDA graphs on the current stream; they share the memory in between."""
    pool = torch.cuda.graph_pool_handle()

    def capture(forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        with _capturing:
            for _ in range(WARM_UP):
                forward()
            # Of this thread's calls only: others may be using the device meanwhile.
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                outputs = forward()
        return graph.replay, outputs

    return capture


class BucketedCopy:
    """Folded modules, channels last: float32 ``[B, ...]`` to one float32 ``[B, K]`` a head.

    A pass is made when a batch first needs its size, those of ``sizes`` beforehand. Calls are
    thread-safe. Only beginning a pass is done one at a time: while a call waits for the device the
    next one hands in its batch, so that two callers keep the device busy.
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Sequence[nn.Module],
        dtype: torch.dtype,
        device: torch.device,
        shape: Sequence[int],
        sizes: Iterable[int] = (),
        capture: Capture | None = None,
    ):
        """``shape``: of one input. ``capture``: left out, graphs on CUDA and ``eagerly`` elsewhere;
        the latter too, with a warning, where the device refuses it."""
        on_cuda = device.type == "cuda"
        self._shape, self._pinned = tuple(shape), on_cuda
        self._stream = torch.cuda.Stream(device) if on_cuda else None
        self._capture = capture or (graphs() if on_cuda else eagerly)
        self._format = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
        self._passes: dict[int, Pass] = {}
        self._lock = threading.Lock()
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            self._trunk = fold(trunk).to(**self._format)
            self._heads = [fold(head).to(**self._format) for head in heads]
            for size in sorted(sizes, reverse=True):  # smaller ones fit into the largest's memory
                self._pass(size)

    @property
    def sizes(self) -> list[int]:
        """Of the passes made by now."""
        return list(self._passes)

    def __call__(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        begun = [self._begin(inputs[i : i + LARGEST]) for i in range(0, len(inputs), LARGEST)]
        # Joining them copies: the memory of a pass goes back to where the next one takes its own.
        return [np.concatenate(parts) for parts in zip(*(wait() for wait in begun), strict=True)]

    def _begin(self, inputs: NDArray[np.float32]) -> Callable[[], list[NDArray[np.float32]]]:
        """Hand ``inputs`` to the device; what is returned waits for its answer."""
        rows = len(inputs)
        padded = self._host((bucket(rows), *self._shape)).zero_()
        padded[:rows] = torch.from_numpy(inputs)
        with self._lock, torch.inference_mode(), torch.cuda.stream(self._stream):
            made = self._pass(len(padded))
            made.inputs.copy_(padded, non_blocking=True)
            made.replay()
            answers = [self._host(o.shape).copy_(o, non_blocking=True) for o in made.outputs]
            # Blocking: the thread that waits sleeps and leaves its core to the search.
            done = self._stream and self._stream.record_event(torch.cuda.Event(blocking=True))

        def wait() -> list[NDArray[np.float32]]:
            if done:
                done.synchronize()
            return [answer[:rows].numpy() for answer in answers]

        return wait

    def _host(self, shape: Sequence[int]) -> Tensor:
        """Memory that the device reads and writes by itself, while the processor goes on."""
        return torch.empty(shape, pin_memory=self._pinned)

    def _pass(self, size: int) -> Pass:
        if size not in self._passes:
            inputs = torch.zeros((size, *self._shape), device=self._format["device"])
            self._passes[size] = Pass(inputs, *self._captured(partial(self._forward, inputs)))
        return self._passes[size]

    def _forward(self, inputs: Tensor) -> list[Tensor]:
        features = self._trunk(inputs.to(**self._format))
        return [head(features).float() for head in self._heads]

    def _captured(self, forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
        try:
            return self._capture(forward)
        except RuntimeError as error:
            if self._capture is eagerly:
                raise
            log.warning("inference goes on without CUDA graphs: %s", str(error).split("\n")[0])
            self._capture = eagerly
            return eagerly(forward)
