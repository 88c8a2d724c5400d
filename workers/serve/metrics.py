"""Metrics of a server for Prometheus, and the middleware that measures and logs each request."""

import time
import traceback
from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.serve.bodies import error_response
from workers.serve.logs import Log

CLIENT_CLOSED_REQUEST = 499
"""The status of a request whose client left before the answer; nginx logs the same number."""
OTHER = "other"
"""Counted in place of every path that does not exist, so that clients cannot create metrics."""


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "alphazero_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "alphazero_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["path"],
            registry=self.registry,
        )
        self.batch = Histogram(
            "alphazero_batch_size",
            "Inputs that were computed together.",
            buckets=[2**power for power in range(9)],
            registry=self.registry,
        )
        self.queue = Gauge(
            "alphazero_queue_length", "Inputs that wait for the network.", registry=self.registry
        )

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count one answered request and its duration."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)


class MetricsMiddleware:
    """Counts, times and logs the requests of ``app``; an exception in it is answered 500.

    Other parts of the server leave values in ``scope["state"]``: ``batch`` is the size of the
    batch in which the request was computed, ``status`` the status with which the connection was
    closed before ``app`` could answer.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics, log: Log):
        self.app, self.paths, self.metrics, self.log = app, paths, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, state = time.perf_counter(), scope.setdefault("state", {})
        statuses: list[int] = []

        async def record_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, record_status)
        except Exception:
            state["error"] = traceback.format_exc()
            if not statuses:
                await error_response(500, "internal server error; the log has the traceback")(
                    scope, receive, record_status
                )
        finally:
            status = state.get("status") or (statuses[0] if statuses else CLIENT_CLOSED_REQUEST)
            self._report(scope, status, time.perf_counter() - start)

    def _report(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in self.paths else OTHER
        self.metrics.count(path, status, seconds)
        line = {
            "method": scope["method"][:20],
            "path": scope["path"][:200],
            "status": status,
            "milliseconds": round(seconds * 1000, 2),
            "batch": scope["state"].get("batch"),
        }
        if "error" in scope["state"]:
            line["error"] = scope["state"]["error"]
        self.log(line)
