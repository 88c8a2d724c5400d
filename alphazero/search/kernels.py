"""The search's compiled functions, on the arrays that ``tree.py`` describes.

They are in this order: backup, proofs, new nodes (``attach``, ``expand``), the end of a descent,
and the two selection rules (``puct``, ``gumbel``). They contain no rules of a game and no network.

This file is long because its functions share the backup and the proven bounds, and Numba's disk
cache does not notice an edit to a compiled function of another file: if this file were split, the
kernels of one part would keep running old code of another. Only ``softmax.py`` is separate.

Parameters that occur throughout:
    nodes [B, N], edges [B, N, A], raw [B, N, itemsize], size [B]: the arrays of ``tree.Tree``
    tree, node, action: indices into them; an edge is (tree, node, action)
    where, row_states: the arrays of ``tree.Rows``
    virtual: whether a tree may have several leaves evaluated at once, with virtual losses

Points of view: a node's sums, value and bounds are for its own mover; those of an edge are for the
mover of the node that it starts from. The sign changes only between nodes with different movers,
because a player may move twice in a row.

Reproducibility: everything is float32, computed in a fixed order and without fastmath. The same
search makes the same visits on every machine, unless a difference in the last bit of the math
library's exponential changes a choice.

Speed: the loops over actions use conditional expressions instead of branches, because the CPU
cannot predict well whether an action has visits or the best score so far.
"""

import numpy as np

from alphazero.search import softmax
from alphazero.search.softmax import LOWEST, ONE, ZERO, jit

WAITING, EXPANDED, FINISHED = 0, 1, 2
"""A node's status: its evaluation is under way; it has edges; or its result is certain, because the
game is over or because the result is proven."""

NEW, BACKED_UP, BLOCKED = 0, 1, 2
"""How a descent ended: at an edge without a child; at a FINISHED node, whose value was backed up;
or at an edge or node that already waits for its evaluation."""

FLOOR = np.float32(1e-12)
"""Lower bound of the priors in the formula of Gumbel's improved policy."""

REFUTED = np.float32(-1e30)
"""PUCT's score of an action that is proven lost: below all others, above the illegal ones."""


# Backup


@jit()
def _back_up(nodes, edges, tree, node, value, virtual):
    """Add one visit with ``value`` to ``node`` and to every node and edge above it.

    ``value`` is for ``node``'s mover. A FINISHED node on the path replaces it: that node and
    everything above it get its result. ``virtual``: also remove the marks of ``_mark_pending``.

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


# Proofs: score-bounded Monte Carlo tree search (Cazenave & Saffidine 2010), a generalization of
# MCTS-Solver (Winands et al. 2008) to draws. Every node has bounds [lower, upper] on its result
# under best play, for its mover. They start as [-1, 1]; a finished game has lower == upper; a
# node's bounds are the highest lower and the highest upper bound among its legal actions.


@jit()
def _range(nodes, edges, tree, node, action):
    """The proven bounds ``(lower, upper)`` on an action's result, for the node's mover.

    An action without a child has (-1, 1). A child with the bounds [0, 1] for the other player gives
    (-1, 0): the other player gets at least a draw, so the action gives at best a draw.
    """
    child = edges[tree, node, action].child
    if child < 0:
        return -1, 1
    below = nodes[tree, child]
    if below.to_move == nodes[tree, node].to_move:
        return below.lower, below.upper
    return -below.upper, -below.lower


@jit()
def _settle(nodes, edges, tree, node):
    """Make ``node`` FINISHED and correct the value sums as if all its visits had had its result.

    The node's result must be proven. Example: a node has 5 visits, value_sum +1.5, and is proven
    lost. Its value_sum becomes 5 * -1 = -5, a change of -6.5. The sums of all nodes and edges above
    change, too: by +6.5 where the other player moves, by -6.5 where the same player moves. The mean
    of a parent with 9 visits and value_sum -0.5 changes from -0.06 to 6.0 / 9 = 0.67.

    The changes stop at a FINISHED node, whose value_sum already is its visits times its result.
    """
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
    """Update the bounds of the nodes above ``node``, whose own bounds have just changed.

    The update goes up until it reaches a node whose bounds do not change. A node whose two bounds
    become equal is settled. An action that is proven lost is refuted: its prior becomes 0.

    Example: a node, white to move, with three legal actions. All bounds are for white.

        a [-1, -1]  b [-1, 1]  c [0, 1]   node [0, 1]: c is at least a draw, b or c may win
        a [-1, -1]  b [0, 0]   c [0, 1]   node [0, 1]: unchanged, so that the update ends here
        a [-1, -1]  b [0, 0]   c [0, 0]   node [0, 0]: settled as a draw; its parent comes next

    For the parent, black to move, the node's bounds [0, 1] are [-1, 0].
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


# New nodes


@jit()
def attach(
    nodes, edges, raw, size,
    where,
    states, legal, outcome, to_move, virtual, prove,
):  # fmt: skip
    """Add a node at the end of each row's edge; back up finished games, keep the others as rows.

    ``states [n * itemsize]`` (bytes), ``legal [n, A]``, ``outcome [n]`` and ``to_move [n]``
    describe the new nodes. Returns ``m``, the number of unfinished ones. Afterwards the first ``m``
    rows of ``states`` and ``legal`` belong to these, and the first ``m`` columns of ``where`` hold
    their trees and node indices. ``prove``: finished games update the bounds of the nodes above.

    Example: of 3 new nodes the second one is finished. It is backed up; the third one's state and
    legal actions move to row 1; 2 is returned.
    """
    unfinished, width = 0, raw.shape[2]
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
            where[0, unfinished], where[1, unfinished] = tree, child
            if unfinished < i:
                for byte in range(width):
                    states[unfinished * width + byte] = raw[tree, child, byte]
                for other in range(legal.shape[1]):
                    legal[unfinished, other] = legal[i, other]
            unfinished += 1
        else:
            node.status = FINISHED
            node.value = outcome[i]
            _back_up(nodes, edges, tree, child, outcome[i], virtual)
            if prove:
                node.lower = node.upper = np.int8(outcome[i])
                _prove(nodes, edges, tree, child)
    return unfinished


@jit()
def expand(nodes, edges, where, logits, value, legal, virtual):
    """Write the edges of each row's leaf and back up the leaf's value.

    The priors are ``softmax(logits)`` over the legal actions; ``logits, legal [n, A]``. The values
    ``value [n]`` are for the leaf's mover. A logit of -inf gives a prior of 0 if others are finite.
    Returns whether all values and sums of the softmax are finite; if not, the trees are unusable.
    """
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


# The end of a descent


@jit()
def _arrive(nodes, edges, tree, node, action, virtual):
    """Process a descent that ends with ``action`` of ``node``; returns NEW, BACKED_UP or BLOCKED.

    The value of a FINISHED child is backed up at once. A NEW edge adds its prior to the node's
    ``prior_mass`` and, with ``virtual``, marks the path to the root as pending.
    """
    child = edges[tree, node, action].child
    if child >= 0:
        if nodes[tree, child].status == WAITING:
            return BLOCKED
        if virtual:  # the backup removes these marks
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
    """Mark one simulation as waiting for its evaluation, on every edge and node up to the root.

    This is the virtual loss: until the evaluation arrives, the selection rules count it as a visit
    with the result -1, so that the next descent of the same round takes another path. Example: an
    edge of 3 visits and value_sum 1.2 has the mean 0.4. With one pending simulation its mean is
    (1.2 - 1) / (3 + 1) = 0.05, and PUCT divides its prior by 1 + 4 instead of 1 + 3. When the
    evaluation 0.5 is backed up, the edge has 4 visits, value_sum 1.7 and nothing pending.
    """
    while node >= 0:
        edges[tree, node, action].pending += 1
        nodes[tree, node].pending += 1
        node, action = nodes[tree, node].parent, nodes[tree, node].action


# PUCT


@jit()
def _puct_action(nodes, edges, tree, node, exploration, fpu_reduction):
    """The legal action with the highest ``Q + c(N) sqrt(N) P / (1 + n)``; of several, the first.

    ``N`` and ``n`` include pending simulations. The ``Q`` of an unvisited action is the node's mean
    minus ``fpu_reduction * sqrt(visited prior mass)``: with a mean of 0.2, a reduction of 0.2 and a
    visited prior mass of 0.49, it is 0.2 - 0.2 * 0.7 = 0.06. Refuted actions come last: their
    result is known.
    """
    here = nodes[tree, node]
    mass = here.prior_mass if here.prior_mass > 0 else ZERO  # rounding may leave less than 0
    unvisited = here.value_sum / np.float32(here.visits) - fpu_reduction * np.sqrt(mass)
    explore = exploration[here.visits + here.pending]
    best, highest = 0, LOWEST
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        pending = np.float32(edge.pending)
        n = np.float32(edge.visits) + pending
        q = (edge.value_sum - pending) / (n if n > 0 else ONE)
        score = (q if n > 0 else unvisited) + explore * edge.prior / (ONE + n)
        if edge.prior == 0 and _range(nodes, edges, tree, node, action)[1] == -1:
            score = REFUTED
        score = score if edge.prior >= 0 else LOWEST
        best = action if score > highest else best
        highest = score if score > highest else highest
    return best


@jit()
def puct(
    nodes, edges, raw, leaves, remaining, where, row_states,
    exploration, fpu_reduction,
):  # fmt: skip
    """The ``tree.Select`` of PUCT; returns the number of rows written.

    ``exploration [simulations + 2]``: ``c(N) * sqrt(N)`` by the visits ``N`` of a node.
    """
    new = 0
    for tree in range(len(remaining)):
        if nodes[tree, 0].status == FINISHED:
            remaining[tree] = 0
        quota = min(leaves, remaining[tree])  # leaves that this tree may still add
        while quota > 0:
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
                quota -= 1
            quota = min(quota, remaining[tree])
    return new


# Gumbel AlphaZero (Danihelka et al. 2022)


@jit()
def _complete(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """Fill ``sigma [A]`` with ``(visit_offset + max n) * value_scale * completed Q(a)``.

    The completed Q (equation 10) of a visited action is its mean. For an unvisited action it is the
    mixed value (equation 33), a weighted mean of the node's own value and the visited actions'
    means. Returns the sum of the edges' visits. Pending simulations count as visits with a loss.

    Example: the node's own value is 0.1; visit_offset 50, value_scale 0.1.

        action a: prior 0.5,  2 visits, mean +0.4
        action b: prior 0.25, 1 visit,  mean -0.2
        action c: prior 0.25, unvisited

    The means weighted by priors are (0.5 * 0.4 - 0.25 * 0.2) / 0.75 = 0.2, and the mixed value is
    (0.1 + 3 * 0.2) / (1 + 3) = 0.175. The scale is 0.1 * (50 + 2) = 5.2, so that sigma is
    (2.08, -1.04, 0.91). The function returns 3.
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
    if mass > 0:  # it is 0 if no action was visited, or only refuted ones, whose priors are 0
        mixed = (mixed + begun * weighted / mass) / (ONE + begun)
    scale = value_scale * (visit_offset + most)
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        sigma[action] = scale * (sigma[action] if edge.visits + edge.pending > 0 else mixed)
    return begun


@jit()
def _improved_action(nodes, edges, tree, node, visit_offset, value_scale, sigma):
    """``argmax pi'(a) - n(a) / (1 + sum n)`` (equation 14): visits follow the improved policy.

    ``pi'`` is ``softmax(logits + sigma)`` (equation 11), computed as ``prior * exp(sigma)`` divided
    by its sum. ``sigma [A]`` is scratch memory.
    """
    begun = _complete(nodes, edges, tree, node, visit_offset, value_scale, sigma)
    highest, total = LOWEST, ZERO
    for action in range(edges.shape[2]):
        bonus = sigma[action] if edges[tree, node, action].prior >= 0 else LOWEST
        highest = bonus if bonus > highest else highest
    for action in range(edges.shape[2]):
        # Without FLOOR all shares would underflow to 0 if the action with the highest sigma had a
        # prior of almost 0.
        prior = edges[tree, node, action].prior
        share = (prior if prior > FLOOR else FLOOR) * np.exp(sigma[action] - highest)
        sigma[action] = share if prior >= 0 else ZERO
    for action in range(edges.shape[2]):
        total += sigma[action]
    best, best_score = 0, LOWEST
    for action in range(edges.shape[2]):
        edge = edges[tree, node, action]
        visited = np.float32(edge.visits + edge.pending) / (ONE + begun)
        score = sigma[action] / total - visited if edge.prior >= 0 else LOWEST
        best = action if score > best_score else best
        best_score = score if score > best_score else best_score
    return best


@jit()
def _halving_action(
    nodes, edges, tree, scores, required, visit_offset, value_scale, sigma
):  # fmt: skip
    """The root action to search next: among those with ``required`` visits, the one with the
    highest ``scores[a] + sigma(completed Q(a))``.

    If no action has that many visits, it is chosen among all. Illegal and refuted actions are never
    chosen.
    """
    _complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
    best, best_score, best_due = -1, LOWEST, False
    for action in range(scores.shape[1]):
        edge = edges[tree, 0, action]
        if edge.prior < 0 or _range(nodes, edges, tree, 0, action)[1] == -1:
            continue
        due, score = edge.visits + edge.pending == required, scores[tree, action] + sigma[action]
        if best < 0 or due > best_due or (due == best_due and score > best_score):
            best, best_score, best_due = action, score, due
    return best


@jit()
def gumbel(
    nodes, edges, raw, leaves, remaining, where, row_states,
    scores, considered, schedule, visit_offset, value_scale,
):  # fmt: skip
    """The ``tree.Select`` of Gumbel AlphaZero; returns the number of rows written.

    Sequential halving at the root, the improved policy below it. ``scores [B, A]``: Gumbel noise
    plus logits. ``considered [B]``: the number of root actions that take part in the halving.
    ``schedule [A + 1, simulations, 2]``: for that number and the number of simulations begun so
    far, the visits that the next action must have, and 1 if this choice drops actions
    (``gumbel._halving_schedule``).

    A choice that drops actions waits until nothing is pending: otherwise virtual losses would lower
    the scores of the actions searched last, and they would be dropped.
    """
    new = 0
    sigma = np.empty(edges.shape[2], np.float32)
    for tree in range(len(remaining)):
        if nodes[tree, 0].status == FINISHED:
            remaining[tree] = 0
        quota = min(leaves, remaining[tree])  # leaves that this tree may still add
        while quota > 0:
            node, waiting = 0, nodes[tree, 0].pending
            # The root's own evaluation is a visit, too, but not a simulation.
            required, drops = schedule[considered[tree], nodes[tree, 0].visits - 1 + waiting]
            if drops and waiting:
                break
            action = _halving_action(
                nodes, edges, tree, scores, required, visit_offset, value_scale, sigma
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
                quota -= 1
            quota = min(quota, remaining[tree])
    return new


@jit()
def completed_root_values(nodes, edges, visit_offset, value_scale):
    """``float32[B, A]``: ``sigma(completed Q)`` of every root's actions."""
    result = np.empty((edges.shape[0], edges.shape[2]), np.float32)
    sigma = np.empty(edges.shape[2], np.float32)
    for tree in range(len(result)):
        _complete(nodes, edges, tree, 0, visit_offset, value_scale, sigma)
        for action in range(edges.shape[2]):  # assigning whole rows takes two seconds to compile
            result[tree, action] = sigma[action]
    return result
