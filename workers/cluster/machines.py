"""The machines of the connected Ray cluster."""

import shutil
import time
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import games
from alphazero.errors import reason
from workers.node.plan import Machine
from workers.node.shared import IN_MEMORY

EXAMINATION_SECONDS = 20.0
"""The longest time that the examination of a machine may take."""
LEAST_SHARED_MEMORY = 256 * 2**20
"""Free bytes of shared memory below which a run may not start; Docker offers 64 MiB by itself."""


class ClusterNode(NamedTuple):
    """A machine that offers at least one core."""

    id: str
    name: str
    """Its host name, or its address where that is not known."""
    machine: Machine


def list_nodes() -> list[ClusterNode]:
    """The live machines of the cluster that offer at least one core, in the order of their ids."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    offering = [node for node in nodes if node["Resources"].get("CPU", 0) >= 1]
    return sorted(_described(node) for node in offering)


def _described(node: dict) -> ClusterNode:
    offered = node["Resources"]
    machine = Machine(int(offered["CPU"]), int(offered.get("GPU", 0)))
    name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
    return ClusterNode(node["NodeID"], f"{name} ({node['NodeID'][:6]})", machine)


class Examination(NamedTuple):
    """Facts about a machine, found out in a process there."""

    problem: str
    """Why its processes could not play; empty where they could."""
    shared_memory: int
    """Free bytes of shared memory."""
    clock: float
    """Seconds since 1970 by its clock."""


def examine(node: ClusterNode, game: str | None) -> tuple[bool, str]:
    """Whether the machine can play, and a line about it; ``game``: one that it has to import."""
    there = NodeAffinitySchedulingStrategy(node.id, soft=False)
    task: Any = ray.remote(num_cpus=0, max_retries=0)(_examine)
    try:
        found: Examination = ray.get(
            task.options(scheduling_strategy=there).remote(game), timeout=EXAMINATION_SECONDS
        )
    except GetTimeoutError:
        return False, f"no answer within {EXAMINATION_SECONDS:g} s"
    except RayError as error:
        return False, reason(error)
    if found.problem:
        return False, found.problem
    if found.shared_memory < LEAST_SHARED_MEMORY:
        return False, (
            f"{found.shared_memory >> 20} MiB of shared memory are free, a run needs "
            f"{LEAST_SHARED_MEMORY >> 20}: in a container, --shm-size 1g"
        )
    machine = node.machine
    return True, (
        f"{machine.cpus} cores, {machine.gpus} GPUs, {found.shared_memory >> 20} MiB of shared "
        f"memory, clock {found.clock - time.time():+.1f} s"
    )


def _examine(game: str | None) -> Examination:
    """The facts about this machine; called in a process of Ray there."""
    problem = ""
    try:
        if game is not None:
            games.make(game)
    except Exception as error:  # a user's own game may raise anything
        problem = reason(error)
    free = shutil.disk_usage(IN_MEMORY).free if IN_MEMORY.is_dir() else 0
    return Examination(problem, free, time.time())
