"""The connection to a Ray cluster: joined, or started on this machine; only with a token."""

import hashlib
import logging
import os
import platform
import socket
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import alphazero
from alphazero import packages
from alphazero.errors import RunFailed, reason
from alphazero.nn.device import cores
from workers.cluster import authentication
from workers.node.processes import kill_children

OBJECT_STORE_BYTES = 512 * 2**20
"""For a cluster of this machine: a few versions of the weights, and messages under way."""
CONNECT_TIMEOUT = 5.0
"""Seconds within which a cluster has to accept a connection."""
LONGEST = 400
"""Characters of a message of Ray that are repeated; it may be pages long."""
NODE_TIMEOUT = 60.0
"""Seconds within which a node has to report its versions."""
SYSTEM: dict[str, Any] = {"task_events_report_interval_ms": 0}
"""Settings of a cluster of this machine. Without the first, gcs_server keeps an event of every
call, and grows by 9 MB per minute."""


def connect(address: str, any_versions: bool = False) -> bool:
    """Join the cluster at ``address``, or start one on this machine for ``local``.

    ``any_versions``: nodes with other versions than here are accepted, for a test of the cluster.
    Returns whether the caller has to shut Ray down: False where Ray was running in this process
    already. Raises ``ValueError`` for a cluster that does not insist on its token, for a node with
    other versions than here, for a folder with too long a name, and where a package in the current
    folder would hide one of ours in Ray's processes; ``OSError`` where no connection is accepted at
    ``address``; ``RunFailed`` where Ray does not start.
    """
    if ray.is_initialized():
        authentication.prove_token(ray.get_runtime_context().gcs_address)
        return False
    # Ray puts these two at the front of the path in its processes.
    packages.check_folders([Path.cwd(), Path(sys.argv[0]).resolve().parent])
    authentication.require_token(address, authentication.mode())
    try:
        _start() if address == "local" else _join(address)
        authentication.prove_token(ray.get_runtime_context().gcs_address)
        if not any_versions:
            nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
            check_versions(sorted(nodes - {this_node()}), versions())
    except BaseException:
        ray.shutdown()
        raise
    return True


def leave(started: bool, lost: str | None = None) -> None:
    """Shut Ray down if it was ``started`` here, also after ``lost``, a process of its own, was.

    A shutdown waits for ever for a process that hangs, and some seconds for one that has ended; the
    actors and tasks of a cluster that was started here end with it.
    """
    if not started:
        return
    if lost:
        kill_children((lost,))
    ray.shutdown()


def this_node() -> str:
    """The id of this process's node in the Ray cluster."""
    return ray.get_runtime_context().get_node_id()


def identity() -> dict[str, object]:
    """The id of this process and of its node in a Ray cluster, "" outside of one."""
    node = this_node() if ray.is_initialized() else ""
    return {"pid": os.getpid(), "node": node}


def versions() -> str:
    """The versions in this process that have to be the same on every node."""
    return (
        f"Ray {ray.__version__}, Python {platform.python_version()}, "
        f"alphazero {alphazero.__version__} ({digest()})"
    )


@cache
def digest() -> str:
    """Eight hexadecimal digits of the SHA-256 of the program's sources: versions of a checkout
    differ more often than their number."""
    hashed = hashlib.sha256()
    for package in ("alphazero", "games", "workers"):
        for path in sorted((packages.ROOT / package).rglob("*.py")):
            hashed.update(f"{path.relative_to(packages.ROOT)}\0".encode() + path.read_bytes())
    return hashed.hexdigest()[:8]


def check_versions(nodes: Sequence[str], here: str) -> None:
    """Raise ``ValueError``, one line with both versions, unless all ``nodes`` have those ``here``.

    Ray compares its own and Python's when a node joins, unless it was told not to. A node that has
    left the cluster meanwhile is left out.
    """
    task: Any = ray.remote(num_cpus=0, max_retries=0)(versions)
    calls = {
        node: task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        for node in nodes
    }
    answers = {node: call.remote() for node, call in calls.items()}
    for node, answer in answers.items():
        try:
            there = ray.get(answer, timeout=NODE_TIMEOUT)
        except RayError as error:
            if node not in {other["NodeID"] for other in ray.nodes() if other["Alive"]}:
                continue  # lost before, which Ray notices after half a minute
            raise ValueError(
                f"ray: node {node[:12]} did not report its versions: {reason(error, LONGEST)}"
            ) from None
        if there != here:
            raise ValueError(f"ray: node {node[:12]} has {there}, but this process has {here}")


def _start() -> None:
    """Start a cluster of this machine, whatever ``RAY_ADDRESS`` says."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    authentication.keep_token()
    try:
        ray.init(
            address="local",
            num_cpus=cores(),  # Ray itself counts those that taskset and Slurm keep from us, too
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _system_config=dict(SYSTEM),
        )
    except Exception as error:  # Ray raises no narrower class where a node starts too slowly
        if "AF_UNIX path length" in str(error):
            raise ValueError(_too_long()) from None
        raise RunFailed(f"ray local: Ray did not start: {reason(error, LONGEST)}") from None


def _join(address: str) -> None:
    """Connect to the cluster at host:port; another version or token there is one line."""
    _check_reachable(address)
    if authentication.has_other_token(address):  # Ray would print 20 lines about it, in 20 s
        raise ValueError(authentication.OTHER_TOKEN.format(address))
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises no narrower class where a node starts too slowly
        raise ValueError(f"ray {address}: {reason(error, LONGEST)}") from None


def _check_reachable(address: str) -> None:
    """Raise ``OSError`` where host:port accepts no connection; Ray itself would retry for ever."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"ray {address}: no connection is accepted there: {reason}") from None


def _too_long() -> str:
    """The line for a temporary folder in which the names of Ray's sockets become too long."""
    name = next((n for n in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(n)), "RAY_TMPDIR")
    return (
        f"ray local: {name}={os.environ.get(name, '')} is too long for the sockets in it (107 "
        "bytes with 60 of Ray's own); set RAY_TMPDIR to a folder with a short name, such as /tmp"
    )
