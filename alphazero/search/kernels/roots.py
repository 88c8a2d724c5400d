"""The roots' edges: in random order, as arrays over all actions, and the best of them."""

import numpy as np

from alphazero.search.kernels.compiling import LOWEST, jit
from alphazero.search.kernels.proofs import bounds


@jit
def _next_number(number):
    """The number after ``number`` in a random sequence, and 32 random bits (SplitMix64).

    Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators".
    """
    number += np.uint64(0x9E3779B97F4A7C15)
    mixed = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number, (mixed ^ (mixed >> np.uint64(31))) >> np.uint64(32)


@jit
def shuffle_roots(nodes, edges, rows, chances):
    """Bring the root's edges of the trees ``rows [n]`` into random order.

    ``chances [n]`` in [0, 1): the beginning of each tree's random sequence. For each edge from the
    last to the second one, another one is drawn among it and those before it, and the two change
    places (Fisher and Yates). The children of the edges get their new places.
    """
    held = np.empty_like(edges[:1])
    for i in range(len(rows)):
        tree, number = rows[i], np.uint64(chances[i] * 2.0**53)
        first, count = nodes[tree, 0].first, nodes[tree, 0].count
        for k in range(count - 1, 0, -1):
            number, bits = _next_number(number)
            one, other = first + k, first + np.int64((bits * np.uint64(k + 1)) >> np.uint64(32))
            held[0] = edges[one]
            edges[one] = edges[other]
            edges[other] = held[0]
        for edge in range(first, first + count):
            if edges[edge].child >= 0:
                nodes[tree, edges[edge].child].edge = edge


@jit
def best_edges(nodes, edges, counts, scores):
    """``[B]``: each root's action with the highest of ``counts [B, A]``.

    Of several, the one with the highest of ``scores [B, A]``, in which NaN is below all numbers; of
    several again, the first in the random order of the edges.
    """
    best = np.empty(len(counts), np.int64)
    for tree in range(len(counts)):
        root, count, score = nodes[tree, 0], -2, LOWEST
        for number in range(root.first, root.first + root.count):
            action = edges[number].action
            n, s = counts[tree, action], scores[tree, action]
            if n > count or (n == count and (s > score or (np.isnan(score) and not np.isnan(s)))):
                best[tree], count, score = action, n, s
    return best


@jit
def root_edges(nodes, edges, table):
    """Fill a row of ``table [B, A]`` from each root's edges; illegal actions are not touched.

    The value of an edge with visits is the mean, within its proven bounds: a sum that was corrected
    after a proof is off by a rounding error, and equal results must have equal values.
    """
    for tree in range(len(table)):
        root = nodes[tree, 0]
        for number in range(root.first, root.first + root.count):
            edge = edges[number]
            row = table[tree, edge.action]
            row.legal = True
            row.visits = edge.visits
            row.lower, row.upper = bounds(nodes, edges, tree, 0, number)
            if edge.visits > 0:
                mean = edge.value_sum / np.float32(edge.visits)
                row.value = min(max(mean, np.float32(row.lower)), np.float32(row.upper))


@jit
def root_priors(nodes, edges, prior):
    """Fill ``prior [B, A]`` from each root's edges; refuted edges have their prior from before."""
    for tree in range(len(prior)):
        root = nodes[tree, 0]
        for number in range(root.first, root.first + root.count):
            edge = edges[number]
            prior[tree, edge.action] = abs(edge.prior)
