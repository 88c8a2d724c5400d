"""Moves that a search expects, in the notation of the game's players."""

from typing import NamedTuple

from alphazero.search.tree import Tree
from alphazero.search.variations import below, principal_variation
from games.base import Game

LONGEST = 10
"""Moves of a variation, at most."""


class Reply(NamedTuple):
    """One move below the root of a search, in the position after a line from the root."""

    move: str
    """In the notation of the game's players."""
    visits: int
    value: float
    """The mean result of the simulations through it, in [-1, 1], for the player who makes it."""


def replies(game: Game, tree: Tree, line: tuple[int, ...] = (), index: int = 0) -> list[Reply]:
    """The visited moves after ``line`` from the root of the tree ``index``, the best one first.

    Without a ``line`` they are the moves of the root; a line that the search has not reached has
    none.
    """
    return [
        Reply(game.action_to_text(edge.action), edge.visits, edge.value)
        for edge in below(tree, index, line)
        if edge.visits
    ]


def expected(game: Game, tree: Tree | None, action: int, index: int = 0) -> tuple[str, ...]:
    """The principal variation that begins with ``action``, of at most ``LONGEST`` moves.

    ``action`` alone where there is no tree.
    """
    after = [] if tree is None else principal_variation(tree, index, (action,))
    line = [action, *(edge.action for edge in after)]
    return tuple(map(game.action_to_text, line[:LONGEST]))
