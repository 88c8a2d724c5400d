"""Lines of play in a search tree, for people: the principal variation and the moves of a node."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from alphazero.search import kernels
from alphazero.search.conclusion import undominated
from alphazero.search.tree import Tree


class Edge(NamedTuple):
    """A move in a tree; ``value``, ``lower`` and ``upper`` are for the player who makes it."""

    action: int
    visits: int
    value: float
    """The mean over its visits, within the proven bounds; NaN where it has no visits."""
    prior: float
    """The network's probability; at the root of a search with noise, the noisy one."""
    lower: int
    """Proven: at least this result under best play."""
    upper: int
    """Proven: at most this result; a result is proven where ``lower == upper``."""
    best: bool
    """Whether it belongs to the principal variation below its node: it is not ruled out by proofs,
    and of the moves like that it has the most visits, of several the highest value."""


def below(tree: Tree, index: int, line: Sequence[int] = ()) -> list[Edge]:
    """The legal moves after ``line`` (from the root) in tree ``index``, the best one first.

    The others follow by visits, then by value. Empty where the line leaves the tree, at a node
    without edges, and where the game is over or was found to be won at once.
    """
    node = kernels.follow(tree.nodes, tree.edges, index, np.asarray(line, np.int64))
    return [] if node < 0 else _edges(tree, index, node)


def principal_variation(tree: Tree, index: int, line: Sequence[int] = ()) -> list[Edge]:
    """The best move after ``line``, the best reply to it, and so on, as far as moves have visits.

    It ends at a finished game, with ``look_ahead`` one ply before, or at the edge of the tree. Its
    first move is the search's at temperature 0 in PUCT; Gumbel AlphaZero chooses among its most
    visited moves by their scores.
    """
    node = kernels.follow(tree.nodes, tree.edges, index, np.asarray(line, np.int64))
    variation: list[Edge] = []
    while node >= 0:
        edges = _edges(tree, index, node)
        if not edges or not edges[0].visits:
            break
        variation.append(edges[0])
        node = _child(tree, index, node, edges[0].action)
    return variation


def _child(tree: Tree, index: int, node: int, action: int) -> int:
    first, count = (int(tree.nodes[name][index, node]) for name in ("first", "count"))
    edges = tree.edges[first : first + count]
    return int(edges["child"][edges["action"] == action][0])


def _edges(tree: Tree, index: int, node: int) -> list[Edge]:
    """All edges of a node, the best one first."""
    here = tree.nodes[index, node]
    edges = tree.edges[here["first"] : here["first"] + here["count"]]
    if not len(edges):
        return []
    tried = edges["child"] >= 0
    child = tree.nodes[index, np.where(tried, edges["child"], 0)]
    same = child["to_move"] == here["to_move"]
    lower = np.where(tried, np.where(same, child["lower"], -child["upper"]), -1)
    upper = np.where(tried, np.where(same, child["upper"], -child["lower"]), 1)
    visits = edges["visits"]
    value = np.full(len(edges), np.nan, np.float32)
    np.divide(edges["value_sum"], visits, out=value, where=visits > 0)
    value = np.clip(value, lower, upper)
    kept = undominated(lower, upper, here["lower"], here["upper"])
    order = np.lexsort((-np.nan_to_num(value, nan=-2.0), -visits, ~kept))
    return [
        Edge(
            int(edges["action"][k]), int(visits[k]), float(value[k]), float(abs(edges["prior"][k])),
            int(lower[k]), int(upper[k]), bool(k == order[0]),
        )
        for k in order.tolist()
    ]  # fmt: skip
