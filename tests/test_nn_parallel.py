"""Replicas against the same shares computed one after another in plain torch."""

import copy

import torch
from torch import nn
from torch.nn import functional

from alphazero.nn.parallel import Replicas


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 1))


def loss(module, inputs, targets):
    value = functional.mse_loss(module(inputs)[:, 0], targets)
    return value, {"loss": value}


def rows(count):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(count, 3, generator=generator), torch.randn(count, generator=generator)]


def test_gradient_and_statistics_are_the_weighted_means_over_the_shares():
    module, expected = network(), network()
    inputs, targets = rows(11)
    figures = Replicas(module, 2).backward(loss, [inputs, targets])
    halves, losses = [], []
    for share in (slice(0, 6), slice(6, 11)):
        half = copy.deepcopy(expected)
        value, _ = loss(half, inputs[share], targets[share])
        value.backward()
        halves.append(half)
        losses.append(value)
    for own, one, two in zip(*(m.parameters() for m in (module, *halves)), strict=True):
        torch.testing.assert_close(own.grad, (6 * one.grad + 5 * two.grad) / 11)
    for name in ("running_mean", "running_var"):
        own, one, two = (getattr(m[1], name) for m in (module, *halves))
        torch.testing.assert_close(own, (6 * one + 5 * two) / 11)
    torch.testing.assert_close(figures["loss"], (6 * losses[0] + 5 * losses[1]).detach() / 11)


def test_copies_follow_the_module_when_an_optimizer_changes_it():
    module, serial = network(), network()
    replicas = Replicas(module, 3)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.05) for m in (module, serial)]
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
    inputs, targets = rows(8)
    Replicas(module, 1).backward(loss, [inputs, targets])
    loss(plain, inputs, targets)[0].backward()
    for own, other in zip(module.parameters(), plain.parameters(), strict=True):
        assert torch.equal(own.grad, other.grad)
    assert torch.equal(module[1].running_var, plain[1].running_var)


def test_the_same_batches_give_the_same_bits_whatever_the_threads_timing():
    results = []
    for _ in range(3):
        module = network()
        replicas = Replicas(module, 2)
        for count in (8, 9, 10):
            replicas.backward(loss, rows(count))
        results.append([p.grad.clone() for p in module.parameters()] + list(module.buffers()))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
