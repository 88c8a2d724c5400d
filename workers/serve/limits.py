"""What a server takes from strangers at most."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.nn.settings import STRICT, Count, Positive


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Limits:
    """Every size and every wait has one."""

    batch: Count = 64
    """Inputs that the network takes at once, and that one request may hold."""
    queue: Count = 256
    """Inputs that may wait for the network."""
    seconds: Positive = 10.0
    """Until an answer, waiting included."""
    receive_seconds: Positive = 10.0
    """Until a request has come in, head and body, and again until its answer is taken."""
    keep_alive_seconds: Count = 5
    """That a connection may stay open between two requests."""
    connections: Count = 256
    """Beyond them a request is answered 503; beyond twice as many a connection is cut."""
    head_bytes: Count = 2**14
    body_bytes: Count = 2**20
    characters: Count = 20_000
    """Of one text."""
    simulations: Annotated[int, Field(ge=2)] = 600
    """Of the search for a move that asks for no number."""
    most_simulations: Annotated[int, Field(ge=2)] = 2000
    """That a move may ask for."""
