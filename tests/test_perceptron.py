"""The residual perceptron: its forward pass, its weights, its settings, and a run with it."""

import re

import numpy as np
import pytest
import torch
from random_positions import positions

import games
from alphazero import config, encoders, heads, network
from alphazero.config import Config
from alphazero.config_file import ConfigError
from alphazero.judging.agent import load_agent
from alphazero.network_settings import PerceptronSettings
from alphazero.nn.initialization import OUTPUT_DEVIATION
from alphazero.nn.layers import ResidualLayer
from alphazero.nn.weights import arrays, load
from alphazero.targets import TARGETS
from workers import cli
from workers.bench.measuring import describe_network

GAMES = ["tic_tac_toe", "connect_four", "go:size=5"]
ALL = dict.fromkeys(heads.HEADS, 0.5)
GAME = games.make("connect_four")


def sized(**changes) -> PerceptronSettings:
    return PerceptronSettings(**{"width": 12, "layers": 3} | changes)


def built(seed: int = 0, **changes) -> network.PolicyValueNetwork:
    return network.build(GAME, sized(**changes), seed)


def observations(game=GAME, count: int = 40) -> torch.Tensor:
    return torch.from_numpy(game.observe(positions(game, count, seed=0)))


def moved(made: network.PolicyValueNetwork, planes: torch.Tensor) -> network.PolicyValueNetwork:
    """With statistics, scales and shifts of BatchNorm that are not a new network's."""
    generator = torch.Generator().manual_seed(0)
    for part in made.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.weight.data.normal_(generator=generator)
            part.bias.data.normal_(generator=generator)
    with torch.no_grad():
        made.train()(planes)
    return made.eval()


def slow(weights: dict[str, np.ndarray], planes: np.ndarray) -> dict[str, np.ndarray]:
    """Every output by its definition, from the weights alone, in float64."""
    exact = {name: array.astype(np.float64) for name, array in weights.items()}

    def layer(inputs: np.ndarray, linear: str, norm: str) -> np.ndarray:
        mean, variance = exact[f"{norm}.running_mean"], exact[f"{norm}.running_var"]
        normal = (inputs @ exact[f"{linear}.weight"].T - mean) / np.sqrt(variance + 1e-5)
        return np.maximum(normal * exact[f"{norm}.weight"] + exact[f"{norm}.bias"], 0)

    x = layer(planes.reshape(len(planes), -1).astype(np.float64), "tower.1", "tower.2")
    for index in range(4, 7):
        x = x + layer(x, f"tower.{index}.body.0", f"tower.{index}.body.1")
    ends = [name.removesuffix(".weight") for name in exact if re.match(r"policy|value|heads", name)]
    return {
        end: x @ exact[f"{end}.weight"].T + exact[f"{end}.bias"]
        for end in ends
        if f"{end}.bias" in exact
    }


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("value_head", ["wdl", "scalar"])
def test_the_outputs_are_those_of_the_definition(name, value_head):
    game = games.make(name)
    planes = observations(game)
    settings = sized(heads=ALL, value_head=value_head)
    made = moved(network.build(game, settings, seed=0), planes)
    with torch.no_grad():
        policy, value, auxiliary = made(planes)
    expected = slow(arrays(made.state_dict()), planes.numpy())
    np.testing.assert_allclose(policy, expected["policy"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value, expected["value"], rtol=1e-4, atol=1e-5)
    assert auxiliary.keys() == ALL.keys()
    for head, output in auxiliary.items():
        assert output.shape == (len(planes), *TARGETS[head].shape(game))
        right = expected[f"heads.{head}.0"].reshape(output.shape)
        np.testing.assert_allclose(output, right, rtol=1e-4, atol=1e-5)


def test_the_default_has_four_residual_layers_of_512_units():
    made = network.build(GAME, PerceptronSettings(), seed=0)
    layers = [part for part in made.tower if isinstance(part, ResidualLayer)]
    assert [layer.body[0].weight.shape for layer in layers] == 4 * [(512, 512)]


def test_the_planes_of_an_encoder_with_a_history_are_its_input():
    settings = sized(encoder="history:plies=2")
    planes = encoders.make(settings.encoder, GAME).shape
    assert planes != GAME.observation_shape
    made = network.build(GAME, settings, seed=0)
    assert made.tower[1].in_features == np.prod(planes)


def test_the_weights_depend_on_the_seed_alone_and_not_on_auxiliary_heads():
    before = torch.get_rng_state()
    first, again, other = (arrays(built(seed).state_dict()) for seed in (5, 5, 6))
    more = arrays(built(5, heads=ALL).state_dict())
    assert torch.equal(torch.get_rng_state(), before)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
        np.testing.assert_array_equal(array, more[name])
    assert not np.array_equal(first["tower.1.weight"], other["tower.1.weight"])


@pytest.mark.parametrize("kind", ["he", "xavier"])
def test_the_layers_of_the_outputs_begin_near_zero(kind):
    settings = PerceptronSettings(initialization=kind, heads={"ownership": 1.0})
    made = network.build(GAME, settings, seed=0)
    for layer in (made.policy, made.value, made.heads["ownership"][0]):
        assert layer.weight.std().item() == pytest.approx(OUTPUT_DEVIATION, rel=0.1)
        assert not layer.bias.any()
    hidden = made.tower[4].body[0].weight.std().item()
    assert hidden == pytest.approx(((2 if kind == "he" else 1) / 512) ** 0.5, rel=0.02)


def test_heads_are_fitted_and_left_out_of_inference_as_those_of_a_residual_network():
    made, plain = built(heads={"reply": 1.0}), arrays(built(seed=1).state_dict())
    fitted = network.fit_heads(made, plain)
    load(made, fitted)
    load(built(), network.without_heads(made, fitted))


def test_a_layer_of_scale_zero_would_not_learn_so_weights_of_fewer_layers_are_refused():
    deep, weights = built(layers=4), arrays(built().state_dict())
    with pytest.raises(ValueError, match=r"missing \['tower\.7\.body"):
        load(deep, network.deepen(deep, weights))
    norm = deep.tower[7].body[1]
    torch.nn.init.zeros_(norm.weight)
    deep(observations())[0].square().sum().backward()
    assert not norm.weight.grad.any()
    assert not norm.bias.grad.any()


def test_shapes_are_compared_without_memory_for_the_network():
    largest = sized(width=8192, layers=2)
    given = {name: array.shape for name, array in arrays(built().state_dict()).items()}
    with pytest.raises(ValueError, match=r"^there cannot be used: weights of another network: "):
        network.check_weights(GAME, largest, given, "there")
    network.check_weights(GAME, sized(), given, "there")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("layers: 300", "network.layers: got 300, should be less than or equal to 256"),
        ("width: 8193", "network.width: got 8193, should be less than or equal to 8192"),
        ("width: 8192", "network: layers=4 with width=8192 are 268,435,456 weights, more than"),
        ("channels: 8", "belongs to network.kind=residual, but network.kind is perceptron"),
        ("heads: {ownership: 1}", "tic_tac_toe has no final_ownership, the target of the head"),
    ],
)
def test_settings_beyond_the_limits_are_refused_in_one_line(override, problem):
    with pytest.raises(ConfigError) as caught:
        config.load("tic_tac_toe", [f"network={{kind: perceptron, {override}}}"])
    (line,) = caught.value.lines
    assert problem in line


def test_the_kind_alone_takes_its_defaults_and_the_heads_of_the_recipe():
    settings = config.load("go:size=5", ["network.kind=perceptron"])
    assert settings.network == PerceptronSettings(heads={"ownership": 0.5, "score": 0.2})
    assert config.load("hex:size=5", ["network.kind=perceptron"]).network == PerceptronSettings()
    given = config.load("go:size=5", ["network={kind: perceptron, heads: {}, width: 8}"])
    assert given.network == PerceptronSettings(width=8)
    with_defaults = config.load("go:size=5", ["network.kind=perceptron", "recipe=none"])
    assert with_defaults.network == PerceptronSettings()


def test_benchmarks_name_its_size():
    assert describe_network(Config(game="othello", network=sized())) == "perceptron 3x12"


def test_a_run_is_trained_resumed_exported_and_begins_another_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = [
        "train", "tic_tac_toe", "network={kind: perceptron, width: 16, layers: 2}",
        "selfplay.games=8", "replay.min_positions=50", "training.batch_size=16",
        "search.simulations=4", "evaluation.games=0", "tracking.wandb=off",
    ]  # fmt: skip
    assert cli.main([*train, "training.steps=4", "--run-dir", "first"]) == 0
    assert cli.main([*train, "training.steps=6", "--run-dir", "first", "--resume"]) == 0
    assert cli.main(["export", "first", "--to", "agent"]) == 0
    card = (tmp_path / "agent/MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| network | perceptron, 2 residual layers of 16 units, " in card
    agent = load_agent(tmp_path / "agent")
    assert agent.checkpoint.config.network == PerceptronSettings(width=16, layers=2)
    begun = [*train, "training.steps=2", "training.initial_weights=agent"]
    assert cli.main([*begun, "network.heads={reply: 1}", "--run-dir", "second"]) == 0
    capsys.readouterr()
    assert cli.main([*begun, "network.layers=3", "--run-dir", "third"]) == 2
    assert "with network.layers 2, these settings say 3" in capsys.readouterr().err
