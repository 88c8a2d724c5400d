"""AlphaZero's search: PUCT with Dirichlet noise at the root (Silver et al. 2018, supplement)."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.nn.settings import STRICT, Fraction, Positive
from alphazero.search import kernels
from alphazero.search.softmax import jit
from alphazero.search.tree import Rows, Tree, grow, init_trees, root_statistics, undominated_actions
from alphazero.types import Generators, SearchResult, SearchSteps
from games.base import Game, States


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PUCT:
    """The constants of PUCT.

    The score of action ``a`` is ``Q(a) + c(N) * P(a) * sqrt(N) / (1 + n(a))`` with
    ``c(N) = c_puct + log((N + c_base + 1) / c_base)``. ``n(a)`` counts the action's visits, ``N``
    those of the node, including its own evaluation.
    """

    kind: Literal["puct"] = "puct"
    simulations: Annotated[int, Field(ge=1)] = 64
    """Simulations per move. AlphaGo Zero used 1,600, AlphaZero 800; KataGo 600 to 1,000 for the
    quarter of its moves whose policies are trained on (Wu 2019, section 3.1)."""
    c_puct: Positive = 1.25
    """How strongly the prior directs the search; 1.25 in AlphaZero's pseudocode."""
    c_base: Positive = 19652.0
    """Visits at which c(N) exceeds ``c_puct`` by log 2, about 0.69: more exploration in large
    searches. 19652 in AlphaZero's pseudocode."""
    fpu_reduction: Annotated[float, Field(ge=0)] = 0.2
    """First-play urgency: the Q of an unvisited action is the node's mean value minus this times
    the square root of the visited actions' total prior. KataGo uses 0.2, and 0 at a root with
    noise (Wu 2019, section 2); here the root is no exception."""
    dirichlet_fraction: Fraction = 0.25
    """Share of Dirichlet noise in the root's prior, drawn anew for each search; 0.25 in AlphaGo
    Zero, AlphaZero and KataGo."""
    dirichlet_total: Positive = 10.0
    """The noise's alpha is this divided by the number of legal actions: about 0.3 for the 35 of
    chess, as in AlphaZero, and 1.4 for the 7 of Connect Four. KataGo's total is 10.83."""
    leaves: Annotated[int, Field(ge=1)] = 1
    """Leaves evaluated at once per tree; virtual losses make their paths differ."""
    proofs: bool = True
    """Propagate proven results from finished games upwards in the tree (MCTS-Solver)."""

    def __call__(
        self, game: Game, states: States, rngs: Generators, temperature: NDArray[np.float32]
    ) -> SearchSteps:
        evaluation = yield states
        tree = init_trees(game, states, evaluation, self.simulations)
        if self.dirichlet_fraction:
            _mix_noise(tree, rngs, self.dirichlet_fraction, self.dirichlet_total)
        visits = np.arange(self.simulations + 2)
        c = self.c_puct + np.log((visits + self.c_base + 1) / self.c_base)
        exploration = (c * np.sqrt(visits)).astype(np.float32)
        fpu = np.float32(self.fpu_reduction)

        def select(remaining: NDArray[np.int32], rows: Rows) -> int:
            return kernels.puct(*tree[:3], self.leaves, remaining, *rows[:2], exploration, fpu)

        oldest = yield from grow(game, tree, select, self.simulations, self.leaves, self.proofs)
        value, visits, action_value = root_statistics(tree)
        undominated = undominated_actions(tree)
        counts = np.where(undominated, visits, 0)
        # If all visited actions are refuted, the unvisited ones are equally likely.
        counts = np.where(counts.any(axis=1, keepdims=True), counts, undominated)
        lower, upper = tree.nodes[:, 0]["lower"], tree.nodes[:, 0]["upper"]
        return SearchResult(
            action=sample(counts, rngs, temperature),
            policy=(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
            value=np.clip(value, lower, upper),
            visits=visits,
            action_value=action_value,
            proven=lower == upper,
            version=evaluation.version if oldest is None else min(oldest, evaluation.version),
        )

    def without_noise(self, simulations: int | None = None, leaves: int = 1) -> "PUCT":
        """The same search without Dirichlet noise. See ``types.Search``."""
        simulations = self.simulations if simulations is None else simulations
        return replace(self, simulations=simulations, leaves=leaves, dirichlet_fraction=0.0)


def sample(
    visits: NDArray[np.int32], rngs: Generators, temperature: NDArray[np.float32]
) -> NDArray[np.int64]:
    """``[B]`` actions drawn with probability ``visits ** (1 / temperature)``, normalised.

    ``visits [B, A]``, ``temperature [B]``. At temperature 0 it is the most visited action (of
    several, the first), and nothing is drawn from ``rngs``.
    """
    chances = np.zeros(len(visits))
    for i in np.flatnonzero(temperature > 0).tolist():
        chances[i] = rngs[i].random()
    return _draw(visits, chances, temperature)


@jit()
def _draw(visits, chances, temperature):
    """``[B]`` actions: the inverse cumulative distribution at ``chances [B]`` in [0, 1).

    The weights are ``visits [B, A] ** (1 / temperature [B])``, divided by the largest of them so
    that none overflows. At temperature 0 it is the first of the most visited actions.
    """
    chosen = np.empty(len(visits), np.int64)
    weights = np.empty(visits.shape[1])
    for i in range(len(visits)):
        chosen[i] = best = visits[i].argmax()
        if temperature[i] > 0:
            total = 0.0
            for action in range(len(weights)):
                share = np.log(visits[i, action] / visits[i, best]) / temperature[i]
                total += np.exp(share)
                weights[action] = total
            chosen[i] = np.searchsorted(weights, chances[i] * total, side="right")
    return chosen


def _mix_noise(tree: Tree, rngs: Generators, fraction: float, total: float) -> None:
    """Mix Dirichlet noise into the priors of all roots, drawn from each position's own generator.

    Gamma variates divided by their sum are a draw from a Dirichlet distribution.
    """
    counts = (tree.edges[:, 0]["prior"] >= 0).sum(axis=1)
    drawn = np.empty((len(counts), tree.edges.shape[2]))
    for rng, count, row in zip(rngs, counts.tolist(), drawn, strict=True):
        rng.standard_gamma(total / count, out=row[:count])
    _mix(tree.edges, drawn, fraction)


@jit()
def _mix(edges, drawn, fraction):
    """Replace every root's priors by ``(1 - fraction) * prior + fraction * noise``.

    A root of ``m`` legal actions uses the first ``m`` entries of its row of ``drawn [B, A]``,
    divided by their sum, for its legal actions in order.
    """
    for tree in range(len(edges)):
        count, total = 0, 0.0
        for action in range(edges.shape[2]):
            if edges[tree, 0, action].prior >= 0:
                total += drawn[tree, count]
                count += 1
        count = 0
        for action in range(edges.shape[2]):
            edge = edges[tree, 0, action]
            if edge.prior >= 0:
                kept = np.float32(1 - fraction) * edge.prior
                edge.prior = kept + fraction * drawn[tree, count] / total
                count += 1
