"""Replicas against the same shares computed one after another in plain torch."""

import copy

import torch
from torch import nn
from torch.nn import functional

from alphazero.nn.flat import Flat
from alphazero.nn.layers import convolutional_block
from alphazero.nn.parallel import Replicas


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 1))


def gradients(flat):
    """The flat gradient in the shapes of the module's parameters, by name."""
    whole = torch.cat([flat.gradient, torch.zeros_like(flat.statistics)])
    named = flat.named(whole)
    return {name: named[name] for name, _ in flat.module.named_parameters()}


def loss(module, inputs, targets):
    value = functional.mse_loss(module(inputs)[:, 0], targets)
    return value, {"loss": value}


def rows(count):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(count, 3, generator=generator), torch.randn(count, generator=generator)]


def test_gradient_and_statistics_are_the_weighted_means_over_the_shares():
    module, expected = network(), network()
    flat = Flat(module)
    inputs, targets = rows(11)
    figures = Replicas(flat, 2).backward(loss, [inputs, targets])
    halves, losses = [], []
    for share in (slice(0, 6), slice(6, 11)):
        half = copy.deepcopy(expected)
        value, _ = loss(half, inputs[share], targets[share])
        value.backward()
        halves.append(half)
        losses.append(value)
    halves_of = zip(*(half.parameters() for half in halves), strict=True)
    for own, (one, two) in zip(gradients(flat).values(), halves_of, strict=True):
        torch.testing.assert_close(own, (6 * one.grad + 5 * two.grad) / 11)
    for name in ("running_mean", "running_var"):
        own, one, two = (getattr(m[1], name) for m in (module, *halves))
        torch.testing.assert_close(own, (6 * one + 5 * two) / 11)
    torch.testing.assert_close(figures["loss"], (6 * losses[0] + 5 * losses[1]).detach() / 11)


def test_copies_follow_the_module_when_an_optimizer_changes_it():
    module, serial = network(), network()
    flat = Flat(module)
    replicas = Replicas(flat, 3)
    optimizers = [torch.optim.SGD(p, lr=0.05) for p in (flat.leaves(), serial.parameters())]
    inputs, targets = rows(12)
    for _ in range(5):
        replicas.backward(loss, [inputs, targets])
        halves = []
        for share in torch.arange(12).tensor_split(3):
            half = copy.deepcopy(serial)
            loss(half, inputs[share], targets[share])[0].backward()
            halves.append(half)
        for own, *others in zip(*(m.parameters() for m in (serial, *halves)), strict=True):
            own.grad = sum(other.grad for other in others) / 3
        for own, *others in zip(*(m.buffers() for m in (serial, *halves)), strict=True):
            if own.is_floating_point():
                own.copy_(sum(others) / 3)
        for optimizer in optimizers:
            optimizer.step()
    for own, other in zip(module.state_dict().values(), serial.state_dict().values(), strict=True):
        if own.is_floating_point():
            torch.testing.assert_close(own, other)


def test_one_replica_is_plain_training():
    module, plain = network(), network()
    flat = Flat(module)
    inputs, targets = rows(8)
    Replicas(flat, 1).backward(loss, [inputs, targets])
    loss(plain, inputs, targets)[0].backward()
    for own, other in zip(gradients(flat).values(), plain.parameters(), strict=True):
        assert torch.equal(own, other.grad)
    assert torch.equal(module[1].running_var, plain[1].running_var)
    assert module[1].num_batches_tracked == 1


def test_a_batch_too_small_to_divide_is_computed_by_one_replica():
    module, plain = network(), network()
    flat = Flat(module)
    replicas = Replicas(flat, 3)
    replicas.backward(loss, rows(9))  # so that the other replicas hold old gradients
    plain.load_state_dict(module.state_dict())
    replicas.backward(loss, rows(5))
    loss(plain, *rows(5))[0].backward()
    for own, other in zip(gradients(flat).values(), plain.parameters(), strict=True):
        assert torch.equal(own, other.grad)
    assert torch.equal(module[1].running_mean, plain[1].running_mean)


def board_network():
    torch.manual_seed(0)
    made = nn.Sequential(
        convolutional_block(2, 8), convolutional_block(8, 8), nn.Flatten(), nn.Linear(8 * 42, 1)
    )
    return made.to(memory_format=torch.channels_last)


def board_loss(dtype):
    def forward(module, inputs, targets):
        planes = inputs.to(dtype, memory_format=torch.channels_last)
        value = functional.mse_loss(module(planes)[:, 0].float(), targets)
        return value, {"loss": value}

    return forward


def test_in_bfloat16_the_gradient_is_that_of_torchs_autocast_bit_for_bit():
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(16, 2, 6, 7, generator=generator)
    targets = torch.randn(16, generator=generator)
    module, plain = board_network(), board_network()
    flat = Flat(module)
    figures = Replicas(flat, 1, torch.bfloat16).backward(
        board_loss(torch.bfloat16), [inputs, targets]
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, _ = board_loss(torch.float32)(plain, inputs, targets)
    expected.backward()
    assert torch.equal(figures["loss"], expected.detach())
    for own, other in zip(gradients(flat).values(), plain.parameters(), strict=True):
        assert torch.equal(own, other.grad)
    for own, other in zip(module.buffers(), plain.buffers(), strict=True):
        assert torch.equal(own, other)


def test_in_bfloat16_the_weights_add_up_steps_smaller_than_its_rounding():
    """Steps of 2**-12 around 1 vanish in bfloat16; the float32 module must add them up."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    flat = Flat(module)
    replicas = Replicas(flat, 1, torch.bfloat16)
    optimizer = torch.optim.SGD(flat.leaves(), lr=2.0**-12)

    def forward(own, inputs):
        assert own.weight.dtype == torch.bfloat16
        value = own(inputs.bfloat16()).float().sum()
        return value, {"loss": value}

    losses = []
    for _ in range(33):
        losses.append(replicas.backward(forward, [torch.ones(1, 1)])["loss"].item())
        optimizer.step()
    assert module.weight.item() == 1 - 33 * 2.0**-12
    assert losses[-1] == 1 - 2.0**-7  # after 32 steps, rounded to bfloat16


def test_the_same_batches_give_the_same_bits_for_any_timing_of_the_threads():
    results = []
    for _ in range(3):
        module = network()
        flat = Flat(module)
        replicas = Replicas(flat, 2)
        for count in (8, 9, 10):
            replicas.backward(loss, rows(count))
        results.append([flat.gradient.clone(), *module.buffers()])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_inputs_that_need_no_gradient_can_be_flattened():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    flat = Flat(module)
    inputs = torch.randn(6, 3, 2, 2)
    Replicas(flat, 2).backward(loss, [inputs, torch.zeros(6)])
    plain = copy.deepcopy(module)
    loss(plain, inputs, torch.zeros(6))[0].backward()
    for own, other in zip(gradients(flat).values(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other.grad)
