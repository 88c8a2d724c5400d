"""Where the trials of a search run: in processes of this machine, or as tasks of Ray.

Both are a ``tuning.RunAll``. A trial is a pure function of its arguments: one that was lost with
its process may simply be run again.
"""

import math
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alphazero.errors import RunFailed

QUANTUM = 1.0
"""Seconds between two chances of Ctrl-C to be heard while Ray works."""


def in_processes(parallel: int) -> Any:
    """So many at a time; 1 is this process, which saves the seconds that others take to start."""

    def run_all(function: Callable, trials: Sequence, pools: Sequence) -> Iterator:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

        # Which shares arrays of a megabyte or more as files in memory.
        jobs = Parallel(
            max(1, parallel), return_as="generator_unordered", initializer=leave_ctrl_c_to_others
        )
        calls = zip(trials, pools, strict=True)
        try:
            yield from jobs(delayed(alone)(function, *call) for call in calls)
        except BrokenProcessPool as error:
            raise RunFailed(
                f"a trial's process ended without a word, as it does where memory runs out: try "
                f"--parallel {max(1, parallel // 2)} ({type(error).__name__})"
            ) from None

    return run_all


def on_ray(address: str, parallel: int | None) -> Any:
    """As many at a time as the cluster at ``address`` has cores, or ``parallel``."""

    def run_all(function: Callable, trials: Sequence, pools: Sequence) -> Iterator:
        import ray
        from ray import exceptions

        from workers.cluster import connection

        started = connection.connect(address)
        try:
            yield from _tasks(ray, function, deque(zip(trials, pools, strict=True)), parallel)
        except exceptions.RayTaskError as error:
            raise error.cause from None
        except exceptions.RayError as error:
            reason = str(error).strip().partition("\n")[0]
            raise RunFailed(f"ray {address}: {reason}") from None
        finally:
            if started:
                ray.shutdown()

    return run_all


def _tasks(ray: Any, function: Callable, waiting: deque, parallel: int | None) -> Iterator:
    total = ray.cluster_resources()
    slots = parallel or max(1, int(total.get("CPU", 1)))
    # A task that reserves no share of a GPU would still see all of them, and take the first.
    gpus = total.get("GPU", 0)
    share = 1 / math.ceil(slots / gpus) if gpus else 0
    task = ray.remote(num_cpus=1, num_gpus=share)(alone)
    held = {key: ray.put(pool) for key, pool in {id(pool): pool for _, pool in waiting}.items()}
    running: list[Any] = []
    try:
        while waiting or running:
            while waiting and len(running) < slots:
                trial, pool = waiting.popleft()
                running.append(task.remote(function, trial, held[id(pool)]))
            done, running = ray.wait(running, timeout=QUANTUM)
            yield from ray.get(done)
    finally:
        for each in running:
            ray.cancel(each, force=True)


def leave_ctrl_c_to_others() -> None:
    """A terminal's Ctrl-C reaches every process; the first one hears it and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def alone(function: Callable, *arguments: Any) -> Any:
    """A call on one thread of torch: every core has a trial of its own."""
    import torch

    torch.set_num_threads(1)
    return function(*arguments)
