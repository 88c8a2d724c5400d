"""The server's application: a service, its health and figures, and errors that all look alike."""

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.serve.batching import Batcher, Busy
from workers.serve.bodies import Refused, refusal
from workers.serve.limits import Limits
from workers.serve.observing import Log, Metrics, Observed, to_stderr
from workers.serve.service import Service

AGAIN = {"Retry-After": "1"}
"""Seconds after which a refused client may come again."""

DESCRIPTION = """\
A model trained with `alphazero`. Every error is `{"error": ..., "field": ...}`; 503 comes with
`Retry-After`. This description is served as `/openapi.json`, which works without a network; the
page `/docs` loads its JavaScript from the internet."""

ERRORS = {
    400: "The body is not JSON, or not a multipart upload.",
    408: "The request did not come in in time.",
    413: "The body is too large.",
    415: "The body is of another content type than the listed ones.",
    422: "The body is well-formed and not what is asked for; `field` says where.",
    503: "The queue is full, or no answer came in time: try again after `Retry-After` seconds.",
}


class Problem(BaseModel):
    error: str
    field: str | None
    """Where in the request, as `images.0.3`."""


class Health(BaseModel):
    status: str
    model: dict[str, Any]


def build(service: Service, limits: Limits, log: Log = to_stderr) -> FastAPI:
    """The application, with a batcher, a queue and figures of its own; ``log`` gets its lines."""
    metrics = Metrics()
    batcher = Batcher(service.compute, limits, metrics.batch.observe)
    metrics.queue.set_function(lambda: batcher.waiting)
    app = FastAPI(
        title="alphazero serve", description=DESCRIPTION, redoc_url=None, redirect_slashes=False
    )
    app.state.batcher, app.state.metrics, app.state.log = batcher, metrics, log
    _add_service(app, service, batcher)
    _add_health(app, service, batcher)
    _add_metrics(app, metrics)
    _add_errors(app)
    paths = {getattr(route, "path", "") for route in app.routes}
    app.add_middleware(Bounded, limits=limits)
    app.add_middleware(Observed, paths=paths, metrics=metrics, log=log)
    return app


def _add_service(app: FastAPI, service: Service, batcher: Batcher[Any, Any]) -> None:
    async def answer(request: Request) -> Response:
        asked = await service.read(request)
        batched = await batcher.ask(asked.items)
        request.state.batch = batched.batch
        return JSONResponse(service.show(batched.answers, asked.several))

    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": text} for status, text in ERRORS.items()
    }
    app.add_api_route(
        service.path,
        answer,
        methods=["POST"],
        operation_id=service.path.strip("/"),
        summary=service.purpose,
        response_model=None,
        responses=problems | {200: {"model": service.answer}},
        openapi_extra={"requestBody": {"content": service.content, "required": True}},
    )


def _add_health(app: FastAPI, service: Service, batcher: Batcher[Any, Any]) -> None:
    async def health() -> Response:
        if batcher.stuck:
            return refusal(503, "the network does not answer", headers=AGAIN)
        return JSONResponse({"status": "ok", "model": service.about})

    app.add_api_route(
        "/health",
        health,
        summary="Whether the server answers, and what it serves.",
        response_model=None,
        responses={200: {"model": Health}, 503: {"model": Problem}},
    )


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    async def figures() -> Response:
        text = generate_latest(metrics.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    app.add_api_route(
        "/metrics",
        figures,
        summary="Figures in Prometheus' text format.",
        response_model=None,
        response_class=PlainTextResponse,
    )


def _add_errors(app: FastAPI) -> None:
    async def refused(request: Request, error: Refused) -> Response:
        return refusal(error.status, error.error, error.field)

    async def busy(request: Request, error: Busy) -> Response:
        return refusal(503, str(error), headers=AGAIN)

    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return refusal(error.status_code, str(error.detail), headers=headers)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refusal(422, first["msg"], ".".join(map(str, first["loc"][1:])) or None)

    handlers: dict[type[Exception], Callable[..., Any]] = {
        Refused: refused, Busy: busy, HTTPException: http, RequestValidationError: invalid,
    }  # fmt: skip
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


class Bounded:
    """Takes a request in whole, within bounds of size and time, before ``app`` sees it."""

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            if scope.get("state", {}).get("crowded"):
                raise Busy("too many connections")
            async with asyncio.timeout(self.limits.receive_seconds):
                body = await self._body(scope, receive)
        except Busy as error:
            answer = refusal(503, str(error), headers=AGAIN | {"Connection": "close"})
        except TimeoutError:
            answer = refusal(408, "the body did not come in time", headers={"Connection": "close"})
        except Refused as error:
            answer = refusal(error.status, error.error, error.field)
        else:
            if body is None:
                return
            answer = self.app
            receive = _replayed(body, receive)
        await answer(scope, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """None where the client has gone; ``Refused``, 413, as soon as there is too much."""
        length = dict(scope["headers"]).get(b"content-length", b"0")[:20]
        self._check(int(length) if length.isdigit() else 0)
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            self._check(len(body))
            more = message.get("more_body", False)
        return bytes(body)

    def _check(self, size: int) -> None:
        if size > self.limits.body_bytes:
            raise Refused(413, f"the body is larger than {self.limits.body_bytes} bytes", "body")


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
