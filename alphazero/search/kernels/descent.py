"""The end of a descent, which all selection rules share."""

from alphazero.search.kernels.backup import back_up, mark_pending
from alphazero.search.kernels.compiling import BACKED_UP, BLOCKED, NEW, WAITING, jit


@jit
def arrive(nodes, edges, tree, node, edge, virtual):
    """Process a descent that ends with an edge of ``node``; returns NEW, BACKED_UP or BLOCKED.

    The value of a FINISHED child is backed up at once. A NEW edge adds its prior to the node's
    ``prior_mass`` and, with ``virtual``, marks the path to the root as pending.
    """
    child = edges[edge].child
    if child >= 0:
        if nodes[tree, child].status == WAITING:
            return BLOCKED
        if virtual:  # the backup removes these marks
            mark_pending(nodes, edges, tree, node, edge)
        back_up(nodes, edges, tree, child, nodes[tree, child].value, virtual)
        return BACKED_UP
    if edges[edge].pending > 0:
        return BLOCKED
    nodes[tree, node].prior_mass += edges[edge].prior
    if virtual:
        mark_pending(nodes, edges, tree, node, edge)
    return NEW


@jit
def write_row(edges, raw, tree, node, edge, where, row_states, row):
    """Write a new edge and the state that it starts from as a row of ``tree.Rows``."""
    where[0, row], where[1, row], where[2, row] = tree, node, edge
    where[3, row] = edges[edge].action
    for byte in range(raw.shape[2]):
        row_states[row, byte] = raw[tree, node, byte]
