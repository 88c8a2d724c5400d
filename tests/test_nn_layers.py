import numpy as np
import pytest
import torch
from torch import nn

from alphazero.nn import layers


def planes(batch: int = 6, channels: int = 8) -> torch.Tensor:
    return torch.randn(batch, channels, 6, 7, generator=torch.Generator().manual_seed(0))


def kinds(module: nn.Module) -> list[str]:
    leaves = [part for part in module.modules() if not list(part.children())]
    return [type(part).__name__ for part in leaves]


def statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_a_convolutional_block_is_convolution_batchnorm_relu_without_a_bias():
    block = layers.convolutional_block(3, 5, kernel=1)
    assert kinds(block) == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert block[0].bias is None
    assert block(planes(channels=3)).shape == (6, 5, 6, 7)
    assert block(planes(channels=3)).min() == 0


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_convolution_keeps_the_size_of_the_planes(kernel: int):
    assert layers.convolution(8, 4, kernel)(planes()).shape == (6, 4, 6, 7)


def test_an_even_kernel_is_refused():
    with pytest.raises(ValueError, match="even"):
        layers.convolutional_block(3, 3, kernel=2)


def test_a_residual_block_has_the_papers_order_of_layers():
    block = layers.residual_block(8)
    assert kinds(block) == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]


def test_a_residual_block_adds_its_input_and_then_rectifies():
    block = layers.residual_block(8).eval()
    nn.init.zeros_(block.body[3].weight)
    torch.testing.assert_close(block(planes()), torch.relu(planes()))


def test_squeeze_and_excitation_scales_each_channel_by_its_gate():
    module = layers.SqueezeExcitation(8)
    first, second = module.gate[0], module.gate[2]
    x = planes()
    means = x.sum(dim=(2, 3)) / 42
    hidden = (means @ first.weight.T + first.bias).clamp(min=0)
    gate = 1 / (1 + torch.exp(-(hidden @ second.weight.T + second.bias)))
    torch.testing.assert_close(module(x), torch.einsum("bchw,bc->bchw", x, gate))


def test_global_pooling_adds_a_bias_made_of_means_and_maxima():
    module = layers.GlobalPoolingBias(2)
    with torch.no_grad():
        module.bias.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 10]]))
        module.bias.bias.copy_(torch.tensor([0.0, 0.5]))
    x = torch.tensor([[[[1.0, 3.0]], [[-1.0, 4.0]]]])
    expected = torch.tensor([[[[3.0, 5.0]], [[39.5, 44.5]]]])
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("attention", ["none", "squeeze_excitation", "global_pooling"])
def test_a_tower_has_one_convolution_before_its_blocks_and_two_in_each(attention):
    tower = layers.residual_tower(3, 8, blocks=4, attention=attention)
    assert kinds(tower).count("Conv2d") == 9
    assert tower(planes(channels=3)).shape == (6, 8, 6, 7)


def test_the_heads_give_one_row_of_the_given_width_for_each_example():
    assert layers.policy_head(8, cells=42, channels=2, outputs=7)(planes()).shape == (6, 7)
    head = layers.value_head(8, cells=42, channels=2, hidden=5, outputs=3)
    assert head(planes()).shape == (6, 3)


def test_batchnorm_statistics_change_in_training_and_not_in_evaluation():
    tower = layers.residual_tower(3, 8, blocks=2)
    before = statistics(tower)
    tower.eval()(planes(channels=3))
    assert all(torch.equal(before[name], now) for name, now in statistics(tower).items())
    tower.train()(planes(channels=3))
    assert not any(torch.equal(before[name], now) for name, now in statistics(tower).items())


def test_batchnorms_running_mean_moves_a_tenth_of_the_way_to_the_batchs():
    block = layers.convolutional_block(3, 4)
    x = planes(channels=3)
    with torch.no_grad():
        mean = block[0](x).mean(dim=(0, 2, 3))
        block.train()(x)
    torch.testing.assert_close(block[1].running_mean, 0.1 * mean)


def test_the_output_depends_on_the_rest_of_the_batch_in_training_only():
    tower = layers.residual_tower(3, 8, blocks=2)
    x = planes(channels=3)
    with torch.no_grad():
        assert (tower.train()(x)[:2] - tower(x[:2])).abs().max() > 0.01
        torch.testing.assert_close(tower.eval()(x)[:2], tower(x[:2]))


X = np.linspace(-3, 3, 13, dtype=np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", np.maximum(X, 0)),
        ("leaky_relu", np.where(X > 0, X, 0.01 * X)),
        ("tanh", (np.exp(X) - np.exp(-X)) / (np.exp(X) + np.exp(-X))),
        ("sigmoid", 1 / (1 + np.exp(-X))),
    ],
)
def test_the_activations_are_their_formulas(name, expected):
    got = layers.activation(name)(torch.from_numpy(X))
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-6)


def test_a_perceptron_layer_is_a_sum_of_weighted_inputs_under_its_activation():
    layer = layers.perceptron_layer(3, 2, "tanh")
    inputs = torch.randn(4, 3)
    weight, bias = layer[0].weight.detach(), layer[0].bias.detach()
    for row in range(4):
        for unit in range(2):
            total = bias[unit] + sum(weight[unit, i] * inputs[row, i] for i in range(3))
            assert layer(inputs)[row, unit].item() == pytest.approx(np.tanh(total.item()), abs=1e-6)


def test_batchnorm_and_dropout_are_where_the_docstring_says_and_only_if_set():
    layer = layers.perceptron_layer(3, 2, "relu", dropout=0.5, batch_norm=True)
    assert kinds(layer) == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert layer[0].bias is None
    assert kinds(layers.perceptron_layer(3, 2, "sigmoid")) == ["Linear", "Sigmoid"]


def test_a_pooled_block_halves_the_planes():
    assert layers.pooled_block(8, 5, "relu")(planes()).shape == (6, 5, 3, 3)


def test_dropout_zeroes_its_share_and_scales_the_rest_to_the_same_mean():
    dropout = layers.Dropout(0.25)
    layers.seed_dropout(dropout, torch.device("cpu"), 1, 2)
    output = dropout(torch.ones(100_000))
    assert output.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert (output == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert output.mean().item() == pytest.approx(1, abs=0.01)


def test_dropout_passes_the_gradient_where_it_passed_the_number():
    dropout, inputs = layers.Dropout(0.5), torch.ones(50, requires_grad=True)
    layers.seed_dropout(dropout, torch.device("cpu"), 7)
    output = dropout(inputs)
    output.sum().backward()
    assert torch.equal(inputs.grad, output.detach())


def test_seeded_dropout_follows_from_its_seed_and_does_not_use_torchs_generator():
    module = nn.Sequential(layers.Dropout(0.5), nn.Sequential(layers.Dropout(0.5)))
    outputs = []
    for seed in ((3, 1), (3, 1), (3, 2)):
        layers.seed_dropout(module, torch.device("cpu"), *seed)
        before = torch.get_rng_state()
        outputs.append(module(torch.ones(200)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


def test_in_evaluation_dropout_does_nothing():
    module = layers.Dropout(0.9).eval()
    layers.seed_dropout(module, torch.device("cpu"), 0)
    assert torch.equal(module(planes()), planes())
