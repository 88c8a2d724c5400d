import re

import numpy as np
import pytest
import torch
from random_positions import positions

import games
from alphazero import network, values
from alphazero.config import NetworkSettings
from alphazero.network_settings import NetworkByAddress
from alphazero.nn.layers import LAST_NORM
from alphazero.nn.weights import arrays, load
from games.base import Game

GAMES = ["tic_tac_toe", "connect_four", "othello:size=6"]


def game() -> Game:
    return games.make("connect_four")


def built(seed: int = 0, **settings) -> network.PolicyValueNetwork:
    chosen = NetworkSettings(**{"blocks": 2, "channels": 16} | settings)
    return network.build(game(), chosen, seed)


def observations(count: int = 32) -> torch.Tensor:
    return torch.from_numpy(game().observe(positions(game(), count, seed=0)))


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("head", ["wdl", "scalar"])
def test_every_game_gets_logits_for_its_actions_and_its_value(name, head):
    other = games.make(name)
    made = network.build(other, NetworkSettings(blocks=1, channels=8, value_head=head), seed=0)
    logits, value, _ = made(torch.from_numpy(other.observe(positions(other, 5, seed=0))))
    assert logits.shape == (5, other.num_actions)
    assert value.shape == (5, 3 if head == "wdl" else 1)


@pytest.mark.parametrize(
    ("name", "heads", "part"),
    [
        ("FewActions", {}, "the output policy must be (2, 7), but is (2, 6)"),
        ("FlatValue", {}, "the output value must be (2, 3) or (2, 1), but is (2,)"),
        ("Own", {"reply": 1.0}, "the output reply must be (2, 7), but is missing"),
        ("PolicyAlone", {}, "a tuple of two, or network.Outputs"),
        ("NoModule", {}, "is not a torch.nn.Module"),
    ],
)
def test_a_network_by_address_with_other_outputs_is_refused_in_one_line(name, heads, part):
    settings = NetworkByAddress(kind=f"made_up_networks:{name}", heads=heads)
    with pytest.raises(ValueError, match=re.escape(part)) as refused:
        network.build(game(), settings, seed=0)
    assert str(refused.value).startswith(f"network 'made_up_networks:{name}'")
    assert "\n" not in str(refused.value)


def test_the_default_network_is_five_blocks_of_64_channels():
    made = network.build(game(), NetworkSettings(), seed=0)
    convolutions = [m for m in made.tower.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) == 11
    assert {m.out_channels for m in convolutions} == {64}


def test_the_weights_depend_on_the_seed_alone_and_do_not_use_torchs_generator():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = arrays(built(seed=5).state_dict())
    assert torch.equal(torch.rand(3), expected)
    second, other = arrays(built(seed=5).state_dict()), arrays(built(seed=6).state_dict())
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["policy.4.weight"], other["policy.4.weight"])


@pytest.mark.parametrize("kind", ["he", "xavier"])
def test_an_untrained_network_has_a_nearly_uniform_policy_and_a_value_near_zero(kind):
    made = network.build(game(), NetworkSettings(initialization=kind), seed=0)
    with torch.no_grad():
        logits, value, _ = made.train()(observations(128))
    policy = torch.softmax(logits, dim=1)
    assert (policy - 1 / 7).abs().max() < 0.1
    assert values.from_logit_tensor(value).abs().max() < 0.2


def test_an_evaluation_does_not_depend_on_the_rest_of_the_batch():
    made = built(attention="global_pooling")
    with torch.no_grad():
        made.train()(observations())  # statistics that are not a fresh network's
        together = made.eval()(observations())
        for i in (0, 7, 31):
            alone = made(observations()[i : i + 1])
            for one, all_ in zip(alone[:2], together[:2], strict=True):
                torch.testing.assert_close(one[0], all_[i], atol=1e-5, rtol=1e-5)


def test_in_training_mode_an_output_depends_on_the_rest_of_the_batch():
    made = built().train()
    with torch.no_grad():
        together, fewer = made(observations()), made(observations()[:4])
    assert (together[0][:4] - fewer[0]).abs().max() > 1e-3


def test_the_value_of_three_logits_is_win_minus_loss_and_of_one_its_tanh():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.0001, 0.0001, 0.9998]]))
    torch.testing.assert_close(values.from_logit_tensor(logits), torch.tensor([0.3, -0.9997]))
    torch.testing.assert_close(
        values.from_logit_tensor(torch.tensor([[0.5], [-20.0]])), torch.tensor([0.46211717, -1.0])
    )


def test_weights_hold_every_parameter_and_every_buffer_and_are_copies():
    made = built()
    taken = arrays(made.state_dict())
    names = {name for name, _ in made.named_parameters()} | {n for n, _ in made.named_buffers()}
    assert taken.keys() == names
    assert "tower.1.running_mean" in names
    taken["tower.1.running_mean"] += 5
    assert not made.get_buffer("tower.1.running_mean").any()
    assert all(array.flags.c_contiguous for array in taken.values())


def test_loaded_weights_compute_exactly_the_same_as_their_source():
    source, target = built(seed=0), built(seed=1)
    with torch.no_grad():
        source.train()(observations())
        load(target, arrays(source.state_dict()))
        expected, got = source.eval()(observations()), target.eval()(observations())
    assert all(torch.equal(a, b) for a, b in zip(expected[:2], got[:2], strict=True))


def test_parameters_without_their_buffers_are_refused():
    taken = arrays(built().state_dict())
    parameters = {name: taken[name] for name, _ in built().named_parameters()}
    with pytest.raises(ValueError, match=r"missing.*running_mean"):
        load(built(), parameters)


def test_weights_of_another_network_are_refused_with_names_or_shapes():
    with pytest.raises(ValueError, match=r"unknown.*tower"):
        load(built(), arrays(built(blocks=3).state_dict()))
    with pytest.raises(ValueError, match="shape"):
        load(built(), arrays(built(channels=8).state_dict()))


@pytest.mark.parametrize("attention", ["none", "squeeze_excitation", "global_pooling"])
def test_a_deepened_network_computes_the_same_at_first_and_learns_in_its_new_blocks(attention):
    shallow, deep = (
        built(seed, blocks=blocks, attention=attention) for seed, blocks in ((0, 2), (1, 4))
    )
    shallow(observations())  # moves BatchNorm's statistics
    load(deep, network.deepen(deep, arrays(shallow.state_dict())))
    one, other = shallow.eval()(observations()), deep.eval()(observations())
    torch.testing.assert_close(one[:2], other[:2])
    deep.train()(observations())[0].square().sum().backward()
    assert deep.tower[-1].body[LAST_NORM].weight.grad.abs().sum() > 0


def test_deepening_refuses_weights_with_an_incomplete_block():
    deep, weights = built(blocks=4), arrays(built().state_dict())
    for name in ("policy.0.weight", "tower.1.running_mean", "tower.3.body.1.running_var"):
        part = {key: array for key, array in weights.items() if key != name}
        with pytest.raises(ValueError, match=name):
            load(deep, network.deepen(deep, part))
    shallow = built(blocks=1)
    with pytest.raises(ValueError, match="unknown"):
        load(shallow, network.deepen(shallow, weights))


def test_a_refused_load_changes_nothing():
    target = built()
    before, wrong = arrays(target.state_dict()), arrays(built(seed=1, value_hidden=8).state_dict())
    with pytest.raises(ValueError, match="shape"):
        load(target, wrong)
    after = arrays(target.state_dict())
    assert all(np.array_equal(before[name], after[name]) for name in before)
