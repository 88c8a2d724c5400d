"""Search trees for ``B`` positions as arrays, grown in lock step.

A round of search is ``select`` (each algorithm's own kernel) -> ``game.step`` -> ``attach`` ->
the evaluator -> ``expand`` with its backup. Finished games are backed up exactly and never leave
for the evaluator; the trees they belong to select again in the same round, so that no row of the
evaluator's batch is wasted.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.search import kernels
from alphazero.types import Evaluation
from games.base import Game, States

NODE = np.dtype(
    [
        ("parent", np.int32),  # -1 at the root
        ("action", np.int32),  # the parent's edge that leads here
        ("visits", np.int32),  # its own evaluation + the visits of its edges
        ("pending", np.int32),  # simulations below it that wait for an evaluation
        ("value_sum", np.float32),  # over visits, as this node's mover sees it
        ("value", np.float32),  # the evaluator's, or the outcome of a finished game
        ("to_move", np.int8),
        ("status", np.int8),  # kernels.WAITING, EXPANDED or FINISHED
    ],
    align=True,
)
EDGE = np.dtype(
    [
        ("child", np.int32),  # node index, -1 while never visited
        ("visits", np.int32),
        ("pending", np.int32),
        ("value_sum", np.float32),  # over visits, as the parent's mover sees it
        ("prior", np.float32),  # -1 where the action is illegal
    ],
    align=True,
)


class Tree(NamedTuple):
    """``B`` trees of at most ``N`` nodes. Node 0 is the root; nodes stand in order of first visit.

    Memory: ``N * (20 A + 28 + game.dtype.itemsize)`` bytes a tree.
    """

    nodes: NDArray
    """``[B, N]`` of ``NODE``."""
    edges: NDArray
    """``[B, N, A]`` of ``EDGE``; meaningful once a node is EXPANDED."""
    states: States
    """``[B, N]`` of the game's dtype."""
    raw: NDArray[np.uint8]
    """``[B, N, itemsize]``: the memory of ``states``, so that one kernel serves every game."""
    size: NDArray[np.int32]
    """``[B]``, nodes in use."""


class Round(NamedTuple):
    """The buffers of one round of search, and how far each tree is."""

    want: NDArray[np.int32]
    """``[B]``, leaves still to find in this round."""
    remaining: NDArray[np.int32]
    """``[B]``, simulations not yet begun in this search."""
    row_tree: NDArray[np.int32]
    """Of the edges without a child that ``select`` found: row ``i`` is ``row_action[i]`` of node
    ``row_node[i]`` in tree ``row_tree[i]``."""
    row_node: NDArray[np.int32]
    row_action: NDArray[np.int32]
    leaf_tree: NDArray[np.int32]
    """Of the leaves that wait for the evaluator."""
    leaf_node: NDArray[np.int32]


Select = Callable[[Tree, Round], int]
"""Descends from the roots and writes down up to ``want[b]`` rows for tree ``b``; how many in all.

Each row takes one from ``want`` and ``remaining``. Finished games that it meets are backed up at
once and take one from ``remaining``. A tree whose descent meets an edge or a node that already
waits for its evaluation gives this round up: its ``want`` becomes negative.
"""


def plant(game: Game, states: States, evaluation: Evaluation, capacity: int) -> Tree:
    """Trees of one expanded root each, with room for ``capacity`` nodes beside it."""
    batch = len(states)
    stored = np.empty((batch, capacity + 1), game.dtype)
    tree = Tree(
        nodes=np.empty(stored.shape, NODE),
        edges=np.empty((*stored.shape, game.num_actions), EDGE),
        states=stored,
        raw=_bytes(stored),
        size=np.ones(batch, np.int32),
    )
    stored[:, 0] = states
    roots = tree.nodes[:, 0]
    roots["parent"] = roots["action"] = -1
    roots["visits"] = roots["pending"] = roots["value_sum"] = 0
    roots["to_move"] = game.to_move(states)
    every = np.arange(batch, dtype=np.int32)
    arrays = _checked(evaluation, game.legal(states))
    kernels.expand(tree.nodes, tree.edges, every, np.zeros_like(every), *arrays, False)
    return tree


def grow(
    game: Game, tree: Tree, select: Select, simulations: int, leaves: int = 1
) -> Generator[States, Evaluation, int | None]:
    """Run ``simulations`` in every tree, up to ``leaves`` at once with virtual losses.

    Yields the leaves' states and receives their evaluation. Returns the oldest weights version
    that answered; None when nothing had to be asked.
    """
    batch, virtual, oldest = len(tree.size), leaves > 1, None
    counters = np.zeros(batch, np.int32), np.full(batch, simulations, np.int32)
    round_ = Round(*counters, *(np.empty(batch * leaves, np.int32) for _ in range(5)))
    while round_.remaining.any():
        np.minimum(round_.remaining, leaves, out=round_.want)
        found = _find_leaves(game, tree, select, round_, virtual)
        if not found:  # this round met finished games only
            continue
        trees, nodes = round_.leaf_tree[:found], round_.leaf_node[:found]
        states = tree.states[trees, nodes]
        evaluation = yield states
        oldest = evaluation.version if oldest is None else min(oldest, evaluation.version)
        arrays = _checked(evaluation, game.legal(states))
        kernels.expand(tree.nodes, tree.edges, trees, nodes, *arrays, virtual)
    return oldest


def _find_leaves(game: Game, tree: Tree, select: Select, round_: Round, virtual: bool) -> int:
    """Select and attach until every tree has the leaves it wants; how many there are in all."""
    want, remaining, *row, leaf_tree, leaf_node = round_
    found = 0
    while new := select(tree, round_):
        trees, parents, actions = (column[:new] for column in row)
        states = game.step(tree.states[trees, parents], actions)
        before = found
        found = kernels.attach(
            tree.nodes, tree.edges, tree.raw, tree.size, trees, parents, actions,
            game.outcome(states), game.to_move(states), _bytes(states),
            want, remaining, leaf_tree, leaf_node, found, virtual,
        )  # fmt: skip
        if found - before == new:  # no game ended: every tree has what it wants
            break
    return found


def _checked(
    evaluation: Evaluation, legal: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """``(logits, legal, value)``, ready for ``expand``; ``ValueError`` if they cannot be right."""
    logits, value, _ = evaluation
    if logits.shape != legal.shape or value.shape != legal.shape[:1]:
        raise ValueError(
            f"evaluation of {len(legal)} positions has logits {logits.shape} and value "
            f"{value.shape}; right are {legal.shape} and {legal.shape[:1]}"
        )
    if not (np.isfinite(value).all() and np.isfinite(logits).all()):
        raise ValueError(f"evaluation of {len(legal)} positions holds values that are not finite")
    return logits, legal, value


def _bytes(states: States) -> NDArray[np.uint8]:
    return states.view(np.uint8).reshape(*states.shape, states.dtype.itemsize)


def root_statistics(
    tree: Tree,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """``(value [B], visits [B, A], action_value [B, A])`` at the roots, for the root's mover."""
    roots, edges = tree.nodes[:, 0], tree.edges[:, 0]
    visits = edges["visits"].copy()
    action_value = np.full(visits.shape, np.nan, np.float32)
    np.divide(edges["value_sum"], visits, out=action_value, where=visits > 0)
    value = (roots["value_sum"] / roots["visits"]).astype(np.float32)
    return value, visits, action_value
