"""Devices, precisions and the number of cores."""

import ctypes
import functools
import math
import os
import platform
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from numpy.typing import NDArray

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""torch's types by the names used in settings."""
ARCH_PRCTL = 158
"""The number of this system call of Linux on x86-64."""
ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 0x1023, 18  # asm/prctl.h and asm/fpu/types.h


def cores() -> int:
    """How many CPU cores this process may use: those of its affinity, fewer with a quota."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        available = len(os.sched_getaffinity(0))
    else:
        available = os.cpu_count() or 1
    return max(1, math.ceil(min(available, quota())))


def quota(root: Path = Path("/")) -> float:
    """The cores whose time this process's control groups may use; infinite without a limit.

    ``docker run --cpus=1.5`` gives 1.5 on a machine of any size. The limits of control groups of
    version 1 and 2 are read, and the smallest in a group and those above it counts.
    """
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return math.inf
    limits, mounted = [math.inf], root / "sys/fs/cgroup"
    for _, controllers, path in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        # In a container the path may be the host's, of which only the root is mounted.
        parts = PurePosixPath(path).relative_to("/") if path.startswith("/") else PurePosixPath()
        inside = [parts, *parts.parents]
        if not controllers:
            limits += [_quota_of_version_2(mounted / part) for part in inside]
        elif "cpu" in controllers.split(","):
            limits += [_quota_of_version_1(mounted / "cpu" / part) for part in inside]
    return min(limits)


def _quota_of_version_2(folder: Path) -> float:
    """The cores in a file such as "150000 100000": microseconds of CPU time in each 100,000."""
    try:
        time, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return int(time) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max 100000"
        return math.inf


def _quota_of_version_1(folder: Path) -> float:
    """The cores in two files with these numbers; the first is -1 where there is no limit."""
    try:
        time, period = (
            int((folder / f"cpu.cfs_{name}_us").read_text(encoding="utf-8"))
            for name in ("quota", "period")
        )
        return time / period if time > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


@functools.cache
def has_tiles(root: Path = Path("/")) -> bool:
    """Whether this process may use the tile registers of AMX, as ``nn.weight_gradients`` does.

    A process must request permission from Linux once, before it first uses them.
    """
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return False
    try:
        words = (root / "proc/cpuinfo").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        return False
    if not {"amx_tile", "amx_bf16", "avx512bw"} <= set(words):
        return False
    return ctypes.CDLL(None).syscall(ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0


# Torch counts the machine's cores and does not see a quota: of 64 threads with the time of two
# cores, most wait for each other.
torch.set_num_threads(min(torch.get_num_threads(), cores()))


def choose(name: str) -> torch.device:
    """Return the device ``name``; ``auto`` is the first of cuda, mps and cpu that this machine has.

    ValueError where there is no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]  # torch's C++ stack follows
        raise ValueError(
            f"device {name!r} cannot be used here ({first}); auto, cpu, cuda, cuda:1 or mps?"
        ) from None
    return device


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """A tensor of ``array`` on ``device``; on a CPU it shares the array's memory.

    To a CUDA device it is copied from pinned memory without waiting: what is computed from it there
    comes after it anyway, and the next array is prepared meanwhile.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is worth timing: NVIDIA devices have it from compute capability 8.0 on."""
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return True
