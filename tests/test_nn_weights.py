"""Weights in the form in which they are sent: kernels in bfloat16, everything else as it is."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alphazero.nn.weights import lengthened, shortened

KERNELS = arrays.arrays(np.uint32, st.tuples(st.integers(1, 5), st.integers(1, 5)))
"""Any bits: finite numbers, infinities, those that are no number, the smallest ones."""


@given(KERNELS)
def test_kernels_are_rounded_as_torch_rounds_to_bfloat16(bits):
    kernel = bits.view(np.float32)
    (received,) = lengthened(shortened({"kernel": kernel})).values()
    expected = torch.from_numpy(kernel).to(torch.bfloat16).float().numpy()
    assert received.dtype == np.float32
    np.testing.assert_array_equal(received, expected)


def test_vectors_and_integers_are_sent_as_they_are():
    rng = np.random.default_rng(0)
    weights = {
        "kernel": rng.standard_normal((8, 4, 3, 3)).astype(np.float32),
        "bias": rng.standard_normal(8).astype(np.float32),
        "batches": np.array(7),
        "table": np.arange(6, dtype=np.uint16).reshape(2, 3),
    }
    sent = shortened(weights)
    assert sent["kernel"].nbytes == weights["kernel"].nbytes / 2
    received = lengthened(sent)
    for name in ("bias", "batches", "table"):
        assert received[name].dtype == weights[name].dtype
        np.testing.assert_array_equal(received[name], weights[name])
    np.testing.assert_allclose(received["kernel"], weights["kernel"], rtol=2**-8)


def test_one_bit_decides_between_two_halves_and_a_tie_goes_to_the_even_one():
    """By hand: 1.0 is 3F80 0000, the next number of bfloat16 is 3F81 0000."""
    bits = np.array([[0x3F807FFF, 0x3F808000, 0x3F808001, 0x3F818000]], np.uint32)
    (sent,) = shortened({"kernel": bits.view(np.float32)}).values()
    assert sent["bfloat16"].tolist() == [[0x3F80, 0x3F80, 0x3F81, 0x3F82]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so(value):
    kernel = np.full((2, 2), value, np.float32)
    (received,) = lengthened(shortened({"kernel": kernel})).values()
    np.testing.assert_array_equal(received, kernel)
