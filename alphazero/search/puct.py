"""AlphaZero's search: PUCT with Dirichlet noise at the root (Silver et al. 2018, supplement)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.ranges import HUGE, STRICT, Fraction, NotNegative, Positive, Scale
from alphazero.search import kernels
from alphazero.search.budget import start
from alphazero.search.conclusion import conclude, read_roots
from alphazero.search.reuse import begin
from alphazero.search.tree import Rows, Tree, check_look_ahead, grow, shuffle_roots
from alphazero.types import Generators, Kept, Limits, SearchSteps
from games.base import Game, States


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PUCT:
    """The constants of PUCT.

    The score of action ``a`` is ``Q(a) + c(N) * P(a) * sqrt(N) / (1 + n(a))`` with
    ``c(N) = c_puct + log((N + c_base + 1) / c_base)``. ``n(a)`` counts the action's visits, ``N``
    those of the node, including its own evaluation.
    """

    kind: Literal["puct"] = "puct"
    simulations: Annotated[int, Field(ge=1, le=10**7)] = 64
    """Simulations per move. AlphaGo Zero used 1,600, AlphaZero 800; KataGo 600 to 1,000 for the
    quarter of its moves whose policies are trained on (Wu 2019, section 3.1)."""
    c_puct: Scale = 1.25
    """How strongly the prior directs the search; 1.25 in AlphaZero's pseudocode."""
    c_base: Annotated[float, Field(ge=1e-6, le=HUGE)] = 19652.0
    """Visits at which c(N) exceeds ``c_puct`` by log 2, about 0.69: more exploration in large
    searches. 19652 in AlphaZero's pseudocode."""
    fpu_reduction: NotNegative = 0.2
    """First-play urgency: the Q of an unvisited action is the node's mean value minus this times
    the square root of the visited actions' total prior. KataGo uses 0.2, and 0 at a root with
    noise (Wu 2019, section 2); here the root is no exception."""
    dirichlet_fraction: Fraction = 0.25
    """Share of Dirichlet noise in the root's prior, drawn anew for each search; 0.25 in AlphaGo
    Zero, AlphaZero and KataGo."""
    dirichlet_total: Positive = 10.0
    """The noise's alpha is this divided by the number of legal actions: about 0.3 for the 35 of
    chess, as in AlphaZero, and 1.4 for the 7 of Connect Four. KataGo's total is 10.83."""
    leaves: Annotated[int, Field(ge=1, le=2**16)] = 1
    """Leaves evaluated at once per tree; virtual losses make their paths differ."""
    forced_playouts: NotNegative = 0.0
    """Forced playouts and policy target pruning (Wu 2019, section 3.2): at a root with noise, a
    visited action is searched until it has the square root of this times its prior times all visits
    of actions; the visits that it would not have had otherwise are left out of the policy target
    and of the counts that the move is drawn from. An action left with one visit loses it, even
    where none was taken from it. More good moves are found by noise, and bad ones are neither
    learned nor played. KataGo uses 2. The default, 0, is AlphaZero's rule: the gain in small games
    is not measured."""
    proofs: bool = True
    """Propagate proven results from finished games upwards in the tree (MCTS-Solver)."""
    look_ahead: bool = False
    """Before a position is evaluated, and at the root, play each legal move. If one of them wins at
    once, the position counts as won and is not evaluated; at the root, that move is played. Without
    this a search overlooks a winning move whose prior is nearly 0. It costs little where the rules
    are compiled, and much in games of other libraries (docs/decisions/0055). Needs ``proofs``. An
    agent plays with the setting of its training."""

    def __post_init__(self) -> None:
        check_look_ahead(self.look_ahead, self.proofs)

    def __call__(
        self,
        game: Game,
        states: States,
        rngs: Generators,
        temperature: NDArray[np.float32],
        limits: Limits = Limits(),
        kept: Sequence[Kept | None] | None = None,
    ) -> SearchSteps:
        """Search ``states [B]``; see ``types.Search``.

        ``limits``: simulations instead of ``self.simulations``, or seconds. ``kept``: for each
        position the tree of an earlier search. Its subtree is copied, and its root's visits count
        as simulations. At least one is made unless the result is proven.
        """
        budget = start(limits, self.simulations)
        tree = yield from begin(game, states, kept, budget.capacity)
        if self.dirichlet_fraction:
            _mix_noise(tree, rngs, self.dirichlet_fraction, self.dirichlet_total)
        # With noise all scores differ; equal visits matter at temperature 0 only.
        may_tie = (temperature == 0) | (self.dirichlet_fraction == 0)
        shuffle_roots(tree, rngs, np.flatnonzero(may_tie))
        # No node has more visits than its root.
        visits = tree.nodes["visits"][:, 0]
        exploration = self._exploration(max(budget.simulations or 0, int(visits.max())) + 2)
        fpu, forced = np.float32(self.fpu_reduction), np.float32(self._forced)

        def select(remaining: NDArray[np.int32], rows: Rows) -> int:
            nonlocal exploration
            if budget.simulations is None:
                most = int((tree.nodes["visits"][:, 0] + remaining).max()) + 1
                if most > len(exploration):
                    exploration = self._exploration(2 * most)
            return kernels.select_puct(
                tree.nodes, tree.edges, tree.raw, self.leaves, remaining, *rows[:2],
                exploration, fpu, forced,
            )  # fmt: skip

        ahead = self.look_ahead
        yield from grow(game, tree, select, budget, self.leaves, self.proofs, ahead)
        roots = read_roots(tree)
        counts = np.where(roots.undominated, roots.visits, 0)
        # If all visited actions are refuted, the unvisited ones are equally likely.
        counts = np.where(counts.any(axis=1, keepdims=True), counts, roots.undominated)
        best = kernels.best_edges(tree.nodes, tree.edges, counts, roots.action_value)
        if forced:
            counts = counts.astype(np.int32)
            kernels.prune_forced(tree.nodes, tree.edges, best, exploration, forced, counts)
        action = sample(counts, best, rngs, temperature)
        policy = (counts / counts.sum(axis=1, keepdims=True)).astype(np.float32)
        return conclude(tree, roots, action, policy, roots.value)

    def without_noise(self, simulations: int | None = None, leaves: int = 1) -> "PUCT":
        """The same search without Dirichlet noise and forced playouts. See ``types.Search``."""
        simulations = self.simulations if simulations is None else simulations
        return replace(self, simulations=simulations, leaves=leaves, dirichlet_fraction=0.0)

    @property
    def _forced(self) -> float:
        """``forced_playouts``; 0 where the root has no noise."""
        return self.forced_playouts if self.dirichlet_fraction else 0.0

    def _exploration(self, visits: int) -> NDArray[np.float32]:
        """``c(N) * sqrt(N)`` for the visits ``N`` from 0 to ``visits - 1``."""
        n = np.arange(visits)
        c = self.c_puct + np.log((n + self.c_base + 1) / self.c_base)
        return (c * np.sqrt(n)).astype(np.float32)


def sample(
    visits: NDArray[np.integer],
    best: NDArray[np.int64],
    rngs: Generators,
    temperature: NDArray[np.float32],
) -> NDArray[np.int64]:
    """``[B]`` actions drawn with probability ``visits ** (1 / temperature)``, normalised.

    ``visits [B, A]``, ``temperature [B]``. At temperature 0 it is ``best [B]``, one of each row's
    most visited actions, and nothing is drawn from ``rngs``.
    """
    chances, chosen = np.zeros(len(visits)), best.copy()
    for i in np.flatnonzero(temperature > 0).tolist():
        chances[i] = rngs[i].random()
    kernels.draw(visits, chances, temperature, chosen)
    return chosen


def _mix_noise(tree: Tree, rngs: Generators, fraction: float, total: float) -> None:
    """Mix Dirichlet noise into the priors of all roots, drawn from each position's own generator.

    Gamma variates divided by their sum are a draw from a Dirichlet distribution.
    """
    counts = tree.nodes["count"][:, 0]
    drawn = np.empty((len(counts), int(counts.max())))
    for rng, count, row in zip(rngs, counts.tolist(), drawn, strict=True):
        rng.standard_gamma(total / count, out=row[:count])
    kernels.mix_noise(tree.nodes, tree.edges, drawn, fraction)
