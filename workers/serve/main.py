"""Serve a model in this process or with Ray Serve, until the process is stopped.

Each module is imported when it is needed: errors in the options are reported at once.
"""

import importlib.util
import socket

from alphazero.nn import extras
from workers.serve.limits import Address, Limits
from workers.serve.loading import NOTHING, Allowed
from workers.terminal import output, signals

PACKAGES = {
    "fastapi": "FastAPI",
    "uvicorn": "uvicorn",
    "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart",
    "PIL": "Pillow",
}
"""The module of each package of the extra ``serve``, and the package's name."""


def run(
    checkpoint: str,
    address: Address,
    limits: Limits,
    ray: str | None = None,
    replicas: int | None = None,
    allowed: Allowed = NOTHING,
) -> int:
    """Serve ``checkpoint`` until the process is stopped; return its exit status.

    ``ray`` is ``local`` or the address of a cluster, on which ``replicas`` processes serve.
    ``allowed``: code outside this program that the model may use.
    ``ValueError`` or ``OSError``, one line: a package is missing, there is no valid checkpoint, or
    the address is in use.
    """
    check_packages()
    if ray is None:
        # uvicorn handles Ctrl-C and SIGTERM: it answers the requests in progress before it ends.
        with output.tolerated(), signals.handled(signals.terminate, ["SIGHUP"]):
            return _serve_here(checkpoint, address, limits, allowed)
    try:
        from workers.serve import scale
    except ImportError as error:
        reason = str(error).partition(".")[0]
        message = extras.missing(f"--ray needs Ray Serve ({reason})", "serve-ray")
        raise ValueError(message) from None
    cluster = scale.Cluster(ray, replicas or scale.REPLICAS)
    with output.tolerated(), signals.handled(signals.interrupt):
        return scale.run(checkpoint, address, limits, cluster, allowed)


def check_packages(command: str = "serve") -> None:
    """``ValueError`` where a package of the extra ``serve`` is missing."""
    missing = [name for module, name in PACKAGES.items() if not importlib.util.find_spec(module)]
    if missing:
        raise ValueError(extras.missing(f"{command} needs {' and '.join(missing)}", "serve"))


def _serve_here(checkpoint: str, address: Address, limits: Limits, allowed: Allowed) -> int:
    from workers.serve import server

    # The address is taken before the model is loaded, which takes seconds.
    with server.bind(*address) as bound:
        return _serve_at(bound, checkpoint, address.host, limits, allowed)


def _serve_at(
    bound: socket.socket, checkpoint: str, host: str, limits: Limits, allowed: Allowed
) -> int:
    from workers.serve import app, heads, loading, logs, server

    service = loading.load(checkpoint, limits, allowed)
    name = bound.getsockname()[0]  # the URL below has it: an address where ``host`` is a name
    application = app.build(service, limits, hosts=heads.allowed_hosts(host, name))
    logs.log_errors_as_json(application.state.log)
    if not server.is_loopback(bound):
        application.state.log(logs.exposure_warning(host))
    # A client that has read the next line can connect.
    bound.listen(limits.connections)
    url, path = server.url(bound), service.path
    print(f"serving {checkpoint} at {url}{path}; {url}/openapi.json describes it", flush=True)
    try:
        server.build(application, limits).run(sockets=[bound])
    finally:
        application.state.batcher.close()
    return 0
