"""What a server takes from strangers at most."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Every size and every wait has one; all are above 0, which the command line sees to."""

    batch: int = 64
    """Inputs that the network takes at once, and that one request may hold."""
    queue: int = 256
    """Inputs that may wait for the network."""
    seconds: float = 10.0
    """Until an answer, waiting included."""
    receive_seconds: float = 10.0
    """Until a request has come in, head and body, and again until its answer is taken."""
    keep_alive_seconds: int = 5
    """That a connection may stay open between two requests."""
    connections: int = 256
    """Beyond them a request is answered 503; beyond twice as many a connection is cut."""
    head_bytes: int = 2**14
    body_bytes: int = 2**20
    characters: int = 20_000
    """Of one text."""
    simulations: int = 600
    """Of the search for a move that asks for no number; 2 at the least."""
    most_simulations: int = 2000
    """That a move may ask for."""
