import pytest
import torch
from torch import nn

from alphazero.nn import optim
from alphazero.nn.settings import OptimizerSettings, ScheduleSettings


def step_with_gradient(settings: OptimizerSettings, gradient: float):
    """A matrix and a vector ``(before, after)`` one step with this gradient everywhere."""
    generator = torch.Generator().manual_seed(0)
    matrix = nn.Parameter(torch.randn(3, 2, generator=generator))
    vector = nn.Parameter(torch.randn(4, generator=generator))
    before = [matrix.detach().clone(), vector.detach().clone()]
    optimizer = optim.build(matrix, vector, settings)
    for parameter in (matrix, vector):
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()
    return before, [matrix.detach(), vector.detach()]


@pytest.mark.parametrize("name", optim.MOMENTS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_moments_that_torch_stores_are_accepted_and_others_are_not(name, momentum):
    leaves = nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(4))
    optimizer = optim.build(*leaves, OptimizerSettings(name=name, momentum=momentum))
    optim.check_moments(name, leaves, 0, optimizer.state_dict()["state"])
    for leaf in leaves:
        leaf.grad = torch.ones_like(leaf)
    optimizer.step()
    moments = optimizer.state_dict()["state"]
    optim.check_moments(name, leaves, 1, moments)
    part = optim.MOMENTS[name][-1]
    wrong = [
        [],
        {2: {}},
        {0: 3},
        {0: {part: torch.ones(7)}},
        {0: {part: None}},
        {0: {part: torch.ones(3, 2, dtype=torch.int64)}},
        {1: {"x": leaves}},
    ]
    if moments and name != "sgd":
        wrong += [{}, {0: moments[0]}, {**moments, 1: {}}]
    for other in wrong:
        with pytest.raises(ValueError, match="the optimizer's moments"):
            optim.check_moments(name, leaves, 1, other)


def test_l2_alone_shrinks_matrices_by_hand_and_skips_vectors():
    settings = OptimizerSettings(name="sgd", learning_rate=0.1, l2=0.5, momentum=0)
    before, after = step_with_gradient(settings, 0.0)
    torch.testing.assert_close(after[0], before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(after[1], before[1])


def test_adams_l2_goes_through_its_moments():
    settings = OptimizerSettings(name="adam", learning_rate=0.1, l2=0.5)
    before, after = step_with_gradient(settings, 0.2)
    gradient = 0.2 + 0.5 * before[0]
    # After one step both bias-corrected moments are the gradient's: Kingma & Ba 2015, algorithm 1.
    expected = before[0] - 0.1 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(after[0], expected)
    torch.testing.assert_close(after[1], before[1] - 0.1)


def test_adamws_decay_is_decoupled_from_its_moments():
    settings = OptimizerSettings(name="adamw", learning_rate=0.1, l2=0.5)
    before, after = step_with_gradient(settings, 0.2)
    torch.testing.assert_close(after[0], before[0] * (1 - 0.05) - 0.1)
    torch.testing.assert_close(after[1], before[1] - 0.1)


def test_rmsprop_divides_by_the_root_of_its_average_square():
    settings = OptimizerSettings(name="rmsprop", learning_rate=0.1, l2=0)
    before, after = step_with_gradient(settings, 0.2)
    torch.testing.assert_close(after[0], before[0] - 0.1 / 0.01**0.5)


def test_momentum_continues_after_the_gradient_is_zero():
    built = nn.Linear(1, 1)
    settings = OptimizerSettings(name="sgd", learning_rate=1, l2=0, momentum=0.5)
    optimizer = optim.build(built.weight, built.bias, settings)
    start = built.bias.item()
    for gradient in (1.0, 0.0):
        built.bias.grad = torch.tensor([gradient])
        optimizer.step()
    assert built.bias.item() == pytest.approx(start - 1 - 0.5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_momentum_is_adams_first_beta(name):
    """Kingma & Ba 2015, algorithm 1, by hand: after gradients 1 and 0 with beta 1 of 0.5."""
    built = nn.Linear(1, 1)
    settings = OptimizerSettings(name=name, learning_rate=0.1, l2=0, momentum=0.5)
    optimizer = optim.build(built.weight, built.bias, settings)
    start = built.bias.item()
    for gradient in (1.0, 0.0):
        built.bias.grad = torch.tensor([gradient])
        optimizer.step()
    first = 0.1
    second = 0.1 * (0.25 / 0.75) / (0.999 * 0.001 / (1 - 0.999**2)) ** 0.5
    assert built.bias.item() == pytest.approx(start - first - second, rel=1e-5)


def test_l1_adds_its_gradient_to_the_matrices_only():
    gradient, matrices = torch.tensor([1.0, 1, 1, 1, 1]), torch.tensor([2.0, -0.5, 0.0])
    optim.add_l1(gradient, matrices, 0.25)
    assert gradient.tolist() == [1.25, 0.75, 1, 1, 1]
    optim.add_l1(gradient, matrices, 0.0)
    assert gradient.tolist() == [1.25, 0.75, 1, 1, 1]


def test_the_warm_up_rises_linearly_to_one_and_counts_steps():
    factor = optim.schedule(ScheduleSettings(kind="constant", warmup_steps=4))
    assert [factor(step, 0.9) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert optim.schedule(ScheduleSettings(kind="constant", warmup_steps=0))(0, 0.0) == 1


def test_the_cosine_falls_from_one_through_the_mean_at_half_to_its_final_factor():
    factor = optim.schedule(ScheduleSettings(kind="cosine", warmup_steps=2, final_factor=0.1))
    assert factor(2, 0.0) == pytest.approx(1)
    assert factor(2, 0.25) == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert factor(2, 0.5) == pytest.approx(0.55)
    assert factor(2, 1.0) == pytest.approx(0.1)
    assert factor(2, 1.5) == pytest.approx(0.1)


def test_a_step_schedule_decays_at_its_milestones():
    settings = ScheduleSettings(kind="step", warmup_steps=0, milestones=(0.5, 0.8), decay=0.1)
    factor = optim.schedule(settings)
    assert [factor(9, share) for share in (0.0, 0.49, 0.5, 0.79, 0.8, 1.0)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )


def test_warm_up_and_decay_multiply():
    factor = optim.schedule(ScheduleSettings(kind="cosine", warmup_steps=4, final_factor=0.1))
    assert factor(1, 0.5) == pytest.approx(0.5 * 0.55)


def test_clipping_returns_the_norm_before_and_a_limit_of_zero_changes_nothing():
    for limit, expected in ((1.0, [0.6, 0.8]), (0.0, [3.0, 4.0]), (9.0, [3.0, 4.0])):
        gradient = torch.tensor([3.0, 4.0])
        assert optim.clip_gradient(gradient, limit).item() == pytest.approx(5)
        assert gradient.tolist() == pytest.approx(expected, rel=1e-4)


def test_the_average_equals_the_hand_computation():
    ema = optim.Ema(torch.tensor([0.0, 1.0]), decay=0.75)
    ema.update(torch.tensor([4.0, 4.0]), 1000)
    ema.update(torch.tensor([8.0, 8.0]), 1001)
    # 0.75 * (0.75 * start + 0.25 * 4) + 0.25 * 8
    assert ema.average.tolist() == pytest.approx([0.75 * 1 + 2, 0.75 * (0.75 + 1) + 2])


def test_the_first_updates_use_a_smaller_decay():
    ema = optim.Ema(torch.tensor([2.0]), decay=0.99)
    ema.update(torch.tensor([5.0]), 0)
    assert ema.average.item() == pytest.approx(0.1 * 2 + 0.9 * 5)


def test_a_decay_of_zero_gives_the_raw_weights():
    values = torch.tensor([1.0, 2.0])
    ema = optim.Ema(values, decay=0.0)
    values.fill_(5.0)
    ema.update(values, 1000)
    assert torch.equal(ema.average, values)
