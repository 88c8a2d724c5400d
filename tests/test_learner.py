import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_positions import positions

import games
from alphazero import network
from alphazero.config import NetworkSettings, TrainingSettings
from alphazero.learner import Learner
from alphazero.network_settings import NetworkByAddress
from alphazero.nn import training
from alphazero.nn.divergence import Diverged
from alphazero.nn.settings import OptimizerSettings, ScheduleSettings
from alphazero.nn.weights import arrays, load
from alphazero.replay import Batch

SMALL = NetworkSettings(blocks=2, channels=16)


def learner(network_settings=SMALL, seed: int = 0, optimizer=None, **training) -> Learner:
    return Learner(
        games.make("connect_four"),
        network_settings,
        optimizer or OptimizerSettings(schedule=ScheduleSettings(warmup_steps=5)),
        TrainingSettings(**{"precision": "float32", "device": "cpu"} | training),
        seed,
    )


def batch(size: int = 32, seed: int = 0) -> Batch:
    game, rng = games.make("connect_four"), np.random.default_rng(seed)
    states = positions(game, size, seed)
    legal = game.legal(states)
    policy = rng.dirichlet(np.full(7, 0.3), size) * legal + 1e-3 * legal
    wdl = rng.dirichlet(np.full(3, 0.3), size)
    return Batch(
        game.observe(states),
        legal,
        (policy / policy.sum(axis=1, keepdims=True)).astype(np.float32),
        wdl.astype(np.float32),
    )


def trained(made: Learner, first: int, last: int) -> list[dict[str, float]]:
    return [made.train_step(batch(seed=i), i / 20) for i in range(first, last)]


@pytest.mark.parametrize("head", ["wdl", "scalar"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_one_batch_can_be_memorized(head, precision):
    settings = NetworkSettings(blocks=2, channels=16, value_head=head)
    optimizer = OptimizerSettings(l2=0, schedule=ScheduleSettings(kind="constant", warmup_steps=5))
    made = learner(settings, optimizer=optimizer, precision=precision)
    # Wins and losses: the sign of a value that should be about 0 can be wrong by rounding.
    wdl = np.tile(np.eye(3, dtype=np.float32)[[0, 2]], (8, 1))
    one = batch(size=16)._replace(wdl=wdl)
    before = made.train_step(one, 0.0)
    for _ in range(150):
        after = made.train_step(one, 0.0)
    assert before["policy_kl"] > 0.3
    assert after["policy_kl"] < 0.03
    assert after["value_accuracy"] == 1
    assert after["loss"] < before["loss"]


def test_the_first_steps_metrics_equal_a_slow_computation():
    made, one = learner(value_weight=0.5), batch()
    reference = network.build(games.make("connect_four"), SMALL, seed=0).train()
    logits, value, _ = reference(torch.from_numpy(one.observations))
    logits, value = logits.detach().double().numpy(), value.detach().double().numpy()
    policy_loss, entropy, target_entropy, value_loss = 0.0, 0.0, 0.0, 0.0
    for row in range(32):
        legal = np.flatnonzero(one.legal[row])
        chances = np.exp(logits[row, legal]) / np.exp(logits[row, legal]).sum()
        target = one.policy[row, legal]
        policy_loss -= sum(t * math.log(p) for t, p in zip(target, chances, strict=True))
        entropy -= sum(p * math.log(p) for p in chances)
        target_entropy -= sum(t * math.log(t) for t in target)
        wdl = np.exp(value[row]) / np.exp(value[row]).sum()
        value_loss -= sum(t * math.log(p) for t, p in zip(one.wdl[row], wdl, strict=True))
    metrics = made.train_step(one, 0.0)
    assert metrics["policy_loss"] == pytest.approx(policy_loss / 32, rel=1e-4)
    assert metrics["value_loss"] == pytest.approx(value_loss / 32, rel=1e-4)
    assert metrics["loss"] == pytest.approx((policy_loss + 0.5 * value_loss) / 32, rel=1e-4)
    assert metrics["policy_entropy"] == pytest.approx(entropy / 32, rel=1e-4)
    assert metrics["policy_kl"] == pytest.approx((policy_loss - target_entropy) / 32, rel=1e-3)
    assert metrics["learning_rate"] == pytest.approx(2e-3 / 5)
    assert metrics["gradient_norm"] > 0
    assert all(type(figure) is float for figure in metrics.values())


def assert_resumes(whole: Learner, first: Learner, second: Learner, path: Path) -> None:
    """Twenty steps of ``whole`` are ten of ``first`` and ten of ``second`` restored from it."""
    trained(whole, 0, 10)
    expected = trained(whole, 10, 20)
    trained(first, 0, 10)
    torch.save(first.state(), path)
    second.restore(torch.load(path, weights_only=True))
    assert trained(second, 10, 20) == expected
    assert same(flat(second.state()), flat(whole.state()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_twenty_steps_equal_ten_a_save_a_restore_and_ten_more_bit_for_bit(precision, tmp_path):
    whole, first = learner(precision=precision), learner(precision=precision)
    second = learner(seed=1, precision=precision)
    assert_resumes(whole, first, second, tmp_path / "state.pt")
    assert second.step == whole.step == 20
    assert same(second.weights(), whole.weights())


def fused_learner(seed: int = 0, attention="global_pooling") -> Learner:
    settings = NetworkSettings(blocks=2, channels=12, attention=attention)
    made = learner(settings, seed=seed, precision="auto", threads=2)
    made._optimization.set_precision("float32", fused=True)
    return made


def test_a_fused_learner_resumes_bit_for_bit_with_fused_layers(tmp_path):
    second = fused_learner(seed=1)
    second._optimization.set_precision("float32", fused=False)
    assert_resumes(fused_learner(), fused_learner(), second, tmp_path / "state.pt")
    assert second.fused


def test_a_state_from_before_fused_layers_continues_with_torchs():
    made, earlier = fused_learner(), fused_learner().state()
    del earlier["fused"]
    made.restore(earlier)
    assert not made.fused


def test_a_state_whose_fused_is_no_truth_value_is_refused():
    with pytest.raises(ValueError, match="fused 'yes' is neither true nor false"):
        fused_learner().restore(fused_learner().state() | {"fused": "yes"})


@pytest.mark.parametrize("attention", ["none", "global_pooling"])
def test_fused_and_plain_learners_have_the_same_losses_to_rounding(attention):
    fused, plain = (fused_learner(attention=attention) for _ in range(2))
    plain._optimization.set_precision("float32", fused=False)
    for one, other in zip(trained(fused, 0, 5), trained(plain, 0, 5), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-5)
    names = [name for name, array in plain.weights().items() if "running" in name]
    for name in names:
        expected = plain.weights()[name]
        np.testing.assert_allclose(fused.weights()[name], expected, rtol=1e-3, atol=1e-4)


def test_a_network_of_the_users_own_is_not_fused():
    made = learner(NetworkByAddress(kind="made_up_networks:Own"), precision="auto")
    made._optimization.set_precision("float32", fused=True)
    assert not made.fused


@pytest.mark.parametrize(
    ("attention", "faster", "fused"),
    [
        ("none", "float32", False),
        ("none", "bfloat16", True),
        ("global_pooling", "float32", True),
        ("global_pooling", "bfloat16", True),
        ("squeeze_excitation", "float32", False),
    ],
)
def test_layers_are_fused_with_pooling_and_in_bfloat16(monkeypatch, attention, faster, fused):
    monkeypatch.setattr(training, "faster_precision", lambda *_: faster)
    network = replace(SMALL, attention=attention)
    assert learner(network, precision="auto").fused is fused
    assert not learner(network, precision="float32").fused


def flat(state, prefix: str = "") -> dict:
    if isinstance(state, dict):
        pairs = state.items()
    elif isinstance(state, list | tuple):
        pairs = enumerate(state)
    else:
        return {prefix: np.asarray(state)}
    parts = [flat(part, f"{prefix}.{key}") for key, part in pairs]
    return {name: leaf for part in parts for name, leaf in part.items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )


def test_initialize_from_sets_the_weights_and_nothing_else():
    theirs = trained_weights(seed=1)
    begun = learner(seed=2)
    begun.initialize_from(theirs)
    assert all(np.array_equal(begun.weights()[name], theirs[name]) for name in theirs)
    trained(begun, 0, 1)
    with pytest.raises(ValueError, match="at step 1: initial weights come too late"):
        begun.initialize_from(theirs)


def trained_weights(seed):
    made = learner(seed=seed)
    trained(made, 0, 3)
    return made.weights()


def test_a_state_is_a_snapshot_that_later_steps_do_not_change():
    made = learner()
    trained(made, 0, 2)
    state = made.state()
    kept = {name: leaf.copy() for name, leaf in flat(state).items()}
    trained(made, 2, 4)
    assert same(flat(state), kept)
    learner().restore(state)
    trained(made, 4, 5)
    assert same(flat(state), kept)


def test_a_restored_learner_keeps_the_precision_that_the_first_one_chose():
    first = learner(precision="auto")
    assert first.precision in ("float32", "bfloat16")
    first._optimization.set_precision("float32" if first.precision == "bfloat16" else "bfloat16")
    second = learner(precision="auto")
    second.restore(first.state())
    assert second.precision == first.precision


def test_timing_the_precisions_does_not_change_the_initial_state():
    left, right = flat(learner(precision="auto").state()), flat(learner().state())
    for key in (".precision", ".fused", ".tiles"):
        del left[key], right[key]
    assert same(left, right)


def test_the_published_weights_are_averages_statistics_included():
    made, raw = learner(ema=0.5), []
    averaged = learner(ema=0.5).weights()
    for step in range(20):
        made.train_step(batch(seed=step), 0.0)
        raw.append({name: np.asarray(t) for name, t in made.state()["network"].items()})
        decay = min(0.5, (1 + step) / (10 + step))
        for name in averaged:
            if averaged[name].dtype.kind == "f":
                averaged[name] = decay * averaged[name] + (1 - decay) * raw[-1][name]
    got = made.weights()
    for name in ("tower.0.weight", "tower.1.running_var", "policy.1.weight", "value.6.bias"):
        np.testing.assert_allclose(got[name], averaged[name], rtol=1e-4, atol=1e-6)
    assert not np.array_equal(got["tower.1.running_mean"], raw[-1]["tower.1.running_mean"])
    assert got["tower.1.num_batches_tracked"] == 20


def test_without_averaging_the_newest_weights_are_published():
    made = learner(ema=0.0)
    trained(made, 0, 3)
    assert same(made.weights(), {n: np.asarray(t) for n, t in made.state()["network"].items()})


def test_published_weights_evaluate_like_the_averaged_network_in_evaluation_mode():
    made = learner(ema=0.0)
    trained(made, 0, 3)
    copy = network.build(games.make("connect_four"), SMALL, seed=9)
    load(copy, made.weights())
    one = torch.from_numpy(batch().observations)
    with torch.no_grad():
        raw = made._network.eval()(one)
        got = copy.eval()(one)
    for left, right in zip(raw[:2], got[:2], strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["observations", "policy", "wdl"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_batch_that_is_not_finite_is_refused_and_changes_nothing(name, poison):
    made, bad = learner(), batch()
    before = flat(made.state())
    getattr(bad, name).reshape(-1)[3] = poison
    with pytest.raises(ValueError, match=f"{name} hold values that are not finite"):
        made.train_step(bad, 0.0)
    assert same(flat(made.state()), before)


def test_a_target_on_an_illegal_move_is_refused():
    bad = batch()
    bad.legal[2, bad.policy[2].argmax()] = False
    with pytest.raises(ValueError, match="illegal action"):
        learner().train_step(bad, 0.0)


def test_a_loss_that_is_not_finite_stops_the_training_with_its_step():
    made = learner()
    trained(made, 0, 2)
    with torch.no_grad():
        next(made._network.parameters()).fill_(math.inf)
    with pytest.raises(Diverged, match="diverged at step 2"):
        made.train_step(batch(), 0.0)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_every_optimizer_learns_and_resumes(name):
    made = learner(optimizer=OptimizerSettings(name=name, learning_rate=1e-3))
    losses = [figures["loss"] for figures in (made.train_step(batch(), 0.0) for _ in range(40))]
    assert losses[-1] < losses[0]
    again = learner(seed=3, optimizer=OptimizerSettings(name=name, learning_rate=1e-3))
    again.restore(made.state())
    assert again.train_step(batch(), 0.0) == made.train_step(batch(), 0.0)


def test_a_state_of_an_earlier_version_is_refused_in_one_line():
    made = learner()
    state = made.state()
    moments = {i: {"step": torch.tensor(1.0)} for i in range(9)}
    state["optimizer"]["state"] = moments
    with pytest.raises(ValueError, match=r"saved by an earlier version .* can still play"):
        learner().restore(state)


def test_the_l1_penalty_moves_matrices_by_its_gradient_and_nothing_else():
    """In plain gradient descent, a penalty changes a step by its own gradient times the rate."""
    shared = {"name": "sgd", "momentum": 0.0, "l2": 0.0, "learning_rate": 0.1, "gradient_clip": 0.0}
    rate = ScheduleSettings(kind="constant", warmup_steps=0)
    before = arrays(network.build(games.make("connect_four"), SMALL, seed=0).state_dict())
    plain, shrunk = (
        learner(optimizer=OptimizerSettings(l1=l1, schedule=rate, **shared), ema=0.0)
        for l1 in (0.0, 0.5)
    )
    for made in (plain, shrunk):
        made.train_step(batch(), 0.0)
    left, right = plain.weights(), shrunk.weights()
    for name, weight in before.items():
        slope = 0.5 * np.sign(weight) if weight.ndim > 1 else 0
        np.testing.assert_allclose(right[name], left[name] - 0.1 * slope, rtol=1e-5, atol=1e-6)
