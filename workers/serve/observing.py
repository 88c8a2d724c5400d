"""What a server tells of itself: figures for Prometheus, and a line of JSON for each request."""

import json
import sys
import time
import traceback
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.serve.bodies import refusal

Log = Callable[[dict[str, Any]], object]

CLIENT_GONE = 499
"""Of a request whose sender left before there was an answer; the custom of other servers' logs."""
OTHER = "other"
"""Stands for all paths that are not there: strangers shall not make up figures."""


def to_stderr(line: dict[str, Any]) -> None:
    """One line of JSON, with the time before all else."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": now, **line}), file=sys.stderr, flush=True)


class Metrics:
    """The figures of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "alphazero_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "alphazero_request_seconds",
            "From a request's head to the end of its answer.",
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
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)


class Observed:
    """Counts, times and logs the requests of ``app``, and answers 500 where it fails.

    ``scope["state"]`` carries notes: ``batch``, the size of the batch that answered, and
    ``status``, with which the connection itself was ended.
    """

    def __init__(self, app: ASGIApp, paths: Collection[str], metrics: Metrics, log: Log):
        self.app, self.paths, self.metrics, self.log = app, paths, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, notes = time.perf_counter(), scope.setdefault("state", {})
        sent: list[int] = []

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent.append(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception:
            notes["error"] = traceback.format_exc()
            if not sent:
                await refusal(500, "this server made a mistake")(scope, receive, noted)
        finally:
            status = notes.get("status") or (sent[0] if sent else CLIENT_GONE)
            self._report(scope, status, time.perf_counter() - began)

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
