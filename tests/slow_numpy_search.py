"""PUCT for a batch of positions in plain NumPy, which the Numba kernels are measured against.

All trees descend in lock step, one leaf per simulation, with array operations on whole batches.
Without noise.
"""

import numpy as np

from alphazero.search.puct import PUCT
from alphazero.types import Evaluator
from games.base import Game, States


class NumpyTrees:
    """``B`` trees of ``N`` nodes; ``[B, N]`` and ``[B, N, A]`` arrays, node 0 the root."""

    def __init__(self, game: Game, states: States, simulations: int):
        batch, nodes = len(states), simulations + 1
        edges = batch, nodes, game.num_actions
        self.game, self.rows, self.size = game, np.arange(batch), 1
        self.states = np.zeros((batch, nodes), game.dtype)
        self.parent, self.action = np.full((2, batch, nodes), -1)
        self.mover = np.zeros((batch, nodes), np.int8)
        self.outcome = np.full((batch, nodes), np.nan, np.float32)
        self.visits, self.sums = np.zeros((batch, nodes), int), np.zeros((batch, nodes), np.float32)
        self.child, self.count = np.full(edges, -1), np.zeros(edges, int)
        self.prior, self.total = np.full(edges, -1, np.float32), np.zeros(edges, np.float32)

    def add(self, states: States, parent, action, rows) -> np.ndarray:
        """A new node for each of ``rows``; its index is the number of the simulation."""
        node = np.full(len(rows), self.size)
        self.states[rows, node], self.mover[rows, node] = states, self.game.to_move(states)
        self.outcome[rows, node] = self.game.outcome(states)
        self.parent[rows, node], self.action[rows, node] = parent, action
        self.child[rows, parent, action] = node
        self.size += 1
        return node

    def expand(self, rows, node, evaluate: Evaluator) -> np.ndarray:
        states = self.states[rows, node]
        evaluation, legal = evaluate(states), self.game.legal(states)
        logits = np.where(legal, evaluation.logits, -np.inf).astype(np.float32)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = weights / np.cumsum(weights, axis=1)[:, -1:]
        self.prior[rows, node] = np.where(legal, shares, -1)
        return evaluation.value

    def best(self, rows, node, explore, fpu) -> np.ndarray:
        """The action of the highest score in ``node`` of each row."""
        prior, count = self.prior[rows, node], self.count[rows, node]
        visits = self.visits[rows, node]
        mass = np.cumsum(np.where(count > 0, prior, np.float32(0)), axis=1)[:, -1]
        urgency = self.sums[rows, node] / visits.astype(np.float32) - fpu * np.sqrt(mass)
        mean = self.total[rows, node] / np.maximum(count, 1).astype(np.float32)
        score = np.where(count > 0, mean, urgency[:, None])
        score += explore[visits][:, None] * prior / (1 + count).astype(np.float32)
        return np.where(prior >= 0, score, -np.inf).argmax(axis=1)

    def back_up(self, node, value) -> None:
        rows, mover = self.rows, self.mover[self.rows, node]
        while len(rows):
            signed = np.where(self.mover[rows, node] == mover, value, -value)
            self.visits[rows, node] += 1
            self.sums[rows, node] += signed
            parent, action = self.parent[rows, node], self.action[rows, node]
            below = parent >= 0
            rows, node, action = rows[below], parent[below], action[below]
            value, mover = value[below], mover[below]
            self.count[rows, node, action] += 1
            self.total[rows, node, action] += np.where(
                self.mover[rows, node] == mover, value, -value
            )


def search(game: Game, states: States, settings: PUCT, evaluate: Evaluator) -> NumpyTrees:
    """The trees after ``settings.simulations``; ``trees.count[:, 0]`` are the root's visits."""
    trees = NumpyTrees(game, states, settings.simulations)
    trees.states[:, 0], trees.mover[:, 0] = states, game.to_move(states)
    roots = np.zeros(len(states), int)
    trees.back_up(roots, trees.expand(trees.rows, roots, evaluate))
    visits = np.arange(settings.simulations + 2)
    c = settings.c_puct + np.log((visits + settings.c_base + 1) / settings.c_base)
    explore, fpu = (c * np.sqrt(visits)).astype(np.float32), np.float32(settings.fpu_reduction)
    for _ in range(settings.simulations):
        _simulate(trees, evaluate, explore, fpu)
    return trees


def _simulate(trees: NumpyTrees, evaluate: Evaluator, explore, fpu) -> None:
    node, action = np.zeros((2, len(trees.rows)), int)
    active = trees.rows
    while len(active):
        action[active] = trees.best(active, node[active], explore, fpu)
        child = trees.child[active, node[active], action[active]]
        known = child >= 0
        node[active[known]] = child[known]
        active = active[known & np.isnan(trees.outcome[active, child])]
    new = np.isnan(trees.outcome[trees.rows, node])
    rows = np.flatnonzero(new)
    states = trees.game.step(trees.states[rows, node[rows]], action[rows])
    node[rows] = trees.add(states, node[rows], action[rows], rows)
    value = trees.outcome[trees.rows, node].copy()
    waiting = np.flatnonzero(np.isnan(value))
    if len(waiting):
        value[waiting] = trees.expand(waiting, node[waiting], evaluate)
    trees.back_up(node, value)
