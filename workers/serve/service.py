"""What is served: how a request becomes inputs, what computes answers, how these are shown."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fastapi import Request


class Asked(NamedTuple):
    """The inputs of one request."""

    items: list[Any]
    several: bool
    """Whether a list was sent, so that a list is the answer, be it of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A trained model's side of the server; it knows nothing of batches, queues or sockets."""

    path: str
    """Of its URL."""
    purpose: str
    """In one sentence, for the documentation."""
    about: dict[str, Any]
    """What ``/health`` says of the model."""
    content: dict[str, Any]
    """OpenAPI's description of a request's body: a schema for each content type."""
    answer: Any
    """The type of what ``show`` returns, for the documentation."""
    read: Callable[["Request"], Awaitable[Asked]]
    """``bodies.Refused`` where a request is no good."""
    compute: Callable[[list[Any]], Sequence[Any]]
    """An answer for each input; called in a thread of its own, one call at a time."""
    show: Callable[[Sequence[Any], bool], dict[str, Any]]
    """Answers as JSON; the second argument is ``Asked.several``."""
    example: Any
    """An input, to try the model with before the first request comes."""
