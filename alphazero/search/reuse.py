"""Trees that go on: the subtree below the moves played becomes the tree of the next search."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.search import kernels
from alphazero.search.tree import Tree, allocate, init_roots, init_trees, reserve_edges
from alphazero.types import Evaluation, Kept, Lines
from games.base import Game, States


class _Subtree(NamedTuple):
    """A part of tree ``number`` of ``tree``, with its nodes' numbers in the copy."""

    tree: Tree
    number: int
    numbers: NDArray[np.int32]
    """``[size]``; -1: not in the subtree."""
    nodes: int
    edges: int


def begin(
    game: Game, states: States, kept: Sequence[Kept | None] | None, simulations: int
) -> Generator[States, Evaluation, Tree]:
    """Trees for ``states [B]`` with an expanded root each and room for ``simulations``.

    Where ``kept[i]`` has a subtree for ``states[i]``, the tree is a copy of it; the other roots are
    yielded, and their evaluation is received. ``ValueError`` where a subtree's root is not
    ``states[i]``, or ``kept`` has another length.
    """
    if kept is None or not any(kept):
        evaluation = yield states
        return init_trees(game, states, evaluation, simulations)
    if len(kept) != len(states):
        raise ValueError(f"{len(kept)} kept trees for {len(states)} positions, should be as many")
    subtrees = [_subtree(states[i : i + 1], place) for i, place in enumerate(kept)]
    unknown = np.flatnonzero([subtree is None for subtree in subtrees])
    # A subtree of n nodes has at least n visits, which count as simulations.
    nodes = max([simulations + 1] + [subtree.nodes + 1 for subtree in subtrees if subtree])
    tree = allocate(game, len(states), nodes, int(game.legal(states).sum()) * (simulations + 1))
    for row, subtree in enumerate(subtrees):
        if subtree is not None:
            _copy(tree, row, subtree)
    if len(unknown):
        evaluation = yield states[unknown]
        init_roots(game, tree, unknown, states[unknown], evaluation)
    kernels.root_priors(tree.nodes, tree.edges, tree.prior)
    return tree


def _subtree(state: States, place: Kept | None) -> _Subtree | None:
    """The subtree at the end of ``place.actions``; None where its root has not been expanded."""
    if place is None:
        return None
    tree, index, actions = place.tree, place.index, place.actions
    root = kernels.follow(tree.nodes, tree.edges, index, np.asarray(actions, np.int64))
    if root < 0 or tree.nodes["count"][index, root] == 0:
        return None
    if tree.states[index, root].tobytes() != state.tobytes():
        raise ValueError(
            f"a kept tree leads to another position than the one to search, by {list(actions)}; "
            "it needs the moves that were played since its search"
        )
    numbers = np.empty(tree.size[index], np.int32)
    nodes, edges = kernels.number_subtree(tree.nodes, index, root, numbers)
    return _Subtree(tree, index, numbers, nodes, edges)


def _copy(tree: Tree, row: int, subtree: _Subtree) -> None:
    """Make tree ``row`` a copy of ``subtree``, with a root whose priors have no noise."""
    old, index, numbers, count, edges = subtree
    reserve_edges(tree, edges)
    source, target = (old.nodes, old.edges, old.raw), (tree.nodes, tree.edges, tree.raw)
    kernels.copy_subtree(source, index, numbers, target, row, tree.used)
    tree.size[row] = count
    tree.earlier[row] = min(old.version, int(old.earlier[index]))
    if numbers[0] == 0:  # the same root again: its search has mixed noise into its priors
        kernels.remove_noise(tree.nodes, tree.edges, old.prior[index], row)


class KeptTrees:
    """The trees of a player's last searches, by the moves that led to the positions.

    Two calls per move: ``lookup`` before the search, ``store`` after it. A batch's trees are
    dropped by the call of ``store`` that comes ``generations`` calls after their own.
    """

    def __init__(
        self, generations: int = 2, capacity: int | None = None, most_bytes: int | None = None
    ):
        """``generations``: as many batches may be searched in turns without losing their trees.

        ``capacity``: most trees that are kept; where there are more, the oldest batches are
        dropped, the last one excepted. ``most_bytes``: most memory of all trees; the oldest batches
        are dropped, the last one too where it alone needs more. None: no bound.
        """
        self._generations, self._capacity, self._now = generations, capacity, 0
        self._most_bytes = most_bytes
        self._trees: dict[tuple[int, ...], tuple[int, Tree, int]] = {}

    def lookup(self, lines: Lines) -> list[Kept | None]:
        """For each of ``lines [B]`` the tree of the longest line that it begins with, or None."""
        lengths = sorted({len(line) for line in self._trees}, reverse=True)
        return [self._longest(tuple(map(int, line)), lengths) for line in lines]

    def store(self, lines: Lines, tree: Tree | None) -> None:
        """Keep the trees of ``lines [B]``, drop those of ``generations`` calls ago.

        Of several games with the same line one tree is kept. None: nothing is kept.
        """
        self._now += 1
        self._drop(self._now - self._generations)
        if tree is not None:
            for index, line in enumerate(lines):
                self._trees[tuple(map(int, line))] = self._now, tree, index
        while self._capacity is not None and len(self._trees) > self._capacity:
            if self._oldest() == self._now:
                break
            self._drop(self._oldest())
        while self._most_bytes is not None and self._bytes() > self._most_bytes:
            self._drop(self._oldest())

    def clear(self) -> None:
        """Drop all trees: at the start of new games, or with new weights."""
        self._trees.clear()

    def _oldest(self) -> int:
        return min(entry[0] for entry in self._trees.values())

    def _drop(self, last: int) -> None:
        """Drop the batches up to the number ``last``."""
        self._trees = {line: entry for line, entry in self._trees.items() if entry[0] > last}

    def _bytes(self) -> int:
        trees = {number: tree for number, tree, _ in self._trees.values()}.values()
        return sum(tree.nodes.nbytes + tree.states.nbytes + tree.edges.nbytes for tree in trees)

    def _longest(self, line: tuple[int, ...], lengths: Sequence[int]) -> Kept | None:
        for length in lengths:
            if length <= len(line) and (entry := self._trees.get(line[:length])):
                _, tree, index = entry
                return Kept(tree, index, line[length:])
        return None
