"""Search trees for ``B`` positions as arrays, grown in lock step.

A round of search is ``select`` (each algorithm's own kernel) -> ``game.advance`` -> ``attach`` ->
the evaluator -> ``expand`` with its backup. Finished games are backed up exactly and never leave
for the evaluator: those that the tree knows within the descent, new ones when they are attached.
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
        ("prior_mass", np.float32),  # of the edges visited so far
        ("to_move", np.int8),
        ("status", np.int8),  # kernels.WAITING, EXPANDED or FINISHED
        ("lower", np.int8),  # the result proven so far lies in [lower, upper], for its mover
        ("upper", np.int8),
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

    Memory: ``N * (20 A + 32 + game.dtype.itemsize)`` bytes a tree.
    """

    nodes: NDArray
    """``[B, N]`` of ``NODE``."""
    edges: NDArray
    """``[B, N, A]`` of ``EDGE``; meaningful once a node is EXPANDED."""
    raw: NDArray[np.uint8]
    """``[B, N, itemsize]``: the memory of ``states``, so that one kernel serves every game."""
    size: NDArray[np.int32]
    """``[B]``, nodes in use."""
    states: States
    """``[B, N]`` of the game's dtype."""


class Rows(NamedTuple):
    """The edges without a child that one round's descents ended at, in the order of the trees.

    Row ``i`` is action ``where[2, i]`` of node ``where[1, i]`` in tree ``where[0, i]``; that node's
    state is ``states[i]``. Once attached, the first rows are the unfinished new nodes themselves.
    """

    where: NDArray[np.int32]
    """``[3, B * leaves]``: trees, nodes and actions."""
    raw: NDArray[np.uint8]
    """``[B * leaves, itemsize]``: the memory of ``states``."""
    states: States


Select = Callable[[NDArray[np.int32], Rows], int]
"""``select(remaining, rows)`` descends from the roots and writes down how many rows it returns.

A tree adds as many rows as it may evaluate leaves at once, each of which takes one from its
``remaining [B]``, the simulations not yet begun. Finished games that it meets are backed up at
once and take one from ``remaining`` too. A tree whose descent meets an edge or a node that already
waits for its evaluation adds no more in this round. No rows: every tree is done.
"""


def plant(game: Game, states: States, evaluation: Evaluation, capacity: int) -> Tree:
    """Trees of one expanded root each, with room for ``capacity`` nodes beside it."""
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
    """Run ``simulations`` in every tree, up to ``leaves`` at once with virtual losses.

    Yields the leaves' states and receives their evaluation. Returns the oldest weights version
    that answered; None when nothing had to be asked.
    """
    batch, virtual, oldest = len(tree.size), leaves > 1, None
    remaining = np.full(batch, simulations, np.int32)
    parents = np.empty(batch * leaves, game.dtype)
    rows = Rows(np.empty((3, len(parents)), np.int32), _bytes(parents), parents)
    while new := select(remaining, rows):
        states, legal, outcome, to_move = game.advance(rows.states[:new], rows.where[2, :new])
        found = kernels.attach(
            *tree[:4], rows.where, states.view(np.uint8), legal, outcome, to_move, virtual, prove
        )
        if not found:  # this round met finished games only
            continue
        evaluation = yield states[:found]
        oldest = evaluation.version if oldest is None else min(oldest, evaluation.version)
        _expand(tree, rows.where, evaluation, legal[:found], virtual)
    return oldest


def _expand(
    tree: Tree,
    where: NDArray[np.int32],
    evaluation: Evaluation,
    legal: NDArray[np.bool_],
    virtual: bool,
) -> None:
    """``kernels.expand``; ``ValueError`` for an evaluation that cannot be right."""
    logits, value, _ = evaluation
    if logits.shape != legal.shape or value.shape != legal.shape[:1]:
        raise ValueError(
            f"evaluation of {len(legal)} positions has logits {logits.shape} and value "
            f"{value.shape}; right are {legal.shape} and {legal.shape[:1]}"
        )
    if not kernels.expand(*tree[:2], where, logits, value, legal, virtual):
        raise ValueError(f"evaluation of {len(legal)} positions holds values that are not finite")


def _bytes(states: States) -> NDArray[np.uint8]:
    return states.view(np.uint8).reshape(*states.shape, states.dtype.itemsize)


def choosable(tree: Tree) -> NDArray[np.bool_]:
    """``[B, A]``: the roots' legal actions that no proof speaks against, at least one a root.

    Left out are those proven to be worth less than another surely is, and, where another may be
    better, those proven lost.
    """
    roots, edges = tree.nodes[:, :1], tree.edges[:, 0]
    tried = edges["child"] >= 0
    below = tree.nodes[np.arange(len(roots))[:, None], np.where(tried, edges["child"], 0)]
    same = below["to_move"] == roots["to_move"]
    lower = np.where(tried, np.where(same, below["lower"], -below["upper"]), -1)
    upper = np.where(tried, np.where(same, below["upper"], -below["lower"]), 1)
    as_good = (lower == roots["lower"]) & ((lower > -1) | (roots["upper"] == -1))
    return (edges["prior"] >= 0) & (as_good | (upper > roots["lower"]))


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
