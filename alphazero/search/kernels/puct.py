"""PUCT's selection rule, its root's noise and forced playouts, and the draw of its move."""

import numpy as np

from alphazero.search.kernels.compiling import (
    BLOCKED,
    EXPANDED,
    FINISHED,
    LOWEST,
    NEW,
    ONE,
    ZERO,
    jit,
)
from alphazero.search.kernels.descent import arrive, write_row
from alphazero.search.kernels.proofs import bounds

REFUTED = np.float32(-1e30)
"""The score of an action that is proven lost: below all others."""


@jit
def _puct_edge(nodes, edges, tree, node, exploration, fpu_reduction):
    """The edge with the highest ``Q + c(N) sqrt(N) P / (1 + n)``; of several, the first.

    ``N`` and ``n`` include pending simulations. The ``Q`` of an unvisited action is the node's mean
    minus ``fpu_reduction * sqrt(visited prior mass)``: with a mean of 0.2, a reduction of 0.2 and a
    visited prior mass of 0.49, it is 0.2 - 0.2 * 0.7 = 0.06. Refuted actions come last: their
    result is known.
    """
    here = nodes[tree, node]
    mass = here.prior_mass if here.prior_mass > 0 else ZERO  # rounding may leave less than 0
    unvisited = here.value_sum / np.float32(here.visits) - fpu_reduction * np.sqrt(mass)
    explore = exploration[here.visits + here.pending]
    best, highest = here.first, LOWEST
    for number in range(here.first, here.first + here.count):
        edge = edges[np.uintp(number)]
        pending = np.float32(edge.pending)
        n = np.float32(edge.visits) + pending
        q = (edge.value_sum - pending) / (n if n > 0 else ONE)
        score = (q if n > 0 else unvisited) + explore * edge.prior / (ONE + n)
        if edge.prior <= 0 and bounds(nodes, edges, tree, node, number)[1] == -1:
            score = REFUTED
        best = number if score > highest else best
        highest = score if score > highest else highest
    return best


@jit
def _forced_edge(nodes, edges, tree, forced):
    """The first edge of the root that is visited, but less than it is forced to be; -1 if none is.

    It is forced to ``sqrt(forced * P * N)`` visits, ``N`` those of all edges (Wu 2019, section
    3.2). Pending simulations are included. A refuted edge has a prior below 0 and is never forced.
    """
    root = nodes[tree, 0]
    total = np.float32(root.visits - 1 + root.pending)
    for number in range(root.first, root.first + root.count):
        edge = edges[number]
        n = np.float32(edge.visits + edge.pending)
        if edge.visits > 0 and n * n < forced * edge.prior * total:
            return number
    return -1


@jit
def select_puct(
    nodes, edges, raw, leaves, remaining, where, row_states,
    exploration, fpu_reduction, forced,
):  # fmt: skip
    """The ``tree.Select`` of PUCT; returns the number of rows written.

    ``exploration [visits + 1]``: ``c(N) * sqrt(N)`` by the visits ``N`` of a node. ``forced``: the
    constant k of forced playouts; 0: there are none.
    """
    new = 0
    for tree in range(len(remaining)):
        if nodes[tree, 0].status == FINISHED:
            remaining[tree] = 0
        quota = min(leaves, remaining[tree])  # leaves that this tree may still add
        while quota > 0:
            node = 0
            while True:
                edge = -1
                if forced > 0 and node == 0:
                    edge = _forced_edge(nodes, edges, tree, forced)
                if edge < 0:
                    edge = _puct_edge(nodes, edges, tree, node, exploration, fpu_reduction)
                child = edges[edge].child
                if child < 0 or nodes[tree, child].status != EXPANDED:
                    break
                node = child
            end = arrive(nodes, edges, tree, node, edge, leaves > 1)
            if end == BLOCKED:
                break
            remaining[tree] -= 1
            if end == NEW:
                write_row(edges, raw, tree, node, edge, where, row_states, new)
                new += 1
                quota -= 1
            quota = min(quota, remaining[tree])
    return new


@jit
def prune_forced(nodes, edges, best, exploration, forced, counts):
    """Take the forced playouts out of ``counts [B, A]``, the visits of each root's actions.

    Policy target pruning (Wu 2019, section 3.2). Up to ``n_forced = sqrt(forced * P * sum n)``
    visits are taken from each action but the most visited one, ``best [B]``, one by one, as long as
    its score ``Q + c(N) sqrt(N) P / (1 + n)`` stays below that of ``best``: all values are those
    after the search, only the action's own ``n`` falls. An action of which one visit is left loses
    it, also where it had only one. Actions without ``counts`` and refuted ones are not touched.

    Example: ``forced`` = 2, ``c(N) sqrt(N)`` = 5, 16 visits. n_forced is sqrt(2 * 0.25 * 16) = 2.8
    for b and for c: at most 2 visits are taken.

            n    P      Q    score
        a  10  0.50   0.30   0.30 + 2.50 / 11 = 0.527: the most visited one
        b   4  0.25   0.15   0.15 + 1.25 /  4 = 0.463 with 3 visits, 0.567 with 2: 3 are left
        c   2  0.25  -0.50  -0.50 + 1.25 /  2 = 0.125 with 1, 0.750 with 0: 1 is left, which goes

    The policy target is (10, 3, 0) / 13 instead of (10, 4, 2) / 16.
    """
    for tree in range(len(counts)):
        root, highest = nodes[tree, 0], LOWEST
        explore, total = exploration[root.visits], np.float32(root.visits - 1)
        for number in range(root.first, root.first + root.count):
            edge = edges[number]
            if edge.action == best[tree] and edge.visits > 0:
                visits = np.float32(edge.visits)
                highest = edge.value_sum / visits + explore * edge.prior / (ONE + visits)
        for number in range(root.first, root.first + root.count):
            edge = edges[number]
            n = counts[tree, edge.action]
            if edge.action == best[tree] or n == 0 or edge.visits == 0 or edge.prior <= 0:
                continue
            q, share = edge.value_sum / np.float32(edge.visits), explore * edge.prior
            fewest = n - np.int64(np.sqrt(forced * edge.prior * total))
            # With n - 1 visits the denominator of the score is n.
            while n > max(fewest, 0) and q + share / np.float32(n) < highest:
                n -= 1
            counts[tree, edge.action] = n if n > 1 else 0


@jit
def mix_noise(nodes, edges, drawn, fraction):
    """Replace every root's priors by ``(1 - fraction) * prior + fraction * noise``.

    A root of ``m`` edges uses the first ``m`` entries of its row of ``drawn [B, >= m]``, divided by
    their sum. Refuted edges keep their minus sign. The sum of the visited edges' priors is computed
    anew, because a root of an earlier tree has visits.
    """
    for tree in range(len(nodes)):
        root, total, mass = nodes[tree, 0], 0.0, ZERO
        for k in range(root.count):
            total += drawn[tree, k]
        if total == 0:  # a tiny alpha: all variates are too small for a float64
            continue
        for k in range(root.count):
            edge = edges[root.first + k]
            refuted = edge.prior < 0
            kept = np.float32(1 - fraction) * abs(edge.prior)
            edge.prior = kept + fraction * drawn[tree, k] / total
            if refuted:
                edge.prior = -edge.prior
            elif edge.visits > 0:
                mass += edge.prior
        root.prior_mass = mass


@jit
def draw(visits, chances, temperature, chosen):
    """Replace ``chosen [B]``, each row's most visited action, where the temperature is above 0.

    The inverse cumulative distribution at ``chances [B]`` in [0, 1). The weights are ``visits [B,
    A] ** (1 / temperature [B])``, divided by the largest of them so that none overflows.
    """
    weights = np.empty(visits.shape[1])
    for i in range(len(visits)):
        if temperature[i] > 0:
            most, total = visits[i, chosen[i]], 0.0
            for action in range(len(weights)):
                if visits[i, action] > 0:
                    total += np.exp(np.log(visits[i, action] / most) / temperature[i])
                weights[action] = total
            chosen[i] = np.searchsorted(weights, chances[i] * total, side="right")
