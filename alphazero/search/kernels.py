"""The search's kernels. They see arrays, described in ``tree.py``, and know no game and no network.

They stand in one file, because Numba's disk cache does not notice edits to a function that lives in
another; only ``softmax.py`` stands apart. A simulation that waits for its evaluation counts as a
visit that lost (virtual loss). Everything is float32, in a fixed order and without fastmath: the
same search makes the same visits on every machine, but for the last bit of the library's
exponential. Choices are written without branches on counts, which a CPU cannot foresee.
"""

import numpy as np

from alphazero.search import softmax
from alphazero.search.softmax import LOWEST, ONE, ZERO, jit

WAITING, EXPANDED, FINISHED = 0, 1, 2
"""A node's status: its evaluation is under way, it has edges, or the game is over there."""

NEW, BACKED_UP, BLOCKED = 0, 1, 2
"""How a descent ended: at an edge to follow, in a finished game, or where others wait already."""

FLOOR, HOPELESS = np.float32(1e-12), np.float32(-1e30)


@jit()
def _back_up(nodes, edges, tree, node, value, virtual):
    """Add ``value``, seen by ``node``'s mover, to every node and edge up to the root.

    From a node on whose result is proven it is that result.
    """
    mover = nodes[tree, node].to_move
    while True:
        here = nodes[tree, node]
        if here.status == FINISHED:
            value, mover = here.value, here.to_move
        signed = value if here.to_move == mover else -value
        here.visits += 1
        here.value_sum += signed
        parent, action = here.parent, here.action
        if parent < 0:
            return
        edges[tree, parent, action].visits += 1
        above = value if nodes[tree, parent].to_move == mover else -value
        edges[tree, parent, action].value_sum += above
        if virtual:
            edges[tree, parent, action].pending -= 1
            nodes[tree, parent].pending -= 1
        node = parent


@jit()
def _range(nodes, edges, tree, node, action):
    """Between what results an action's lies for all that is proven, ``(lower, upper)`` for the
    node's mover; one never tried may be worth anything."""
    child = edges[tree, node, action].child
    if child < 0:
        return -1, 1
    below = nodes[tree, child]
    if below.to_move == nodes[tree, node].to_move:
        return below.lower, below.upper
    return -below.upper, -below.lower


@jit()
def _settle(nodes, edges, tree, node):
    """The result of ``node`` is proven: from now on it counts as a finished game, as though all its
    visits had found that result."""
    here = nodes[tree, node]
    mover, value = here.to_move, np.float32(here.lower)
    here.status, here.value = FINISHED, value
    change = value * np.float32(here.visits) - here.value_sum
    here.value_sum += change
    while here.parent >= 0:
        above = nodes[tree, here.parent]
        signed = change if above.to_move == mover else -change
        edges[tree, here.parent, here.action].value_sum += signed
        if above.status == FINISHED:
            return
        above.value_sum += signed
        here = above


@jit()
def _prove(nodes, edges, tree, node):
    """Draw all conclusions from the result of ``node``, which has just become known.

    Score-bounded tree search (Cazenave & Saffidine 2010): each node's result lies between bounds,
    which are those of its best action. A refuted action keeps no prior.
    """
    while True:
        parent, action = nodes[tree, node].parent, nodes[tree, node].action
        if parent < 0:
            return
        above = nodes[tree, parent]
        if _range(nodes, edges, tree, parent, action)[1] == -1:
            above.prior_mass -= edges[tree, parent, action].prior
            edges[tree, parent, action].prior = 0.0
        lower = upper = -1
        for other in range(edges.shape[2]):
            if edges[tree, parent, other].prior >= 0:
                low, high = _range(nodes, edges, tree, parent, other)
                lower, upper = max(lower, low), max(upper, high)
        if lower == above.lower and upper == above.upper:
            return
        above.lower, above.upper = lower, upper
        if lower == upper and above.status == EXPANDED:
            _settle(nodes, edges, tree, parent)
        node = parent


@jit()
def attach(
    nodes, edges, raw, size,
    where,
    states, legal, outcome, to_move, virtual, prove,
):  # fmt: skip
    """Add a node behind each row's edge; finished ones are backed up, the others stay as rows.
    ``prove``: and what follows from them for the nodes above.

    ``states [n * itemsize], legal [n, A], outcome, to_move [n]`` describe the new nodes. What
    belongs to the unfinished ones moves to the front of ``states``, ``legal`` and ``where``, which
    names the new nodes from then on; returns how many they are.
    """
    found, width = 0, raw.shape[2]
    for i in range(len(outcome)):
        tree, parent, action = where[0, i], where[1, i], where[2, i]
        child = size[tree]
        size[tree] += 1
        edges[tree, parent, action].child = child
        for byte in range(width):
            raw[tree, child, byte] = states[i * width + byte]
        node = nodes[tree, child]
        node.parent, node.action = parent, action
        node.visits = node.pending = 0
        node.value_sum = node.prior_mass = 0.0
        node.to_move = to_move[i]
        node.lower, node.upper = -1, 1
        if np.isnan(outcome[i]):
            node.status = WAITING
            where[0, found], where[1, found] = tree, child
            if found < i:
                for byte in range(width):
                    states[found * width + byte] = raw[tree, child, byte]
                for each in range(legal.shape[1]):
                    legal[found, each] = legal[i, each]
            found += 1
        else:
            node.status = FINISHED
            node.value = outcome[i]
            _back_up(nodes, edges, tree, child, outcome[i], virtual)
            if prove:
                node.lower = node.upper = np.int8(outcome[i])
                _prove(nodes, edges, tree, child)
    return found


@jit()
def expand(nodes, edges, where, logits, value, legal, virtual):
    """Give each row's leaf its edges, with ``softmax(logits)`` over the legal actions as prior,
    and back its ``value [n]`` up. ``logits, legal [n, A]``. False where a value or a legal action's
    logit is not finite, and then the trees are spoilt; -inf beside finite ones is a prior of 0."""
    actions, finite = legal.shape[1], True
    weights = softmax.unnormalized(logits, legal)
    for i in range(len(value)):
        tree, leaf = where[0, i], where[1, i]
        total = ZERO
        for action in range(actions):
            total += weights[i * actions + action]
        for action in range(actions):
            edge = edges[tree, leaf, action]
            edge.child = -1
            edge.visits = edge.pending = 0
            edge.value_sum = 0.0
            edge.prior = weights[i * actions + action] / total if legal[i, action] else -ONE
        finite &= np.isfinite(total) and np.isfinite(value[i])
        nodes[tree, leaf].status = EXPANDED
        nodes[tree, leaf].value = value[i]
        _back_up(nodes, edges, tree, leaf, value[i], virtual)
    return finite


@jit()
def _arrive(nodes, edges, tree, node, action, virtual):
    """Deal with the end of a descent, the edge ``action`` of ``node``: NEW, BACKED_UP or BLOCKED.

    A finished game is backed up at once. A new edge is marked as pending to the root.
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
    nodes[tree, node].prior_mass += edges[tree, node, action].prior
    if virtual:
        _mark_pending(nodes, edges, tree, node, action)
    return NEW


@jit()
def _mark_pending(nodes, edges, tree, node, action):
    while node >= 0:
        edges[tree, node, action].pending += 1
        nodes[tree, node].pending += 1
        node, action = nodes[tree, node].parent, nodes[tree, node].action


@jit()
def _puct_action(nodes, edges, tree, node, exploration, fpu_reduction):
    """The legal action of the highest ``Q + c(N) sqrt(N) P / (1 + n)``, the first of equals.

    Refuted ones come last: from them there is nothing to learn.
    """
    here = nodes[tree, node]
    mass = here.prior_mass if here.prior_mass > 0 else ZERO  # rounding may leave less than 0
    urgency = here.value_sum / np.float32(here.visits) - fpu_reduction * np.sqrt(mass)
    explore = exploration[here.visits + here.pending]
    best, highest = 0, LOWEST
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        pending = np.float32(edge.pending)
        n = np.float32(edge.visits) + pending
        q = (edge.value_sum - pending) / (n if n > 0 else ONE)
        score = (q if n > 0 else urgency) + explore * edge.prior / (ONE + n)
        if edge.prior == 0 and _range(nodes, edges, tree, node, action)[1] == -1:
            score = HOPELESS
        score = score if edge.prior >= 0 else LOWEST
        best = action if score > highest else best
        highest = score if score > highest else highest
    return best


@jit()
def puct(
    nodes, edges, raw, leaves, remaining, where, row_states,
    exploration, fpu_reduction,
):  # fmt: skip
    """Descend by PUCT; ``exploration [n]`` is ``c(n) * sqrt(n)`` at ``n`` visits of a node."""
    new = 0
    for tree in range(len(remaining)):
        if nodes[tree, 0].status == FINISHED:
            remaining[tree] = 0
        want = min(leaves, remaining[tree])
        while want > 0:
            node = 0
            while True:
                action = _puct_action(nodes, edges, tree, node, exploration, fpu_reduction)
                child = edges[tree, node, action].child
                if child < 0 or nodes[tree, child].status != EXPANDED:
                    break
                node = child
            end = _arrive(nodes, edges, tree, node, action, leaves > 1)
            if end == BLOCKED:
                break
            remaining[tree] -= 1
            if end == NEW:
                where[0, new], where[1, new], where[2, new] = tree, node, action
                for byte in range(raw.shape[2]):
                    row_states[new, byte] = raw[tree, node, byte]
                new += 1
                want -= 1
            want = min(want, remaining[tree])
    return new


@jit()
def _complete(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """Fill ``sigma [A]`` with ``(visit_offset + max n) * value_scale * completed Q(a)``.

    Unvisited actions get the mixed value (Danihelka et al. 2022, equations 10 and 33), whose sigma
    is returned after the number of visits of the node's edges, those that wait included.
    """
    begun = most = mass = weighted = ZERO
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        pending = np.float32(edge.pending)
        n = np.float32(edge.visits) + pending
        q = (edge.value_sum - pending) / (n if n > 0 else ONE)
        share = edge.prior if n > 0 else ZERO
        begun += n
        most = n if n > most else most
        mass += share
        weighted += share * q
        sigma[action] = q
    mixed = nodes[tree, node].value
    if mass > 0:  # else nothing was visited but what is refuted
        mixed = (mixed + begun * weighted / mass) / (ONE + begun)
    scale = value_scale * (visit_offset + most)
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        sigma[action] = scale * (sigma[action] if edge.visits + edge.pending > 0 else mixed)
    return begun


@jit()
def _improved_action(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """``argmax pi'(a) - n(a) / (1 + sum n)``, equation 14: visits follow the improved policy."""
    begun = _complete(nodes, edges, tree, node, visit_offset, value_scale, sigma)
    highest, total = LOWEST, ZERO
    for action in range(edges.shape[2]):
        bonus = sigma[action] if edges[tree, node, action].prior >= 0 else LOWEST
        highest = bonus if bonus > highest else highest
    for action in range(edges.shape[2]):
        # Floored, or all would underflow where the best value has no prior to speak of.
        prior = edges[tree, node, action].prior
        share = (prior if prior > FLOOR else FLOOR) * np.exp(sigma[action] - highest)
        sigma[action] = share if prior >= 0 else ZERO
    for action in range(edges.shape[2]):
        total += sigma[action]
    best, best_score = 0, LOWEST
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        due = np.float32(edge.visits + edge.pending) / (ONE + begun)
        score = sigma[action] / total - due if edge.prior >= 0 else LOWEST
        best = action if score > best_score else best
        best_score = score if score > best_score else best_score
    return best


@jit()
def _halving_action(
    nodes, edges, tree, scores, wanted, visit_offset, value_scale, sigma
):  # fmt: skip
    """At the root: of the actions with ``wanted`` visits, the one with the highest
    ``scores[a] + sigma(completed Q(a))``; of all, where none has that many. No refuted one."""
    _complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
    best, best_score, best_due = -1, LOWEST, False
    for action in range(scores.shape[1]):
        edge = edges[tree, 0, action]
        if edge.prior < 0 or _range(nodes, edges, tree, 0, action)[1] == -1:
            continue
        due, score = edge.visits + edge.pending == wanted, scores[tree, action] + sigma[action]
        if best < 0 or due > best_due or (due == best_due and score > best_score):
            best, best_score, best_due = action, score, due
    return best


@jit()
def gumbel(
    nodes, edges, raw, leaves, remaining, where, row_states,
    scores, considered, schedule, visit_offset, value_scale,
):  # fmt: skip
    """Descend by sequential halving at the root and by the improved policy below it.

    ``scores [B, A]`` are Gumbel noise + logits; ``schedule [A + 1, simulations, 2]`` says of a
    root with ``considered [B]`` actions how many visits an action must have to be searched next,
    given the simulations begun so far, and whether that choice drops actions. Such a choice waits
    until every evaluation is in: virtual losses would drop whatever was searched last.
    """
    new = 0
    sigma = np.empty(edges.shape[2], np.float32)
    for tree in range(len(remaining)):
        if nodes[tree, 0].status == FINISHED:
            remaining[tree] = 0
        want = min(leaves, remaining[tree])
        while want > 0:
            node, waiting = 0, nodes[tree, 0].pending
            wanted, drops = schedule[considered[tree], nodes[tree, 0].visits - 1 + waiting]
            if drops and waiting:
                break
            action = _halving_action(
                nodes, edges, tree, scores, wanted, visit_offset, value_scale, sigma
            )
            while True:
                child = edges[tree, node, action].child
                if child < 0 or nodes[tree, child].status != EXPANDED:
                    break
                node = child
                action = _improved_action(
                    nodes, edges, tree, node, visit_offset, value_scale, sigma
                )
            end = _arrive(nodes, edges, tree, node, action, leaves > 1)
            if end == BLOCKED:
                break
            remaining[tree] -= 1
            if end == NEW:
                where[0, new], where[1, new], where[2, new] = tree, node, action
                for byte in range(raw.shape[2]):
                    row_states[new, byte] = raw[tree, node, byte]
                new += 1
                want -= 1
            want = min(want, remaining[tree])
    return new


@jit()
def completed_root_values(nodes, edges, visit_offset, value_scale):
    """``sigma(completed Q)`` at every root, ``[B, W]``."""
    result = np.empty((edges.shape[0], edges.shape[2]), np.float32)
    sigma = np.empty(edges.shape[2], np.float32)
    for tree in range(len(result)):
        _complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
        for action in range(edges.shape[2]):  # to assign the row takes two seconds to compile
            result[tree, action] = sigma[action]
    return result
