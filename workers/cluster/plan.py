"""The plan of a fleet: numbers of actors for the machines of a cluster, and their resources."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import ray

from alphazero.config import Config

MAX_GROUPS = 8
"""Groups of a worker that ``make_plan`` adds at most: for many lanes use more workers."""


class Node(NamedTuple):
    """One machine of the cluster: its numbers of CPU cores and GPUs."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Plan:
    """Numbers of actors, the resources that each reserves, and how much each does in parallel."""

    workers: int
    servers: int
    cpus: float
    """Cores reserved by each server and worker; below 1 where there are more actors than cores."""
    gpus: float
    """GPUs reserved by each server, 0 to 1."""
    lanes: int
    """Batches that a server evaluates at the same time; on a GPU 1."""
    groups: int
    """Groups of games that a worker keeps in flight."""


def make_plan(config: Config, nodes: Sequence[Node]) -> Plan:
    """The plan for ``config`` on these machines.

    ``workers: auto`` leaves one core to the driver, which trains, and one to each server; it is at
    least 1, so that a machine of two cores plays too. Without a GPU a server has one lane per core
    of its node: evaluation takes nearly all of the time, and workers and driver share the cores
    with it. The number of groups is such that every lane can evaluate one group while every worker
    still has one to advance.

    Examples: 16 cores, no GPU, one server: 14 workers and 16 lanes, ceil(16 / 14) + 1 = 3 groups
    per worker. 16 cores and a GPU: 14 workers, 1 lane, 2 groups per worker.
    """
    cpus, gpus = (sum(column) for column in zip(*nodes, strict=True))
    servers, workers = config.inference.servers, config.selfplay.workers
    if workers == "auto":
        workers = max(1, int(cpus) - 1 - servers)
    cpu_share = min(1.0, math.floor(100 * cpus / (workers + servers)) / 100)
    on_gpu = gpus >= 1 and config.inference.device != "cpu"
    gpu_share = 1 / math.ceil(servers / gpus) if on_gpu else 0.0
    lanes = 1 if on_gpu else _lanes_on_cpu(nodes, servers)
    needed = min(MAX_GROUPS, math.ceil(servers * lanes / workers) + 1)
    groups = max(config.selfplay.groups, needed)
    return Plan(workers, servers, cpu_share, gpu_share, lanes, groups)


def list_nodes() -> list[Node]:
    """The machines of the connected cluster that offer at least one core."""
    resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [
        Node(offered["CPU"], offered.get("GPU", 0))
        for offered in resources
        if offered.get("CPU", 0) >= 1
    ]


def _lanes_on_cpu(nodes: Sequence[Node], servers: int) -> int:
    """One lane per core of the smallest node, divided among the servers that Ray may put there."""
    return max(1, int(min(node.cpus for node in nodes)) // math.ceil(servers / len(nodes)))
