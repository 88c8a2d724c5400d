"""The roots' edges as arrays over all actions."""

from alphazero.search.kernels.compiling import jit
from alphazero.search.kernels.proofs import bounds


@jit
def root_edges(nodes, edges, table):
    """Fill a row of ``table [B, A]`` from each root's edges; illegal actions are not touched."""
    for tree in range(len(table)):
        root = nodes[tree, 0]
        for number in range(root.first, root.first + root.count):
            edge = edges[number]
            row = table[tree, edge.action]
            row.legal = True
            row.visits, row.value_sum = edge.visits, edge.value_sum
            row.lower, row.upper = bounds(nodes, edges, tree, 0, number)


@jit
def root_priors(nodes, edges, prior):
    """Fill ``prior [B, A]`` from each root's edges; refuted edges have their prior from before."""
    for tree in range(len(prior)):
        root = nodes[tree, 0]
        for number in range(root.first, root.first + root.count):
            edge = edges[number]
            prior[tree, edge.action] = abs(edge.prior)
