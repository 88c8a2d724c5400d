"""The search's kernels. They see arrays and know no game and no network.

All jitted functions of the search stand in this one file, because Numba's disk cache does not
notice edits to a function that lives in another. Their records are described in ``tree.py``. A
simulation that waits for its evaluation counts as a visit that lost (virtual loss).
"""

import numpy as np
from numba import njit

WAITING, EXPANDED, FINISHED = 0, 1, 2
"""A node's status: its evaluation is under way, it has edges, or the game is over there."""

NEW, BACKED_UP, BLOCKED = 0, 1, 2
"""How a descent ended: at an edge to follow, in a finished game, or where others wait already."""

GIVEN_UP = -(2**30)
"""What a tree wants in a round that it gave up: nothing, even if some of its rows end games."""


@njit(cache=True, nogil=True)
def _back_up(nodes, edges, tree, node, value, virtual):
    """Add ``value``, seen by ``node``'s mover, to every node and edge up to the root."""
    mover = nodes[tree, node].to_move
    while True:
        here = nodes[tree, node]
        here.visits += 1
        here.value_sum += value if here.to_move == mover else -value
        parent = here.parent
        if parent < 0:
            return
        edge = edges[tree, parent, here.action]
        edge.visits += 1
        edge.value_sum += value if nodes[tree, parent].to_move == mover else -value
        if virtual:
            edge.pending -= 1
            nodes[tree, parent].pending -= 1
        node = parent


@njit(cache=True, nogil=True)
def attach(
    nodes, edges, raw, size,
    row_tree, row_node, row_action,
    outcome, to_move, states,
    want, remaining,
    leaf_tree, leaf_node, found, virtual,
):  # fmt: skip
    """Add a node behind each row's edge. Finished ones are backed up, the others become leaves.

    ``outcome, to_move [n]`` and ``states [n, itemsize]`` describe the new nodes. Leaves are
    appended to ``leaf_tree, leaf_node`` from ``found`` on; returns how many there are now.
    """
    for i in range(len(row_tree)):
        tree, parent, action = row_tree[i], row_node[i], row_action[i]
        child = size[tree]
        size[tree] += 1
        edges[tree, parent, action].child = child
        raw[tree, child] = states[i]
        node = nodes[tree, child]
        node.parent, node.action = parent, action
        node.visits = node.pending = 0
        node.value_sum = 0.0
        node.to_move = to_move[i]
        if np.isnan(outcome[i]):
            node.status = WAITING
            leaf_tree[found], leaf_node[found] = tree, child
            found += 1
        else:
            node.status = FINISHED
            node.value = outcome[i]
            _back_up(nodes, edges, tree, child, outcome[i], virtual)
            want[tree] = min(want[tree] + 1, remaining[tree])
    return found


@njit(cache=True, nogil=True)
def expand(nodes, edges, trees, leaves, logits, legal, value, virtual):
    """Give each leaf its edges, with ``softmax(logits)`` over the legal actions as prior, and
    back its ``value [n]`` up. ``logits, legal [n, A]``."""
    actions = edges.shape[2]
    for i in range(len(trees)):
        tree, leaf = trees[i], leaves[i]
        highest = np.float32(-np.inf)
        for action in range(actions):
            if legal[i, action]:
                highest = max(highest, logits[i, action])
        total = np.float32(0)
        for action in range(actions):
            edge = edges[tree, leaf, action]
            edge.child = -1
            edge.visits = edge.pending = 0
            edge.value_sum = 0.0
            edge.prior = -1.0
            if legal[i, action]:
                edge.prior = np.exp(logits[i, action] - highest)
                total += edge.prior
        for action in range(actions):
            if legal[i, action]:
                edges[tree, leaf, action].prior /= total
        nodes[tree, leaf].status = EXPANDED
        nodes[tree, leaf].value = value[i]
        _back_up(nodes, edges, tree, leaf, value[i], virtual)


@njit(cache=True, nogil=True)
def _arrive(nodes, edges, tree, node, action, virtual):
    """Deal with the end of a descent, the edge ``action`` of ``node``: NEW, BACKED_UP or BLOCKED.

    A finished game is backed up at once, exactly. A new edge is marked as pending to the root.
    """
    child = edges[tree, node, action].child
    if child >= 0:
        if nodes[tree, child].status == WAITING:
            return BLOCKED
        if virtual:
            _mark_pending(nodes, edges, tree, node, action)
        _back_up(nodes, edges, tree, child, nodes[tree, child].value, virtual)
        return BACKED_UP
    if edges[tree, node, action].pending > 0:
        return BLOCKED
    if virtual:
        _mark_pending(nodes, edges, tree, node, action)
    return NEW


@njit(cache=True, nogil=True)
def _mark_pending(nodes, edges, tree, node, action):
    while node >= 0:
        edges[tree, node, action].pending += 1
        nodes[tree, node].pending += 1
        node, action = nodes[tree, node].parent, nodes[tree, node].action


@njit(cache=True, nogil=True)
def _settle(tree, node, action, end, want, remaining, row_tree, row_node, row_action, new):
    """Account for a descent of ``tree`` that ended so; how many rows there are now."""
    if end == BLOCKED:
        want[tree] = GIVEN_UP
        return new
    remaining[tree] -= 1
    if end == BACKED_UP:
        want[tree] = min(want[tree], remaining[tree])
        return new
    want[tree] -= 1
    row_tree[new], row_node[new], row_action[new] = tree, node, action
    return new + 1


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
def puct(
    nodes, edges, want, remaining, row_tree, row_node, row_action,
    exploration, fpu_reduction, virtual,
):  # fmt: skip
    """Descend by PUCT; ``exploration [n]`` is ``c(n) * sqrt(n)`` at ``n`` visits of a node."""
    new = 0
    for tree in range(len(want)):
        while want[tree] > 0:
            node = 0
            while True:
                action = _puct_action(nodes, edges, tree, node, exploration, fpu_reduction)
                child = edges[tree, node, action].child
                if child < 0 or nodes[tree, child].status != EXPANDED:
                    break
                node = child
            end = _arrive(nodes, edges, tree, node, action, virtual)
            new = _settle(
                tree, node, action, end, want, remaining, row_tree, row_node, row_action, new
            )
    return new


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
            # Floored, or all would underflow where the best value has no prior to speak of.
            prior = max(edges[tree, node, action].prior, np.float32(1e-12))
            sigma[action] = prior * np.exp(sigma[action] - highest)
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
    nodes, edges, want, remaining, row_tree, row_node, row_action,
    scores, schedule, visit_offset, value_scale, virtual,
):  # fmt: skip
    """Descend by sequential halving at the root and by the improved policy below it.

    ``scores [B, A]`` are Gumbel noise + logits; ``schedule [B, simulations, 2]`` says how many
    visits an action must have to be searched next, given the simulations begun so far, and whether
    that choice drops actions. Such a choice waits until every evaluation is in: virtual losses
    would drop whatever was searched last.
    """
    new = 0
    sigma = np.empty(edges.shape[2], np.float32)
    for tree in range(len(want)):
        while want[tree] > 0:
            node, waiting = 0, nodes[tree, 0].pending
            wanted, drops = schedule[tree, nodes[tree, 0].visits - 1 + waiting]
            if drops and waiting:
                want[tree] = GIVEN_UP
                break
            action = _halving_action(
                nodes, edges, tree, scores[tree], wanted, visit_offset, value_scale, sigma
            )
            while True:
                child = edges[tree, node, action].child
                if child < 0 or nodes[tree, child].status != EXPANDED:
                    break
                node = child
                action = _improved_action(
                    nodes, edges, tree, node, visit_offset, value_scale, sigma
                )
            end = _arrive(nodes, edges, tree, node, action, virtual)
            new = _settle(
                tree, node, action, end, want, remaining, row_tree, row_node, row_action, new
            )
    return new


@njit(cache=True, nogil=True)
def completed_root_values(nodes, edges, visit_offset, value_scale):
    """``sigma(completed Q)`` at every root, ``[B, A]``."""
    result = np.empty((edges.shape[0], edges.shape[2]), np.float32)
    for tree in range(len(result)):
        complete(nodes, edges, tree, 0, visit_offset, value_scale, result[tree])
    return result
