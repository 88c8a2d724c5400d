"""Data parallelism over processes: one all-reduce per step, by torch.distributed.

Each process, a *rank*, computes the gradient of its share of the batch. The weighted mean over all
shares is then the same in each of them, bit for bit, and so is the optimizer's step: weights are
sent once, at the start.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from alphazero.nn.device import choose
from alphazero.nn.flat import Flat

PATIENCE = 300.0
"""Seconds for which a rank waits for the others: a busy machine may start them in a minute."""
SLICE = 2.0
"""Seconds of one piece of the waiting, whose pieces are counted: a process that was stopped for an
hour has waited for one piece only when it continues."""
DAY = timedelta(days=1)
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


class RankLost(RuntimeError):
    """Another rank has ended, or does not answer; the message is one line."""


class Ranks:
    """The processes that train one module, seen from one of them; a process has one at a time.

    Every rank makes the same calls in the same order, or they wait for each other.
    """

    def __init__(
        self, address: str, rank: int, count: int, device: torch.device, patience: float = PATIENCE
    ):
        """Meet the other ranks; returns when all ``count`` of them are there.

        ``address``: ``file:///path`` of a file that does not exist yet, for processes of one
        machine, or ``tcp://host:port`` of rank 0. ``device``: that of the module, of a type in
        ``BACKENDS``. ``patience``: seconds after which ``RankLost`` is raised, at most a day.
        ``ValueError``: see ``check_unused``.
        """
        check_unused()
        self._patience, self._waits_on_device = patience, device.type != "cpu"
        try:
            dist.init_process_group(
                BACKENDS[device.type],
                init_method=address,
                rank=rank,
                world_size=count,
                timeout=timedelta(seconds=patience),
                device_id=device if self._waits_on_device else None,
            )
        except RuntimeError as error:
            raise RankLost(f"the learner's processes did not meet: {first_line(error)}") from error
        # From now on ``_wait`` counts; torch's own time would go on while this process is stopped.
        dist.distributed_c10d._set_pg_timeout(DAY)

    def mean(self, weight: float, flat: Flat, figures: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace gradient and statistics of ``flat`` by their means over all ranks; return those
        of the ``figures``.

        ``weight``: the share of the batch's rows that this rank has computed; the weights of all
        ranks add up to 1. One all-reduce has all the numbers.
        """
        own = torch.stack(list(figures.values()))
        parts = [flat.gradient, flat.statistics, own]
        vector = torch.cat(parts).mul_(weight)
        self._wait(lambda: dist.all_reduce(vector, async_op=True))
        for part, mean in zip(parts, vector.split([len(part) for part in parts]), strict=True):
            part.copy_(mean)
        return dict(zip(figures, own.unbind(), strict=True))

    def broadcast(self, tensor: Tensor) -> None:
        """Replace ``tensor`` by that of rank 0, which has the same shape and type."""
        self._wait(lambda: dist.broadcast(tensor, 0, async_op=True))

    def close(self) -> None:
        """Leave the group. Waits for operations that are not done: other ranks that do not answer
        must have ended before."""
        with suppress(RuntimeError):
            dist.destroy_process_group()

    def _wait(self, begin: Callable[[], Any]) -> None:
        """Begin an operation and wait until it is done, for ``patience`` seconds at most."""
        try:
            work = begin()
            if self._waits_on_device:  # NCCL's operations cannot go on after a time limit
                work.wait(timedelta(seconds=self._patience))
                return
            piece = timedelta(seconds=min(SLICE, self._patience))
            for _ in range(math.ceil(self._patience / SLICE)):
                if _is_done(work, piece):
                    return
        except RuntimeError as error:
            raise RankLost(f"a process of the learner is gone: {first_line(error)}") from error
        raise RankLost(f"a process of the learner has not answered for {self._patience:g} s")


def check_unused() -> None:
    """``ValueError``, one line, where torch.distributed is missing, or already used here."""
    if not dist.is_available():
        raise ValueError("this torch was built without torch.distributed: set the processes to 1")
    if dist.is_initialized():
        raise ValueError("this process is in a group of torch.distributed: set the processes to 1")


def first_line(error: BaseException) -> str:
    """The first line of an error's text; torch's C++ stack may follow it."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _is_done(work: Any, piece: timedelta) -> bool:
    """Wait for this time at most; ``RuntimeError`` where the operation has failed."""
    try:
        work.wait(piece)
    except RuntimeError:
        if not work.is_completed():
            return False
        work.wait(piece)  # it has failed, or ended in this very moment
    return True


def device_of(name: str, rank: int, count: int) -> torch.device:
    """The device of a rank where ``training.device`` is ``name``; each has a GPU of its own.

    ``ValueError``, one line, where this machine has too few, or processes cannot share its kind.
    """
    device = choose(name)
    if device.type not in BACKENDS:
        raise ValueError(f"several processes cannot train on {device.type}; set the device to cpu")
    if device.type == "cpu":
        return device
    gpus = torch.cuda.device_count()
    if gpus < count:
        raise ValueError(f"{count} processes need a GPU each, and this machine has {gpus}")
    return torch.device("cuda", rank)
