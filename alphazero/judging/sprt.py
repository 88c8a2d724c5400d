"""A sequential test of two players: play until it is certain enough which difference is true.

The sequential probability ratio test (SPRT) of Wald (1945, *Annals of Mathematical Statistics* 16,
117-186) compares two hypotheses, that the first player is ``elo0`` or ``elo1`` points stronger. The
test ends when the log-likelihood ratio of the results leaves an interval. It is generalized to
hypotheses about a mean (Van den Bergh, "The Generalized SPRT", 2020, as the testers of Stockfish
use it): under each hypothesis the likelihood is that of the most likely distribution of results
whose mean is the score that the hypothesis expects.

**Pairs.** The two games of an opening, with the seats swapped, depend on each other: an opening
that favours one side is won once and lost once. So the results counted are those of pairs, of which
there are five: 0, 1/2, 1, 3/2 and 2 points. Single games have three: 0, 1/2 and 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alphazero.judging.ratings import expected_score, root

PAIRS_PER_LOOK = 16
"""Pairs of games that are played at a time, before the ratio is looked at."""
_RARE = 1e-3
"""Counted instead of 0, so that a result that has not been seen yet is not impossible."""


@dataclass(frozen=True, slots=True)
class Test:
    """The hypotheses, and how often each may be accepted by mistake.

    ``ValueError``, one line, for values outside of the stated ranges.
    """

    elo0: float = 0.0
    """Elo of the first player less that of the second; ``elo0 < elo1``, both -1,000 to 1,000."""
    elo1: float = 20.0
    alpha: float = 0.05
    """How often ``elo1`` is accepted where ``elo0`` is true; above 0 and below 0.5."""
    beta: float = 0.05
    """How often ``elo0`` is accepted where ``elo1`` is true; above 0 and below 0.5."""

    __test__ = False
    """For pytest: not a class of tests."""

    def __post_init__(self) -> None:
        if not -1000 <= self.elo0 < self.elo1 <= 1000:
            raise ValueError(
                f"elo0 must be less than elo1, both -1000 to 1000, not {self.elo0:g} and "
                f"{self.elo1:g}"
            )
        for name in ("alpha", "beta"):
            if not 0 < getattr(self, name) < 0.5:
                raise ValueError(
                    f"{name} must be above 0 and below 0.5, not {getattr(self, name):g}"
                )

    @property
    def bounds(self) -> tuple[float, float]:
        """The test accepts ``elo0`` at or below the first bound, ``elo1`` at or above the other."""
        return math.log(self.beta / (1 - self.alpha)), math.log((1 - self.beta) / self.alpha)

    def ratio(self, counts: ArrayLike) -> float:
        """The log-likelihood ratio of ``elo1`` to ``elo0``.

        ``counts [n]``: how often each result was seen, from all points lost to all points won.
        Example: 1,000 pairs with the counts 100, 200, 400, 170 and 130, 5 Elo on average, have the
        ratio 0.35 between 0 and 5 Elo, and -2.44 between 0 and 20.
        """
        seen = np.maximum(np.asarray(counts, np.float64), _RARE)
        share, result = seen / seen.sum(), np.linspace(0, 1, len(seen))
        one, zero = (
            _most_likely(share, result, float(expected_score(elo)))
            for elo in (self.elo1, self.elo0)
        )
        return float(seen.sum() * (share @ np.log(one / zero)))

    def judge(self, result: ArrayLike) -> "Verdict":
        """The hypotheses after some games; ``result [2 n]`` as in ``pair_counts``."""
        counts = pair_counts(result)
        ratio, (low, high) = self.ratio(counts), self.bounds
        accepted = self.elo0 if ratio <= low else self.elo1 if ratio >= high else None
        return Verdict(self, ratio, low, high, tuple(counts.tolist()), accepted)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The hypotheses of ``test`` after some games."""

    test: Test
    ratio: float
    """The log-likelihood ratio of ``elo1`` to ``elo0``."""
    low: float
    """``elo0`` is accepted at this ratio or below."""
    high: float
    """``elo1`` is accepted at this ratio or above."""
    pairs: tuple[int, ...]
    """How many pairs won the first player 0, 1/2, 1, 3/2 and 2 points."""
    accepted: float | None
    """The Elo of the hypothesis that is accepted; None: neither yet."""


def _most_likely(
    share: NDArray[np.float64], result: NDArray[np.float64], mean: float
) -> NDArray[np.float64]:
    """The distribution with this ``mean`` under which the observed ``share`` is most likely.

    It is ``share / (1 + x * (result - mean))`` with the ``x`` at which its mean is right: the sum
    below, which falls all the way between its two poles, is 0 there.
    """
    from_mean = result - mean
    x = root(
        lambda x: float((share * from_mean / (1 + x * from_mean)).sum()),
        -1 / from_mean[-1],
        -1 / from_mean[0],
    )
    return share / (1 + x * from_mean)


def distinct_pairs(lines: Sequence[tuple[int, ...]], result: ArrayLike) -> list[int]:
    """The results of pairs of games, without those whose moves are those of an earlier pair.

    ``lines [2 n]`` are the moves of the games, ``result [2 n]`` as in ``pair_counts``.
    """
    rows = np.asarray(result).tolist()
    pairs = {(lines[k], lines[k + 1]): rows[k : k + 2] for k in range(0, len(lines), 2)}
    return [points for pair in pairs.values() for points in pair]


def pair_counts(result: ArrayLike) -> NDArray[np.int64]:
    """``[5]``: how many pairs won 0, 1/2, 1, 3/2 and 2 points; for ``Test.ratio``.

    ``result [2 n]`` is 1, 0 or -1 for the first player; games 2 k and 2 k + 1 are a pair.
    """
    points = np.asarray(result, np.int64).reshape(-1, 2).sum(axis=1) + 2
    return np.bincount(points, minlength=5)
