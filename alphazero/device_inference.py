"""From states to policy logits and values on a CUDA device, all in one captured graph.

The states' bytes go there, 16 per position in Connect Four, and the planes are made there where the
encoder can do it (``Encoder.of_bytes``); else the planes are copied. Logits come back in the
precision of the network, so that the answers of a bfloat16 network take 2 bytes per action and lose
nothing. A row whose outputs are not all finite has the value NaN.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alphazero import values
from alphazero.encoders import Encoder
from alphazero.nn.cuda import (
    LARGEST,
    SMALLEST_TIMED,
    Compute,
    CudaGraphSession,
    bucket,
    buckets,
    choose_sizes,
)
from alphazero.nn.export import fold
from games.base import States, as_bytes


class Parts(NamedTuple):
    """A network of a trunk under a policy and a value, and where and how it is computed."""

    trunk: nn.Module
    heads: tuple[nn.Module, nn.Module]
    dtype: torch.dtype
    device: torch.device


class DeviceSession:
    """States ``[B]`` to logits ``[B, A]`` and values ``[B]``, with fixed weights; thread-safe."""

    def __init__(
        self,
        encoder: Encoder,
        parts: Parts,
        sizes: Sequence[int] = (),
        ready: Iterable[Sequence[int]] = (),
    ):
        """``sizes``: batch sizes, by default all that may be chosen. ``ready``: for each lane
        those of which graphs are captured now."""
        device = parts.device
        encode = encoder.of_bytes(lambda array: torch.from_numpy(array.copy()).to(device))
        self._encode: Callable[[States], NDArray[Any]] = as_bytes if encode else encoder
        bytes_of_state = torch.empty(encoder.game.dtype.itemsize, dtype=torch.uint8)
        row = bytes_of_state if encode else torch.empty(encoder.shape)
        self._graphs = CudaGraphSession(
            computation(parts, encode), row, device, sizes or buckets(1, LARGEST), ready
        )

    @property
    def captured(self) -> list[list[int]]:
        """The batch sizes that have graphs now, for each lane."""
        return self._graphs.captured

    def seconds(self, size: int) -> float:
        """How long one pass of this size takes on the device, without its copies."""
        return self._graphs.seconds(size)

    def __call__(self, states: States) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, value = self._graphs(self._encode(states))
        return logits, value


def computation(parts: Parts, encode: Callable[[Tensor], Tensor] | None) -> Compute:
    """From states as bytes, or from planes where ``encode`` is None, to logits and values."""
    layout: dict[str, Any] = {
        "device": parts.device, "dtype": parts.dtype, "memory_format": torch.channels_last,
    }  # fmt: skip
    trunk = fold(parts.trunk).to(**layout)
    policy, value = (fold(head).to(**layout) for head in parts.heads)

    def compute(inputs: Tensor) -> list[Tensor]:
        planes = encode(inputs) if encode else inputs
        features = trunk(planes.to(**layout))
        logits, value_logits = policy(features), value(features).float()
        finite = logits.isfinite().all(dim=1) & value_logits.isfinite().all(dim=1)
        expected = values.from_logit_tensor(value_logits)
        return [logits, expected.masked_fill(~finite, float("nan"))]

    return compute


def best_sizes(session: DeviceSession, limit: int | str) -> list[int]:
    """The batch sizes that are worth a graph on this device, up to ``limit`` rows.

    The largest one is that of ``limit``, or the best one where it is ``auto``.
    """
    most = LARGEST if limit == "auto" else min(int(limit), LARGEST)
    seconds = {size: session.seconds(size) for size in buckets(SMALLEST_TIMED, most)}
    return choose_sizes(seconds, None if limit == "auto" else bucket(most))
