"""Search trees for ``B`` positions as arrays, grown in lock step.

A round of search (``grow``):

    select          the algorithm's kernel descends from the roots to edges without a child
    game.advance    plays those edges' actions, and with ``look_ahead`` all moves after them
    attach          adds the new nodes to the trees
    evaluator       evaluates the new nodes that are not finished games
    expand          gives them edges with priors, and backs their values up to the root

A finished game is never sent to the evaluator; its outcome is backed up instead: by ``attach`` when
its node is new, by ``select`` when a later descent ends at the node again. With ``look_ahead`` a
position in which a move wins at once counts as a finished game; at a root such a move is visited
first, which proves the root.

Nodes hold edges of legal moves only: all trees of a batch share one array of edges, in which the
edges of a node are neighbours: in random order at a root, which decides between equal scores, else
in increasing order of their actions.

Sums of values are float32: a mean of n equal values is off by at most n / 2^25.
"""

import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.search import kernels
from alphazero.search.budget import Budget
from alphazero.types import Evaluation, Generators
from games.base import Game, States

NODE = np.dtype(
    [  # what a descent reads of every node comes first: it is in one line of the CPU's cache
        ("first", np.int32),  # the index of its first edge, if it has any
        ("count", np.int32),  # of its edges: its legal moves; 0 before it is expanded
        ("to_move", np.int8),  # the node's mover, 0 or 1
        ("status", np.int8),  # kernels.WAITING, EXPANDED or FINISHED
        ("lower", np.int8),  # proven: under best play its mover gets at least this result
        ("upper", np.int8),  # and at most this one; both are -1, 0 or 1
        ("value", np.float32),  # the evaluator's, or the result where FINISHED
        ("visits", np.int32),  # 1 for its own evaluation + the visits of its edges
        ("pending", np.int32),  # simulations through it that wait for an evaluation
        ("value_sum", np.float32),  # over all visits, for this node's mover
        ("prior_mass", np.float32),  # of the edges visited so far
        ("parent", np.int32),  # -1 at the root
        ("edge", np.int32),  # the index of the edge that leads here, -1 at the root
    ],
    align=True,
)

EDGE = np.dtype(
    [
        ("action", np.int32),
        ("child", np.int32),  # node index, -1 before the first visit
        ("visits", np.int32),
        ("pending", np.int32),  # simulations through it that wait for an evaluation
        ("value_sum", np.float32),  # over all visits, for the mover of the node it leaves
        ("prior", np.float32),  # with a minus sign, and counted as 0, once it is refuted
    ],
    align=True,
)

MOST_EDGES = 2**31 - 1
"""Edges of a batch's trees, which nodes number in 32 bits."""
LARGEST = 2**30
"""Bytes of a batch's trees at which a search with a time limit ends before its time."""
SIMULATIONS_PER_ROUND = 256
"""Simulations per tree and round where only the time is limited: a round ends even in a tree where
all descents end at finished games."""


MOVES_AT_A_TIME = 4096
"""Moves that a look ahead plays in one call of the game: this bounds its memory."""

FEW = 4096
"""Entries of a batch's legal moves up to which all of them count as edges when room is made."""


@dataclass(slots=True)
class Tree:
    """``B`` trees of at most ``N`` nodes. Node 0 is the root; the others are in order of creation.

    Memory: ``N * (40 + game.dtype.itemsize)`` bytes per tree and 24 bytes per edge, that is, per
    legal move of an expanded node. The arrays are replaced by larger ones when they are full.
    """

    nodes: NDArray
    """``[B, N]`` of ``NODE``."""
    edges: NDArray
    """``[E]`` of ``EDGE``: those of node ``n`` are ``edges[n.first : n.first + n.count]``."""
    raw: NDArray[np.uint8]
    """``[B, N, itemsize]``: the memory of ``states`` as bytes, so that the same kernels work for
    every game."""
    size: NDArray[np.int32]
    """``[B]``, the number of nodes in use."""
    used: NDArray[np.int64]
    """``[1]``, the number of edges in use."""
    states: States
    """``[B, N]`` of the game's dtype."""
    prior: NDArray[np.float32]
    """``[B, A]``: the roots' priors without noise, 0 where illegal."""
    earlier: NDArray[np.int64]
    """``[B]``: the oldest weights version in the parts that were copied from earlier trees."""
    version: int = sys.maxsize
    """The oldest weights version among the other evaluations, those of this search."""

    @property
    def used_bytes(self) -> int:
        """Bytes of the nodes, states and edges in use; the arrays may have room for more."""
        per_node = NODE.itemsize + self.states.dtype.itemsize
        return int(self.size.sum()) * per_node + int(self.used[0]) * EDGE.itemsize


class Rows(NamedTuple):
    """The edges that get a child in this round: one row per edge, in the order of the trees.

    Row ``i`` is the edge ``where[2, i]``, action ``where[3, i]`` of node ``where[1, i]`` in tree
    ``where[0, i]``; that node's state is ``states[i]``. After ``attach`` the first rows are the
    unfinished new nodes: tree ``where[0, i]``, node ``where[1, i]``.
    """

    where: NDArray[np.int32]
    """``[4, B * leaves]``: trees, nodes, edges and actions."""
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


def allocate(game: Game, batch: int, nodes: int, edges: int) -> Tree:
    """``batch`` empty trees with room for ``nodes`` nodes each and ``edges`` edges in all."""
    stored = np.empty((batch, nodes), game.dtype)
    return Tree(
        nodes=np.empty(stored.shape, NODE),
        edges=np.empty(edges, EDGE),
        raw=_bytes(stored),
        size=np.ones(batch, np.int32),
        used=np.zeros(1, np.int64),
        states=stored,
        prior=np.zeros((batch, game.num_actions), np.float32),
        earlier=np.full(batch, sys.maxsize, np.int64),
    )


def init_trees(game: Game, states: States, evaluation: Evaluation, capacity: int) -> Tree:
    """Trees of one expanded root each, with room for ``capacity`` more nodes.

    ``ValueError`` for an ``evaluation`` of the wrong shape or with values that are not finite.
    """
    # As many edges per node as the roots have: in most games the first guess is about right.
    edges = int(game.legal(states).sum()) * (capacity + 1)
    tree = allocate(game, len(states), capacity + 1, edges)
    init_roots(game, tree, np.arange(len(states)), states, evaluation)
    kernels.root_priors(tree.nodes, tree.edges, tree.prior)
    return tree


def init_roots(
    game: Game, tree: Tree, rows: NDArray[np.intp], states: States, evaluation: Evaluation
) -> None:
    """Make each of ``rows [n]`` of the trees one expanded root, ``states [n]``.

    ``ValueError`` for an ``evaluation`` of the wrong shape or with values that are not finite.
    """
    roots = np.zeros(len(rows), NODE)
    roots["parent"] = roots["edge"] = -1
    roots["to_move"] = game.to_move(states)
    roots["lower"], roots["upper"] = -1, 1
    tree.states[rows, 0], tree.nodes[rows, 0], tree.size[rows] = states, roots, 1
    where = np.zeros((2, len(rows)), np.int32)
    where[0] = rows
    _expand(tree, where, evaluation, game.legal(states), virtual=False)


def shuffle_roots(tree: Tree, rngs: Generators, rows: NDArray[np.intp]) -> None:
    """Bring the root's edges of the trees ``rows`` into random order, one draw per generator.

    Where scores are equal, the first edge is selected: so each action has the same chance.
    """
    if len(rows):
        chances = np.array([rngs[row].random() for row in rows.tolist()])
        kernels.shuffle_roots(tree.nodes, tree.edges, rows, chances)


def grow(
    game: Game,
    tree: Tree,
    select: Select,
    budget: Budget,
    leaves: int = 1,
    prove: bool = False,
    look_ahead: bool = False,
) -> Generator[States, Evaluation, None]:
    """Run simulations in every tree until ``budget`` is spent, or its ``watch`` ends the search.

    They are fewer once a root is proven.

    Visits of a root that were there before count as simulations; there is at least one more.
    ``leaves``: the largest number of leaves evaluated per tree and round; virtual losses make their
    paths differ. ``prove``: whether to propagate proven results. ``look_ahead``, which needs
    ``prove``: whether the moves of roots and new nodes are played, to see if one wins at once.

    Yields the leaves' states and receives their evaluation.
    """
    if look_ahead:
        _visit_wins(game, tree, prove)
    batch, timed, virtual = len(tree.size), budget.deadline is not None, leaves > 1
    endless, remaining = budget.simulations is None, _remaining(tree, budget)
    parents = np.empty(batch * leaves, game.dtype)
    rows = Rows(np.empty((4, len(parents)), np.int32), _bytes(parents), parents)
    while True:
        if timed:
            _reserve_nodes(tree, leaves)
        if new := select(remaining, rows):
            states, legal, outcome, to_move = game.advance(rows.states[:new], rows.where[3, :new])
            if look_ahead:
                outcome[_winning_moves(game, states, legal, to_move)[0]] = 1
            unfinished = kernels.attach(
                tree.nodes, tree.edges, tree.raw, tree.size,
                rows.where, states.view(np.uint8), legal, outcome, to_move, virtual, prove,
            )  # fmt: skip
            if unfinished:
                evaluation = yield states[:unfinished]
                _expand(tree, rows.where, evaluation, legal[:unfinished], virtual)
        elif not endless or (tree.nodes["status"][:, 0] == kernels.FINISHED).all():
            return
        if _is_stopped(tree, budget):
            return
        if endless:
            remaining[:] = SIMULATIONS_PER_ROUND


def check_look_ahead(look_ahead: bool, proofs: bool) -> None:
    """``ValueError``, one line: a search with these settings looks ahead without proofs."""
    if look_ahead and not proofs:
        raise ValueError("look_ahead=true needs proofs=true")


def _is_stopped(tree: Tree, budget: Budget) -> bool:
    """Whether the time or the memory is used up, or ``budget.watch`` ends the search."""
    if budget.deadline is not None and (budget.expired() or tree.used_bytes > LARGEST):
        return True
    return budget.watch is not None and budget.watch(tree)


def _visit_wins(game: Game, tree: Tree, prove: bool) -> None:
    """Visit a move that wins at once in each root that has one, that of the highest prior.

    It proves the root. Roots that are proven already are left out. ``ValueError`` without
    ``prove``: the visit would be one more than the simulations.
    """
    if not prove:
        raise ValueError("look_ahead needs prove")
    roots = np.flatnonzero(tree.nodes["status"][:, 0] == kernels.EXPANDED)
    states = tree.states[roots, 0]
    rows, actions = _winning_moves(
        game, states, game.legal(states), tree.nodes["to_move"][roots, 0]
    )
    if not len(rows):
        return
    _reserve_nodes(tree, 1)
    won = np.unique(rows)
    where = np.zeros((4, len(won)), np.int32)
    for i, row in enumerate(won):
        first, count = (tree.nodes[name][roots[row], 0] for name in ("first", "count"))
        edges = tree.edges[first : first + count]
        wins = np.isin(edges["action"], actions[rows == row])
        edge = np.where(wins, edges["prior"], -1).argmax()
        where[:, i] = roots[row], 0, first + edge, edges["action"][edge]
        tree.nodes["prior_mass"][roots[row], 0] += edges["prior"][edge]
    after, legal, outcome, to_move = game.advance(tree.states[where[0], 0], where[3])
    kernels.attach(
        tree.nodes, tree.edges, tree.raw, tree.size,
        where, after.view(np.uint8), legal, outcome, to_move, False, True,
    )  # fmt: skip


def _winning_moves(
    game: Game, states: States, legal: NDArray[np.bool_], to_move: NDArray[np.int8]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """``(rows, actions)``: all moves by which the movers of ``states [n]`` win at once.

    ``legal [n, A]``; a finished game has no legal moves.
    """
    rows, actions = np.nonzero(legal)
    wins = np.zeros(len(rows), np.bool_)
    for start in range(0, len(rows), MOVES_AT_A_TIME):
        part = slice(start, start + MOVES_AT_A_TIME)
        after = game.advance(states[rows[part]], actions[part].astype(np.int32))
        outcome, mover = after[2:]
        wins[part] = outcome == np.where(mover == to_move[rows[part]], 1, -1)
    return rows[wins], actions[wins]


def _remaining(tree: Tree, budget: Budget) -> NDArray[np.int32]:
    """``[B]``: the simulations that each tree may begin at first."""
    if budget.simulations is None:
        return np.full(len(tree.size), SIMULATIONS_PER_ROUND, np.int32)
    done = tree.nodes["visits"][:, 0] - 1
    return np.maximum(budget.simulations - done, 1).astype(np.int32)


def _expand(
    tree: Tree,
    where: NDArray[np.int32],
    evaluation: Evaluation,
    legal: NDArray[np.bool_],
    virtual: bool,
) -> None:
    """Expand leaves; ``ValueError`` for wrong shapes and for values that are not finite."""
    logits, value, version = evaluation
    if logits.shape != legal.shape or value.shape != legal.shape[:1]:
        raise ValueError(
            f"evaluation of {len(legal)} positions has logits {logits.shape} and value "
            f"{value.shape}; expected {legal.shape} and {legal.shape[:1]}"
        )
    # Counting costs a twentieth of a round of few games; room for some illegal moves costs little.
    number = legal.size if legal.size < FEW else int(np.count_nonzero(legal))
    reserve_edges(tree, number)
    if not kernels.expand(
        tree.nodes, tree.edges, tree.used, where, logits, value,
        np.ascontiguousarray(legal), number, virtual,
    ):  # fmt: skip
        raise ValueError(f"evaluation of {len(legal)} positions holds values that are not finite")
    tree.version = min(tree.version, version)


def reserve_edges(tree: Tree, number: int) -> None:
    """Make room for ``number`` more edges; the array grows by half where it is too small.

    ``ValueError`` for more edges than an int32 can count; they would need 52 GB.
    """
    needed = int(tree.used[0]) + number
    if needed > MOST_EDGES:
        raise ValueError(
            f"the trees of one group need more than {MOST_EDGES:,} edges; lower selfplay.games or "
            "the number of simulations"
        )
    if needed <= len(tree.edges):
        return
    larger = np.empty(max(needed, len(tree.edges) * 3 // 2), EDGE)
    larger[: tree.used[0]] = tree.edges[: tree.used[0]]
    tree.edges = larger


def _reserve_nodes(tree: Tree, number: int) -> None:
    """Make room for ``number`` more nodes in each tree; the arrays double where it is too small."""
    batch, room = tree.states.shape
    most = int(tree.size.max())
    if most + number <= room:
        return
    nodes = np.empty((batch, max(most + number, 2 * room)), NODE)
    states = np.empty(nodes.shape, tree.states.dtype)
    nodes[:, :most], states[:, :most] = tree.nodes[:, :most], tree.states[:, :most]
    tree.nodes, tree.states, tree.raw = nodes, states, _bytes(states)


def _bytes(states: States) -> NDArray[np.uint8]:
    """A view of the same memory as bytes, with one more axis."""
    return states.view(np.uint8).reshape(*states.shape, states.dtype.itemsize)
