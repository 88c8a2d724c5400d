"""Processes as Linux describes them in ``/proc``; elsewhere nothing is known of them."""

import os
import signal
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` behind the name: state, parent, ..., [11] user, [12] system.

    None for a process that has ended.
    """
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_stopped(pid: int) -> bool:
    """Whether the process was stopped by a signal or a debugger: no load of the machine does so."""
    fields = stat(pid)
    return fields is not None and fields[0] in "Tt"


def children(pid: int) -> list[int]:
    """The ids of the processes that ``pid`` started."""
    pids = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
    return [child for child in pids if (fields := stat(child)) and int(fields[1]) == pid]


def kill_children(names: Collection[str]) -> None:
    """End the processes with these names that this process started, also those that are stopped."""
    for pid in children(os.getpid()) if PROC.exists() else []:
        with suppress(FileNotFoundError, ProcessLookupError):
            if (PROC / str(pid) / "comm").read_text().strip() in names:
                os.kill(pid, signal.SIGKILL)
