"""Gumbel AlphaZero's search (Danihelka et al. 2022, "Policy improvement by planning with Gumbel").

Root actions are sampled without replacement with the Gumbel-top-k trick and searched by
sequential halving; the improved policy from completed Q values is the training target.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.ranges import STRICT, Scale
from alphazero.search import halving, kernels
from alphazero.search.budget import Budget, clock, start
from alphazero.search.conclusion import conclude, read_roots
from alphazero.search.tree import (
    LARGEST,
    Rows,
    Tree,
    check_look_ahead,
    grow,
    init_trees,
    shuffle_roots,
)
from alphazero.types import Evaluation, Generators, Limits, SearchResult, SearchSteps
from games.base import Game, States

NOT_CONSIDERED = np.float32(1e4)
"""Subtracted from the scores of actions outside the first ``max_considered_actions``, so that they
are searched only after proofs have refuted all the others."""

PILOT = 32
"""Simulations per tree from which a search with a time limit estimates how many it has time for."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gumbel:
    """The algorithm's constants: ``sigma(q) = (visit_offset + max n) * value_scale * q``.

    ``q`` is in [-1, 1] and is used as it is. The paper's min-max rescaling of q is meant for games
    whose range of rewards is unknown; it would magnify noise where all actions have about the same
    value.
    """

    kind: Literal["gumbel"] = "gumbel"
    simulations: Annotated[int, Field(ge=2, le=10**7)] = 32
    """Simulations per move; the algorithm improves the policy with as few as 2."""
    max_considered_actions: Annotated[int, Field(ge=2, le=2**31 - 1)] = 16
    """Number of root actions with which sequential halving begins; mctx's default is 16, too."""
    visit_offset: Scale = 50.0
    """The paper's ``c_visit``, which is 50 there and in mctx."""
    value_scale: Scale = 0.1
    """The paper's ``c_scale``: 1 in its experiments on Go, 0.1 by default in mctx, both for values
    rescaled to [0, 1]; see docs/decisions/0006."""
    leaves: Annotated[int, Field(ge=1, le=2**16)] = 1
    """Leaves evaluated at once per tree; virtual losses make their paths differ."""
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
    ) -> SearchSteps:
        """Search ``states [B]``; see ``types.Search``.

        ``limits``: simulations instead of ``self.simulations``, or seconds. Sequential halving must
        know the number of simulations before it begins. So a search of ``PILOT`` simulations
        measures their rate first; then the trees are begun anew, with as many simulations as fit
        into the rest of the time, and end early where the time is over before. The pilot's
        positions are searched again: an evaluation cache answers those.

        There is no ``kept`` tree. The schedule of halving counts the visits of the root's actions
        from 0: the visits of an earlier search, which are not equal among the actions that are
        considered now, would decide which of them are dropped.
        """
        budget = start(limits, self.simulations)
        evaluation = yield states
        began, simulations = clock(), budget.simulations
        tree = init_trees(game, states, evaluation, budget.capacity)
        cold = np.flatnonzero(temperature == 0)  # elsewhere the noise makes all scores different
        shuffle_roots(tree, rngs, cold)
        root = self._root(tree, evaluation, game.legal(states), rngs, temperature)
        if budget.deadline is not None:
            pilot = budget._replace(simulations=min(simulations or PILOT, PILOT))
            yield from self._grow(game, tree, root, pilot)
            fitting = _fitting(tree, budget.deadline - clock(), clock() - began)
            simulations = min(simulations or fitting, fitting)
            if simulations <= PILOT or (budget.watch is not None and budget.watch(tree)):
                return self._conclude(tree, root)
            tree = init_trees(game, states, evaluation, budget.capacity)
            shuffle_roots(tree, rngs, cold)
        yield from self._grow(game, tree, root, budget._replace(simulations=simulations))
        return self._conclude(tree, root)

    def without_noise(self, simulations: int | None = None, leaves: int = 1) -> "Gumbel":
        """The same search; its noise vanishes at temperature 0. See ``types.Search``."""
        simulations = self.simulations if simulations is None else simulations
        return replace(self, simulations=simulations, leaves=leaves)

    def _root(
        self,
        tree: Tree,
        evaluation: Evaluation,
        legal: NDArray[np.bool_],
        rngs: Generators,
        temperature: NDArray[np.float32],
    ) -> "_Root":
        """The roots' logits and scores, with the noise drawn; ``legal [B, A]``."""
        logits = np.where(legal, evaluation.logits, -np.inf).astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        scores = logits + _noise(rngs, temperature, legal)
        considered = np.minimum(legal.sum(axis=1), self.max_considered_actions)
        if legal.shape[1] > self.max_considered_actions:
            _postpone(tree, scores, considered)
        return _Root(logits, scores, considered)

    def _grow(
        self, game: Game, tree: Tree, root: "_Root", budget: Budget
    ) -> Generator[States, Evaluation, None]:
        """Grow fresh trees by ``budget.simulations``, fewer at the deadline."""
        schedules, which = halving.schedules(root.considered, budget.simulations or 0)
        offset, scale = np.float32(self.visit_offset), np.float32(self.value_scale)

        def select(remaining: NDArray[np.int32], rows: Rows) -> int:
            return kernels.select_gumbel(
                tree.nodes, tree.edges, tree.raw, self.leaves, remaining, *rows[:2],
                root.scores, schedules, which, offset, scale,
            )  # fmt: skip

        ahead = self.look_ahead
        yield from grow(game, tree, select, budget, self.leaves, self.proofs, ahead)

    def _conclude(self, tree: Tree, root: "_Root") -> SearchResult:
        """The action, the improved policy and its value."""
        roots = read_roots(tree)
        offset, scale = np.float32(self.visit_offset), np.float32(self.value_scale)
        actions = root.logits.shape[1]
        bonus = kernels.completed_root_values(tree.nodes, tree.edges, actions, offset, scale)
        policy = _softmax(np.where(roots.undominated, root.logits + bonus, -np.inf))
        completed = bonus / ((offset + roots.visits.max(axis=1, keepdims=True)) * scale)
        counted = np.where(roots.undominated, roots.visits, -1)
        action = kernels.best_edges(tree.nodes, tree.edges, counted, root.scores + bonus)
        # The value of the improved policy: the mean over all simulations would include those of
        # actions that halving has dropped.
        value = np.where(roots.legal, policy * completed, 0).sum(axis=1)
        return conclude(tree, roots, action, policy, value)


class _Root(NamedTuple):
    """The roots of a batch: ``logits, scores [B, A]``, ``considered [B]``."""

    logits: NDArray[np.float32]
    """The evaluator's, less the highest of each row; -inf where illegal."""
    scores: NDArray[np.float32]
    """The logits with Gumbel noise."""
    considered: NDArray[np.integer]
    """The number of actions with which the halving begins."""


def _fitting(tree: Tree, left: float, spent: float) -> int:
    """How many simulations per tree fit into ``left`` seconds and into ``LARGEST`` bytes.

    The trees have taken ``spent`` seconds. Example: 32 simulations took 0.1 s, 0.9 s are left, and
    their trees have 64 KB: 288 fit.
    """
    done = max(1, int((tree.nodes["visits"][:, 0] - 1).max()))
    return int(min(done * left / max(spent, 1e-6), done * LARGEST / tree.used_bytes))


def _postpone(tree: Tree, scores: NDArray[np.float32], considered: NDArray[np.integer]) -> None:
    """Subtract ``NOT_CONSIDERED`` from all but the ``considered [B]`` highest ``scores [B, A]``.

    Of equal scores the first ones in the random order of the root's edges are considered.
    """
    first, count = (tree.nodes[name][:, 0].tolist() for name in ("first", "count"))
    for row, number, begin, length in zip(scores, considered.tolist(), first, count, strict=True):
        legal = tree.edges["action"][begin : begin + length]
        order = np.argsort(-row[legal], kind="stable")
        row[legal[order[number:]]] -= NOT_CONSIDERED


def _noise(
    rngs: Generators, temperature: NDArray[np.float32], legal: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """``float32[B, A]``: Gumbel noise ``-log(-log(u))`` times the temperature, 0 where illegal.

    Each position's noise is drawn from its own generator, for all actions; at temperature 0 nothing
    is drawn.
    """
    noise, warm = np.zeros(legal.shape, np.float32), np.flatnonzero(temperature > 0)
    if len(warm):
        uniform, legal = np.empty((len(warm), legal.shape[1])), legal[warm]
        for row, i in zip(uniform, warm.tolist(), strict=True):
            rngs[i].random(out=row)
        drawn = -np.log(-np.log1p(-np.maximum(uniform[legal], np.finfo(float).tiny)))
        scaled = np.zeros(legal.shape, np.float32)
        scaled[legal] = np.repeat(temperature[warm], legal.sum(axis=1)) * drawn
        noise[warm] = scaled
    return noise


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)
