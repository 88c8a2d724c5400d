"""The connection to a Ray cluster: joined, or started on this machine; only with a token."""

import logging
import os
import socket
import sys
from pathlib import Path

import ray

from alphazero import packages

OBJECT_STORE_BYTES = 512 * 2**20
"""For a cluster of this machine: a few versions of the weights, and messages under way."""
CONNECT_TIMEOUT = 5.0
"""Seconds within which a cluster has to accept a connection."""


def connect(address: str) -> bool:
    """Join the cluster at ``address``, or start one on this machine for ``local``.

    Returns whether the caller has to shut Ray down: False where Ray was running in this process
    already. Raises ``OSError`` where no connection is accepted at ``address``, and ``ValueError``
    for a cluster without token authentication, and where a package in the current folder would
    hide one of ours in Ray's processes.
    """
    if ray.is_initialized():
        return False
    # Ray puts these two at the front of the path in its processes.
    packages.check_folders([Path.cwd(), Path(sys.argv[0]).resolve().parent])
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return True
    require_token(address, _auth_mode())
    _check_reachable(address)
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    # A cluster that requires no token also accepts a client that sends one: so the mode has to be
    # read in a process of the cluster too.
    task = ray.remote(num_cpus=0)(_auth_mode).remote()
    try:
        require_token(address, ray.get(task, timeout=60.0))
    except BaseException:
        ray.shutdown()
        raise
    return True


def require_token(address: str, mode: str):
    """Raise ``ValueError`` unless ``mode``, the value of ``RAY_AUTH_MODE``, is ``token``.

    Without a token, every process that reaches the ports of the cluster could run code on it.
    """
    if mode.lower() != "token":
        raise ValueError(
            f"ray {address}: a cluster needs token authentication, for every process that reaches "
            "its ports can run code on it; make a token with `ray get-auth-token --generate`, copy "
            "~/.ray/auth_token to every node, and set RAY_AUTH_MODE=token for `ray start` and here"
        )


def _check_reachable(address: str):
    """Raise ``OSError`` where host:port accepts no connection; Ray itself would retry for ever."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"ray {address}: no connection is accepted there: {reason}") from None


def _auth_mode() -> str:
    return os.environ.get("RAY_AUTH_MODE", "")
