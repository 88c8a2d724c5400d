"""AlphaZero's search: PUCT with Dirichlet noise at the root (Silver et al. 2018, methods)."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.nn.settings import STRICT, Fraction, Positive
from alphazero.search import kernels
from alphazero.search.tree import Round, Tree, grow, plant, root_statistics
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
        fpu, virtual = np.float32(self.fpu_reduction), self.leaves > 1

        def select(tree: Tree, round_: Round) -> int:
            return kernels.puct(tree.nodes, tree.edges, *round_[:5], exploration, fpu, virtual)

        oldest = yield from grow(game, tree, select, self.simulations, self.leaves)
        value, counts, action_value = root_statistics(tree)
        return SearchResult(
            action=sample(counts, rngs, temperature),
            policy=(counts / counts.sum(axis=1, keepdims=True)).astype(np.float32),
            value=value,
            visits=counts,
            action_value=action_value,
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
    chosen = visits.argmax(axis=1)
    for i in np.flatnonzero(temperature > 0).tolist():
        with np.errstate(divide="ignore"):
            logits = np.log(visits[i] / visits[i].max()) / temperature[i]
        weights = np.cumsum(np.exp(logits))
        chosen[i] = np.searchsorted(weights, rngs[i].random() * weights[-1], side="right")
    return chosen


def _mix_noise(tree: Tree, rngs: Generators, fraction: float, total: float) -> None:
    prior = tree.edges[:, 0]["prior"]
    for i, rng in enumerate(rngs):
        legal = np.flatnonzero(prior[i] >= 0)
        noise = rng.dirichlet(np.full(len(legal), total / len(legal)))
        prior[i, legal] = (1 - fraction) * prior[i, legal] + fraction * noise
