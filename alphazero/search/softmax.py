"""The softmax of many rows at once, for the kernels, and the decorator that compiles all of them.

Numba's disk cache of the kernels does not notice an edit of this file: remove the cache afterwards
(see CONTRIBUTING.md).
"""

from functools import partial

import numba
import numpy as np

# error_model: division by 0 gives infinity as in NumPy, instead of raising an exception as in
# Python; loops that may raise are slower.
jit = partial(numba.njit, cache=True, nogil=True, error_model="numpy")

ZERO, ONE, LOWEST = np.float32(0), np.float32(1), np.float32(-np.inf)


@jit()
def _exponentials(exponents):
    """Replace each ``x <= 0`` by ``e ** x``, to a relative error of 1.2e-7; by 0 below -87.

    ``e ** x = 2 ** k * e ** r`` with ``|r| <= log(2) / 2`` and a polynomial for the second factor
    (Moshier's Cephes library, expf). Example: x = -1 gives k = -1, r = -0.307 and
    0.5 * 0.736 = 0.368. A loop without function calls lets the CPU compute several values at once.
    """
    for i in range(len(exponents)):
        x = exponents[i]
        # Not max(), which would turn NaN into -87.
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
    """``float32[n * A]``: ``e ** (logit - highest legal logit of the row)``, 0 where not legal.

    ``logits, legal [n, A]``. The softmax before its division by the sum of each row.
    """
    actions = legal.shape[1]
    result = np.empty(legal.size, np.float32)
    for i in range(len(legal)):
        highest = LOWEST
        for action in range(actions):
            logit = logits[i, action] if legal[i, action] else LOWEST
            result[i * actions + action] = logit
            # Not max(), which may ignore a NaN.
            highest = highest if highest > logit else logit
        for action in range(actions):
            result[i * actions + action] -= highest
    _exponentials(result)
    return result
