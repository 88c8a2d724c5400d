"""uvicorn with deadlines: the HTTP server in this process."""

import errno
import functools
import ipaddress
import json
import socket
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from workers.serve.heads import in_url
from workers.serve.limits import Limits
from workers.serve.metrics import OTHER


class DeadlineProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 with deadlines for slow clients.

    uvicorn itself closes connections that are idle after an answer, and no others: a client that
    sends nothing, sends a byte at a time, or does not read the answer keeps its connection for
    ever. Here a request has ``receive_seconds`` to arrive, counted from the start of the
    connection or from its own first byte, then ``seconds`` to be answered, and again
    ``receive_seconds`` for the answer to be read.

    With the default limits (10 s each) a client that sends nothing is answered 408 after 10 s; one
    that sends a request and never reads the answer is disconnected after 30 s.

    Bytes that are not HTTP are answered in the same form as all other errors.
    """

    def __init__(self, *arguments: Any, limits: Limits, app: FastAPI, **more: Any):
        super().__init__(*arguments, **more)
        self._limits, self._application = limits, app
        self._deadline: Any = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > 2 * self._limits.connections:
            transport.abort()
        elif len(self.connections) > self._limits.connections:
            # uvicorn copies this into scope["state"]; the application answers 503.
            self.app_state = {"over_capacity": True}
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._start_deadline()
        super().data_received(data)

    def on_response_complete(self) -> None:
        self._cancel_deadline()
        super().on_response_complete()
        if self._response_pending():  # the next request has arrived already
            self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_deadline()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self._respond_and_close(400, "not a valid HTTP request, or a head that is too long")

    def _start_deadline(self) -> None:
        self._cancel_deadline()
        self._deadline = self.loop.call_later(self._limits.receive_seconds, self._on_deadline)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None

    def _on_deadline(self) -> None:
        """Answer 408 if the request has not arrived yet; else set the deadline of its answer."""
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._respond_and_close(408, "the request did not come in time")
            return
        patience = self._limits.seconds + self._limits.receive_seconds
        self._deadline = self.loop.call_later(patience, self.transport.abort)

    def _response_pending(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _respond_and_close(self, status: int, error: str) -> None:
        """Answer, unless another answer has begun, and close the connection."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        if self._response_pending():
            self.cycle.scope.setdefault("state", {})["status"] = status
        else:
            self._record(status)
        body = json.dumps({"error": error, "field": None}).encode()
        headers = [
            ("content-type", "application/json"), ("content-length", str(len(body))),
            ("connection", "close"),
        ]  # fmt: skip
        start = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
        for event in (start, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _record(self, status: int) -> None:
        """Count and log a request that never reached the application's middleware."""
        state = self._application.state
        state.metrics.count(OTHER, status, 0)
        state.log(
            {"method": None, "path": None, "status": status, "milliseconds": None, "batch": None}
        )


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address but not yet listening; port 0 means any free one.

    ``OSError``, one line: the address is in use, or not one of this machine.
    """
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
        reason = f"cannot listen on {host}:{port}: {error.strerror or error}"
        advice = "; --port chooses another port" if error.errno == errno.EADDRINUSE else ""
        raise OSError(reason + advice) from None
    return bound


def is_loopback(bound: socket.socket) -> bool:
    """Whether only this machine can reach the socket."""
    return ipaddress.ip_address(bound.getsockname()[0].partition("%")[0]).is_loopback


def url(bound: socket.socket) -> str:
    """The URL of a server on ``bound``."""
    host, port = bound.getsockname()[:2]
    return f"http://{in_url(host)}:{port}"


def build(app: FastAPI, limits: Limits) -> uvicorn.Server:
    """A server of ``app``, not yet running."""
    config = uvicorn.Config(
        app,
        http=functools.partial(DeadlineProtocol, limits=limits, app=app),  # type: ignore[arg-type]
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
