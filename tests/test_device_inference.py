"""The path of states through a CUDA device, run on the CPU; only the device itself is missing."""

import threading

import numpy as np
import pytest
import torch
from random_positions import positions
from test_inference import trained, weights

import games
from alphazero import device_inference, encoders, values
from alphazero.config import InferenceSettings, NetworkSettings
from alphazero.device_inference import DeviceSession, Parts
from alphazero.encoders import Encoder
from alphazero.errors import RunFailed
from alphazero.inference import NetworkEvaluator
from alphazero.nn import cuda
from games.base import States
from games.connect_four import ConnectFour

GAME = games.make("connect_four")
SMALL = NetworkSettings(blocks=1, channels=8)
SIZES = [8, 64]


class Mirrored(Encoder):
    """An encoder that has no planes from bytes."""

    def __call__(self, states: States) -> np.ndarray:
        return self.game.observe(states)[..., ::-1].copy()


class Turned(ConnectFour):
    """A game of a user's own that changes ``observe`` and not ``observe_bytes``."""

    def observe(self, states: States) -> np.ndarray:
        return super().observe(states)[:, ::-1].copy()


@pytest.fixture
def on_device(monkeypatch):
    """Evaluators take the path of a CUDA device, with few and small batch sizes."""
    monkeypatch.setattr(NetworkEvaluator, "_uses_graphs", property(lambda self: not self._whole))
    monkeypatch.setattr(device_inference, "LARGEST", 64)
    monkeypatch.setattr(cuda, "TIMED_RUNS", 1)
    monkeypatch.setattr(cuda, "TIMED_REPEATS", 1)


def evaluator(precision: str = "float32", batch_size: int | str = "auto", settings=SMALL):
    chosen = InferenceSettings(
        backend="torch", precision=precision, device="cpu", batch_size=batch_size
    )
    return NetworkEvaluator(GAME, settings, chosen)


def states(count: int = 100) -> States:
    return positions(GAME, count, seed=0)


def parts(network, dtype=torch.float32) -> Parts:
    return Parts(network.tower, (network.policy, network.value), dtype, torch.device("cpu"))


@pytest.mark.parametrize("head", ["wdl", "scalar"])
def test_an_evaluation_on_the_device_equals_that_of_the_cpu(on_device, head, monkeypatch):
    settings = NetworkSettings(blocks=2, channels=16, value_head=head)
    made = evaluator(settings=settings)
    made.load(weights(settings), 3)
    on_the_device = made(states())
    monkeypatch.undo()
    made = evaluator(settings=settings)
    made.load(weights(settings), 3)
    expected = made(states())
    np.testing.assert_allclose(on_the_device.logits, expected.logits, atol=1e-5)
    np.testing.assert_allclose(on_the_device.value, expected.value, atol=1e-6)
    assert on_the_device.version == 3
    assert on_the_device.logits.dtype == on_the_device.value.dtype == np.float32


def test_only_the_bytes_of_the_states_are_copied_to_the_device():
    session = DeviceSession(Encoder(GAME), parts(trained(SMALL)), SIZES)
    session(states(5))
    (lane,) = session._graphs._lanes
    assert lane._passes[8].given.shape == (8, 16)
    assert lane._passes[8].given.dtype == torch.uint8


def test_an_encoder_without_planes_from_bytes_has_its_own_planes_copied():
    session = DeviceSession(Mirrored(GAME), parts(trained(SMALL)), SIZES)
    logits, value = session(states(5))
    with torch.no_grad():
        expected = trained(SMALL)(torch.from_numpy(Mirrored(GAME)(states(5))))
    np.testing.assert_allclose(logits, expected.policy.numpy(), atol=1e-4)
    np.testing.assert_allclose(value, values.from_logit_tensor(expected.value).numpy(), atol=1e-4)


def test_logits_of_a_bfloat16_network_take_two_bytes_and_come_back_unchanged():
    session = DeviceSession(Encoder(GAME), parts(trained(SMALL), torch.bfloat16), SIZES)
    logits, value = session(states(64))
    (lane,) = session._graphs._lanes
    run = lane._passes[64]
    assert [answer.dtype for answer in run.answers] == [torch.bfloat16, torch.float32]
    np.testing.assert_array_equal(logits, run.outputs[0].float().numpy())
    np.testing.assert_array_equal(logits, torch.from_numpy(logits).bfloat16().float().numpy())
    assert np.abs(value).max() <= 1


@pytest.mark.parametrize("width", [1, 3])
def test_values_on_the_device_are_numpys_and_a_broken_row_alone_is_nan(width):
    """Rows of the policy and of the value are broken in turn, among them infinities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(scale=8, size=(64, 7)).astype(np.float32)
    value_logits = rng.normal(scale=8, size=(64, width)).astype(np.float32)
    expected = values.from_logits(value_logits)
    logits[5, 2], logits[9, 0], value_logits[30, 0] = np.inf, np.nan, -np.inf
    broken = [5, 9, 30]

    class Fixed(torch.nn.Module):
        def __init__(self, outputs):
            super().__init__()
            self.outputs = torch.nn.Parameter(torch.from_numpy(outputs), requires_grad=False)

        def forward(self, features):
            return self.outputs[: len(features)]

    heads = (Fixed(np.zeros_like(logits)), Fixed(np.zeros_like(value_logits)))
    compute = device_inference.computation(
        Parts(torch.nn.Sequential(), heads, torch.float32, torch.device("cpu")), None
    )
    copies = [cell.cell_contents for cell in compute.__closure__]
    fixed = [module for module in copies if isinstance(module, Fixed)]
    for module in fixed:  # after the check of the weights, as if the network overflowed
        wanted = logits if module.outputs.shape[1] == 7 else value_logits
        module.outputs.data = torch.from_numpy(wanted)
    same, value = compute(torch.zeros(64, 2, 6, 7))
    np.testing.assert_array_equal(same.numpy(), logits)
    assert np.flatnonzero(np.isnan(value.numpy())).tolist() == broken
    kept = np.setdiff1d(np.arange(64), broken)
    np.testing.assert_allclose(value.numpy()[kept], expected[kept], atol=1e-6)


def test_values_that_are_not_finite_end_the_run_as_on_the_cpu(on_device):
    made = evaluator()
    broken = weights(SMALL)
    broken["policy.4.weight"] = np.full_like(broken["policy.4.weight"], 3e38)
    made.load(broken, 7)
    with pytest.raises(RunFailed, match="weights version 7 give values that are not finite"):
        made(states())


def test_the_timing_chooses_the_sizes_once_and_every_load_captures_those_in_use(on_device):
    made = evaluator()
    made.load(weights(SMALL), 1)
    sizes = made._sizes
    assert made.batch_size == sizes[-1] <= 64
    made(states(3))
    captured = made._loaded.session.captured
    made.load(weights(SMALL, seed=1), 2)
    assert made._sizes == sizes
    assert made._loaded.session.captured == captured == [[sizes[0]]]


def test_a_stated_batch_size_is_the_largest_one_even_if_a_smaller_one_is_as_fast(on_device):
    made = evaluator(batch_size=48)
    made.load(weights(SMALL), 1)
    assert made.batch_size == 48
    np.testing.assert_allclose(made(states(100)).value, made(states(100)).value)


def test_a_game_whose_planes_from_bytes_are_not_its_observe_is_refused(on_device):
    chosen = InferenceSettings(backend="torch", precision="float32", device="cpu")
    with pytest.raises(ValueError, match=r"observe_bytes.*are not those of observe"):
        NetworkEvaluator(Turned(), SMALL, chosen)


def test_only_encoders_with_the_games_own_planes_have_them_from_bytes():
    def same(array):
        return array

    assert Encoder(GAME).of_bytes(same) is not None
    assert Mirrored(GAME).of_bytes(same) is None
    assert encoders.make("history:plies=2", GAME).of_bytes(same) is None
    assert Encoder(games.make("chess")).of_bytes(same) is None


def test_every_call_has_the_logits_of_its_version_while_others_are_loaded(on_device):
    made, expected = evaluator(batch_size=32), {}
    for version in range(2):
        made.load(weights(SMALL, seed=version), version)
        expected[version] = made(states(20)).logits
    wrong, stop = [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            logits, _, version = made(states(20))
            if np.abs(logits - expected[version % 2]).max() > 1e-4:
                wrong.append(version)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for version in range(2, 12):
        made.load(weights(SMALL, seed=version % 2), version)
    stop.set()
    for caller in callers:
        caller.join()
    assert not wrong
