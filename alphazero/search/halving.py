"""Sequential halving: how a search's simulations are shared among the root's actions."""

from functools import lru_cache
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

LONGEST_KEPT = 10_000
"""Simulations of the longest schedules that are kept for later searches. Others are computed again:
they would take too much memory."""


def schedules(
    considered: NDArray[np.integer], simulations: int
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """The ``schedule`` of each tree: ``[n, simulations, 2]`` different ones, and ``[B]`` which.

    ``considered [B]``. With more actions than simulations the schedules are all alike, because
    there is one simulation for each of the first ones.
    """
    numbers, which = np.unique(np.clip(considered, 1, max(1, simulations)), return_inverse=True)
    make = schedule if simulations > LONGEST_KEPT else _kept
    return np.stack([make(number, simulations) for number in numbers.tolist()]), which


def schedule(considered: int, simulations: int) -> NDArray[np.int32]:
    """The schedule of sequential halving, ``[simulations, 2]``: one row per simulation.

    The first number is how many visits the next action must have so far: the best of the actions
    with so many visits is searched. The second is 1 if this choice drops the worse half, else 0.

    Sequential halving (figure 1 of Danihelka et al. 2022) has ``ceil(log2(considered))`` phases of
    about equally many simulations. A phase visits its actions in turns; the better half of them
    enters the next one.

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
    phases, survivors, before, done = ceil(log2(considered)), considered, considered, 0
    parts: list[NDArray[np.int32]] = []
    while sum(map(len, parts)) < simulations:
        turns = max(1, simulations // (phases * survivors))
        part = np.zeros((turns * survivors, 2), np.int32)
        part[:, 0] = np.repeat(np.arange(done, done + turns), survivors)
        part[0, 1] = survivors < before
        parts.append(part)
        done, before, survivors = done + turns, survivors, max(2, survivors // 2)
    return np.concatenate(parts)[:simulations]


_kept = lru_cache(maxsize=256)(schedule)
"""The schedules that many searches have in common, at most 21 MB."""
