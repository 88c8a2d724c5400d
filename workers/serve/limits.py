"""A server's address, and its limits: sizes, numbers and times of what clients may send."""

from dataclasses import dataclass
from typing import NamedTuple


class Address(NamedTuple):
    """The address to listen on."""

    host: str
    port: int
    """0: any free one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """All limits are above 0; the command line checks that."""

    batch: int = 64
    """Most inputs that the network computes at once, and that one request may hold."""
    queue: int = 256
    """Most inputs that may wait for the network."""
    seconds: float = 10.0
    """Longest time from a whole request to its answer, waiting included."""
    receive_seconds: float = 10.0
    """Longest time for a request, head and body, to arrive, and again for its answer to be read."""
    keep_alive_seconds: int = 5
    """Longest time that a connection may stay open between two requests."""
    connections: int = 256
    """With more connections a request is answered 503; with twice as many a new one is closed."""
    head_bytes: int = 2**14
    """Largest size of a request's head."""
    body_bytes: int = 2**20
    """Largest size of a request's body."""
    characters: int = 20_000
    """Most characters of one text."""
    simulations: int = 600
    """Simulations of a search whose request names no number; at least 2."""
    max_simulations: int = 2000
    """Most simulations that a request may name."""
    kept_trees: int = 64
    """Search trees that are kept for requests with a time which continue earlier ones; 0: none."""
    kept_bytes: int = 2**28
    """Most memory of the kept trees."""
