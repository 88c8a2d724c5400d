"""Kind, CPU time and memory of processes, as Linux counts them in ``/proc``."""

import os
from collections.abc import Iterable

from workers.node.processes import PROC, children, stat

TICK = 1 / os.sysconf("SC_CLK_TCK")


def require_linux() -> None:
    """Raise ``ValueError`` on a system without ``/proc``."""
    if not (PROC / "self" / "stat").exists():
        raise ValueError(
            "this measurement counts CPU time in /proc, which this system does not have"
        )


def process_tree() -> list[int]:
    """The ids of this process and of all its descendants."""
    pids = [os.getpid()]
    for pid in pids:
        pids += children(pid)
    return pids


def kind(pid: int) -> str:
    """``evaluator`` or ``search process`` of a node; empty for any other process.

    Only an evaluator uses torch. ``FileNotFoundError`` or ``ProcessLookupError`` where the process
    has ended.
    """
    if b"workers.node.child" not in (PROC / str(pid) / "cmdline").read_bytes():
        return ""
    uses_torch = "libtorch" in (PROC / str(pid) / "maps").read_text()
    return "evaluator" if uses_torch else "search process"


def cpu_seconds(pids: Iterable[int]) -> float:
    """Seconds of CPU time that these processes have used so far; ended ones count as 0."""
    fields = [stat(pid) for pid in pids]
    return sum(TICK * (int(f[11]) + int(f[12])) for f in fields if f)


def memory(pids: Iterable[int]) -> int:
    """Bytes of RAM of these processes; shared pages are divided among the processes that share."""
    total = 0
    for pid in pids:
        rollup = (PROC / str(pid) / "smaps_rollup").read_text()
        total += 1024 * int(rollup.partition("\nPss:")[2].split()[0])
    return total
