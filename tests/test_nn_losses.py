import math

import pytest
import torch

from alphazero.nn import losses

LOGITS = torch.tensor([[math.log(1.0), math.log(3.0), 50.0], [0.0, 0.0, 0.0]])
LEGAL = torch.tensor([[True, True, False], [True, True, True]])
TARGET = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])


def policy_loss(logits, target, legal):
    """As the learner composes it."""
    return losses.cross_entropy(losses.masked_log_softmax(logits, legal), target)


def test_the_masked_policy_sums_to_one_over_the_legal_moves():
    policy = losses.masked_log_softmax(LOGITS, LEGAL).exp()
    torch.testing.assert_close(policy, torch.tensor([[0.25, 0.75, 0], [1 / 3, 1 / 3, 1 / 3]]))


def test_the_policy_loss_equals_the_hand_computation():
    first = -0.5 * math.log(0.25) - 0.5 * math.log(0.75)
    expected = (first + math.log(3)) / 2
    assert policy_loss(LOGITS, TARGET, LEGAL).item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_is_the_policy_minus_the_target_and_nothing_on_illegal_moves():
    logits = LOGITS.clone().requires_grad_()
    policy_loss(logits, TARGET, LEGAL).backward()
    expected = torch.tensor([[-0.25, 0.25, 0], [-2 / 3, 1 / 3, 1 / 3]]) / 2
    torch.testing.assert_close(logits.grad, expected)


def test_a_loss_on_bfloat16_logits_is_computed_in_float32():
    loss = policy_loss(LOGITS.bfloat16(), TARGET, LEGAL)
    assert loss.dtype == torch.float32
    exact = policy_loss(LOGITS.bfloat16().double(), TARGET, LEGAL)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)


def test_the_entropy_of_certainty_is_zero_and_of_four_equal_chances_log_four():
    certain, even = torch.tensor([[0.0, 1, 0, 0]]), torch.full((1, 4), 0.25)
    assert losses.entropy(certain).item() == 0
    assert losses.entropy(even).item() == pytest.approx(math.log(4))
    both = losses.entropy(torch.cat([certain, even])).item()
    assert both == pytest.approx(math.log(4) / 2)


def test_the_wdl_loss_equals_the_hand_computation():
    logits = torch.tensor([[math.log(6.0), math.log(3.0), math.log(1.0)], [0.0, 0.0, 0.0]])
    target = torch.tensor([[1.0, 0, 0], [0.25, 0.25, 0.5]])
    expected = (-math.log(0.6) + math.log(3)) / 2
    assert losses.wdl_loss(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_the_scalar_loss_is_the_mean_square():
    value, target = torch.tensor([0.5, -1.0]), torch.tensor([1.0, 1.0])
    assert losses.scalar_loss(value, target).item() == pytest.approx((0.25 + 4) / 2)


def test_the_sign_accuracy_ignores_draws():
    value = torch.tensor([0.3, -0.2, 0.9, 0.1])
    assert losses.sign_accuracy(value, torch.tensor([1.0, 1, 0, 0.5])).item() == pytest.approx(
        2 / 3
    )
    assert losses.sign_accuracy(value, torch.zeros(4)).item() == 0


CLASS_LOGITS = torch.tensor([[math.log(1.0), math.log(3.0), math.log(4.0)], [0.0, 0.0, 0.0]])
LABELS = torch.tensor([1, 2])


def test_the_cross_entropy_of_classes_equals_the_hand_computation():
    expected = (-math.log(3 / 8) - math.log(1 / 3)) / 2
    assert losses.class_loss(CLASS_LOGITS, LABELS).item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_divides_a_share_of_each_label_among_all_classes():
    logs = [[math.log(1 / 8), math.log(3 / 8), math.log(4 / 8)], [math.log(1 / 3)] * 3]
    labels = [[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    expected = -sum(t * p for row, log in zip(labels, logs, strict=True)
                    for t, p in zip(row, log, strict=True)) / 2  # fmt: skip
    loss = losses.class_loss(CLASS_LOGITS, LABELS, smoothing=0.3)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_the_squared_error_is_that_of_probabilities_and_one_hot_labels():
    squares = [(1 / 8) ** 2, (5 / 8) ** 2, (4 / 8) ** 2, (1 / 3) ** 2, (1 / 3) ** 2, (2 / 3) ** 2]
    loss = losses.class_loss(CLASS_LOGITS, LABELS, "mse").item()
    assert loss == pytest.approx(sum(squares) / 6, rel=1e-6)


def test_the_accuracy_is_the_share_of_right_classes():
    logits = torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 3.0], [5.0, 4.0]])
    assert losses.accuracy(logits, torch.tensor([1, 0, 0, 0])).item() == 0.75


@pytest.mark.parametrize(
    "call",
    [
        lambda: losses.scalar_loss(torch.zeros(4, 1), torch.zeros(4)),
        lambda: losses.sign_accuracy(torch.zeros(4), torch.zeros(4, 1)),
        lambda: losses.cross_entropy(torch.zeros(4, 3), torch.zeros(3)),
        lambda: losses.wdl_loss(torch.zeros(4, 1), torch.zeros(4, 3)),
        lambda: losses.masked_log_softmax(torch.zeros(4, 3), torch.ones(3, dtype=torch.bool)),
        lambda: losses.class_loss(torch.zeros(4, 3), torch.zeros(4, 1, dtype=torch.int64), "mse"),
        lambda: losses.accuracy(torch.zeros(4, 3), torch.zeros(4, 1, dtype=torch.int64)),
    ],
)
def test_shapes_that_torch_would_broadcast_are_refused(call):
    with pytest.raises(AssertionError):
        call()
