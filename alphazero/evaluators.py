"""Evaluators without a network; the one with a network is in ``alphazero.inference``."""

import time
from collections.abc import Callable
from itertools import count

import numpy as np

from alphazero.types import Evaluation, Evaluator
from games.base import Game, States


def uniform(game: Game) -> Evaluator:
    """An evaluator without any knowledge: equal logits and value 0.

    Its answers share the memory of their logits, which takes long to clear where there are
    thousands of actions: they must not be written to.
    """
    zeros = np.zeros((0, game.num_actions), np.float32)

    def evaluate(states: States) -> Evaluation:
        nonlocal zeros
        batch = len(states)
        if batch > len(zeros):
            zeros = np.zeros((batch, game.num_actions), np.float32)
        return Evaluation(zeros[:batch], np.zeros(batch, np.float32))

    return evaluate


def rollout(
    game: Game,
    rng: np.random.Generator,
    seconds: float | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Evaluator:
    """An evaluator by random games: equal logits, and the result of one playout as the value.

    Games that are not over ``seconds`` after a call began are adjudicated.
    """

    def evaluate(states: States) -> Evaluation:
        batch = len(states)
        logits = np.zeros((batch, game.num_actions), np.float32)
        end = None if seconds is None else now() + seconds
        in_time = (lambda: True) if end is None else (lambda: now() < end)
        return Evaluation(logits, playout(game, states, rng, in_time))

    return evaluate


def playout(
    game: Game,
    states: States,
    rng: np.random.Generator,
    in_time: Callable[[], bool] = lambda: True,
) -> np.ndarray:
    """``float32[B]``: the result of one uniformly random game from each state, for its mover.

    A state does not say how many plies led to it, so a game goes on for at most ``max_plies``
    further plies; after these it gets the result of ``game.adjudicate``, and also once ``in_time``,
    which is called before each ply, returns False.
    """
    mover, states = game.to_move(states), states.copy()
    value, active = np.zeros(len(states), np.float32), np.arange(len(states))
    for plies in count():
        result = game.result(states, plies if in_time() else game.max_plies)
        over = ~np.isnan(result)
        same = game.to_move(states[over]) == mover[active[over]]
        value[active[over]] = np.where(same, result[over], -result[over])
        active, states = active[~over], states[~over]
        if not len(active):
            break
        states = game.step(states, random_actions(game.legal(states), rng))
    return value


def random_actions(legal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``int64[B]``: one legal action of each row of ``legal [B, A]``, all equally likely.

    0 in a row without any.
    """
    # The legal actions of all rows in one list: of thousands of actions few are legal.
    listed, counts = np.flatnonzero(legal), np.count_nonzero(legal, axis=1)
    chosen = np.cumsum(counts) - counts + (rng.random(len(legal)) * counts).astype(np.int64)
    return np.where(counts > 0, np.append(listed, 0)[chosen] % legal.shape[1], 0)
