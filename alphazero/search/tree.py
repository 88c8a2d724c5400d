"""Search trees for ``B`` positions as arrays, and the kernels that grow them in lock step.

A round of search is ``select`` (each algorithm's own kernel) -> ``game.step`` -> ``attach`` ->
the evaluator -> ``expand`` with its backup. The kernels see arrays and know no game and no network.
Finished games are backed up exactly and never leave for the evaluator; the trees they belong to
select again in the same round, so that no row of the evaluator's batch is wasted.

This file calls no jitted function of another one: Numba's disk cache does not notice edits there.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from alphazero.types import Evaluation
from games.base import Game, States

WAITING, EXPANDED, FINISHED = 0, 1, 2

NODE = np.dtype(
    [
        ("parent", np.int32),  # -1 at the root
        ("action", np.int32),  # the parent's edge that leads here
        ("visits", np.int32),  # its own evaluation + the visits of its edges
        ("pending", np.int32),  # simulations below it that wait for an evaluation
        ("value_sum", np.float32),  # over visits, as this node's mover sees it
        ("value", np.float32),  # the evaluator's, or the outcome of a finished game
        ("to_move", np.int8),
        ("status", np.int8),  # WAITING, EXPANDED or FINISHED
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


class Rows(NamedTuple):
    """What one ``select`` found: new edges from the front, finished nodes from the back."""

    tree: NDArray[np.int32]
    node: NDArray[np.int32]
    action: NDArray[np.int32]


class Progress(NamedTuple):
    """How far each tree is, in simulations."""

    want: NDArray[np.int32]
    """``[B]``, leaves still to find in this round."""
    remaining: NDArray[np.int32]
    """``[B]``, simulations not yet begun in this search."""


Select = Callable[[Tree, NDArray[np.int32], Rows], tuple[int, int]]
"""``select(tree, want, rows) -> (new, finished)``.

Row ``i < new`` names an edge without a child, row ``-1 - j`` for ``j < finished`` a FINISHED node;
at most ``want[b]`` rows for tree ``b``. A tree whose descent meets an edge or a node that already
waits for its evaluation gives this round up: its ``want`` becomes 0.
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
    _expand_all(game, tree, every, np.zeros_like(every), states, evaluation, False)
    return tree


def grow(
    game: Game, tree: Tree, select: Select, simulations: int, leaves: int = 1
) -> Generator[States, Evaluation, int | None]:
    """Run ``simulations`` in every tree, up to ``leaves`` at once with virtual losses.

    Yields the leaves' states and receives their evaluation. Returns the oldest weights version
    that answered; None when nothing had to be asked.
    """
    batch, virtual, oldest = len(tree.size), leaves > 1, None
    rows = Rows(*(np.empty(batch * leaves, np.int32) for _ in range(3)))
    leaf = np.empty(batch * leaves, np.int32), np.empty(batch * leaves, np.int32)
    remaining = np.full(batch, simulations, np.int32)
    while remaining.any():
        progress = Progress(np.minimum(remaining, leaves), remaining)
        found = _find_leaves(game, tree, select, rows, progress, leaf, virtual)
        if not found:  # this round met finished games only
            continue
        trees, nodes = leaf[0][:found], leaf[1][:found]
        states = tree.states[trees, nodes]
        evaluation = yield states
        oldest = evaluation.version if oldest is None else min(oldest, evaluation.version)
        _expand_all(game, tree, trees, nodes, states, evaluation, virtual)
    return oldest


def _find_leaves(
    game: Game,
    tree: Tree,
    select: Select,
    rows: Rows,
    progress: Progress,
    leaf: tuple[NDArray[np.int32], NDArray[np.int32]],
    virtual: bool,
) -> int:
    """Select and attach until every tree has the leaves it wants; how many there are in all."""
    found = 0
    while True:
        new, finished = select(tree, progress.want, rows)
        if finished:
            back_up_finished(tree.nodes, tree.edges, *rows, finished, *progress, virtual)
        if new:
            trees, parents, actions = (column[:new] for column in rows)
            states = game.step(tree.states[trees, parents], actions)
            known = game.outcome(states), game.to_move(states), _bytes(states)
            arrays = tree.nodes, tree.edges, tree.raw, tree.size
            before = found
            found = attach(
                *arrays, trees, parents, actions, *known, *progress, *leaf, found, virtual
            )
            if not finished and found - before == new:
                return found
        elif not finished:
            return found


def _expand_all(
    game: Game,
    tree: Tree,
    trees: NDArray[np.int32],
    nodes: NDArray[np.int32],
    states: States,
    evaluation: Evaluation,
    virtual: bool,
) -> None:
    logits, value = evaluation.logits, evaluation.value
    if logits.shape != (len(states), tree.edges.shape[2]) or value.shape != (len(states),):
        raise ValueError(
            f"evaluation of {len(states)} positions has logits {logits.shape} and value "
            f"{value.shape}; right are {(len(states), tree.edges.shape[2])} and {(len(states),)}"
        )
    legal = game.legal(states)
    expand(tree.nodes, tree.edges, trees, nodes, logits, legal, value, virtual)


def _bytes(states: States) -> NDArray[np.uint8]:
    return states.view(np.uint8).reshape(*states.shape, states.dtype.itemsize)


@njit(cache=True, nogil=True)
def _back_up(nodes, edges, tree, node, value, virtual):
    """Add ``value``, seen by ``node``'s mover, to every node and edge up to the root."""
    mover = nodes[tree, node].to_move
    while True:
        here = nodes[tree, node]
        here.visits += 1
        here.value_sum += value if here.to_move == mover else -value
        parent = here.parent
        if parent < 0:
            return
        edge = edges[tree, parent, here.action]
        edge.visits += 1
        edge.value_sum += value if nodes[tree, parent].to_move == mover else -value
        if virtual:
            edge.pending -= 1
            nodes[tree, parent].pending -= 1
        node = parent


@njit(cache=True, nogil=True)
def back_up_finished(
    nodes, edges, row_tree, row_node, row_action, finished, want, remaining, virtual
):
    """Back up the last ``finished`` rows, which are FINISHED nodes: their outcome is exact."""
    for i in range(len(row_tree) - finished, len(row_tree)):
        tree, node = row_tree[i], row_node[i]
        _back_up(nodes, edges, tree, node, nodes[tree, node].value, virtual)
        remaining[tree] -= 1
        want[tree] = min(want[tree], remaining[tree])


@njit(cache=True, nogil=True)
def attach(
    nodes, edges, raw, size,
    row_tree, row_node, row_action,
    outcome, to_move, states,
    want, remaining,
    leaf_tree, leaf_node, found, virtual,
):  # fmt: skip
    """Add a node behind each row's edge. Finished ones are backed up, the others become leaves.

    ``outcome, to_move [n]`` and ``states [n, itemsize]`` describe the new nodes. Leaves are
    appended to ``leaf_tree, leaf_node`` from ``found`` on; returns how many there are now.
    """
    for i in range(len(row_tree)):
        tree, parent, action = row_tree[i], row_node[i], row_action[i]
        child = size[tree]
        size[tree] += 1
        edges[tree, parent, action].child = child
        raw[tree, child] = states[i]
        node = nodes[tree, child]
        node.parent, node.action = parent, action
        node.visits = node.pending = 0
        node.value_sum = 0.0
        node.to_move = to_move[i]
        remaining[tree] -= 1
        if np.isnan(outcome[i]):
            node.status = 0  # WAITING
            leaf_tree[found], leaf_node[found] = tree, child
            found += 1
            want[tree] -= 1
        else:
            node.status = 2  # FINISHED
            node.value = outcome[i]
            _back_up(nodes, edges, tree, child, outcome[i], virtual)
            want[tree] = min(want[tree], remaining[tree])
    return found


@njit(cache=True, nogil=True)
def expand(nodes, edges, trees, leaves, logits, legal, value, virtual):
    """Give each leaf its edges, with ``softmax(logits)`` over the legal actions as prior, and
    back its ``value [n]`` up. ``logits, legal [n, A]``."""
    actions = edges.shape[2]
    for i in range(len(trees)):
        tree, leaf = trees[i], leaves[i]
        highest = np.float32(-np.inf)
        for action in range(actions):
            if legal[i, action]:
                highest = max(highest, logits[i, action])
        total = np.float32(0)
        for action in range(actions):
            edge = edges[tree, leaf, action]
            edge.child = -1
            edge.visits = edge.pending = 0
            edge.value_sum = 0.0
            edge.prior = -1.0
            if legal[i, action]:
                edge.prior = np.exp(logits[i, action] - highest)
                total += edge.prior
        for action in range(actions):
            if legal[i, action]:
                edges[tree, leaf, action].prior /= total
        nodes[tree, leaf].status = 1  # EXPANDED
        nodes[tree, leaf].value = value[i]
        _back_up(nodes, edges, tree, leaf, value[i], virtual)


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
