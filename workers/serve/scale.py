"""The same application in several processes, on one machine or many, behind Ray Serve's proxy.

Each replica has a model, a queue and metrics of its own: ``/metrics`` returns those of the replica
that the proxy chose, Ray's own metrics cover all of them. The limits of a body's size and time are
the same as in one process. Deadlines for heads and the limit of connections are not: Ray's proxy
receives the requests, and only ``server.DeadlineProtocol`` has them. On a cluster that serves other
applications already, the proxy keeps its host and port, whatever the options say.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions

from alphazero.errors import RunFailed, reason
from workers.cluster import connection, control_plane
from workers.serve import heads, loading, logs
from workers.serve.limits import Address, Limits
from workers.serve.loading import NOTHING, Allowed

REPLICAS = 2
CHECK_SECONDS = 1.0
NAME = "alphazero"
PROXY_TIMEOUT = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60"
"""Ray gives its proxy 3 times 5 seconds to start and then fails: a busy machine needs more."""


class Cluster(NamedTuple):
    """The Ray cluster that serves, and the number of its processes that do."""

    address: str
    """``local`` or the address of a cluster."""
    replicas: int = REPLICAS


def run(
    checkpoint: str,
    address: Address,
    limits: Limits,
    cluster: Cluster,
    allowed: Allowed = NOTHING,
) -> int:
    """Serve until Ctrl-C; raises what ``connection.connect`` and ``loading.find`` do, and
    ``RunFailed``."""
    loading.find(checkpoint)
    os.environ.setdefault(*PROXY_TIMEOUT)
    started, lost = connection.connect(cluster.address), None
    watch = control_plane.Watch()
    try:
        deploy(checkpoint, address, limits, cluster.replicas, allowed)
        url = f"http://{heads.in_url(address.host)}:{address.port}"
        print(f"serving {checkpoint} at {url}", flush=True)
        if address.host not in ("127.0.0.1", "::1", "localhost"):
            logs.to_stderr(logs.exposure_warning(address.host))
        wait(watch.check)
    except control_plane.ClusterLost as error:
        lost = error.name
        raise
    finally:
        watch.close()
        if not lost:
            with contextlib.suppress(RayError, RuntimeError):  # the deployment may not exist
                # A cluster that was running before would keep the application.
                serve.delete(NAME)
        connection.leave(started, lost)
    return 0


def deploy(
    checkpoint: str,
    address: Address,
    limits: Limits,
    replicas: int,
    allowed: Allowed = NOTHING,
) -> None:
    """Start the proxy and the replicas, and wait for them; ``RunFailed`` if they do not answer."""
    hosts = heads.allowed_hosts(address.host)
    application = deployment(checkpoint, limits, replicas, allowed, hosts)
    try:
        serve.start(http_options=_http(address, limits))
        serve.run(application, name=NAME, route_prefix="/")
    except (RayError, RuntimeError, TimeoutError) as error:
        raise RunFailed(f"Ray Serve did not start: {reason(error)}") from error


def deployment(
    checkpoint: str,
    limits: Limits,
    replicas: int,
    allowed: Allowed = NOTHING,
    hosts: Collection[str] | None = None,
) -> Any:
    """An application for ``serve.run``; every replica loads ``checkpoint`` from its own disk."""
    source = loading.source(checkpoint)

    def build() -> Any:
        from workers.serve import app

        return app.build(loading.load(source, limits, allowed), limits, hosts=hosts)

    ingress: Any = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        num_replicas=replicas,
        # More than the replica's own queue holds: the queue then refuses the rest at once, 503.
        max_ongoing_requests=limits.queue + 2 * limits.batch,
        ray_actor_options={"num_cpus": 1},
    )
    return ingress.bind()


def _http(address: Address, limits: Limits) -> HTTPOptions:
    return HTTPOptions(
        host=address.host,
        port=address.port,
        request_timeout_s=limits.seconds + 2 * limits.receive_seconds,
        keep_alive_timeout_s=limits.keep_alive_seconds,
    )


def wait(check: Callable[[], None]) -> None:
    """Wait until this process is stopped, or ``check`` raises because the cluster was lost."""
    never = threading.Event()
    while not never.wait(CHECK_SECONDS):
        check()
