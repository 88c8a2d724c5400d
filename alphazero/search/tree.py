"""Search trees for ``B`` positions as arrays, grown in lock step.

A round of search (``grow``):

    select          the algorithm's kernel descends from the roots to edges without a child
    game.advance    plays those edges' actions
    attach          adds the new nodes to the trees
    evaluator       evaluates the new nodes that are not finished games
    expand          gives them edges with priors, and backs their values up to the root

A finished game is never sent to the evaluator; its outcome is backed up instead: by ``attach`` when
its node is new, by ``select`` when a later descent ends at the node again.
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
        ("visits", np.int32),  # 1 for its own evaluation + the visits of its edges
        ("pending", np.int32),  # simulations through it that wait for an evaluation
        ("value_sum", np.float32),  # over all visits, for this node's mover
        ("value", np.float32),  # the evaluator's, or the result where FINISHED
        ("prior_mass", np.float32),  # of the edges visited so far
        ("to_move", np.int8),  # the node's mover, 0 or 1
        ("status", np.int8),  # kernels.WAITING, EXPANDED or FINISHED
        ("lower", np.int8),  # proven: under best play its mover gets at least this result
        ("upper", np.int8),  # and at most this one; both are -1, 0 or 1
    ],
    align=True,
)

EDGE = np.dtype(
    [
        ("child", np.int32),  # node index, -1 before the first visit
        ("visits", np.int32),
        ("pending", np.int32),  # simulations through it that wait for an evaluation
        ("value_sum", np.float32),  # over all visits, for the mover of the node it leaves
        ("prior", np.float32),  # -1 where the action is illegal, 0 once it is refuted
    ],
    align=True,
)


class Tree(NamedTuple):
    """``B`` trees of at most ``N`` nodes. Node 0 is the root; the others are in order of creation.

    Memory: ``N * (20 A + 32 + game.dtype.itemsize)`` bytes per tree.
    """

    nodes: NDArray
    """``[B, N]`` of ``NODE``."""
    edges: NDArray
    """``[B, N, A]`` of ``EDGE``; meaningful once a node is EXPANDED."""
    raw: NDArray[np.uint8]
    """``[B, N, itemsize]``: the memory of ``states`` as bytes, so that the same kernels work for
    every game."""
    size: NDArray[np.int32]
    """``[B]``, the number of nodes in use."""
    states: States
    """``[B, N]`` of the game's dtype."""


class Rows(NamedTuple):
    """The edges that get a child in this round: one row per edge, in the order of the trees.

    Row ``i`` is action ``where[2, i]`` of node ``where[1, i]`` in tree ``where[0, i]``; that node's
    state is ``states[i]``. After ``attach`` the first rows are the unfinished new nodes: tree
    ``where[0, i]``, node ``where[1, i]``.
    """

    where: NDArray[np.int32]
    """``[3, B * leaves]``: trees, nodes and actions."""
    raw: NDArray[np.uint8]
    """``[B * leaves, itemsize]``: the memory of ``states`` as bytes."""
    states: States
    """``[B * leaves]`` of the game's dtype."""


Select = Callable[[NDArray[np.int32], Rows], int]
"""``select(remaining, rows)`` descends from the roots, writes rows, and returns their number.

``remaining [B]`` counts the simulations that each tree has not begun yet. A descent ends in one of
three ways:

- At an edge without a child: this is one simulation and becomes a row. A tree writes at most
  ``leaves`` rows per round.
- At a finished game: this is one simulation, too. Its value is backed up at once.
- At an edge or node that already waits for its evaluation: this does not count as a simulation,
  and the tree takes no further part in this round.

0 rows mean that all trees have done their simulations.
"""


def init_trees(game: Game, states: States, evaluation: Evaluation, capacity: int) -> Tree:
    """Trees of one expanded root each, with room for ``capacity`` more nodes.

    ``ValueError`` for an ``evaluation`` of the wrong shape or with values that are not finite.
    """
    batch = len(states)
    stored = np.empty((batch, capacity + 1), game.dtype)
    tree = Tree(
        nodes=np.empty(stored.shape, NODE),
        edges=np.empty((*stored.shape, game.num_actions), EDGE),
        raw=_bytes(stored),
        size=np.ones(batch, np.int32),
        states=stored,
    )
    stored[:, 0] = states
    roots = tree.nodes[:, 0]
    roots["parent"] = roots["action"] = -1
    roots["visits"] = roots["pending"] = roots["value_sum"] = roots["prior_mass"] = 0
    roots["to_move"] = game.to_move(states)
    roots["lower"], roots["upper"] = -1, 1
    where = np.zeros((2, batch), np.int32)
    where[0] = np.arange(batch)
    _expand(tree, where, evaluation, game.legal(states), virtual=False)
    return tree


def grow(
    game: Game, tree: Tree, select: Select, simulations: int, leaves: int = 1, prove: bool = False
) -> Generator[States, Evaluation, int | None]:
    """Run ``simulations`` simulations in every tree; fewer once the result of its root is proven.

    ``leaves``: the largest number of leaves evaluated per tree and round; virtual losses make their
    paths differ. ``prove``: whether to propagate proven results.

    Yields the leaves' states and receives their evaluation. Returns the oldest weights version
    among the evaluations, or None if there were none.
    """
    batch, virtual, oldest = len(tree.size), leaves > 1, None
    remaining = np.full(batch, simulations, np.int32)
    parents = np.empty(batch * leaves, game.dtype)
    rows = Rows(np.empty((3, len(parents)), np.int32), _bytes(parents), parents)
    while new := select(remaining, rows):
        states, legal, outcome, to_move = game.advance(rows.states[:new], rows.where[2, :new])
        unfinished = kernels.attach(
            *tree[:4], rows.where, states.view(np.uint8), legal, outcome, to_move, virtual, prove
        )
        if not unfinished:
            continue
        evaluation = yield states[:unfinished]
        oldest = evaluation.version if oldest is None else min(oldest, evaluation.version)
        _expand(tree, rows.where, evaluation, legal[:unfinished], virtual)
    return oldest


def _expand(
    tree: Tree,
    where: NDArray[np.int32],
    evaluation: Evaluation,
    legal: NDArray[np.bool_],
    virtual: bool,
) -> None:
    """Expand leaves; ``ValueError`` for wrong shapes and for values that are not finite."""
    logits, value, _ = evaluation
    if logits.shape != legal.shape or value.shape != legal.shape[:1]:
        raise ValueError(
            f"evaluation of {len(legal)} positions has logits {logits.shape} and value "
            f"{value.shape}; expected {legal.shape} and {legal.shape[:1]}"
        )
    if not kernels.expand(*tree[:2], where, logits, value, legal, virtual):
        raise ValueError(f"evaluation of {len(legal)} positions holds values that are not finite")


def _bytes(states: States) -> NDArray[np.uint8]:
    """A view of the same memory as bytes, with one more axis."""
    return states.view(np.uint8).reshape(*states.shape, states.dtype.itemsize)


def undominated_actions(tree: Tree) -> NDArray[np.bool_]:
    """``[B, A]``: True for the roots' legal actions that proven bounds do not rule out.

    The root's bounds are [lower, upper]. An action is kept if it may still turn out better than
    ``lower``, or if it is proven to reach ``lower``. With ``lower`` = -1 a lost action reaches it,
    too, but is kept only if the root itself is proven lost. Examples, bounds for the root's mover:

        a [-1, -1]  b [0, 1]  c [-1, 1]   root [0, 1]: b and c are kept
        a [0, 0]    b [0, 1]  c [-1, 0]   root [0, 1]: a and b are kept
        a [-1, -1]  b [-1, 1]             root [-1, 1]: b is kept
        a [-1, -1]  b [-1, -1]            root [-1, -1]: both are kept

    Every root keeps at least one action.
    """
    roots, edges = tree.nodes[:, :1], tree.edges[:, 0]
    tried = edges["child"] >= 0
    below = tree.nodes[np.arange(len(roots))[:, None], np.where(tried, edges["child"], 0)]
    same = below["to_move"] == roots["to_move"]
    lower = np.where(tried, np.where(same, below["lower"], -below["upper"]), -1)
    upper = np.where(tried, np.where(same, below["upper"], -below["lower"]), 1)
    reaches_lower = (lower == roots["lower"]) & ((lower > -1) | (roots["upper"] == -1))
    return (edges["prior"] >= 0) & (reaches_lower | (upper > roots["lower"]))


def root_statistics(
    tree: Tree,
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """``(value [B], visits [B, A], action_value [B, A])`` of the roots, for the root's mover.

    Values are means over visits; the value of an unvisited action is NaN.
    """
    roots, edges = tree.nodes[:, 0], tree.edges[:, 0]
    visits = edges["visits"].copy()
    action_value = np.full(visits.shape, np.nan, np.float32)
    np.divide(edges["value_sum"], visits, out=action_value, where=visits > 0)
    value = (roots["value_sum"] / roots["visits"]).astype(np.float32)
    return value, visits, action_value
