"""The same application in several processes, on one machine or many, behind Ray Serve's proxy.

Each replica has a model, a queue and figures of its own: ``/metrics`` answers for the replica that
happened to be asked, and Ray's own figures for all. Ray's proxy takes requests in, so it is the
proxy that a slow client holds up: deadlines for heads, and a bound on connections, are uvicorn's
alone (``server.Guarded``). A request's body has the same bounds as there. On a cluster that serves
already, the proxy stays where it is, whatever host and port are asked for.
"""

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions

from alphazero.types import RunFailed
from workers.cluster import fleet
from workers.serve import find, load, warning
from workers.serve.limits import Limits
from workers.serve.observing import to_stderr

REPLICAS = 2
NAME = "alphazero"
PATIENCE = "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "60"
"""Ray gives its proxy thrice 5 seconds to start, and then up: a busy machine needs more."""


def main(options: argparse.Namespace, limits: Limits) -> int:
    """Serve until Ctrl-C; errors as for ``fleet.connect`` and ``find``, and ``RunFailed``."""
    find(options.checkpoint)
    os.environ.setdefault(*PATIENCE)
    started = fleet.connect(options.ray)
    try:
        deploy(options, limits)
        print(f"serving {options.checkpoint} at http://{options.host}:{options.port}", flush=True)
        if options.host not in ("127.0.0.1", "::1", "localhost"):
            to_stderr(warning(options.host))
        wait()
    finally:
        with contextlib.suppress(RayError, RuntimeError):  # where it never started
            serve.delete(NAME)  # which would else stay on a cluster of others
        if started:
            ray.shutdown()
    return 0


def deploy(options: argparse.Namespace, limits: Limits) -> None:
    """Start proxy and replicas, and return when they answer; ``RunFailed`` where they do not."""
    application = deployment(options.checkpoint, limits, options.replicas or REPLICAS)
    try:
        serve.start(http_options=_http(options, limits))
        serve.run(application, name=NAME, route_prefix="/")
    except (RayError, RuntimeError, TimeoutError) as error:
        why = str(error).partition("\n")[0]
        raise RunFailed(f"Ray Serve did not start: {why}") from error


def deployment(checkpoint: str, limits: Limits, replicas: int) -> Any:
    """An application for ``serve.run``; every replica loads ``checkpoint`` from its own disk."""
    place = Path(checkpoint)
    where = str(place.resolve()) if place.exists() else checkpoint

    def build() -> Any:
        from workers.serve import app

        return app.build(load(where, limits), limits)

    ingress: Any = serve.deployment(
        serve.ingress(build)(),
        name=NAME,
        num_replicas=replicas,
        # More than the replica's own queue holds, which refuses the rest: with 503, and at once.
        max_ongoing_requests=limits.queue + 2 * limits.batch,
        ray_actor_options={"num_cpus": 1},
    )
    return ingress.bind()


def _http(options: argparse.Namespace, limits: Limits) -> HTTPOptions:
    return HTTPOptions(
        host=options.host,
        port=options.port,
        request_timeout_s=limits.seconds + 2 * limits.receive_seconds,
        keep_alive_timeout_s=limits.keep_alive_seconds,
    )


def wait() -> None:
    """Until somebody stops this process."""
    import threading

    threading.Event().wait()
