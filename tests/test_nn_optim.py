import pytest
import torch
from torch import nn

from alphazero.nn import optim
from alphazero.nn.settings import OptimizerSettings, ScheduleSettings


def module() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))


def step_with_gradient(built: nn.Module, settings: OptimizerSettings, gradient: float) -> None:
    optimizer = optim.build(built, settings)
    for parameter in built.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    optimizer.step()


def before_and_after(settings: OptimizerSettings, gradient: float = 0.0):
    built = module()
    before = {name: p.detach().clone() for name, p in built.named_parameters()}
    step_with_gradient(built, settings, gradient)
    return before, {name: p.detach() for name, p in built.named_parameters()}


def test_l2_alone_shrinks_weights_by_hand_and_skips_biases_and_batchnorm():
    settings = OptimizerSettings(name="sgd", learning_rate=0.1, l2=0.5, momentum=0)
    before, after = before_and_after(settings)
    for name in ("0.weight", "3.weight"):
        torch.testing.assert_close(after[name], before[name] * (1 - 0.1 * 0.5))
    for name in ("0.bias", "1.weight", "1.bias", "3.bias"):
        assert torch.equal(after[name], before[name])


def test_adams_l2_goes_through_its_moments():
    settings = OptimizerSettings(name="adam", learning_rate=0.1, l2=0.5)
    before, after = before_and_after(settings, gradient=0.2)
    gradient = 0.2 + 0.5 * before["3.weight"]
    # After one step both bias-corrected moments are the gradient's: Kingma & Ba 2015, algorithm 1.
    expected = before["3.weight"] - 0.1 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(after["3.weight"], expected)
    torch.testing.assert_close(after["3.bias"], before["3.bias"] - 0.1)


def test_adamws_decay_is_decoupled_from_its_moments():
    settings = OptimizerSettings(name="adamw", learning_rate=0.1, l2=0.5)
    before, after = before_and_after(settings, gradient=0.2)
    torch.testing.assert_close(after["3.weight"], before["3.weight"] * (1 - 0.05) - 0.1)
    torch.testing.assert_close(after["1.weight"], before["1.weight"] - 0.1)


def test_rmsprop_divides_by_the_root_of_its_average_square():
    settings = OptimizerSettings(name="rmsprop", learning_rate=0.1, l2=0)
    before, after = before_and_after(settings, gradient=0.2)
    torch.testing.assert_close(after["3.weight"], before["3.weight"] - 0.1 / 0.01**0.5)


def test_momentum_keeps_going_where_the_gradient_has_ended():
    built = nn.Linear(1, 1)
    optimizer = optim.build(
        built, OptimizerSettings(name="sgd", learning_rate=1, l2=0, momentum=0.5)
    )
    start = built.bias.item()
    for gradient in (1.0, 0.0):
        built.bias.grad = torch.tensor([gradient])
        optimizer.step()
    assert built.bias.item() == pytest.approx(start - 1 - 0.5)


def test_the_warm_up_rises_linearly_to_one_and_counts_steps():
    factor = optim.schedule(ScheduleSettings(kind="constant", warmup_steps=4))
    assert [factor(step, 0.9) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert optim.schedule(ScheduleSettings(kind="constant", warmup_steps=0))(0, 0.0) == 1


def test_the_cosine_falls_from_one_over_the_half_way_mean_to_its_final_factor():
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


def test_clipping_returns_the_norm_before_and_zero_leaves_the_gradient_alone():
    built = nn.Linear(1, 1)
    for limit, expected in ((1.0, [0.6, 0.8]), (0.0, [3.0, 4.0]), (9.0, [3.0, 4.0])):
        built.weight.grad, built.bias.grad = torch.tensor([[3.0]]), torch.tensor([4.0])
        assert optim.clip_gradient(built, limit).item() == pytest.approx(5)
        got = [built.weight.grad.item(), built.bias.grad.item()]
        assert got == pytest.approx(expected, rel=1e-4)


def test_the_average_equals_the_hand_computation_statistics_included():
    built = nn.BatchNorm1d(1)
    ema = optim.Ema(built, decay=0.75)
    for step, value in ((1000, 4.0), (1001, 8.0)):
        with torch.no_grad():
            built.weight.fill_(value)
            built.running_mean.fill_(value)
            built.num_batches_tracked.fill_(step)
        ema.update(built, step)
    # scale starts at 1, mean at 0: 0.75 * (0.75 * start + 0.25 * 4) + 0.25 * 8
    assert ema.average["weight"].item() == pytest.approx(0.75 * (0.75 + 1) + 2)
    assert ema.average["running_mean"].item() == pytest.approx(0.75 * 1 + 2)
    assert ema.average["num_batches_tracked"].item() == 1001


def test_the_first_updates_forget_the_random_start_faster():
    built = nn.Linear(1, 1)
    nn.init.constant_(built.weight, 2.0)
    ema = optim.Ema(built, decay=0.99)
    nn.init.constant_(built.weight, 5.0)
    ema.update(built, 0)
    assert ema.average["weight"].item() == pytest.approx(0.1 * 2 + 0.9 * 5)


def test_a_decay_of_zero_gives_the_raw_weights():
    built = nn.Linear(2, 2)
    ema = optim.Ema(built, decay=0.0)
    nn.init.constant_(built.weight, 5.0)
    ema.update(built, 1000)
    assert torch.equal(ema.average["weight"], built.weight)
