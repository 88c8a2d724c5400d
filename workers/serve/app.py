"""The HTTP application: a service, a health check, metrics, and errors of one form."""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.serve.batching import Batcher, Unavailable
from workers.serve.bodies import RequestError, error_response
from workers.serve.heads import HeadMiddleware
from workers.serve.limits import Limits
from workers.serve.logs import Log, to_stderr
from workers.serve.metrics import Metrics, MetricsMiddleware
from workers.serve.service import Service

RETRY_LATER = {"Retry-After": "1"}
"""Seconds after which a client may send a request again that was answered 503."""

DESCRIPTION = """\
A model trained with `alphazero`. Every error is `{"error": ..., "field": ...}`; 503 comes with
`Retry-After`. This description is served as `/openapi.json`, which works without a network; the
page `/docs` loads its JavaScript from the internet."""

ERRORS = {
    400: "The body is not JSON, or not a multipart upload.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    415: "The content type of the body is not one of those listed, or the body is compressed.",
    421: "The request is addressed to another server: its Host is not a name of this one.",
    422: "The body is well-formed but invalid; `field` names the part at fault.",
    503: "The queue is full, or no answer came in time: try again after `Retry-After` seconds.",
}


class Problem(BaseModel):
    error: str
    field: str | None
    """The part of the request at fault, such as `images.0.3`."""


class Health(BaseModel):
    status: str
    model: dict[str, Any]


def build(
    service: Service, limits: Limits, log: Log = to_stderr, hosts: Collection[str] | None = None
) -> FastAPI:
    """An application with a batcher, a queue and metrics of its own; ``log`` receives its lines.

    ``hosts`` are the names under which it may be addressed, see ``heads.allowed_hosts``.
    """
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
    add_errors(app)
    paths = {getattr(route, "path", "") for route in app.routes}
    app.add_middleware(BodyLimitMiddleware, limits=limits)
    app.add_middleware(HeadMiddleware, hosts=hosts)
    app.add_middleware(MetricsMiddleware, paths=paths, metrics=metrics, log=log)
    return app


def _add_service(app: FastAPI, service: Service, batcher: Batcher[Any, Any]) -> None:
    async def answer(request: Request) -> Response:
        parsed = await service.parse(request)
        batched = await batcher.submit(parsed.inputs)
        request.state.batch = batched.batch_size
        return JSONResponse(service.to_json(batched.results, parsed.several))

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
        responses=problems | {200: {"model": service.response_type}},
        openapi_extra={"requestBody": {"content": service.content, "required": True}},
    )


def _add_health(app: FastAPI, service: Service, batcher: Batcher[Any, Any]) -> None:
    async def health() -> Response:
        if batcher.stuck:
            return error_response(503, "the network does not answer", headers=RETRY_LATER)
        return JSONResponse({"status": "ok", "model": service.model})

    _add_get(
        app,
        "/health",
        health,
        summary="Whether the server answers, and the model that it serves.",
        response_model=None,
        responses={200: {"model": Health}, 503: {"model": Problem}},
    )


def _add_get(app: FastAPI, path: str, answer: Callable[..., Any], **more: Any) -> None:
    """A route for GET and for HEAD, whose answer the server sends without its body."""
    app.add_api_route(path, answer, **more)
    app.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False, response_model=None)


def _add_metrics(app: FastAPI, metrics: Metrics) -> None:
    async def show() -> Response:
        text = generate_latest(metrics.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})

    _add_get(
        app,
        "/metrics",
        show,
        summary="Metrics in Prometheus' text format.",
        response_model=None,
        response_class=PlainTextResponse,
    )


def add_errors(app: FastAPI) -> None:
    """Give the errors of ``app`` one form, see ``bodies.error_response``."""

    async def request_error(request: Request, error: RequestError) -> Response:
        return error_response(error.status, error.error, error.field)

    async def unavailable(request: Request, error: Unavailable) -> Response:
        return error_response(503, str(error), headers=RETRY_LATER)

    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        return error_response(error.status_code, str(error.detail), headers=headers)

    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return error_response(422, first["msg"], ".".join(map(str, first["loc"][1:])) or None)

    handlers: dict[type[Exception], Callable[..., Any]] = {
        RequestError: request_error,
        Unavailable: unavailable,
        HTTPException: http,
        RequestValidationError: invalid,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


class BodyLimitMiddleware:
    """Receives a whole request, within limits of size and time, before it is passed to ``app``."""

    def __init__(self, app: ASGIApp, limits: Limits):
        self.app, self.limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            if scope.get("state", {}).get("over_capacity"):
                raise Unavailable("too many connections")
            async with asyncio.timeout(self.limits.receive_seconds):
                body = await self._body(scope, receive)
        except Unavailable as error:
            headers = RETRY_LATER | {"Connection": "close"}
            answer = error_response(503, str(error), headers=headers)
        except TimeoutError:
            headers = {"Connection": "close"}
            answer = error_response(408, "the body did not come in time", headers=headers)
        except RequestError as error:
            answer = error_response(error.status, error.error, error.field)
        else:
            if body is None:
                return
            answer = self.app
            receive = _replayed(body, receive)
        await answer(scope, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None where the client has gone. A body too large is refused (413) at the
        first sign: its announced length, or the part received so far."""
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
            text = f"the body is larger than {self.limits.body_bytes} bytes"
            raise RequestError(413, text, "body")


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that returns ``body`` first, as if it had just arrived."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay
