"""The moves that a search considers, as the engines' protocols report them."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from alphazero.judging import lines
from alphazero.judging.decisions import Decision
from alphazero.search.tree import Tree
from alphazero.search.variations import Edge, below, principal_variation
from games.base import Game, States

Write = Callable[[Game, np.void, int], str]
"""``write(game, state, action)``: the notation of a legal move of ``state``."""

SHARE = 0.1
"""The share of a search's time that reports may take, at most."""


class Candidate(NamedTuple):
    """One legal move of a position; values are for the player about to move there."""

    action: int
    visits: int
    value: float
    """The mean result of its simulations, in [-1, 1]."""
    prior: float
    """The probability that the network gives to it; without one, the player's own."""
    proven: bool
    """Whether ``value`` is the result under best play."""
    line: tuple[int, ...]
    """The move and the replies expected after it."""


def of_tree(tree: Tree, index: int = 0, plies: int = 10, most: int = 1000) -> list[Candidate]:
    """The visited moves of one tree's root, the best one first, at most ``most``.

    ``plies``: the longest ``line``.
    """
    visited = [edge for edge in below(tree, index) if edge.visits]
    priors = tree.prior[index]  # those of the edges are marked where a move is refuted
    return [_candidate(tree, index, edge, float(priors[edge.action]), plies)
            for edge in visited[:most]]  # fmt: skip


def _candidate(tree: Tree, index: int, edge: Edge, prior: float, plies: int) -> Candidate:
    after = principal_variation(tree, index, (edge.action,)) if plies > 1 else []
    line = (edge.action, *(reply.action for reply in after[: plies - 1]))
    return Candidate(edge.action, edge.visits, edge.value, prior, edge.lower == edge.upper, line)


def of_decision(decision: Decision, index: int = 0, most: int = 1000) -> list[Candidate]:
    """The same of a decision; its move comes first. Without a tree it is the only one.

    Where the player has no value the move counts as a draw.
    """
    action = int(decision.action[index])
    if decision.tree is not None:
        results = of_tree(decision.tree, index, most=most + 1)
        return sorted(results, key=lambda move: move.action != action)[:most]
    value = 0.0 if decision.value is None else float(decision.value[index])
    prior = 1.0 if decision.policy is None else float(decision.policy[index, action])
    return [Candidate(action, 0, value, prior, False, (action,))]


def texts(game: Game, states: States, actions: Sequence[int], write: Write) -> list[str]:
    """Legal ``actions`` from the position ``states [1]`` on, each written in its own position."""
    return [write(game, at[0], action) for at, action in lines.plies(game, states, actions)]


class Watch:
    """Called after each round of a search: reports now and then, and says when to stop."""

    def __init__(
        self,
        stop: Callable[[], bool],
        report: Callable[[Tree], None] | None = None,
        interval: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """``report`` is called every ``interval`` seconds, less often where it takes long."""
        self._stop, self._report, self._interval, self._now = stop, report, interval, now
        self._next = now() + interval

    def __call__(self, tree: Tree) -> bool:
        began = self._now()
        if self._report is not None and began >= self._next:
            self._report(tree)
            took = self._now() - began
            self._next = began + max(self._interval, took / SHARE)
        return self._stop()
