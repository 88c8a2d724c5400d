"""AlphaZero's search: PUCT with Dirichlet noise at the root (Silver et al. 2018, methods)."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.nn.settings import STRICT, Fraction, Positive
from alphazero.search import kernels
from alphazero.search.softmax import jit
from alphazero.search.tree import Rows, Tree, choosable, grow, plant, root_statistics
from alphazero.types import Generators, SearchResult, SearchSteps
from games.base import Game, States


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PUCT:
    """Constants of PUCT. An action's score in a node of ``N`` visits, the node's own included, is

    ``Q(a) + c(N) * P(a) * sqrt(N) / (1 + n(a))`` with
    ``c(N) = c_puct + log((N + c_base + 1) / c_base)``.
    """

    kind: Literal["puct"] = "puct"
    simulations: Annotated[int, Field(ge=1)] = 64
    c_puct: Positive = 1.25
    c_base: Positive = 19652.0
    fpu_reduction: Annotated[float, Field(ge=0)] = 0.2
    """First-play urgency: an unvisited action counts as the node's mean value minus this times
    the square root of the prior mass already visited (Wu 2019, section 3)."""
    dirichlet_fraction: Fraction = 0.25
    """Share of noise in the root's prior; drawn anew for each search."""
    dirichlet_total: Positive = 10.0
    """The noise's alpha is this divided by the number of legal actions: 0.28 at chess's 35, as
    in AlphaZero, 1.4 at Connect Four's 7."""
    leaves: Annotated[int, Field(ge=1)] = 1
    """Leaves a tree evaluates at once, kept apart by virtual losses."""
    proofs: bool = True
    """Conclude from finished games what is certain of the positions before them."""

    def __call__(
        self, game: Game, states: States, rngs: Generators, temperature: NDArray[np.float32]
    ) -> SearchSteps:
        evaluation = yield states
        tree = plant(game, states, evaluation, self.simulations)
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
        open_to_choice = choosable(tree)
        counts = np.where(open_to_choice, visits, 0)
        # All that was searched may be refuted while something else is left.
        counts = np.where(counts.any(axis=1, keepdims=True), counts, open_to_choice)
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

    def for_play(self, simulations: int | None = None, leaves: int = 1) -> "PUCT":
        simulations = simulations or self.simulations
        return replace(self, simulations=simulations, leaves=leaves, dirichlet_fraction=0.0)


def sample(
    visits: NDArray[np.int32], rngs: Generators, temperature: NDArray[np.float32]
) -> NDArray[np.int64]:
    """``[B]`` actions drawn with probability ``visits ** (1 / temperature)``, normalised.

    Where the temperature is 0: the most visited, the first of equals.
    """
    chances = np.zeros(len(visits))
    for i in np.flatnonzero(temperature > 0).tolist():
        chances[i] = rngs[i].random()
    return _draw(visits, chances, temperature)


@jit()
def _draw(visits, chances, temperature):
    """``[B]`` actions: where ``chances [B]`` in [0, 1) fall among the cumulated
    ``visits [B, A] ** (1 / temperature [B])``; at temperature 0 the first of the most visited."""
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
    """Dirichlet noise as normalised gamma variates, of which each game draws its own."""
    counts = (tree.edges[:, 0]["prior"] >= 0).sum(axis=1)
    drawn = np.empty((len(counts), tree.edges.shape[2]))
    for rng, count, row in zip(rngs, counts.tolist(), drawn, strict=True):
        rng.standard_gamma(total / count, out=row[:count])
    _mix(tree.edges, drawn, fraction)


@jit()
def _mix(edges, drawn, fraction):
    """Mix ``fraction`` of noise into every root's prior: the first of ``drawn [B, A]``, normalised.

    As many as there are legal actions, in their order.
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
