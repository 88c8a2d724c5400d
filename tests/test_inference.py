import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_positions import positions

import games
from alphazero import inference, network, values
from alphazero.config import InferenceSettings, NetworkSettings
from alphazero.errors import RunFailed
from alphazero.inference import NetworkEvaluator
from alphazero.network_settings import NetworkByAddress
from alphazero.nn.weights import Weights, arrays
from games.base import Game, States

SMALL = NetworkSettings(blocks=3, channels=32)
BACKENDS = ["torch", "openvino"]


def game() -> Game:
    return games.make("connect_four")


def states(count: int = 200) -> States:
    return positions(game(), count, seed=0)


def trained(settings: NetworkSettings = SMALL, seed: int = 0) -> network.PolicyValueNetwork:
    """A network whose outputs differ between positions, with changed BatchNorm statistics."""
    made = network.build(game(), settings, seed)
    for layer in (made.policy[-1], made.value[-1]):
        with torch.no_grad():
            layer.weight.mul_(15)
    with torch.no_grad():
        for _ in range(10):
            made.train()(torch.from_numpy(game().observe(states())))
    return made.eval()


def weights(settings: NetworkSettings = SMALL, seed: int = 0) -> Weights:
    return arrays(trained(settings, seed).state_dict())


def evaluator(backend: str, precision: str = "float32", settings=SMALL) -> NetworkEvaluator:
    if backend == "openvino":
        pytest.importorskip("openvino", reason="the openvino extra is not installed")
    chosen = InferenceSettings(backend=backend, precision=precision, device="cpu")
    return NetworkEvaluator(game(), settings, chosen)


def loaded(backend: str, precision: str = "float32", settings=SMALL) -> NetworkEvaluator:
    made = evaluator(backend, precision, settings)
    made.load(weights(settings), version=3)
    return made


def log_policy(logits: np.ndarray) -> torch.Tensor:
    masked = np.where(game().legal(states()), logits, -1e30)
    return torch.log_softmax(torch.from_numpy(masked).double(), dim=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("head", ["wdl", "scalar"])
def test_an_evaluation_equals_the_modules_output_for_the_observations(backend, head):
    settings = NetworkSettings(blocks=2, channels=16, value_head=head)
    evaluation = loaded(backend, settings=settings)(states())
    with torch.no_grad():
        logits, value, _ = trained(settings)(torch.from_numpy(game().observe(states())))
    np.testing.assert_allclose(evaluation.logits, logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(evaluation.value, values.from_logit_tensor(value).numpy(), atol=1e-4)
    assert evaluation.logits.dtype == evaluation.value.dtype == np.float32
    assert (evaluation.logits.shape, evaluation.value.shape) == ((200, 7), (200,))
    assert evaluation.version == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_stays_close_to_float32_in_policy_value_and_best_move(backend):
    exact, rounded = loaded("torch")(states()), loaded(backend, "bfloat16")(states())
    first, second = log_policy(exact.logits), log_policy(rounded.logits)
    divergence = (first.exp() * (first - second)).sum(dim=1).mean().item()
    assert 0 < divergence < 5e-4
    assert np.abs(exact.value - rounded.value).mean() < 0.01
    assert (first.argmax(dim=1) == second.argmax(dim=1)).double().mean() >= 0.95


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_evaluation_does_not_depend_on_the_rest_of_the_batch(backend):
    made = loaded(backend)
    together = made(states())
    for i in (0, 77, 199):
        alone = made(states()[i : i + 1])
        np.testing.assert_allclose(alone.logits[0], together.logits[i], atol=1e-4)
        np.testing.assert_allclose(alone.value[0], together.value[i], atol=1e-4)


def test_weights_published_without_buffers_are_refused():
    parameters = {name for name, _ in trained().named_parameters()}
    with pytest.raises(ValueError, match="missing"):
        evaluator("torch").load({k: v for k, v in weights().items() if k in parameters}, 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_new_weights_replace_the_old_ones(backend):
    made = loaded(backend)
    before = made(states())
    made.load(weights(seed=1), version=4)
    after = made(states())
    assert after.version == 4
    assert np.abs(before.logits - after.logits).max() > 0.1
    made.load(weights(), version=5)
    np.testing.assert_array_equal(made(states()).logits, before.logits)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_call_uses_one_version_while_others_are_loaded(backend):
    made = evaluator(backend)
    versions = {version: weights(seed=version) for version in range(2)}
    expected = {}
    for version, tensors in versions.items():
        made.load(tensors, version)
        expected[version] = made(states(40))
    calls, right, stop = [], [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            calls.append(None)
            logits, value, version = made(states(40))
            same = np.abs(logits - expected[version].logits).max() < 1e-4
            if same and np.abs(value - expected[version].value).max() < 1e-4:
                right.append(version)

    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for turn in range(10):
        made.load(versions[turn % 2], turn % 2)
        while right[-1:] != [turn % 2] and callers[0].is_alive():
            time.sleep(0.001)
    stop.set()
    for caller in callers:
        caller.join()
    assert len(right) == len(calls)


def test_new_weights_have_as_many_compiled_requests_as_the_old_ones():
    made = loaded("openvino")
    session = made._loaded.session
    busy = session._idle.pop()
    made(states())
    session._idle.append(busy)
    assert session.requests == 2
    made.load(weights(seed=1), version=4)
    assert made._loaded.session is not session
    assert made._loaded.session.requests == len(made._loaded.session._idle) == 2


def test_auto_chooses_the_fastest_candidate_and_gives_the_reason(monkeypatch):
    speeds = {"openvino": 0.2, "torch": 0.1}
    built = []

    def build(self, choice):
        built.append(choice)
        return choice

    monkeypatch.setattr(inference, "openvino_installed", lambda: True)
    monkeypatch.setattr(NetworkEvaluator, "_build", build)
    monkeypatch.setattr(
        inference, "_seconds", lambda c, _: speeds[c.backend] + (c.precision == "bfloat16")
    )
    made = NetworkEvaluator(game(), SMALL, InferenceSettings(device="cpu"))
    made.load(weights(), 1)
    assert len(built) == 5
    assert made.choice == ("torch", "float32")
    assert made.description.startswith("torch float32 on cpu: the fastest")
    assert "openvino bfloat16 107" in made.description
    made.load(weights(), 2)
    assert len(built) == 6


def test_a_choice_made_earlier_is_kept_without_a_timing(monkeypatch):
    monkeypatch.setattr(inference, "_seconds", lambda *_: pytest.fail("timed"))
    made = NetworkEvaluator(game(), SMALL, InferenceSettings(device="cpu"))
    made.choice = inference.Choice("torch", "float32")
    made.load(weights(), 1)
    assert made.description == "torch float32 on cpu: as it was chosen earlier"


def test_the_choice_is_reported_in_one_line_at_the_first_load():
    lines = []
    chosen = InferenceSettings(backend="torch", precision="float32", device="cpu")
    made = NetworkEvaluator(game(), SMALL, chosen, lines.append)
    for version in (1, 2):
        made.load(weights(), version)
    assert lines == ["torch float32 on cpu: the only one that settings and machine allow"]


def test_bfloat16_is_not_timed_on_a_device_that_has_none(monkeypatch):
    capability = {"cuda:0": (7, 5), "cuda:1": (8, 0)}
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability[str(device)])
    left_open, asked_for = InferenceSettings(), InferenceSettings(precision="bfloat16")
    old, new = torch.device("cuda:0"), torch.device("cuda:1")
    assert inference._candidates(left_open, old) == [("torch", "float32")]
    assert inference._candidates(left_open, new) == [("torch", "bfloat16"), ("torch", "float32")]
    assert inference._candidates(asked_for, old) == [("torch", "bfloat16")]


def test_without_openvino_torch_is_timed_alone(monkeypatch):
    monkeypatch.setattr(inference, "openvino_installed", lambda: False)
    made = NetworkEvaluator(game(), SMALL, InferenceSettings(device="cpu"))
    made.load(weights(), 1)
    assert made.choice is not None
    assert made.choice.backend == "torch"
    assert "openvino" not in made.description


def test_openvino_on_a_gpu_is_refused():
    with pytest.raises(ValueError, match="runs on the cpu"):
        NetworkEvaluator(game(), SMALL, InferenceSettings(backend="openvino", device="cuda"))


@pytest.mark.parametrize("name", ["cuda:77", "toaster"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=f"device '{name}' cannot be used here"):
        NetworkEvaluator(game(), SMALL, InferenceSettings(backend="torch", device=name))


def test_a_call_before_the_first_load_is_refused():
    with pytest.raises(ValueError, match="no weights"):
        evaluator("torch")(states())


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="empty batch"):
        loaded("torch")(states()[:0])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["tower.1.running_mean", "policy.4.weight"])
def test_weights_that_are_not_finite_are_refused_and_the_old_ones_stay(backend, name):
    made, broken = loaded(backend), weights()
    broken[name][0] = np.nan
    with pytest.raises(RunFailed, match=f"version 42 are not finite or variances < 0: {name}"):
        made.load(broken, version=42)
    assert made(states()).version == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_negative_variance_is_refused_by_every_backend(backend):
    """OpenVINO would turn the NaN that follows into 0 and give a confident wrong answer."""
    made, broken = loaded(backend), weights()
    name = next(name for name in broken if name.endswith("running_var"))
    broken[name][0] = -1
    with pytest.raises(RunFailed, match=f"version 42 are not finite or variances < 0: {name}"):
        made.load(broken, version=42)
    assert made(states()).version == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_that_are_not_finite_are_refused_with_the_weights_version(backend):
    made, huge = evaluator(backend), weights()
    huge["policy.4.weight"][:] = 3e38
    huge["value.6.weight"][:] = 3e38
    made.load(huge, version=42)
    with pytest.raises(RunFailed, match="version 42"):
        made(states())


class Plain(torch.nn.Module):
    """A network without a tower, which returns a tuple; it needs contiguous planes."""

    def __init__(self, shape, num_actions, settings, auxiliary=None):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(shape[0], 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU()
        )
        self.actions = torch.nn.Linear(4 * shape[1] * shape[2], num_actions)
        self.results = torch.nn.Linear(4 * shape[1] * shape[2], 3)

    def forward(self, observations):
        # By index, which a session that folds BatchNorm away would break.
        features = self.layers[2](self.layers[1](self.layers[0](observations)))
        features = features.contiguous().view(len(features), -1)
        return self.actions(features), self.results(features)


class Recorded(Plain):
    """The same with the record of outputs and an auxiliary one."""

    def forward(self, observations):
        policy, value = super().forward(observations)
        return network.Outputs(policy, value, {"score": value[:, 0]})


@pytest.mark.parametrize("made", [Plain, Recorded])
@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
def test_a_network_without_a_tower_runs_as_a_whole_in_torch(monkeypatch, made, backend):
    monkeypatch.setattr(network, "PolicyValueNetwork", made)
    module = made(game().observation_shape, 7, SMALL)
    with torch.no_grad():  # statistics that are not a fresh network's
        module.train()(torch.from_numpy(game().observe(states())))
    chosen = InferenceSettings(backend=backend, precision="float32", device="cpu")
    evaluate = NetworkEvaluator(game(), SMALL, chosen)
    evaluate.load(arrays(module.state_dict()), 1)
    assert evaluate.description.startswith("torch float32 on cpu: the only one")
    evaluation = evaluate(states())
    with torch.no_grad():
        logits, value = module.eval()(torch.from_numpy(game().observe(states())))[:2]
    np.testing.assert_allclose(evaluation.logits, logits.numpy(), atol=1e-5)
    np.testing.assert_allclose(evaluation.value, values.from_logit_tensor(value).numpy(), atol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "torch", "openvino"])
@pytest.mark.parametrize("name", ["Own", "Shortcut", "Smooth"])
def test_a_network_by_address_is_evaluated_as_it_is_written(backend, name):
    """Whatever its parts are called: only a tower under two heads is taken apart."""
    if backend == "openvino":
        pytest.importorskip("openvino", reason="the openvino extra is not installed")
    settings = NetworkByAddress(kind=f"made_up_networks:{name}")
    module, rng = network.build(game(), settings, seed=0).eval(), torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=rng)
        logits, value = module(torch.from_numpy(game().observe(states())))
    chosen = InferenceSettings(backend=backend, precision="float32", device="cpu")
    evaluate = NetworkEvaluator(game(), settings, chosen)
    evaluate.load(arrays(module.state_dict()), 1)
    evaluation = evaluate(states())
    np.testing.assert_allclose(evaluation.logits, logits.numpy(), atol=1e-4)
    np.testing.assert_allclose(evaluation.value, values.from_logit_tensor(value).numpy(), atol=1e-4)
    if backend == "openvino":
        assert evaluate.choice == (("openvino" if name == "Own" else "torch"), "float32")


def test_a_whole_modules_session_keeps_its_weights_when_the_module_is_trained_on():
    module = Plain(game().observation_shape, 7, SMALL)
    session = inference.ModuleSession(module, torch.float32, torch.device("cpu"))
    inputs = game().observe(states())
    before = session(inputs)
    module.train()(torch.from_numpy(inputs))
    with torch.no_grad():
        module.actions.weight.zero_()
    np.testing.assert_array_equal(session(inputs)[0], before[0])
    assert module.training


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("trained_with", [{}, {"score": 1.0, "ownership": 1.5}])
@pytest.mark.parametrize("settings_say", [{}, {"reply": 0.15}])
def test_auxiliary_heads_make_no_difference_to_an_evaluation(backend, trained_with, settings_say):
    """Whatever heads the weights have and the settings name: only policy and value are used."""
    theirs, ours = (replace(SMALL, heads=heads) for heads in (trained_with, settings_say))
    made = evaluator(backend, settings=ours)
    made.load(weights(theirs), version=3)
    expected = loaded(backend)(states())
    evaluation = made(states())
    np.testing.assert_array_equal(evaluation.logits, expected.logits)
    np.testing.assert_array_equal(evaluation.value, expected.value)
