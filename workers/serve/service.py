"""A trained model as a service: parse a request, compute results, show them as JSON."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fastapi import Request


class ParsedRequest(NamedTuple):
    """The inputs of one request."""

    inputs: list[Any]
    several: bool
    """Whether the request held a list; its answer is then a list too, even for one input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """The part of a server that depends on the model; batches, queues and sockets are elsewhere."""

    path: str
    """The path of its URL."""
    purpose: str
    """One sentence for the documentation."""
    model: dict[str, Any]
    """The description of the model in the answer of ``/health``."""
    content: dict[str, Any]
    """OpenAPI's description of a request's body: a schema for each content type."""
    response_type: Any
    """The type of ``to_json``'s result, for the documentation."""
    parse: Callable[["Request"], Awaitable[ParsedRequest]]
    """Raises ``bodies.RequestError`` for an invalid request."""
    compute: Callable[[list[Any]], Sequence[Any]]
    """One result for each input; called in a thread of its own, one call at a time."""
    to_json: Callable[[Sequence[Any], bool], dict[str, Any]]
    """Results as JSON; the second argument is ``ParsedRequest.several``."""
    example: Any
    """An input with which the model is tried before the first request."""
