"""Moves that a search expects, in the notation of the game's players."""

from typing import NamedTuple

from alphazero.search.tree import Tree
from alphazero.search.variations import below
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
    """The visited moves after ``line`` from the root of the tree ``index``, most visited first.

    Without a ``line`` they are the moves of the root; a line that the search has not reached has
    none.
    """
    edges = sorted(below(tree, index, line), key=lambda edge: -edge.visits)
    return [
        Reply(game.action_to_text(edge.action), edge.visits, edge.value)
        for edge in edges
        if edge.visits
    ]


def expected(game: Game, tree: Tree | None, action: int, index: int = 0) -> tuple[str, ...]:
    """The principal variation that begins with ``action``: then always the most visited move.

    Of at most ``LONGEST`` moves; ``action`` alone where there is no tree.
    """
    line = [action]
    while tree is not None and len(line) < LONGEST:
        edges = [edge for edge in below(tree, index, tuple(line)) if edge.visits]
        if not edges:
            break
        line.append(max(edges, key=lambda edge: edge.visits).action)
    return tuple(map(game.action_to_text, line))
