"""CPU time and memory of processes, as Linux counts them in ``/proc``."""

import os
from collections.abc import Iterable
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def require_linux() -> None:
    """Raise ``ValueError`` on a system without ``/proc``."""
    if not (PROC / "self" / "stat").exists():
        raise ValueError("bench fleet counts CPU time in /proc, which this system does not have")


def process_tree() -> list[int]:
    """The ids of this process and of all its descendants."""
    children: dict[int, list[int]] = {}
    for path in PROC.iterdir():
        if path.name.isdigit() and (stat := _stat(int(path.name))):
            children.setdefault(int(stat[1]), []).append(int(path.name))
    pids = [os.getpid()]
    for pid in pids:
        pids += children.get(pid, [])
    return pids


def cpu_seconds(pids: Iterable[int]) -> float:
    """Seconds of CPU time that these processes have used so far; ended ones count as 0."""
    stats = [_stat(pid) for pid in pids]
    return sum(TICK * (int(stat[11]) + int(stat[12])) for stat in stats if stat)


def memory(pids: Iterable[int]) -> int:
    """Bytes of RAM of these processes; shared pages are divided among the processes that share."""
    total = 0
    for pid in pids:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
        total += 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    return total


def _stat(pid: int) -> list[str] | None:
    """The fields of ``/proc/PID/stat`` behind the name: state, parent, ..., [11] user, [12] system.

    None for a process that has ended.
    """
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
