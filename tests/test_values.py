"""Conversions between value logits, distributions over win, draw and loss, and numbers."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from alphazero import values

VALUES = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20)


@given(VALUES)
def test_a_value_as_a_distribution_has_that_value_and_sums_to_one(chosen):
    column = np.array(chosen, np.float32)
    wdl = values.distribution(column)
    assert wdl.shape == (len(column), 3)
    assert (wdl >= 0).all()
    np.testing.assert_allclose(wdl.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(values.expectation(wdl), column)


def test_outcomes_are_certain_and_half_a_win_is_half_a_draw():
    wdl = values.distribution(np.array([1, 0, -1, 0.5, -0.25], np.float32))
    assert wdl.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [0, 0.75, 0.25]]


@pytest.mark.parametrize("outputs", [1, 3])
def test_arrays_and_tensors_of_logits_have_the_same_values_for_extreme_logits_too(outputs):
    logits = np.random.default_rng(0).normal(size=(500, outputs)).astype(np.float32) ** 5
    assert np.abs(logits).max() > 100
    expected = values.from_logit_tensor(torch.from_numpy(logits)).numpy()
    np.testing.assert_allclose(values.from_logits(logits), expected, atol=1e-6)


def test_the_loss_of_three_logits_is_a_cross_entropy_weighted_by_row():
    logits = torch.tensor([[math.log(6.0), math.log(3.0), math.log(1.0)], [0.0, 0.0, 0.0]])
    target = torch.tensor([[1.0, 0, 0], [0.25, 0.25, 0.5]])
    first, second = -math.log(0.6), math.log(3)
    assert values.loss(logits, target).item() == pytest.approx((first + second) / 2)
    weighted = values.loss(logits, target, torch.tensor([3.0, 0.5])).item()
    assert weighted == pytest.approx((3 * first + 0.5 * second) / 2)


def test_the_loss_of_one_logit_is_the_squared_error_of_the_expectation_weighted_by_row():
    logits = torch.tensor([[0.0], [math.atanh(0.5)]])
    target = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.0, 1.0]])
    assert values.loss(logits, target).item() == pytest.approx((0.81 + 2.25) / 2)
    weighted = values.loss(logits, target, torch.tensor([2.0, 4.0])).item()
    assert weighted == pytest.approx((2 * 0.81 + 4 * 2.25) / 2)


@pytest.mark.parametrize("module", ["alphazero.values", "alphazero.encoders"])
def test_modules_that_targets_and_settings_use_do_not_import_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
