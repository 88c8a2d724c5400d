"""Elo: the ratings of players from the points that they scored against each other."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphazero.judging.mistakes import CONFIDENCE, wilson

ELO = 400 / math.log(10)
"""Elo points per unit of log-odds: a score of 75 %, log-odds ln 3, is 190.8 Elo."""
NEWTON_STEPS = 100
"""An upper bound on the steps of Newton's method, which ends sooner where a step is tiny."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One player's results. ``score`` is the share of points, a draw being half of one.

    With two players ``elo`` is the difference to the other; with more, all are on one scale whose
    mean is 0. ``elo_low`` and ``elo_high`` bound a 95 % interval; None is an open bound, such as
    the upper one of a player who won every game.
    """

    name: str
    wins: int
    draws: int
    losses: int
    score: float
    elo: float
    elo_low: float | None
    elo_high: float | None


def rank(
    names: Sequence[str],
    pairs: Sequence[tuple[int, int]],
    results: Sequence[NDArray[np.int8]],
    distinct: Sequence[int],
) -> tuple[Standing, ...]:
    """The table of a tournament; ``results[k]`` are for the first player of ``pairs[k]``.

    ``distinct[k]`` is the number of different games of that pair.
    """
    wins, draws, different = np.zeros((3, len(names), len(names)))
    for (one, two), result, number in zip(pairs, results, distinct, strict=True):
        different[one, two] = different[two, one] = number
        wins[one, two], wins[two, one] = (result > 0).sum(), (result < 0).sum()
        draws[one, two] = draws[two, one] = (result == 0).sum()
    won, drawn, lost = (table.sum(axis=1).astype(int).tolist() for table in (wins, draws, wins.T))
    points = wins + draws / 2
    return tuple(
        Standing(name, won[i], drawn[i], lost[i], _share(points)[i], *rating)
        for i, (name, rating) in enumerate(zip(names, elo(points, different), strict=True))
    )


def elo(
    points: NDArray[np.float64], distinct: NDArray[np.float64] | None = None
) -> list[tuple[float, float | None, float | None]]:
    """Each player's rating and its 95 % bounds; ``points[i, j]`` is what i scored against j.

    ``distinct[i, j]`` is the number of different games between them, by default all. A game that is
    played again adds nothing to what is known: the bounds are those of so many games with the same
    score. Example: 60 points of 100 games, of which 2 are different, have the bounds of 1.2 of 2.

    Maximum likelihood under the model of Bradley and Terry (1952, *Biometrika* 39, 324-345): the
    expected score of i against j is ``1 / (1 + exp(s_j - s_i))``, Elo is ``ELO * s``, and a draw is
    half a win and half a loss. Two players' bounds come from the Wilson interval of the score, more
    players' from the Fisher information. ``Standing`` explains the scale and None.
    """
    distinct = points + points.T if distinct is None else distinct
    total, share = distinct.sum(axis=1), _share(points)
    strength, covariance = bradley_terry(points, distinct)
    if len(points) == 2:
        bounds = [wilson(share[i] * total[i], total[i]) for i in (0, 1)]
        intervals = [(_log_odds(low), _log_odds(high)) for low, high in bounds]
        strength = strength - strength[::-1]
    else:
        radius = CONFIDENCE * np.sqrt(covariance.diagonal())
        intervals = zip(strength - radius, strength + radius, strict=True)
    return [
        (
            ELO * float(strength[i]),
            ELO * float(low) if share[i] > 0 else None,
            ELO * float(high) if share[i] < 1 else None,
        )
        for i, (low, high) in enumerate(intervals)
    ]


def expected_score(elo: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The expected share of the points of a player who is ``elo`` points stronger."""
    return 1 / (1 + np.exp(-np.asarray(elo) / ELO))


def root(falling: Callable[[float], float], low: float, high: float) -> float:
    """The zero of a falling function between two ends, by 60 bisections."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _share(points: NDArray[np.float64]) -> list[float]:
    """Each player's points as a share of the points in its games."""
    return (points.sum(axis=1) / (points + points.T).sum(axis=1)).tolist()


def _log_odds(share: float) -> float:
    """``ln(share / (1 - share))``; infinite at 0 and 1."""
    return math.log(share / (1 - share)) if 0 < share < 1 else math.copysign(math.inf, share - 0.5)


def _strongly_connected(scored: NDArray[np.bool_]) -> bool:
    """Whether a chain of points leads from every player to every other (Ford 1957).

    ``scored[i, j]``: i scored against j. Squaring the matrix doubles the length of the chains.
    """
    reach = scored | np.eye(len(scored), dtype=bool)
    for _ in range(len(scored)):
        reach = reach @ reach
    return bool(reach.all())


def bradley_terry(
    points: NDArray[np.float64], distinct: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The most likely strengths ``[n]`` (log-odds, mean 0) and their covariance ``[n, n]``.

    ``distinct[i, j]`` games between two players count for the covariance, by default all of them.
    Newton's method. The likelihood has one maximum where a chain of points leads from every player
    to every other; where none does, one imagined draw is added for every pair that met. Example: 40
    wins of 40 become 40.5 points of 41, log-odds ln 81, instead of an infinite difference.
    """
    games = points + points.T
    distinct = games if distinct is None else distinct
    if not _strongly_connected(points > 0):
        imagined = 1.0 * (games > 0)
        points, games, distinct = points + imagined / 2, games + imagined, distinct + imagined
    strength = np.zeros(len(points))
    for _ in range(NEWTON_STEPS):
        expected, covariance = _bradley_terry_model(games, strength)
        step = covariance @ (points - games * expected).sum(axis=1)
        # A step of more than one unit leaves the region in which the quadratic model holds.
        strength = strength + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-12:
            break
    _, covariance = _bradley_terry_model(distinct, strength)
    return strength, covariance


def _bradley_terry_model(
    games: NDArray[np.float64], strength: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``expected[i, j]``, i's expected share of the points against j, and the covariance.

    The covariance is the inverse of the Fisher information, in which a game of i against j has the
    weight ``p * (1 - p)``.
    """
    expected = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    weight = games * expected * expected.T
    information = np.diag(weight.sum(axis=1)) - weight
    # Only differences are known: the pseudo-inverse keeps the mean at 0.
    return expected, np.linalg.pinv(information, hermitian=True).astype(np.float64)


def count_games(games: int, distinct: int) -> str:
    """The number of games in words, and how many of them are different where not all are."""
    words = f"{games:,} game" + "s" * (games != 1)
    return words if distinct == games else f"{words}, {distinct:,} different"
