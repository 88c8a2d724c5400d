"""How long a search may go on: simulations, seconds, or both."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from alphazero.types import Limits

if TYPE_CHECKING:
    from alphazero.search.tree import Tree

clock = time.monotonic
"""Seconds since any moment; tests replace it."""

FIRST_NODES = 256
"""Nodes per tree for which a search with a deadline makes room at first; it doubles when full."""


class Budget(NamedTuple):
    """The limits of one call of a search, whichever is reached first."""

    simulations: int | None
    """Per tree; None: no limit but the time."""
    deadline: float | None = None
    """On ``clock``; it is compared after each round, so that a search has at least one. A search
    with a deadline also ends when its trees have ``tree.LARGEST`` bytes."""
    watch: "Callable[[Tree], bool] | None" = None
    """See ``types.Limits``."""

    def expired(self) -> bool:
        return self.deadline is not None and clock() >= self.deadline

    @property
    def capacity(self) -> int:
        """Nodes per tree to make room for at first: all of them, unless there is a deadline."""
        if self.deadline is None and self.simulations is not None:
            return self.simulations
        return min(self.simulations or FIRST_NODES, FIRST_NODES)


def start(limits: Limits, simulations: int) -> Budget:
    """The budget of a search that begins now and makes ``simulations`` where there is no limit.

    ``ValueError`` for less than one simulation and for seconds that are not positive.
    """
    number, seconds, watch = limits
    if number is not None and number < 1:
        raise ValueError(f"limits.simulations: {number}, should be 1 or more")
    if seconds is None:
        return Budget(simulations if number is None else number, watch=watch)
    if not seconds > 0:
        raise ValueError(f"limits.seconds: {seconds}, should be more than 0")
    return Budget(number, clock() + seconds, watch)
