"""Inference sessions for a CUDA device: a few fixed batch sizes, each with a captured CUDA graph.

A small network's forward pass is some forty kernels of a few microseconds each, and launching them
one by one takes longer than running them. A CUDA graph launches them all at once, but for one
batch size only, so a batch is padded to the next larger size. A batch of 70, for example, becomes
one of 96 with 26 rows of zeros, whose results are dropped.

Only ``graphs``, the stream and the pinned memory need such a device: on a CPU the same code runs
the modules eagerly, and so it is tested.
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
"""Most rows of one pass; a larger batch is split into several passes."""

WARM_UP = 2
"""Runs before a capture, in which libraries choose their kernels and allocate their memory."""

Forward = Callable[[], list[Tensor]]
"""Runs the modules on inputs at a fixed address; returns a new tensor per head."""

Capture = Callable[[Forward], tuple[Callable[[], None], list[Tensor]]]
"""Turns ``forward`` into ``(replay, outputs)``: each ``replay()`` runs it again into ``outputs``.

Raises ``RuntimeError`` where the device refuses the capture.
"""

log = logging.getLogger(__name__)
_capturing = threading.Lock()
"""Held during a capture: CUDA allows one at a time per process."""


class Pass(NamedTuple):
    """A forward pass for one batch size, repeated in the same memory."""

    inputs: Tensor
    """``[size, ...]``, float32."""
    replay: Callable[[], None]
    outputs: list[Tensor]
    """``[size, K]`` per head, float32."""


def bucket(rows: int) -> int:
    """The smallest batch size that holds ``rows``: 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, ...

    Above 16 rows less than a third of a pass is padding.
    """
    power = 1 << (rows - 1).bit_length()
    between = power * 3 // 4
    return between if power > 16 and rows <= between else power


def eagerly(forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
    """A ``Capture`` without a graph: each replay calls ``forward`` again."""
    outputs = forward()

    def replay() -> None:
        for output, fresh in zip(outputs, forward(), strict=True):
            output.copy_(fresh)

    return replay, outputs


def graphs() -> Capture:
    """A ``Capture`` of CUDA graphs on the current stream; they share intermediate memory."""
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
    """Folded modules, channels last: float32 ``[B, ...]`` to one float32 ``[B, K]`` per head.

    A pass is captured when a batch first needs its size; those of ``sizes`` at construction. Calls
    are thread-safe. They start one at a time, but while one call waits for the device the next can
    submit its batch, so that two callers keep the device busy.
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
        """``shape``: one input's. ``capture``: by default ``graphs`` on CUDA, else ``eagerly``.

        Where the device refuses a capture, a warning is logged and ``eagerly`` takes its place.
        """
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
        """Batch sizes captured until now."""
        return list(self._passes)

    def __call__(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        waits = [self._submit(inputs[i : i + LARGEST]) for i in range(0, len(inputs), LARGEST)]
        # Concatenating copies: the pinned memory of this pass is reused by a later one.
        return [np.concatenate(parts) for parts in zip(*(wait() for wait in waits), strict=True)]

    def _submit(self, inputs: NDArray[np.float32]) -> Callable[[], list[NDArray[np.float32]]]:
        """Start the pass of ``inputs``; the function returned waits for its outputs."""
        rows = len(inputs)
        padded = self._host((bucket(rows), *self._shape)).zero_()
        padded[:rows] = torch.from_numpy(inputs)
        with self._lock, torch.inference_mode(), torch.cuda.stream(self._stream):
            run = self._pass(len(padded))
            run.inputs.copy_(padded, non_blocking=True)
            run.replay()
            outputs = [self._host(o.shape).copy_(o, non_blocking=True) for o in run.outputs]
            # Blocking: the waiting thread sleeps, so that the search can use its core.
            done = self._stream and self._stream.record_event(torch.cuda.Event(blocking=True))

        def wait() -> list[NDArray[np.float32]]:
            if done:
                done.synchronize()
            return [output[:rows].numpy() for output in outputs]

        return wait

    def _host(self, shape: Sequence[int]) -> Tensor:
        """Host memory; pinned for CUDA, which then copies to and from it asynchronously."""
        return torch.empty(shape, pin_memory=self._pinned)

    def _pass(self, size: int) -> Pass:
        if size not in self._passes:
            inputs = torch.zeros((size, *self._shape), device=self._format["device"])
            self._passes[size] = Pass(inputs, *self._try_capture(partial(self._forward, inputs)))
        return self._passes[size]

    def _forward(self, inputs: Tensor) -> list[Tensor]:
        features = self._trunk(inputs.to(**self._format))
        return [head(features).float() for head in self._heads]

    def _try_capture(self, forward: Forward) -> tuple[Callable[[], None], list[Tensor]]:
        try:
            return self._capture(forward)
        except RuntimeError as error:
            if self._capture is eagerly:
                raise
            log.warning("inference continues without CUDA graphs: %s", str(error).split("\n")[0])
            self._capture = eagerly
            return eagerly(forward)
