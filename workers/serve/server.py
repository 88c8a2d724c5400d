"""uvicorn with deadlines: the server in this process."""

import functools
import ipaddress
import json
import logging
import socket
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from workers.serve.limits import Limits
from workers.serve.observing import OTHER, Log


class Guarded(H11Protocol):
    """uvicorn's HTTP/1.1, and an end to connections that make it wait.

    uvicorn itself ends those that are idle after an answer, and no others: whoever sends nothing,
    or head or body a byte at a time, or does not take the answer, keeps it for ever. Here a
    request has ``receive_seconds`` to come in, from the connection's start or its own first byte,
    then ``seconds`` to be answered, and ``receive_seconds`` again for the answer to be taken.
    Bytes that are no HTTP are answered like all other mistakes.
    """

    def __init__(self, *arguments: Any, limits: Limits, app: FastAPI, **more: Any):
        super().__init__(*arguments, **more)
        self._limits, self._observed = limits, app
        self._deadline: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > 2 * self._limits.connections:
            transport.abort()
        elif len(self.connections) > self._limits.connections:
            self.app_state = {"crowded": True}
        self._wait()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._wait()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._stop()
        super().on_response_complete()
        if self._answering():  # the next request was here already
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "not a valid HTTP request, or a head that is too long")

    def _wait(self) -> None:
        self._stop()
        self._deadline = self.loop.call_later(self._limits.receive_seconds, self._late)

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None

    def _late(self) -> None:
        """The request should have come in by now."""
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._refuse(408, "the request did not come in time")
            return
        patience = self._limits.seconds + self._limits.receive_seconds
        self._deadline = self.loop.call_later(patience, self.transport.abort)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, error: str) -> None:
        """Answer, unless an answer has begun, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self._answering():
            self.cycle.scope.setdefault("state", {})["status"] = status
        else:
            self._report(status)
        body = json.dumps({"error": error, "field": None}).encode()
        headers = [
            ("content-type", "application/json"), ("content-length", str(len(body))),
            ("connection", "close"),
        ]  # fmt: skip
        start = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
        for event in (start, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _report(self, status: int) -> None:
        """Of a request that the application never saw."""
        state = self._observed.state
        state.metrics.count(OTHER, status, 0)
        state.log(
            {"method": None, "path": None, "status": status, "milliseconds": None, "batch": None}
        )


def listener(host: str, port: int) -> socket.socket:
    """Bound and not yet listening; port 0 is any free one. ``OSError``, one line: it is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except OSError as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """A server of ``app``, not yet running."""
    config = uvicorn.Config(
        app,
        http=functools.partial(Guarded, limits=limits, app=app),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=limits.connections,
        timeout_keep_alive=limits.keep_alive_seconds,
        timeout_graceful_shutdown=round(limits.seconds) + 1,
        h11_max_incomplete_event_size=limits.head_bytes,
    )
    return uvicorn.Server(config)


def log_all_as_lines(log: Log) -> None:
    """Whatever any library of this process logs, from errors up, in lines like the requests'."""
    logging.basicConfig(level=logging.ERROR, handlers=[_Lines(log)], force=True)


class _Lines(logging.Handler):
    def __init__(self, log: Log):
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        line = {"level": record.levelname.lower(), "message": record.getMessage().strip()}
        if record.exc_info:
            line["error"] = logging.Formatter().formatException(record.exc_info)
        self._log(line)
