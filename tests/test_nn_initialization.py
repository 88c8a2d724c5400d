import pytest
import torch
from torch import nn

from alphazero.nn.initialization import (
    EMBEDDING_DEVIATION,
    OUTPUT_DEVIATION,
    embedding,
    initialize,
)


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


def test_biases_are_zero_and_batchnorm_is_unchanged():
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


@pytest.mark.parametrize(
    ("activation", "gain"),
    [("relu", 2**0.5), ("leaky_relu", (2 / 1.0001) ** 0.5), ("tanh", 5 / 3), ("sigmoid", 1)],
)
def test_hes_variance_has_the_gain_of_the_activation(activation, gain):
    built = nn.Sequential(nn.Linear(300, 400), nn.Conv1d(100, 200, 3))
    initialize(built, "he", torch.Generator().manual_seed(0), activation=activation)
    for layer in built:
        assert layer.weight.var().item() == pytest.approx(gain**2 / 300, rel=0.03)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_deep_networks_keep_the_size_of_their_activations(activation):
    """He's gain is for this: after twenty layers numbers have neither vanished nor exploded."""
    function = {"relu": nn.ReLU(), "tanh": nn.Tanh()}[activation]
    built = nn.Sequential(*(nn.Sequential(nn.Linear(256, 256), function) for _ in range(20)))
    initialize(built, "he", torch.Generator().manual_seed(0), activation=activation)
    with torch.no_grad():
        inputs = torch.randn(500, 256, generator=torch.Generator().manual_seed(1))
        assert 0.2 < built(inputs).square().mean().sqrt() < 2


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_recurrent_layers_keep_lengths_between_steps_and_forget_gates_start_open(kind):
    layer = kind(50, 30, num_layers=2)
    initialize(layer, "xavier", torch.Generator().manual_seed(0))
    for gate in layer.weight_hh_l1.detach().split(30):
        torch.testing.assert_close(gate @ gate.T, torch.eye(30), atol=1e-5, rtol=0)
    for gate in layer.weight_ih_l0.detach().split(30):
        assert gate.var().item() == pytest.approx(2 / (50 + 30), rel=0.15)
    forget = [0.0] * 30 + [1.0] * 30 + [0.0] * 60
    assert layer.bias_ih_l1.tolist() == (
        forget if kind is nn.LSTM else [0.0] * len(layer.bias_ih_l1)
    )
    assert not layer.bias_hh_l0.any()


def test_attentions_projections_are_drawn_too():
    first, second = (nn.MultiheadAttention(8, 2) for _ in range(2))
    for layer in (first, second):
        initialize(layer, "xavier", torch.Generator().manual_seed(0))
    assert torch.equal(first.in_proj_weight, second.in_proj_weight)
    assert torch.equal(first.out_proj.weight, second.out_proj.weight)


def test_word_vectors_are_drawn_small_and_paddings_is_zero():
    layer = nn.Embedding(1000, 20, padding_idx=0)
    before = layer.weight.detach().clone()
    initialize(nn.Sequential(layer), "he", torch.Generator().manual_seed(0))
    assert torch.equal(layer.weight, before)
    embedding(layer, torch.Generator().manual_seed(0))
    assert layer.weight[1:].std().item() == pytest.approx(EMBEDDING_DEVIATION, rel=0.05)
    assert not layer.weight[0].any()
