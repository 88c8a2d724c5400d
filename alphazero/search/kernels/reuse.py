"""Subtrees of earlier searches: found by their line of moves and copied into new trees."""

import numpy as np

from alphazero.search.kernels.compiling import jit


@jit
def follow(nodes, edges, tree, actions):
    """The node of a tree that ``actions`` lead to from its root; -1 where the tree has none."""
    node = 0
    for action in actions:
        here, child = nodes[tree, node], -1
        for number in range(here.first, here.first + here.count):
            if edges[number].action == action:
                child = edges[number].child
        if child < 0:
            return -1
        node = child
    return node


@jit
def number_subtree(nodes, tree, root, numbers):
    """Number the nodes below and including ``root``, in their order; returns nodes and edges.

    ``numbers [size]``: each node's index in the copy, -1 for the others. Parents come before their
    children, so that one pass is enough. Example: the parents of the nodes 0 to 5 are -1, 0, 0, 1,
    2, 3, and the root is 1: ``numbers`` becomes -1, 0, -1, 1, -1, 2, and 3 nodes are counted.
    """
    count = edge_count = 0
    for node in range(len(numbers)):
        here = nodes[tree, node]
        numbers[node] = -1
        if node == root or (here.parent >= 0 and numbers[here.parent] >= 0):
            numbers[node] = count
            count += 1
            edge_count += here.count
    return count, edge_count


@jit
def copy_subtree(old, tree, numbers, new, row, used):
    """Copy the nodes with a number into tree ``row`` of ``new``, and their edges behind ``used``.

    ``old, new``: ``(nodes, edges, raw)`` of two trees. The bounds, the statuses, the sums and the
    priors stay; nothing is pending after a search.
    """
    old_nodes, old_edges, old_raw = old
    new_nodes, new_edges, new_raw = new
    for node in range(len(numbers)):
        if numbers[node] < 0:
            continue
        source = old_nodes[tree, node]
        copy = new_nodes[row, numbers[node]]
        copy.parent = copy.edge = -1
        if numbers[node] > 0:
            above = old_nodes[tree, source.parent]
            copy.parent = numbers[source.parent]
            copy.edge = new_nodes[row, copy.parent].first + source.edge - above.first
        copy.first, copy.count = used[0], source.count
        copy.visits, copy.pending = source.visits, source.pending
        copy.value_sum, copy.value = source.value_sum, source.value
        copy.prior_mass, copy.to_move = source.prior_mass, source.to_move
        copy.status, copy.lower, copy.upper = source.status, source.lower, source.upper
        for k in range(source.count):
            edge, other = new_edges[used[0] + k], old_edges[source.first + k]
            edge.child = numbers[other.child] if other.child >= 0 else -1
            edge.action, edge.prior, edge.value_sum = other.action, other.prior, other.value_sum
            edge.visits, edge.pending = other.visits, other.pending
        used[0] += source.count
        for byte in range(old_raw.shape[2]):
            new_raw[row, numbers[node], byte] = old_raw[tree, node, byte]


@jit
def remove_noise(nodes, edges, prior, row):
    """Give the root of tree ``row`` its priors without noise, ``prior [A]``.

    A refuted edge keeps its minus sign. The sum of the visited edges' priors is computed anew.
    """
    root, mass = nodes[row, 0], np.float32(0)
    for number in range(root.first, root.first + root.count):
        edge = edges[number]
        edge.prior = -prior[edge.action] if edge.prior < 0 else prior[edge.action]
        if edge.visits > 0 and edge.prior > 0:
            mass += edge.prior
    root.prior_mass = mass
