"""The first plies of a search's tree, as a page shows them: the branches with the most visits."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphazero.search.tree import Tree
from alphazero.search.variations import below
from games.base import Game, States

MOST_PLIES = 3
WIDTH = 4
"""Branches of one position, at most: 84 in all with three plies."""
LEAST = 0.005
"""The share of the search's visits that a branch has, at least."""


def branches(game: Game, states: States, tree: Tree, plies: int) -> list[dict[str, Any]]:
    """The branches of the search of ``states [1]``, ``plies`` deep (``MOST_PLIES`` at most).

    Each has ``action`` (counted from 1), ``text``, ``visits``, ``share`` of all visits of the
    search, ``value`` for the player about to move in ``states``, and its own ``branches``.
    """
    total = max(1, int(tree.nodes["visits"][0, 0]) - 1)
    view = _View(game, tree, int(game.to_move(states)[0]), total)
    return view.branches(states, (), min(plies, MOST_PLIES))


@dataclass(frozen=True, slots=True)
class _View:
    game: Game
    tree: Tree
    player: int
    """The player for whom all values are."""
    total: int
    """Visits of the search."""

    def branches(self, states: States, line: tuple[int, ...], plies: int) -> list[dict[str, Any]]:
        """Those of the position ``states [1]`` after ``line`` from the root."""
        sign = 1 if int(self.game.to_move(states)[0]) == self.player else -1
        edges = sorted(below(self.tree, 0, line), key=lambda edge: -edge.visits)[:WIDTH]
        return [
            {
                "action": edge.action + 1,
                "text": self.game.move_to_text(states[0], edge.action),
                "visits": edge.visits,
                "share": round(edge.visits / self.total, 4),
                "value": round(sign * edge.value, 4),
                "branches": self._after(states, (*line, edge.action), plies - 1),
            }
            for edge in edges
            if edge.visits and edge.visits >= LEAST * self.total
        ]

    def _after(self, states: States, line: tuple[int, ...], plies: int) -> list[dict[str, Any]]:
        if not plies:
            return []
        return self.branches(self.game.step(states, np.array(line[-1:])), line, plies)
