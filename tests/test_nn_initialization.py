import pytest
import torch
from torch import nn

from alphazero.nn.initialization import OUTPUT_DEVIATION, initialize


def module() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(64, 32, 3, bias=False),
        nn.BatchNorm2d(32),
        nn.Linear(200, 300),
        nn.Linear(300, 50),
    )


def drawn(kind, seed: int = 0, outputs=lambda m: ()) -> nn.Sequential:
    built = module()
    initialize(built, kind, torch.Generator().manual_seed(seed), outputs(built))
    return built


def test_he_gives_each_layer_the_variance_two_over_fan_in():
    built = drawn("he")
    assert built[0].weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.05)
    assert built[2].weight.var().item() == pytest.approx(2 / 200, rel=0.05)


def test_xavier_gives_each_layer_the_variance_two_over_fan_in_plus_fan_out():
    built = drawn("xavier")
    assert built[0].weight.var().item() == pytest.approx(2 / ((64 + 32) * 9), rel=0.05)
    assert built[2].weight.var().item() == pytest.approx(2 / 500, rel=0.05)
    assert built[2].weight.abs().max() <= (6 / 500) ** 0.5


def test_biases_are_zero_and_batchnorm_is_left_alone():
    built = drawn("he")
    assert not built[2].bias.any()
    assert (built[1].weight == 1).all()
    assert not built[1].bias.any()


def test_output_layers_start_near_zero_and_the_others_do_not():
    built = drawn("he", outputs=lambda m: (m[3],))
    assert built[3].weight.std().item() == pytest.approx(OUTPUT_DEVIATION, rel=0.05)
    assert built[2].weight.std().item() == pytest.approx(0.1, rel=0.05)


def test_the_same_generator_draws_the_same_weights_and_another_seed_others():
    assert torch.equal(drawn("he", 1)[0].weight, drawn("he", 1)[0].weight)
    assert not torch.equal(drawn("he", 1)[0].weight, drawn("he", 2)[0].weight)
