"""The softmax of many rows at once, for the kernels, and how all of them are compiled.

What Numba's disk cache holds of the kernels does not notice an edit in this file: remove it after
one (CONTRIBUTING.md says how).
"""

from functools import partial

import numba
import numpy as np

# Where Python's division raises NumPy's gives infinity, and a loop that may raise is a slow one.
jit = partial(numba.njit, cache=True, nogil=True, error_model="numpy")

ZERO, ONE, LOWEST = np.float32(0), np.float32(1), np.float32(-np.inf)


@jit()
def _exponentials(exponents):
    """Replace each ``x <= 0`` by ``e ** x`` to 1.2e-7, by 0 below -87.

    ``2 ** k * e ** r`` with ``|r| <= log(2) / 2`` and a polynomial for the second factor (Moshier,
    Cephes, expf): without a call in the loop the CPU computes several at once.
    """
    for i in range(len(exponents)):
        x = exponents[i]
        # Not max(), which would take a NaN for -87.
        inside = np.float32(-87) if x < np.float32(-87) else x
        k = np.floor(inside * np.float32(1.44269504) + np.float32(0.5))
        r = (inside - k * np.float32(0.693359375)) + k * np.float32(2.12194440e-4)
        y = np.float32(1.9875691500e-4)
        y = y * r + np.float32(1.3981999507e-3)
        y = y * r + np.float32(8.3334519073e-3)
        y = y * r + np.float32(4.1665795894e-2)
        y = y * r + np.float32(1.6666665459e-1)
        y = y * r + np.float32(5.0000001201e-1)
        y = y * r * r + r + ONE
        power = np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)
        exponents[i] = ZERO if x < np.float32(-87) else y * power


@jit()
def unnormalized(logits, legal):
    """``[n * A]``: ``e ** (logit - highest logit)``, 0 where not legal."""
    actions = legal.shape[1]
    result = np.empty(legal.size, np.float32)
    for i in range(len(legal)):
        highest = LOWEST
        for action in range(actions):
            logit = logits[i, action] if legal[i, action] else LOWEST
            result[i * actions + action] = logit
            # Not max(), which may pass over a NaN.
            highest = highest if highest > logit else logit
        for action in range(actions):
            result[i * actions + action] -= highest
    _exponentials(result)
    return result
