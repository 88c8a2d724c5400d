"""The exponentials of the softmax, for many numbers at once."""

import numpy as np

from alphazero.search.kernels.compiling import ONE, ZERO, jit


@jit
def exponentials(exponents):
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
