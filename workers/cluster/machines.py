"""The machines of the connected Ray cluster."""

from typing import NamedTuple

import ray

from workers.node.plan import Machine


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
