"""Results that are proven by the finished games in a tree.

Score-bounded Monte Carlo tree search (Cazenave & Saffidine 2010), a generalization of MCTS-Solver
(Winands et al. 2008) to draws. Every node has bounds [lower, upper] on its result under best play,
for its mover. They start as [-1, 1]; a finished game has lower == upper; a node's bounds are the
highest lower and the highest upper bound among its legal actions.
"""

import numpy as np

from alphazero.search.kernels.compiling import EXPANDED, FINISHED, jit


@jit
def bounds(nodes, edges, tree, node, edge):
    """The proven bounds ``(lower, upper)`` on an edge's result, for the mover of its ``node``.

    An edge without a child has (-1, 1). A child with the bounds [0, 1] for the other player gives
    (-1, 0): the other player gets at least a draw, so the action gives at best a draw.
    """
    child = edges[edge].child
    if child < 0:
        return -1, 1
    below = nodes[tree, child]
    if below.to_move == nodes[tree, node].to_move:
        return below.lower, below.upper
    return -below.upper, -below.lower


@jit
def _settle(nodes, edges, tree, node):
    """Make ``node`` FINISHED and correct the value sums as if all its visits had had its result.

    The node's result must be proven. Example: a node has 5 visits, value_sum +1.5, and is proven
    lost. Its value_sum becomes 5 * -1 = -5, a change of -6.5. The sums of all nodes and edges above
    change, too: by +6.5 where the other player moves, by -6.5 where the same player moves. The mean
    of a parent with 9 visits and value_sum -0.5 changes from -0.06 to 6.0 / 9 = 0.67.

    The changes stop at a FINISHED node, whose value_sum already is its visits times its result.
    """
    here = nodes[tree, node]
    mover, value = here.to_move, np.float32(here.lower)
    here.status, here.value = FINISHED, value
    change = value * np.float32(here.visits) - here.value_sum
    here.value_sum += change
    while here.parent >= 0:
        above = nodes[tree, here.parent]
        signed = change if above.to_move == mover else -change
        edges[here.edge].value_sum += signed
        if above.status == FINISHED:
            return
        above.value_sum += signed
        here = above


@jit
def prove(nodes, edges, tree, node):
    """Update the bounds of the nodes above ``node``, whose own bounds have just changed.

    The update goes up until it reaches a node whose bounds do not change. A node whose two bounds
    become equal is settled. An action that is proven lost is refuted: its prior gets a minus sign
    and counts as 0 from then on.

    Example: a node, white to move, with three legal actions. All bounds are for white.

        a [-1, -1]  b [-1, 1]  c [0, 1]   node [0, 1]: c is at least a draw, b or c may win
        a [-1, -1]  b [0, 0]   c [0, 1]   node [0, 1]: unchanged, so that the update ends here
        a [-1, -1]  b [0, 0]   c [0, 0]   node [0, 0]: settled as a draw; its parent comes next

    For the parent, black to move, the node's bounds [0, 1] are [-1, 0].
    """
    while True:
        parent, edge = nodes[tree, node].parent, nodes[tree, node].edge
        if parent < 0:
            return
        above = nodes[tree, parent]
        if edges[edge].prior > 0 and bounds(nodes, edges, tree, parent, edge)[1] == -1:
            above.prior_mass -= edges[edge].prior
            edges[edge].prior = -edges[edge].prior
        lower = upper = -1
        for other in range(above.first, above.first + above.count):
            low, high = bounds(nodes, edges, tree, parent, other)
            lower, upper = max(lower, low), max(upper, high)
        if lower == above.lower and upper == above.upper:
            return
        above.lower, above.upper = lower, upper
        if lower == upper and above.status == EXPANDED:
            _settle(nodes, edges, tree, parent)
        node = parent
