"""Running the trials of a search for settings in processes of this machine or as Ray tasks.

Both functions here return a ``tuning.RunAll``. A trial is a pure function of its arguments, so one
that was lost with its process may be run again.
"""

import math
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alphazero.errors import RunFailed, reason

WAIT_SECONDS = 1.0
"""Longest wait for Ray's results without returning to Python, where Ctrl-C is handled."""


def in_processes(parallel: int) -> Any:
    """Run ``parallel`` trials at a time, each in a process of its own.

    1: in this process, without the seconds that others take to start. ``RunFailed`` where one of
    the processes dies.
    """

    def run_all(function: Callable, trials: Sequence, pools: Sequence) -> Iterator:
        from joblib import Parallel, delayed
        from joblib.externals.loky.process_executor import BrokenProcessPool

        # joblib maps arrays of a megabyte or more into memory that all processes share.
        jobs = Parallel(
            max(1, parallel), return_as="generator_unordered", initializer=ignore_the_terminal
        )
        calls = zip(trials, pools, strict=True)
        try:
            yield from jobs(delayed(single_threaded)(function, *call) for call in calls)
        except BrokenProcessPool as error:
            raise RunFailed(
                f"a trial's process died without an error, perhaps because memory ran out: try "
                f"--parallel {max(1, parallel // 2)} ({type(error).__name__})"
            ) from None

    return run_all


def on_ray(address: str, parallel: int | None) -> Any:
    """Run trials as tasks of the Ray cluster at ``address``, ``parallel`` at a time.

    None: as many as the cluster has cores. An error of a trial is raised as it is; ``RunFailed``
    where Ray itself fails.
    """

    def run_all(function: Callable, trials: Sequence, pools: Sequence) -> Iterator:
        import ray
        from ray import exceptions

        from workers.cluster import connection, control_plane

        started, lost = connection.connect(address), None
        watch = control_plane.Watch()
        waiting = deque(zip(trials, pools, strict=True))
        try:
            yield from _run_tasks(ray, function, waiting, parallel, watch.check)
        except control_plane.ClusterLost as error:
            lost = error.name
            raise
        except exceptions.RayTaskError as error:
            raise error.cause from None
        except exceptions.RayError as error:
            raise RunFailed(f"ray {address}: {reason(error)}") from None
        finally:
            watch.close()
            connection.leave(started, lost)

    return run_all


def _run_tasks(
    ray: Any, function: Callable, waiting: deque, parallel: int | None, check: Callable[[], None]
) -> Iterator:
    """Run ``function(trial, pool)`` for every pair in ``waiting``; scores as they are finished.

    ``check`` is called while waiting and raises where the cluster was lost.
    """
    total = ray.cluster_resources()
    slots = parallel or max(1, int(total.get("CPU", 1)))
    # Ray hides GPUs only from tasks that reserve a number of them, so each reserves a share: with
    # 8 slots and 2 GPUs a quarter. A task that reserved none would see both and use the first.
    gpus = total.get("GPU", 0)
    share = 1 / math.ceil(slots / gpus) if gpus else 0
    task = ray.remote(num_cpus=1, num_gpus=share)(single_threaded)
    # Every pool is put into Ray's memory once, however many trials use it.
    stored = {key: ray.put(pool) for key, pool in {id(pool): pool for _, pool in waiting}.items()}
    running: list[Any] = []
    try:
        while waiting or running:
            while waiting and len(running) < slots:
                trial, pool = waiting.popleft()
                running.append(task.remote(function, trial, stored[id(pool)]))
            done, running = ray.wait(running, timeout=WAIT_SECONDS)
            yield from ray.get(done)
            check()
    except RunFailed:
        running = []  # lost with the cluster: cancelling them would wait for it
        raise
    finally:
        for result in running:
            ray.cancel(result, force=True)


def ignore_the_terminal() -> None:
    """Ignore SIGINT and SIGHUP in a started process.

    A terminal sends Ctrl-C, and SIGHUP when it is closed, to every process. The first process
    handles them and ends the others.
    """
    for name in {"SIGINT", "SIGHUP"} & set(dir(signal)):
        signal.signal(signal.Signals[name], signal.SIG_IGN)


def single_threaded(function: Callable, *arguments: Any) -> Any:
    """Call ``function`` with one thread of torch: every core runs a trial of its own."""
    import torch

    torch.set_num_threads(1)
    return function(*arguments)
