"""Networks as ONNX files: read by onnxruntime alone, they compute what the evaluator computes."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import games
from alphazero import agents, checkpoint, network, onnx_file
from alphazero.config import Config, InferenceSettings, NetworkSettings
from alphazero.encoders import Encoder
from alphazero.errors import RunFailed
from alphazero.inference import NetworkEvaluator
from alphazero.network_settings import PerceptronSettings
from alphazero.nn.weights import arrays
from alphazero.parts import game_of
from workers import cli
from workers.bench.measuring import midgame

runtime = pytest.importorskip("onnxruntime")
GAME = games.make("tic_tac_toe")
FLOAT32 = InferenceSettings(backend="torch", precision="float32", device="cpu")


@pytest.fixture(
    params=[
        pytest.param(NetworkSettings(blocks=2, channels=8, attention="global_pooling"), id="tower"),
        pytest.param(
            NetworkSettings(blocks=1, channels=8, value_head="scalar"),
            id="scalar",
            marks=pytest.mark.slow,
        ),
        pytest.param(PerceptronSettings(width=16, layers=2), id="mlp", marks=pytest.mark.slow),
    ],
)
def run(request, tmp_path):
    """A run directory with one checkpoint."""
    config = Config(game=GAME.name, network=request.param)
    weights = arrays(network.build(GAME, request.param, seed=1).state_dict())
    checkpoint.save(tmp_path / "run", 20, weights, {"seconds": 1.0}, config)
    return tmp_path / "run"


def answers(path, planes):
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["planes"]
    return session.run(["policy", "value"], {"planes": planes})


def assert_equal(path, agent, size):
    """The file's results are those of the evaluator that plays."""
    game, config = game_of(agent.config), agent.config
    evaluator = NetworkEvaluator(games.make(config.game), config.network, FLOAT32)
    evaluator.load(agent.weights, 0)
    states = midgame(game, size)
    policy, value = answers(path, evaluator.encoder(states))
    expected = evaluator(states)
    np.testing.assert_allclose(policy, expected.logits, atol=1e-4)
    np.testing.assert_allclose(value, expected.value, atol=1e-4)
    assert value.shape == (size,)


def test_the_file_computes_what_the_evaluator_computes_in_batches_of_any_size(
    run, tmp_path, capsys
):
    file = tmp_path / "network.onnx"
    assert cli.main(["export", str(run), "--onnx", str(file)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "on 3,000 positions its logits differ from torch's by at most" in printed
    for size in (1, 3, 64):
        assert_equal(file, checkpoint.load(run), size)
    described = runtime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map
    assert described["game"] == "tic_tac_toe"
    assert described["rules_version"] == GAME.rules_version
    assert described["actions"] == "9"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(agents.FOLDERS.values()))
def test_every_agent_that_ships_can_be_written(name, tmp_path):
    agent = checkpoint.load(Path(agents.__file__).parent / name)
    file = tmp_path / "network.onnx"
    difference = onnx_file.write(agent, games.make(agent.config.game), file)
    assert max(difference) < 1e-3
    assert_equal(file, agent, 100)


def test_a_file_that_would_compute_something_else_is_not_written(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    monkeypatch.setattr(onnx_file, "POSITIONS", 600)
    with pytest.raises(RunFailed, match="ONNX and torch differ by up to"):
        onnx_file.write(checkpoint.load(run), GAME, tmp_path / "network.onnx")
    assert not (tmp_path / "network.onnx").exists()


def test_values_that_are_no_numbers_are_a_difference(run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_compare", lambda *ignored: (1e-6, float("nan")))
    with pytest.raises(RunFailed, match="differ"):
        onnx_file.write(checkpoint.load(run), GAME, tmp_path / "network.onnx")


def test_the_positions_that_are_compared_are_of_whole_games():
    planes = onnx_file._planes(GAME, Encoder(GAME))
    stones = planes[:, :2].sum(axis=(1, 2, 3))
    assert len(planes) == onnx_file.POSITIONS
    assert {*range(1, 9)} <= set(stones.astype(int).tolist())


def test_what_is_wrong_is_one_line(tmp_path, monkeypatch, capsys):
    taken = tmp_path / "taken.onnx"
    taken.touch()
    for words in (
        ["export", "nowhere", "--onnx", str(tmp_path / "a.onnx")],
        ["export", "nowhere"],
        ["export", "nowhere", "--onnx", str(tmp_path / "a.onnx"), "--half"],
    ):
        assert cli.main(words) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "nowhere" in line or "--to FOLDER is missing" in line
    with pytest.raises(SystemExit, match="2"):
        cli.main(["export", "nowhere", "--onnx", str(taken)])
    assert "taken.onnx" in capsys.readouterr().err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert cli.main(["export", "nowhere", "--onnx", str(tmp_path / "a.onnx")]) == 2
    assert "'.[onnx]'" in capsys.readouterr().err
