"""Which settings a resumed run may change, and which it must keep."""

from pathlib import Path
from typing import Any

from alphazero import plain_files
from alphazero.errors import one_line

FIXED = ("game", "network.", "seed", "optimizer.name", "training.initial_weights")
"""Settings, or what they begin with, that a resumed run keeps."""
RESOLVED = ("ray", "training.threads", "selfplay.processes")
"""Settings whose ``auto`` is replaced by a value when a run starts: no change on resuming."""


PARTS = ("games", "checkpoints")
"""The folders in a run's folder whose files a resumed run reads, cuts off or deletes."""


def check_folder(run: Path) -> None:
    """``ValueError``, one line, where something in a run's folder is no regular file or folder.

    A resumed run writes into it, and a link would lead what is written elsewhere. ``run`` itself
    may be a link.
    """
    plain_files.check_entries(run)
    for part in PARTS:
        if (run / part).is_dir():
            plain_files.check_entries(run / part)


def compare(
    before: dict[str, Any],
    now: dict[str, Any],
    fixed: tuple[str, ...] = FIXED,
    resolved: tuple[str, ...] = RESOLVED,
) -> list[str]:
    """The dotted keys of the settings that a resumed run changes.

    Keys that begin with any of ``resolved`` are left out. ``ValueError``, one line, for a changed
    setting whose key begins with any of ``fixed``.
    """
    changed = differences(before, now)
    # A changed kind (of an optimizer, of a model) is the cause of other changes beside it.
    for key in sorted(changed, key=lambda key: not key.endswith(".kind")):
        was, becomes = changed[key]
        if key.startswith(fixed):
            raise ValueError(f"resume: {key} was {one_line(str(was))} and cannot become {becomes}")
    return [key for key in changed if not key.startswith(resolved)]


def differences(
    before: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """By dotted key the values that differ, ``(before, now)``; None where there is none.

    Of sections of another ``kind`` only those of ``now`` are named.
    """
    changed = {}
    for key, value in now.items():
        earlier = before.get(key)
        if isinstance(value, dict) and isinstance(earlier, dict):
            changed |= differences(earlier, value, f"{prefix}{key}.")
        elif value != earlier:
            changed[prefix + key] = earlier, value
    if before.get("kind") == now.get("kind"):
        changed |= {prefix + key: (before[key], None) for key in before if key not in now}
    return changed
