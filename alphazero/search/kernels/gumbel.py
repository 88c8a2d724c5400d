"""The selection rules of Gumbel AlphaZero (Danihelka et al. 2022)."""

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

FLOOR = np.float32(1e-12)
"""Lower bound of the priors in the formula of the improved policy."""


@jit
def _complete(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """Fill ``sigma`` with ``(visit_offset + max n) * value_scale * completed Q`` of each edge.

    The completed Q (equation 10) of a visited action is its mean. For an unvisited action it is the
    mixed value (equation 33), a weighted mean of the node's own value and the visited actions'
    means. Returns the sum of the edges' visits and the highest entry of ``sigma``. Pending
    simulations count as visits with a loss.

    Example: the node's own value is 0.1; visit_offset 50, value_scale 0.1.

        action a: prior 0.5,  2 visits, mean +0.4
        action b: prior 0.25, 1 visit,  mean -0.2
        action c: prior 0.25, unvisited

    The means weighted by priors are (0.5 * 0.4 - 0.25 * 0.2) / 0.75 = 0.2, and the mixed value is
    (0.1 + 3 * 0.2) / (1 + 3) = 0.175. The scale is 0.1 * (50 + 2) = 5.2, so that sigma is
    (2.08, -1.04, 0.91). The function returns 3 and 2.08.
    """
    first, count = nodes[tree, node].first, nodes[tree, node].count
    begun = most = mass = weighted = ZERO
    for k in range(count):
        edge = edges[np.uintp(first + k)]
        pending = np.float32(edge.pending)
        n = np.float32(edge.visits) + pending
        q = (edge.value_sum - pending) / (n if n > 0 else ONE)
        share = edge.prior if n > 0 and edge.prior > 0 else ZERO
        begun += n
        most = n if n > most else most
        mass += share
        weighted += share * q
        sigma[k] = q
    mixed = nodes[tree, node].value
    if mass > 0:  # it is 0 if no action was visited, or only refuted ones
        mixed = (mixed + begun * weighted / mass) / (ONE + begun)
    scale, highest = value_scale * (visit_offset + most), LOWEST
    for k in range(count):
        edge = edges[np.uintp(first + k)]
        bonus = scale * (sigma[k] if edge.visits + edge.pending > 0 else mixed)
        highest = bonus if bonus > highest else highest
        sigma[k] = bonus
    return begun, highest


@jit
def _improved_edge(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """``argmax pi'(a) - n(a) / (1 + sum n)`` (equation 14): visits follow the improved policy.

    ``pi'`` is ``softmax(logits + sigma)`` (equation 11), computed as ``prior * exp(sigma)`` divided
    by its sum. ``sigma`` is scratch memory.
    """
    begun, highest = _complete(nodes, edges, tree, node, visit_offset, value_scale, sigma)
    first, count, total = nodes[tree, node].first, nodes[tree, node].count, ZERO
    for k in range(count):
        # Without FLOOR all shares would underflow to 0 if the action with the highest sigma had a
        # prior of almost 0.
        prior = edges[np.uintp(first + k)].prior
        share = (prior if prior > FLOOR else FLOOR) * np.exp(sigma[k] - highest)
        total += share
        sigma[k] = share
    best, best_score = 0, LOWEST
    for k in range(count):
        edge = edges[np.uintp(first + k)]
        visited = np.float32(edge.visits + edge.pending) / (ONE + begun)
        score = sigma[k] / total - visited
        best = k if score > best_score else best
        best_score = score if score > best_score else best_score
    return first + best


@jit
def _halving_edge(nodes, edges, tree, scores, required, visit_offset, value_scale, sigma):
    """The root edge to search next: among those with ``required`` visits, the one with the highest
    ``scores[a] + sigma(completed Q(a))``.

    If no action has that many visits, it is chosen among all. Refuted actions are never chosen.
    """
    _complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
    first, count = nodes[tree, 0].first, nodes[tree, 0].count
    best, best_score, best_due = -1, LOWEST, False
    for k in range(count):
        edge = edges[np.uintp(first + k)]
        if edge.prior <= 0 and bounds(nodes, edges, tree, 0, first + k)[1] == -1:
            continue
        due = edge.visits + edge.pending == required
        score = scores[tree, edge.action] + sigma[k]
        if best < 0 or due > best_due or (due == best_due and score > best_score):
            best, best_score, best_due = first + k, score, due
    return best


@jit
def select_gumbel(
    nodes, edges, raw, leaves, remaining, where, row_states,
    scores, schedules, which, visit_offset, value_scale,
):  # fmt: skip
    """The ``tree.Select`` of Gumbel AlphaZero; returns the number of rows written.

    Sequential halving at the root, the improved policy below it. ``scores [B, A]``: Gumbel noise
    plus logits. ``schedules [n, simulations, 2]`` and ``which [B]``: for each tree's schedule and
    the number of simulations begun so far, the visits that the next action must have, and 1 if this
    choice drops actions (``halving.schedules``).

    A choice that drops actions waits until nothing is pending: otherwise virtual losses would lower
    the scores of the actions searched last, and they would be dropped.
    """
    new = 0
    sigma = np.empty(scores.shape[1], np.float32)
    for tree in range(len(remaining)):
        if nodes[tree, 0].status == FINISHED:
            remaining[tree] = 0
        quota = min(leaves, remaining[tree])  # leaves that this tree may still add
        while quota > 0:
            node, waiting = 0, nodes[tree, 0].pending
            # The root's own evaluation is a visit, too, but not a simulation.
            required, drops = schedules[which[tree], nodes[tree, 0].visits - 1 + waiting]
            if drops and waiting:
                break
            edge = _halving_edge(
                nodes, edges, tree, scores, required, visit_offset, value_scale, sigma
            )
            while True:
                child = edges[edge].child
                if child < 0 or nodes[tree, child].status != EXPANDED:
                    break
                node = child
                edge = _improved_edge(nodes, edges, tree, node, visit_offset, value_scale, sigma)
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
def completed_root_values(nodes, edges, actions, visit_offset, value_scale):
    """``float32[B, A]``: ``sigma(completed Q)`` of every root's actions; 0 where illegal."""
    result = np.zeros((len(nodes), actions), np.float32)
    sigma = np.empty(actions, np.float32)
    for tree in range(len(result)):
        _complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
        root = nodes[tree, 0]
        for k in range(root.count):
            result[tree, edges[root.first + k].action] = sigma[k]
    return result
