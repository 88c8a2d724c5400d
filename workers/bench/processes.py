"""How much of a core each process takes, as Linux counts it in ``/proc``."""

import os
from collections.abc import Iterable
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def insist_on_linux() -> None:
    if not (PROC / "self" / "stat").exists():
        raise ValueError("bench fleet counts CPU time in /proc, which this system does not have")


def family() -> list[int]:
    """This process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for path in PROC.iterdir():
        if path.name.isdigit() and (stat := _stat(int(path.name))):
            children.setdefault(int(stat[1]), []).append(int(path.name))
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """That they have used since they began; those that are gone count for nothing."""
    stats = [_stat(pid) for pid in pids]
    return sum(TICK * (int(stat[11]) + int(stat[12])) for stat in stats if stat)


def memory(pids: Iterable[int]) -> int:
    """Bytes of RAM, each process's share of what they have in common included."""
    total = 0
    for pid in pids:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
        total += 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    return total


def _stat(pid: int) -> list[str] | None:
    """Of ``/proc/PID/stat`` what follows the name: state, parent, ..., [11] user, [12] system."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
