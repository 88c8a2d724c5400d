"""Devices, precisions and the number of cores."""

import os

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""torch's types by the names used in settings."""


def cores() -> int:
    """How many CPU cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is worth timing: NVIDIA devices have it from compute capability 8.0 on."""
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return True
