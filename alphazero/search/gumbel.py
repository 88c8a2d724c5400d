"""Gumbel AlphaZero's search (Danihelka et al. 2022, "Policy improvement by planning with Gumbel").

Root actions are sampled without replacement with the Gumbel-top-k trick and searched by
sequential halving; the improved policy from completed Q values is the training target.
"""

from dataclasses import replace
from functools import lru_cache
from math import ceil, log2
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from alphazero.nn.settings import STRICT, Positive
from alphazero.search import kernels
from alphazero.search.tree import Rows, grow, init_trees, root_statistics, undominated_actions
from alphazero.types import Generators, SearchResult, SearchSteps
from games.base import Game, States

NOT_CONSIDERED = np.float32(1e4)
"""Subtracted from the scores of actions outside the first ``max_considered_actions``, so that they
are searched only after proofs have refuted all the others."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gumbel:
    """The algorithm's constants: ``sigma(q) = (visit_offset + max n) * value_scale * q``.

    ``q`` is in [-1, 1] and is used as it is. The paper's min-max rescaling of q is meant for games
    whose range of rewards is unknown; it would magnify noise where all actions have about the same
    value.
    """

    kind: Literal["gumbel"] = "gumbel"
    simulations: Annotated[int, Field(ge=2)] = 32
    """Simulations per move; the algorithm improves the policy with as few as 2."""
    max_considered_actions: Annotated[int, Field(ge=2)] = 16
    """Number of root actions with which sequential halving begins; mctx's default is 16, too."""
    visit_offset: Positive = 50.0
    """The paper's ``c_visit``, which is 50 there and in mctx."""
    value_scale: Positive = 0.1
    """The paper's ``c_scale``: 1 in its experiments on Go, 0.1 by default in mctx, both for values
    rescaled to [0, 1]; see docs/decisions/0006."""
    leaves: Annotated[int, Field(ge=1)] = 1
    """Leaves evaluated at once per tree; virtual losses make their paths differ."""
    proofs: bool = True
    """Propagate proven results from finished games upwards in the tree (MCTS-Solver)."""

    def __call__(
        self, game: Game, states: States, rngs: Generators, temperature: NDArray[np.float32]
    ) -> SearchSteps:
        evaluation = yield states
        tree = init_trees(game, states, evaluation, self.simulations)
        legal = tree.edges[:, 0]["prior"] >= 0
        logits = np.where(legal, evaluation.logits, -np.inf).astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        scores = logits + _noise(rngs, temperature, game.num_actions)
        considered = np.minimum(legal.sum(axis=1), self.max_considered_actions)
        if game.num_actions > self.max_considered_actions:
            scores[_rank_descending(scores) >= considered[:, None]] -= NOT_CONSIDERED
        schedule = _halving_schedules(game.num_actions, self.simulations)
        offset, scale = np.float32(self.visit_offset), np.float32(self.value_scale)

        def select(remaining: NDArray[np.int32], rows: Rows) -> int:
            return kernels.gumbel(
                *tree[:3], self.leaves, remaining, *rows[:2],
                scores, considered, schedule, offset, scale,
            )  # fmt: skip

        oldest = yield from grow(game, tree, select, self.simulations, self.leaves, self.proofs)
        _, visits, action_value = root_statistics(tree)
        bonus = kernels.completed_root_values(*tree[:2], offset, scale)
        undominated = undominated_actions(tree)
        policy = _softmax(np.where(undominated, logits + bonus, -np.inf))
        completed = bonus / ((offset + visits.max(axis=1, keepdims=True)) * scale)
        counted = np.where(undominated, visits, -1)
        finalists = counted == counted.max(axis=1, keepdims=True)
        # The value of the improved policy: the mean over all simulations would include those of
        # actions that halving has dropped.
        value = np.where(legal, policy * completed, 0).sum(axis=1)
        lower, upper = tree.nodes[:, 0]["lower"], tree.nodes[:, 0]["upper"]
        return SearchResult(
            action=np.where(finalists, scores + bonus, -np.inf).argmax(axis=1),
            policy=policy,
            value=np.clip(value, lower, upper),
            visits=visits,
            action_value=action_value,
            proven=lower == upper,
            version=evaluation.version if oldest is None else min(oldest, evaluation.version),
        )

    def without_noise(self, simulations: int | None = None, leaves: int = 1) -> "Gumbel":
        """The same search; its noise vanishes at temperature 0. See ``types.Search``."""
        simulations = self.simulations if simulations is None else simulations
        return replace(self, simulations=simulations, leaves=leaves)


def _noise(rngs: Generators, temperature: NDArray[np.float32], actions: int) -> NDArray[np.float32]:
    """``float32[B, A]``: Gumbel noise ``-log(-log(u))`` times the temperature.

    Each position's noise is drawn from its own generator; at temperature 0 nothing is drawn.
    """
    uniform = np.full((len(rngs), actions), 0.5)
    for i in np.flatnonzero(temperature > 0).tolist():
        rngs[i].random(out=uniform[i])
    noise = -np.log(-np.log1p(-np.maximum(uniform, np.finfo(float).tiny)))
    return np.where(temperature[:, None] > 0, temperature[:, None] * noise, 0).astype(np.float32)


def _rank_descending(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """``[B, A]``: 0 for the highest score of each row, 1 for the next one, and so on."""
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@lru_cache(maxsize=64)
def _halving_schedules(actions: int, simulations: int) -> NDArray[np.int32]:
    """``[actions + 1, simulations, 2]``: row ``m`` is the schedule for ``m`` considered actions."""
    return np.stack([_halving_schedule(max(1, m), simulations) for m in range(actions + 1)])


def _halving_schedule(considered: int, simulations: int) -> NDArray[np.int32]:
    """The schedule of sequential halving, ``[simulations, 2]``: one row per simulation.

    The first number is how many visits the next action must have so far: the best of the actions
    with so many visits is searched. The second is 1 if this choice drops the worse half, else 0.

    Sequential halving (the paper's figure 1) has ``ceil(log2(considered))`` phases of about equally
    many simulations. A phase visits its actions in turns; the better half of them enters the next
    one.

    Example: 4 considered actions, 16 simulations. There are 2 phases of 8 simulations: the first
    visits each of the 4 actions twice, the second visits each of the best 2 four times.

        visits  0 0 0 0 1 1 1 1   2 2 3 3 4 4 5 5
        drops   0 0 0 0 0 0 0 0   1 0 0 0 0 0 0 0

    Each of the four 0s selects an action without visits, so that each action is visited once. At
    the first 2, all four actions have 2 visits; the best of them is searched, then the best of the
    other three. From then on only these two get 3 visits and more: the first 2 is the choice that
    drops the worse half. In the end the visits are 6, 6, 2, 2.
    """
    if considered <= 1:
        return np.stack([np.arange(simulations), np.zeros(simulations)], axis=1).astype(np.int32)
    phases, survivors = ceil(log2(considered)), considered
    visits, sequence, narrowing = [0] * considered, [], []
    while len(sequence) < simulations:
        if survivors < len(visits):
            narrowing.append(len(sequence))
        for _ in range(max(1, simulations // (phases * survivors))):
            sequence.extend(visits[:survivors])
            visits = [count + 1 for count in visits[:survivors]]
        survivors = max(2, survivors // 2)
    schedule = np.zeros((len(sequence), 2), np.int32)
    schedule[:, 0] = sequence
    schedule[narrowing, 1] = 1
    return schedule[:simulations]
