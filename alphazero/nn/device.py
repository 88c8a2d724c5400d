"""Where tensors live, in what precision they compute, and how many cores there are."""

import os

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose(name: str) -> torch.device:
    """``auto`` is the first of cuda, mps and cpu that is present; else torch's own names.

    ValueError where the device does not exist.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {name!r} cannot be used here ({reason}); auto, cpu, cuda, cuda:1 or mps?"
        ) from None
    return device


def computes_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is worth a timing: NVIDIA's devices compute in it from capability 8.0 on."""
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return True
