"""Auxiliary heads: their losses against slow computations, and networks with and without them."""

import math
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_positions import positions
from torch import nn

import games
from alphazero import checkpoint, config, config_file, heads, local_run, network, resuming
from alphazero.config import NetworkSettings, TrainingSettings
from alphazero.config_file import ConfigError
from alphazero.learner import Learner
from alphazero.nn.flat import Flat
from alphazero.nn.parallel import Replicas
from alphazero.nn.settings import OptimizerSettings, ScheduleSettings
from alphazero.nn.weights import arrays, load
from alphazero.replay import Batch
from alphazero.targets import TARGETS

ALL = dict.fromkeys(heads.HEADS, 0.5)
GAMES = ["tic_tac_toe", "connect_four", "othello:size=6"]
GAME = games.make("connect_four")
ROWS = 6


def sized(**changes) -> NetworkSettings:
    return NetworkSettings(**{"blocks": 1, "channels": 8} | changes)


def shapes(game) -> dict[str, tuple[int, ...]]:
    """The shape of one position's target, written down a second time."""
    cells = game.observation_shape[1] * game.observation_shape[2]
    return {"reply": (game.num_actions,), "ownership": (cells,)} | dict.fromkeys(
        ("score", "moves_left", "short_term"), ()
    )


def targets(name: str, count: int, seed: int = 0) -> np.ndarray:
    """Random targets; every third row has none."""
    rng = np.random.default_rng(seed)
    shape = (count, *shapes(GAME)[name])
    made = {
        "reply": lambda: rng.dirichlet(np.ones(7), count),
        "ownership": lambda: rng.integers(-1, 2, shape),
        "moves_left": lambda: rng.random(shape),
    }.get(name, lambda: rng.uniform(-1, 1, shape))()
    target = made.astype(np.float32)
    target[2::3] = np.nan
    return target


def batch(count: int = 32, seed: int = 0, weight: np.ndarray | None = None) -> Batch:
    rng, states = np.random.default_rng(seed), positions(GAME, count, seed)
    legal = GAME.legal(states)
    policy = (rng.random(legal.shape) * legal).astype(np.float32)
    return Batch(
        GAME.observe(states),
        legal,
        policy / policy.sum(axis=1, keepdims=True),
        rng.dirichlet(np.ones(3), count).astype(np.float32),
        weight,
        {name: targets(name, count, seed) for name in heads.HEADS},
    )


def learner(weights: dict[str, float], seed: int = 0, **training) -> Learner:
    optimizer = OptimizerSettings(schedule=ScheduleSettings(kind="constant", warmup_steps=0))
    chosen = TrainingSettings(**{"precision": "float32", "device": "cpu", "ema": 0.0} | training)
    return Learner(GAME, sized(heads=weights), optimizer, chosen, seed)


def slow(name: str, output: np.ndarray, target: np.ndarray) -> float:
    """The loss of one row with a target, entry by entry."""
    if name == "reply":
        chances = [math.exp(x) / sum(math.exp(y) for y in output) for x in output]
        return -sum(t * math.log(p) for t, p in zip(target, chances, strict=True))
    if name == "ownership":
        ours = [(1 + math.tanh(x)) / 2 for x in output]
        costs = [
            -(1 + t) / 2 * math.log(p) - (1 - t) / 2 * math.log(1 - p)
            for t, p in zip(target, ours, strict=True)
        ]
        return sum(costs) / len(costs)
    if name == "moves_left":
        error = abs(1 / (1 + math.exp(-output)) - target)
        return error**2 / 2 if error < 0.25 else 0.25 * (error - 0.125)
    return (math.tanh(output) - target) ** 2


def test_every_head_has_a_target_and_every_target_a_head():
    assert heads.HEADS.keys() == TARGETS.keys()


def test_a_head_whose_target_the_game_does_not_offer_is_refused_in_one_line():
    for name, method in (("ownership", "final_ownership"), ("score", "final_score")):
        with pytest.raises(ConfigError) as caught:
            config.load("tic_tac_toe", [f"network.heads.{name}=1"])
        (line,) = caught.value.lines
        assert line.endswith(f"tic_tac_toe has no {method}, the target of the head {name}")
        config.load("connect_four", [f"network.heads.{name}=1"])
    config.load("tic_tac_toe", ["network.heads={reply: 1, moves_left: 1, short_term: 1}"])


@pytest.mark.parametrize("name", GAMES)
def test_every_heads_output_has_the_shape_of_its_target(name):
    game = games.make(name)
    made = network.build(game, sized(heads=ALL), seed=0)
    outputs = made(torch.from_numpy(game.observe(positions(game, 5, seed=0))))
    expected = {head: (5, *shape) for head, shape in shapes(game).items()}
    assert {head: tuple(array.shape) for head, array in outputs.auxiliary.items()} == expected


@pytest.mark.parametrize("name", heads.HEADS)
def test_a_loss_is_the_mean_over_all_rows_with_0_for_those_without_a_target(name):
    target = targets(name, ROWS)
    output = np.random.default_rng(1).normal(0, 2, target.shape).astype(np.float32)
    known = [row for row in range(ROWS) if not np.isnan(target[row]).any()]
    assert len(known) == 4
    expected = sum(slow(name, output[row], target[row]) for row in known) / ROWS
    loss = heads.HEADS[name].loss(torch.from_numpy(output), torch.from_numpy(target))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", heads.HEADS)
def test_rows_without_a_target_have_no_gradient(name):
    target = torch.from_numpy(targets(name, ROWS))
    output = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    output.requires_grad_()
    heads.HEADS[name].loss(output, target).backward()
    assert not output.grad[2::3].any()
    assert output.grad[0::3].any()
    assert torch.isfinite(output.grad).all()


@pytest.mark.parametrize("name", heads.HEADS)
def test_a_batch_without_any_target_has_a_loss_of_0_and_no_gradient(name):
    output = torch.ones(targets(name, ROWS).shape, requires_grad=True)
    loss = heads.HEADS[name].loss(output, torch.full(output.shape, math.nan))
    loss.backward()
    assert loss.item() == 0
    assert not output.grad.any()


@pytest.mark.parametrize("name", heads.HEADS)
def test_a_target_of_another_shape_is_refused(name):
    output = torch.zeros(targets(name, ROWS).shape)
    with pytest.raises(AssertionError):
        heads.HEADS[name].loss(output, torch.zeros(*output.shape, 1))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=12), st.sampled_from(list(heads.HEADS)))
def test_the_gradient_of_two_shares_is_that_of_the_whole_batch_wherever_targets_are(known, name):
    count = len(known)
    target = np.nan_to_num(targets(name, count))
    target[~np.array(known)] = np.nan
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(count))

    def forward(module, rows, goals):
        loss = heads.HEADS[name].loss(module(rows).reshape(goals.shape), goals)
        return loss, {"loss": loss}

    results = []
    for replicas in (1, 2):
        torch.manual_seed(0)
        flat = Flat(torch.nn.Sequential(torch.nn.Linear(4, int(np.prod(target.shape[1:])))))
        figures = Replicas(flat, replicas).backward(forward, [inputs, torch.from_numpy(target)])
        results.append((figures["loss"], flat.gradient.clone()))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["he", "xavier"])
def test_tower_policy_and_value_begin_with_the_same_weights_with_and_without_heads(kind):
    without = arrays(network.build(GAME, sized(initialization=kind), seed=3).state_dict())
    made = arrays(network.build(GAME, sized(initialization=kind, heads=ALL), seed=3).state_dict())
    assert all(np.array_equal(made[name], array) for name, array in without.items())
    assert {name.split(".")[1] for name in made.keys() - without.keys()} == set(heads.HEADS)


def test_the_weights_of_heads_do_not_depend_on_their_order_in_the_settings():
    one, other = (
        arrays(network.build(GAME, sized(heads=dict.fromkeys(names, 1.0)), seed=0).state_dict())
        for names in (("score", "reply"), ("reply", "score"))
    )
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_an_untrained_head_predicts_nearly_the_same_everywhere():
    made = network.build(GAME, sized(heads=ALL), seed=0).train()
    outputs = made(torch.from_numpy(batch(128).observations)).auxiliary
    assert max(output.std().item() for output in outputs.values()) < 0.25


def test_the_loss_is_that_of_policy_and_value_plus_the_weighted_losses_of_the_heads():
    weights = {name: 0.1 * (number + 1) for number, name in enumerate(heads.HEADS)}
    plain, made = learner({}), learner(weights)
    before, after = plain.train_step(batch(), 0.0), made.train_step(batch(), 0.0)
    for name in ("policy_loss", "value_loss", "policy_entropy", "policy_kl", "value_accuracy"):
        assert before[name] == after[name]
    added = sum(weight * after[f"{name}_loss"] for name, weight in weights.items())
    assert after["loss"] == pytest.approx(before["loss"] + added, rel=1e-5)
    assert not any(f"{name}_loss" in before for name in weights)


def test_in_bfloat16_the_losses_of_heads_are_nearly_the_same():
    exact, rounded = (
        learner(ALL, precision=precision).train_step(batch(), 0.0)
        for precision in ("float32", "bfloat16")
    )
    assert exact != rounded
    for name in heads.HEADS:
        assert rounded[f"{name}_loss"] == pytest.approx(exact[f"{name}_loss"], rel=0.02)


def test_every_head_learns_one_batch():
    made, one = learner(ALL), batch(16)
    before = made.train_step(one, 0.0)
    for _ in range(120):
        after = made.train_step(one, 0.0)
    reply, ownership = (one.auxiliary[name].astype(float) for name in ("reply", "ownership"))
    # No loss can be below its target's entropy; a cell that neither side owns counts as log 2.
    least = dict.fromkeys(heads.HEADS, 0.0) | {
        "reply": -np.nansum(reply * np.log(reply)) / 16,
        "ownership": (ownership == 0).mean() * math.log(2),
    }
    for name in heads.HEADS:
        start, end = (row[f"{name}_loss"] - least[name] for row in (before, after))
        # Random owners of 42 cells are more than so small a network learns by heart.
        assert -1e-3 < end < (0.8 if name == "ownership" else 0.3) * start, name


def test_heads_train_with_several_replicas_and_resume_bit_for_bit():
    made, again = learner(ALL, threads=2), learner(ALL, seed=1, threads=2)
    for step in range(3):
        made.train_step(batch(seed=step), 0.0)
    again.restore(made.state())
    assert again.train_step(batch(seed=9), 0.0) == made.train_step(batch(seed=9), 0.0)


def test_the_weight_of_a_position_multiplies_its_policy_and_value_loss():
    rows = batch(8)
    first = Batch(*(array[:4] for array in rows[:4]), None, {})
    # BatchNorm sees the same batch in both; only the weights differ.
    doubled, plain, ones = (
        learner({}).train_step(rows._replace(weight=weight), 0.0)
        for weight in (np.repeat(np.float32([2, 0]), 4), None, np.ones(8, np.float32))
    )
    made = network.build(GAME, sized(), seed=0).train()
    outputs = made(torch.from_numpy(rows.observations))
    logits = outputs.policy.detach().double().numpy()[:4]
    logits = np.where(first.legal, logits, -np.inf)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -(first.policy * np.log(np.where(first.legal, chances, 1))).sum(axis=1).mean()
    target_entropy = -(first.policy * np.log(np.where(first.policy > 0, first.policy, 1))).sum(1)
    assert doubled["policy_loss"] == pytest.approx(expected, rel=1e-4)
    assert doubled["policy_kl"] == pytest.approx(expected - target_entropy.mean(), rel=1e-3)
    assert ones["loss"] == pytest.approx(plain["loss"], rel=1e-6)
    assert doubled["value_loss"] != pytest.approx(plain["value_loss"], rel=1e-3)


def test_positions_of_weight_0_change_nothing():
    made = learner({}, value_weight=1.0)
    optimizer_free = made.train_step(batch(weight=np.zeros(32, np.float32)), 0.0)
    assert optimizer_free["loss"] == optimizer_free["gradient_norm"] == 0


def test_a_batch_without_the_target_of_a_head_is_refused():
    with pytest.raises(ValueError, match="no target for the head score"):
        learner({"score": 1.0}).train_step(batch()._replace(auxiliary={}), 0.0)


@pytest.mark.parametrize("change", ["weight", "score"])
def test_weights_and_targets_that_are_not_finite_are_refused(change):
    one = batch(weight=np.ones(32, np.float32))
    array = one.weight if change == "weight" else one.auxiliary["score"]
    array[3] = np.inf
    with pytest.raises(ValueError, match=change):
        learner(ALL).train_step(one, 0.0)


def test_weights_with_a_head_more_load_with_one_line_and_without_it():
    lines, made = [], network.build(GAME, sized(heads={"reply": 1.0}), seed=0)
    both = arrays(network.build(GAME, sized(heads={"reply": 1, "score": 1}), 1).state_dict())
    load(made, network.fit_heads(made, both, lines.append))
    assert lines == ["the head score of the weights is left out: this network has none"]
    for name, array in arrays(made.state_dict()).items():
        np.testing.assert_array_equal(array, both[name])


def test_weights_with_a_head_fewer_load_with_one_line_and_its_own_first_weights():
    lines, made = [], network.build(GAME, sized(heads={"reply": 1.0}), seed=0)
    first = arrays(made.state_dict())
    earlier = arrays(network.build(GAME, sized(), seed=1).state_dict())
    load(made, network.fit_heads(made, earlier, lines.append))
    assert lines == ["the head reply has no weights there: it begins with random ones"]
    for name, array in arrays(made.state_dict()).items():
        np.testing.assert_array_equal(array, earlier.get(name, first[name]))


def test_a_head_with_a_part_missing_or_any_other_difference_is_refused():
    made = network.build(GAME, sized(heads={"reply": 1.0}), seed=0)
    weights = arrays(made.state_dict())
    for name in ("heads.reply.0.weight", "policy.0.weight"):
        part = {key: array for key, array in weights.items() if key != name}
        with pytest.raises(ValueError, match=name):
            load(made, network.fit_heads(made, part))


def test_weights_of_another_board_give_their_tower_and_the_heads_that_fit():
    large, lines = games.make("go:size=7"), []
    settings = sized(attention="global_pooling", heads={"ownership": 0.5, "score": 0.2})
    theirs = arrays(network.build(games.make("go:size=5"), settings, 1).state_dict())
    made = network.build(large, settings, seed=0)
    first = arrays(made.state_dict())
    load(made, network.fit_heads(made, theirs, lines.append))
    assert lines == [
        f"the head {name} has other shapes there: it begins with random weights"
        for name in ("policy", "score", "value")
    ]
    anew = ("policy.", "value.", "heads.score.")
    for name, array in arrays(made.state_dict()).items():
        expected = first if name.startswith(anew) else theirs
        np.testing.assert_array_equal(array, expected[name], name)


def test_a_head_of_other_shapes_in_a_network_of_the_users_own_is_refused():
    made, other = (nn.Sequential(OrderedDict(policy=nn.Linear(width, 7))) for width in (4, 5))
    weights = arrays(other.state_dict())
    with pytest.raises(ValueError, match=r"policy\.weight has shape"):
        load(made, network.fit_heads(made, weights))


def test_weights_of_another_tower_are_refused():
    made = network.build(GAME, sized(), seed=0)
    wider = arrays(network.build(GAME, sized(channels=16), 1).state_dict())
    with pytest.raises(ValueError, match=r"tower\.0\.weight has shape"):
        load(made, network.fit_heads(made, wider))


def test_a_learner_starts_from_weights_with_other_heads_and_fewer_blocks():
    lines, theirs = [], learner({"score": 1.0}).weights()
    deeper = sized(blocks=2, heads={"reply": 1.0})
    made = Learner(GAME, deeper, OptimizerSettings(), TrainingSettings(device="cpu"), 1)
    made.initialize_from(theirs, lines.append)
    assert len(lines) == 2
    begun = made.weights()
    shared = [name for name in begun if name in theirs]
    assert any(name.startswith("tower.1.") for name in shared)
    assert all(np.array_equal(begun[name], theirs[name]) for name in shared)


def test_a_run_starts_from_a_checkpoint_with_other_heads_and_reports_each(tmp_path):
    first, second = (
        config.Config(
            game="connect_four",
            network=sized(heads=chosen),
            training=TrainingSettings(device="cpu", precision="float32", initial_weights=source),
        )
        for chosen, source in (({"score": 1.0}, None), ({"reply": 1.0}, str(tmp_path)))
    )
    checkpoint.save(tmp_path, 1, learner({"score": 1.0}).weights(), {}, first)
    lines = []
    made = local_run.make_learner(second, resumed=False, report=lines.append)
    assert [line.partition(": ")[0] for line in lines] == ["training.initial_weights"] * 2
    begun, theirs = made.weights(), checkpoint.load(tmp_path).weights
    np.testing.assert_array_equal(begun["policy.0.weight"], theirs["policy.0.weight"])
    changed = replace(second, network=sized(channels=4, heads={"reply": 1.0}))
    with pytest.raises(ValueError, match=r"network\.channels 8, these settings say 4"):
        local_run.make_learner(changed, resumed=False)


@pytest.mark.parametrize("now", [{}, {"ownership": 1.0}, {"score": 2.0}, {"score": 1, "reply": 1}])
def test_a_resumed_run_keeps_its_heads_and_their_weights(now):
    before, after = (
        config_file.as_dict(config.Config(game="connect_four", network=sized(heads=chosen)))
        for chosen in ({"score": 1.0}, now)
    )
    assert resuming.compare(before, before) == []
    with pytest.raises(ValueError, match=r"resume: network.heads.\w+ was .* cannot become"):
        resuming.compare(before, after)


def test_an_unknown_head_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        config.load("connect_four", ["network.heads.ownersip=1.5"])
    assert caught.value.lines == (
        "command line: network.heads: unknown head 'ownersip'; did you mean 'ownership'?",
    )


@pytest.mark.parametrize("weight", ["0", "-1", "much"])
def test_a_heads_weight_must_be_above_0(weight):
    with pytest.raises(ConfigError, match=r"network.heads"):
        config.load("connect_four", [f"network.heads.score={weight}"])


def test_heads_are_given_on_the_command_line_one_by_one_or_together():
    one = config.load("connect_four", ["network.heads.score=2", "network.heads.reply=0.15"])
    both = config.load("connect_four", ["heads={score: 2, reply: 0.15}"])
    assert one.network.heads == both.network.heads == {"score": 2.0, "reply": 0.15}
