"""The kernels that descend from the roots: one for each rule, both ``tree.Select`` at heart.

This file calls no jitted function of another one: Numba's disk cache does not notice edits there.
A simulation that waits for its evaluation counts as a visit that lost (virtual loss).
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _record(
    nodes, edges, tree, node, action, row_tree, row_node, row_action, counts, virtual
):  # fmt: skip
    """Write down where a descent ended: ``counts = [new, finished]`` rows are in use.

    False when the place already waits for its evaluation; nothing is written then.
    """
    child = edges[tree, node, action].child
    if child < 0:
        if edges[tree, node, action].pending > 0:
            return False
        row = counts[0]
        counts[0] += 1
        row_tree[row], row_node[row], row_action[row] = tree, node, action
    else:
        if nodes[tree, child].status == 0:  # WAITING
            return False
        counts[1] += 1
        row = len(row_tree) - counts[1]
        row_tree[row], row_node[row], row_action[row] = tree, child, -1
    while virtual and node >= 0:
        edges[tree, node, action].pending += 1
        nodes[tree, node].pending += 1
        node, action = nodes[tree, node].parent, nodes[tree, node].action
    return True


@njit(cache=True, nogil=True)
def _puct_action(nodes, edges, tree, node, exploration, fpu_reduction):
    """The legal action of the highest ``Q + c(N) sqrt(N) P / (1 + n)``, the first of equals."""
    here = nodes[tree, node]
    actions = edges.shape[2]
    mass = np.float32(0)
    for action in range(actions):
        edge = edges[tree, node, action]
        if edge.visits + edge.pending > 0:
            mass += edge.prior
    urgency = here.value_sum / np.float32(here.visits) - fpu_reduction * np.sqrt(mass)
    explore = exploration[here.visits + here.pending]
    best, best_score = -1, np.float32(-np.inf)
    for action in range(actions):
        edge = edges[tree, node, action]
        if edge.prior < 0:
            continue
        n = edge.visits + edge.pending
        q = (edge.value_sum - np.float32(edge.pending)) / np.float32(n) if n > 0 else urgency
        score = q + explore * edge.prior / np.float32(1 + n)
        if score > best_score:
            best, best_score = action, score
    return best


@njit(cache=True, nogil=True)
def puct(nodes, edges, want, row_tree, row_node, row_action, exploration, fpu_reduction, virtual):
    """Descend by PUCT; ``exploration [n]`` is ``c(n) * sqrt(n)`` at ``n`` visits of a node."""
    counts = np.zeros(2, np.int64)
    for tree in range(len(want)):
        for _ in range(want[tree]):
            node = 0
            while True:
                action = _puct_action(nodes, edges, tree, node, exploration, fpu_reduction)
                child = edges[tree, node, action].child
                if child < 0 or nodes[tree, child].status != 1:  # EXPANDED
                    break
                node = child
            if not _record(
                nodes, edges, tree, node, action, row_tree, row_node, row_action, counts, virtual
            ):  # fmt: skip
                want[tree] = 0
                break
    return counts[0], counts[1]


@njit(cache=True, nogil=True)
def complete(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """Fill ``sigma [A]`` with ``(visit_offset + max n) * value_scale * completed Q(a)``.

    Unvisited actions get the mixed value (Danihelka et al. 2022, equations 10 and 33). Returns the
    number of visits of the node's edges, those that wait included.
    """
    actions = edges.shape[2]
    visits = most = 0
    mass = weighted = np.float32(0)
    for action in range(actions):
        edge = edges[tree, node, action]
        n = edge.visits + edge.pending
        if edge.prior >= 0 and n > 0:
            visits += n
            most = max(most, n)
            prior = max(edge.prior, np.float32(1e-12))
            sigma[action] = (edge.value_sum - np.float32(edge.pending)) / np.float32(n)
            mass += prior
            weighted += prior * sigma[action]
    mixed = nodes[tree, node].value
    if visits > 0:
        mixed = (mixed + np.float32(visits) * weighted / mass) / np.float32(1 + visits)
    scale = np.float32(value_scale * (visit_offset + np.float32(most)))
    for action in range(actions):
        edge = edges[tree, node, action]
        if edge.visits + edge.pending == 0:
            sigma[action] = mixed
        sigma[action] *= scale
    return visits


@njit(cache=True, nogil=True)
def _improved_action(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """``argmax pi'(a) - n(a) / (1 + sum n)``, equation 14: visits follow the improved policy."""
    visits = complete(nodes, edges, tree, node, visit_offset, value_scale, sigma)
    actions = edges.shape[2]
    highest = np.float32(-np.inf)
    for action in range(actions):
        if edges[tree, node, action].prior >= 0:
            highest = max(highest, sigma[action])
    total = np.float32(0)
    for action in range(actions):
        if edges[tree, node, action].prior >= 0:
            sigma[action] = edges[tree, node, action].prior * np.exp(sigma[action] - highest)
            total += sigma[action]
    best, best_score = -1, np.float32(-np.inf)
    for action in range(actions):
        edge = edges[tree, node, action]
        if edge.prior < 0:
            continue
        score = sigma[action] / total - np.float32(edge.visits + edge.pending) / np.float32(
            1 + visits
        )
        if score > best_score:
            best, best_score = action, score
    return best


@njit(cache=True, nogil=True)
def _halving_action(nodes, edges, tree, scores, wanted, visit_offset, value_scale, sigma):
    """At the root: of the actions with ``wanted`` visits, the one with the highest
    ``scores[a] + sigma(completed Q(a))``."""
    complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
    best, best_score = -1, np.float32(-np.inf)
    for action in range(edges.shape[2]):
        edge = edges[tree, 0, action]
        if edge.prior >= 0 and edge.visits + edge.pending == wanted:
            score = scores[action] + sigma[action]
            if best < 0 or score > best_score:
                best, best_score = action, score
    return best


@njit(cache=True, nogil=True)
def gumbel(
    nodes, edges, want, row_tree, row_node, row_action,
    scores, schedule, visit_offset, value_scale, virtual,
):  # fmt: skip
    """Descend by sequential halving at the root and by the improved policy below it.

    ``scores [B, A]`` are Gumbel noise + logits; ``schedule [B, simulations, 2]`` says how many
    visits an action must have to be searched next, given the simulations begun so far, and whether
    that choice drops actions. Such a choice waits until every evaluation is in: virtual losses
    would drop whatever was searched last.
    """
    counts = np.zeros(2, np.int64)
    sigma = np.empty(edges.shape[2], np.float32)
    for tree in range(len(want)):
        for _ in range(want[tree]):
            node, waiting = 0, nodes[tree, 0].pending
            wanted, drops = schedule[tree, nodes[tree, 0].visits - 1 + waiting]
            if drops and waiting:
                want[tree] = 0
                break
            action = _halving_action(
                nodes, edges, tree, scores[tree], wanted, visit_offset, value_scale, sigma
            )
            while True:
                child = edges[tree, node, action].child
                if child < 0 or nodes[tree, child].status != 1:  # EXPANDED
                    break
                node = child
                action = _improved_action(
                    nodes, edges, tree, node, visit_offset, value_scale, sigma
                )
            if not _record(
                nodes, edges, tree, node, action, row_tree, row_node, row_action, counts, virtual
            ):  # fmt: skip
                want[tree] = 0
                break
    return counts[0], counts[1]


@njit(cache=True, nogil=True)
def completed_root_values(nodes, edges, visit_offset, value_scale):
    """``sigma(completed Q)`` at every root, ``[B, A]``."""
    result = np.empty((edges.shape[0], edges.shape[2]), np.float32)
    for tree in range(len(result)):
        complete(nodes, edges, tree, 0, visit_offset, value_scale, result[tree])
    return result
