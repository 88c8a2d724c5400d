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
from alphazero.search.tree import Rows, choosable, grow, plant, root_statistics
from alphazero.types import Generators, SearchResult, SearchSteps
from games.base import Game, States

BEHIND = np.float32(1e4)
"""Taken off the scores of actions that are not considered: their turn comes when proofs have
refuted all that are."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Gumbel:
    """Constants. ``sigma(q) = (visit_offset + max n) * value_scale * q`` with q in [-1, 1].

    The paper's min-max rescaling of q is for games of unknown reward range; it would magnify mere
    noise wherever all actions are worth about the same.
    """

    kind: Literal["gumbel"] = "gumbel"
    simulations: Annotated[int, Field(ge=2)] = 32
    max_considered_actions: Annotated[int, Field(ge=2)] = 16
    visit_offset: Positive = 50.0
    value_scale: Positive = 0.1
    leaves: Annotated[int, Field(ge=1)] = 1
    """Leaves a tree evaluates at once, kept apart by virtual losses."""
    proofs: bool = True
    """Conclude from finished games what is certain of the positions before them."""

    def __call__(
        self, game: Game, states: States, rngs: Generators, temperature: NDArray[np.float32]
    ) -> SearchSteps:
        evaluation = yield states
        tree = plant(game, states, evaluation, self.simulations)
        legal = tree.edges[:, 0]["prior"] >= 0
        logits = np.where(legal, evaluation.logits, -np.inf).astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        scores = logits + _noise(rngs, temperature, game.num_actions)
        considered = np.minimum(legal.sum(axis=1), self.max_considered_actions)
        if game.num_actions > self.max_considered_actions:
            scores[_rank_descending(scores) >= considered[:, None]] -= BEHIND
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
        open_to_choice = choosable(tree)
        policy = _softmax(np.where(open_to_choice, logits + bonus, -np.inf))
        completed = bonus / ((offset + visits.max(axis=1, keepdims=True)) * scale)
        counted = np.where(open_to_choice, visits, -1)
        finalists = counted == counted.max(axis=1, keepdims=True)
        # The mean over all simulations would count the actions that halving tried and dropped.
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

    def for_play(self, simulations: int | None = None, leaves: int = 1) -> "Gumbel":
        return replace(self, simulations=simulations or self.simulations, leaves=leaves)


def _noise(rngs: Generators, temperature: NDArray[np.float32], actions: int) -> NDArray[np.float32]:
    """``-log(-log(u))`` for each root action, times the temperature; each game draws its own."""
    uniform = np.full((len(rngs), actions), 0.5)
    warm = np.flatnonzero(temperature > 0)
    for i in warm.tolist():
        rngs[i].random(out=uniform[i])
    noise = -np.log(-np.log1p(-np.maximum(uniform, np.finfo(float).tiny)))
    return np.where(temperature[:, None] > 0, temperature[:, None] * noise, 0).astype(np.float32)


def _rank_descending(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.argsort(order, axis=1, kind="stable")


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@lru_cache(maxsize=64)
def _halving_schedules(actions: int, simulations: int) -> NDArray[np.int32]:
    """``[actions + 1, simulations, 2]``: ``_halving_schedule`` of each number of actions."""
    return np.stack([_halving_schedule(max(1, m), simulations) for m in range(actions + 1)])


def _halving_schedule(considered: int, simulations: int) -> NDArray[np.int32]:
    """``[simulations, 2]``: the visits that the next action to search must already have, and 1
    where that choice drops actions.

    Sequential halving over ``considered`` actions: each phase gives every survivor the same number
    of visits, then the worse half drops out (the paper's figure 1).
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
