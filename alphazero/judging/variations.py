"""Moves that a search expects, in the notation of the game's players."""

from typing import NamedTuple

import numpy as np

from alphazero.judging import lines
from alphazero.search.tree import Tree
from alphazero.search.variations import below, principal_variation
from games.base import Game, States

LONGEST = 10
"""Moves of a variation, at most."""


class Reply(NamedTuple):
    """One move below the root of a search, in the position after a line from the root."""

    move: str
    """In the notation of the game's players."""
    visits: int
    value: float
    """The mean result of the simulations through it, in [-1, 1], for the player who makes it."""


def replies(
    game: Game, states: States, tree: Tree, line: tuple[int, ...] = (), index: int = 0
) -> list[Reply]:
    """The visited moves after ``line`` from the root of the tree ``index``, the best one first.

    ``states [1]`` is the root's position in ``game``. Without a ``line`` they are the moves of the
    root; a line that the search has not reached has none.
    """
    visited = [edge for edge in below(tree, index, line) if edge.visits]
    for action in line if visited else ():
        states = game.step(states, np.array([action]))
    return [
        Reply(game.move_to_text(states[0], edge.action), edge.visits, edge.value)
        for edge in visited
    ]


def expected(
    game: Game, states: States, tree: Tree | None, action: int, index: int = 0
) -> tuple[str, ...]:
    """The principal variation that begins with ``action``, of at most ``LONGEST`` moves.

    ``states [1]`` is the root's position in ``game``. ``action`` alone where there is no tree.
    """
    after = [] if tree is None else principal_variation(tree, index, (action,))
    line = [action, *(edge.action for edge in after)]
    return tuple(lines.notation(game, states, line[:LONGEST]))
