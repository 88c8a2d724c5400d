"""The machines of the connected Ray cluster."""

import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray._private.state import state
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from alphazero.errors import reason
from workers.cluster.connection import versions
from workers.node.plan import Machine

EXAMINATION_SECONDS = 20.0
"""The longest time that the examination of all machines may take."""
SHARED_MEMORY = Path("/dev/shm")
"""The folder of Ray's object store."""
LEAST_SHARED_MEMORY = 256 * 2**20
"""Free bytes of shared memory below which a run may not start; Docker offers 64 MiB by itself."""

DRAINING = "Draining"
"""The key that ``list_all`` adds to machines that are about to end."""


def list_all() -> list[dict]:
    """``ray.nodes()``, with the time at which a machine ends under ``DRAINING`` where it is being
    drained: in milliseconds since 1970, 0 where that is not known.

    A machine is drained before it is taken away, as after the notice for a spot instance, or with
    `ray drain-node`. No public function of Ray shows that: this one is Ray Serve's.
    """
    nodes, draining = ray.nodes(), state.get_draining_nodes()
    return [
        {**node, DRAINING: draining[node["NodeID"]]} if node["NodeID"] in draining else node
        for node in nodes
    ]


def draining(listed: list[dict], now: float) -> dict[str, float | None]:
    """The seconds that are left to each machine that is being drained, by its id.

    ``listed``: of ``list_all``; ``now``: seconds since 1970. None: the time is not known.
    """
    ends = {node["NodeID"]: node[DRAINING] for node in listed if DRAINING in node}
    return {id_: max(0.0, end / 1000 - now) if end else None for id_, end in ends.items()}


class ClusterNode(NamedTuple):
    """A machine that offers at least one core."""

    id: str
    name: str
    """Its host name, or its address where that is not known."""
    machine: Machine


def list_nodes(listed: list[dict]) -> list[ClusterNode]:
    """The live machines with at least one core among those that ``ray.nodes()`` or ``list_all`` has
    ``listed``, in the order of their ids; without those that are being drained."""
    nodes = [node for node in listed if node["Alive"] and DRAINING not in node]
    offering = [node for node in nodes if node["Resources"].get("CPU", 0) >= 1]
    return sorted(_described(node) for node in offering)


def _described(node: dict) -> ClusterNode:
    offered = node["Resources"]
    machine = Machine(int(offered["CPU"]), int(offered.get("GPU", 0)))
    name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
    return ClusterNode(node["NodeID"], f"{name} ({node['NodeID'][:6]})", machine)


def largest(nodes: Iterable[ClusterNode], number: int | None) -> list[ClusterNode]:
    """At most ``number`` machines, those with the most GPUs and then cores first; None: all."""
    ordered = sorted(nodes, key=lambda node: (-node.machine.gpus, -node.machine.cpus, node.id))
    return ordered if number is None else ordered[: max(0, number)]


class Examination(NamedTuple):
    """Facts about a machine, found out in a process there."""

    problem: str
    """Why its processes could not play; empty where they could."""
    shared_memory: int
    """Free bytes of shared memory."""
    clock: float
    """Seconds since 1970 by its clock."""
    versions: str = ""
    """The versions of a process there; empty where its program is too old to send them."""


def examine(
    nodes: Sequence[ClusterNode],
    check: Callable[[], object],
    seconds: float = EXAMINATION_SECONDS,
) -> list[tuple[bool, str]]:
    """Whether each machine can play, and a line about it; all are examined at the same time.

    ``check``: called there, and raises where they cannot play; ``seconds``: the time within which
    all have to answer.
    """
    deadline = time.monotonic() + seconds
    task: Any = ray.remote(num_cpus=0, max_retries=0)(_examine)
    there = [NodeAffinitySchedulingStrategy(node.id, soft=False) for node in nodes]
    answers = [task.options(scheduling_strategy=place).remote(check) for place in there]
    machines = dict(zip(answers, (node.machine for node in nodes), strict=True))
    results, waiting = {}, list(answers)
    while waiting:
        ready, waiting = ray.wait(waiting, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            break
        results |= {answer: _result(answer, machines[answer]) for answer in ready}
    late = False, f"no answer within {seconds:g} s"
    return [results.get(answer, late) for answer in answers]


def _result(answer: Any, machine: Machine) -> tuple[bool, str]:
    """The result of ``examine`` for a machine whose answer has just come."""
    try:
        return _assess(machine, ray.get(answer), time.time())
    except (RayError, TypeError) as error:  # other versions may answer with other fields
        return False, reason(error)


def _assess(machine: Machine, facts: Examination, now: float) -> tuple[bool, str]:
    """Whether the machine can play, and a line about it; ``now``: seconds since 1970 here."""
    if facts.versions != versions():
        there = facts.versions or "other versions"
        return False, f"it has {there}, but this process has {versions()}"
    if facts.problem:
        return False, facts.problem
    if facts.shared_memory < LEAST_SHARED_MEMORY:
        return False, (
            f"{facts.shared_memory >> 20} MiB of shared memory are free, a run needs "
            f"{LEAST_SHARED_MEMORY >> 20}: in a container, --shm-size 1g"
        )
    return True, (
        f"{machine.describe()}, {facts.shared_memory >> 20} MiB of shared "
        f"memory, clock {facts.clock - now:+.1f} s"
    )


def _examine(check: Callable[[], object]) -> Examination:
    """The facts about this machine; called in a process of Ray there."""
    problem = ""
    try:
        check()
    except Exception as error:  # a user's own game may raise anything
        problem = reason(error)
    free = shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else 0
    return Examination(problem, free, time.time(), versions())
