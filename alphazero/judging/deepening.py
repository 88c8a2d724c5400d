"""Minimax within a time: depth after depth."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from games.base import Game, States
from games.solvers import minimax as exact


class _OutOfTime(Exception):
    """The time of a search by depth is over."""


def deepen(
    game: Game,
    states: States,
    depth: int,
    heuristic: exact.Heuristic,
    seconds: float,
    now: Callable[[], float] = time.monotonic,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``minimax.search`` of ``states [B]`` at the largest depth that ``seconds`` allow.

    Depth 1, 2 and so on up to ``depth``; a depth that is not completed in time is dropped, and
    depth 1 is always completed. It ends sooner where all games end within the depth: a greater
    depth would show nothing new.
    """
    end = now() + seconds
    cut = False

    def in_time(unfinished: States) -> NDArray[np.float32]:
        nonlocal cut
        cut = True
        if now() > end:
            raise _OutOfTime
        return heuristic(unfinished)

    result = exact.search(game, states, 1, heuristic)
    for plies in range(2, depth + 1):
        cut = False
        try:
            result = exact.search(game, states, plies, in_time)
        except _OutOfTime:
            break
        if not cut:
            break
    return result
