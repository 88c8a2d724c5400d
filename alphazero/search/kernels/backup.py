"""Values on their way from a leaf to the root, and the marks of evaluations under way."""

from alphazero.search.kernels.compiling import FINISHED, jit


@jit
def back_up(nodes, edges, tree, node, value, virtual):
    """Add one visit with ``value`` to ``node`` and to every node and edge above it.

    ``value`` is for ``node``'s mover. A FINISHED node on the path replaces it: that node and
    everything above it get its result. ``virtual``: also remove the marks of ``mark_pending``.

    Example: a leaf is worth +0.6 for white. Its parent's mover is black, its grandparent's white:

        leaf          white  value_sum += 0.6
        parent        black  value_sum -= 0.6, edge to the leaf: value_sum -= 0.6
        grandparent   white  value_sum += 0.6, edge to the parent: value_sum += 0.6

    If the parent is FINISHED with the result -1 for black, it gets -1 instead of -0.6, and the
    grandparent and its edge get +1. The edge to the leaf still gets -0.6.
    """
    mover = nodes[tree, node].to_move
    while True:
        here = nodes[tree, node]
        if here.status == FINISHED:
            value, mover = here.value, here.to_move
        signed = value if here.to_move == mover else -value
        here.visits += 1
        here.value_sum += signed
        parent, edge = here.parent, here.edge
        if parent < 0:
            return
        edges[edge].visits += 1
        above = value if nodes[tree, parent].to_move == mover else -value
        edges[edge].value_sum += above
        if virtual:
            edges[edge].pending -= 1
            nodes[tree, parent].pending -= 1
        node = parent


@jit
def mark_pending(nodes, edges, tree, node, edge):
    """Mark one simulation as waiting for its evaluation, on every edge and node up to the root.

    This is the virtual loss: until the evaluation arrives, the selection rules count it as a visit
    with the result -1, so that the next descent of the same round takes another path. Example: an
    edge of 3 visits and value_sum 1.2 has the mean 0.4. With one pending simulation its mean is
    (1.2 - 1) / (3 + 1) = 0.05, and PUCT divides its prior by 1 + 4 instead of 1 + 3. When the
    evaluation 0.5 is backed up, the edge has 4 visits, value_sum 1.7 and nothing pending.
    """
    while node >= 0:
        edges[edge].pending += 1
        nodes[tree, node].pending += 1
        node, edge = nodes[tree, node].parent, nodes[tree, node].edge
