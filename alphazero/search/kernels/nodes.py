"""New nodes: ``attach`` adds them to the trees, ``expand`` writes their edges."""

import numpy as np

from alphazero.search.kernels.backup import back_up
from alphazero.search.kernels.compiling import EXPANDED, FINISHED, LOWEST, WAITING, ZERO, jit
from alphazero.search.kernels.proofs import prove
from alphazero.search.kernels.softmax import exponentials

FEW = 64
"""Actions up to which reading all of them is faster than skipping eight illegal ones at once."""


@jit
def attach(
    nodes, edges, raw, size,
    where,
    states, legal, outcome, to_move, virtual, proofs,
):  # fmt: skip
    """Add a node at the end of each row's edge; back up finished games, keep the others as rows.

    ``states [n * itemsize]`` (bytes), ``legal [n, A]``, ``outcome [n]`` and ``to_move [n]``
    describe the new nodes. Returns ``m``, the number of unfinished ones. Afterwards the first ``m``
    rows of ``states`` and ``legal`` belong to these, and the first ``m`` columns of ``where`` hold
    their trees and node indices. ``proofs``: finished games update the bounds of the nodes above.

    Example: of 3 new nodes the second one is finished. It is backed up; the third one's state and
    legal actions move to row 1; 2 is returned.
    """
    unfinished, width = 0, raw.shape[2]
    for i in range(len(outcome)):
        tree, parent, edge = where[0, i], where[1, i], where[2, i]
        child = size[tree]
        size[tree] += 1
        edges[edge].child = child
        for byte in range(width):
            raw[tree, child, byte] = states[i * width + byte]
        node = nodes[tree, child]
        node.parent, node.edge = parent, edge
        node.count = node.visits = node.pending = 0
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
            back_up(nodes, edges, tree, child, outcome[i], virtual)
            # Scaled returns of one-player games may lie between the results that are proven.
            if proofs and outcome[i] == np.int8(outcome[i]):
                node.lower = node.upper = np.int8(outcome[i])
                prove(nodes, edges, tree, child)
    return unfinished


@jit
def _gather(logits, legal, words, row, actions, gathered, begin):
    """Write a row's legal actions and their logits, less the highest, from index ``begin`` on.

    ``legal [n * A]`` and its bytes as ``words`` of eight. Returns the end. ``actions, gathered``:
    room for all legal actions of all rows and one more, because an illegal action is written, too,
    and overwritten by the next one: a loop without branches is faster where legal and illegal
    actions alternate.

    Example: 100 actions, row 1. Its actions are the bytes 100 to 199: 4 actions are looked at, then
    a word of 8 can be skipped at byte 104 if it is 0; the last word begins at byte 192.
    """
    number, end, highest, action = logits.shape[1], begin, LOWEST, 0
    while action < number:
        at = row * number + action
        if number > FEW and at % 8 == 0 and action + 8 <= number and words[at // 8] == 0:
            action += 8
            continue
        logit, is_legal = logits[row, action], legal[np.uintp(at)]
        actions[np.uintp(end)], gathered[np.uintp(end)] = action, logit
        end += is_legal
        # Not max(), which may ignore a NaN.
        logit = logit if is_legal else LOWEST
        highest = highest if highest > logit else logit
        action += 1
    for k in range(begin, end):
        gathered[np.uintp(k)] -= highest
    return end


@jit
def expand(nodes, edges, used, where, logits, value, legal, number, virtual):
    """Write the edges of each row's leaf and back up the leaf's value.

    The priors are ``softmax(logits)`` over the legal actions: ``logits [n, A]``, and in C order
    ``legal [n, A]``. The values ``value [n]`` are for the leaf's mover. A logit of -inf gives a
    prior of 0 if others are finite.
    ``number``: at least the number of legal actions in all rows; ``edges`` has room for them.
    Returns whether all values and sums of the softmax are finite; if not, the trees are unusable.

    Example: ``used[0]`` is 40; the legal actions of the first leaf are 2 and 5, their logits 0 and
    1. Its edges are 40 (action 2, prior 0.27) and 41 (action 5, prior 0.73); the next leaf's edges
    begin at 42.
    """
    actions, weights = np.empty(number + 1, np.int32), np.empty(number + 1, np.float32)
    finite, end, flat = True, 0, legal.reshape(legal.size)
    words = flat[: legal.size // 8 * 8].view(np.uint64)
    for i in range(len(value)):
        begin, leaf = end, nodes[where[0, i], where[1, i]]
        end = _gather(logits, flat, words, i, actions, weights, begin)
        leaf.first, leaf.count = used[0] + begin, end - begin
    exponentials(weights[:end])
    begin = 0
    for i in range(len(value)):
        tree, node = where[0, i], where[1, i]
        leaf, total = nodes[tree, node], ZERO
        for k in range(begin, begin + leaf.count):
            total += weights[np.uintp(k)]
        for k in range(begin, begin + leaf.count):
            edge = edges[np.uintp(used[0] + k)]
            edge.action, edge.child = actions[np.uintp(k)], -1
            edge.visits = edge.pending = 0
            edge.value_sum = 0.0
            edge.prior = weights[np.uintp(k)] / total
        begin += leaf.count
        finite &= np.isfinite(total) and np.isfinite(value[i])
        leaf.status, leaf.value = EXPANDED, value[i]
        back_up(nodes, edges, tree, node, value[i], virtual)
    used[0] += end
    return finite
