"""Fused layers against torch's own in float64."""

import copy

import numba
import numpy as np
import pytest
import torch
from torch import nn

from alphazero.nn import fused, kernels
from alphazero.nn.flat import Flat
from alphazero.nn.layers import policy_head, residual_block, residual_tower
from alphazero.nn.parallel import Replicas, compute_dtype

SHAPES = [(32, 8, 9, 9), (33, 12, 6, 7), (7, 5, 3, 3), (40, 64, 3, 4)]
TOLERANCES = {torch.float32: 2e-5, torch.bfloat16: 2e-2}
"""The largest distance of a loss or gradient from the exact one, as a share of its length."""
ATTENTIONS = ["none", "global_pooling", "squeeze_excitation"]


def network(channels: int, cells: int, attention="none") -> nn.Sequential:
    """Weights that bfloat16 holds exactly; scales of both signs."""
    torch.manual_seed(0)
    made = nn.Sequential(
        residual_tower(3, channels, 2, attention), policy_head(channels, cells, 4, 6)
    )
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim == 1:
                parameter.uniform_(-1, 1)
            parameter.copy_(parameter.bfloat16())
    return made.to(memory_format=torch.channels_last)


def loss(module, inputs, targets):
    planes = inputs.to(compute_dtype(module), memory_format=torch.channels_last)
    value = (module(planes).to(targets.dtype) * targets).sum(dim=1).mean()
    return value, {"loss": value}


def rows(batch, height, width):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, 3, height, width, generator=generator)
    return [inputs.bfloat16().float(), torch.randn(batch, 6, generator=generator)]


def example(shape, attention):
    """A network and a batch for it; ``shape`` is (batch, channels, height, width)."""
    batch, channels, height, width = shape
    return network(channels, height * width, attention), rows(batch, height, width)


def exact(module, tensors):
    """The loss, gradients and statistics in float64, by torch."""
    module = copy.deepcopy(module).double().train()
    value, _ = loss(module, *(tensor.double() for tensor in tensors))
    value.backward()
    return value.item(), {name: p.grad for name, p in module.named_parameters()}, module


def computed(module, tensors, dtype, layers=True, count=1):
    """The same by replicas."""
    flat = Flat(copy.deepcopy(module))
    figures = Replicas(flat, count, dtype, layers).backward(loss, tensors)
    named = flat.named(torch.cat([flat.gradient, torch.zeros_like(flat.statistics)]))
    gradients = {name: named[name] for name, _ in flat.module.named_parameters()}
    return figures["loss"].item(), gradients, flat.module


def distance(gradients, others) -> float:
    """The length of the difference of all gradients, as a share of the length of the others."""
    ours = torch.cat([gradients[name].double().flatten() for name in others])
    theirs = torch.cat([other.double().flatten() for other in others.values()])
    return ((ours - theirs).norm() / theirs.norm()).item()


def check_statistics(module, other, tolerance):
    for (name, own), expected in zip(module.named_buffers(), other.buffers(), strict=True):
        if own.is_floating_point():
            limits = {"rtol": tolerance, "atol": tolerance / 20}
            torch.testing.assert_close(own.double(), expected.double(), **limits)
        else:
            assert own == expected == 1, name


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_float32_losses_gradients_and_statistics_are_those_of_float64(shape, attention):
    module, tensors = example(shape, attention)
    value, gradients, expected = exact(module, tensors)
    got, ours, own = computed(module, tensors, torch.float32)
    assert got == pytest.approx(value, rel=1e-4, abs=1e-5)
    assert distance(ours, gradients) < TOLERANCES[torch.float32]
    check_statistics(own, expected, 1e-4)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_in_bfloat16_gradients_are_as_near_to_those_of_float64_as_torchs_own(shape, attention):
    module, tensors = example(shape, attention)
    value, gradients, expected = exact(module, tensors)
    got, ours, own = computed(module, tensors, torch.bfloat16)
    _, torchs, _ = computed(module, tensors, torch.bfloat16, layers=False)
    assert got == pytest.approx(value, abs=0.05)
    assert distance(ours, gradients) < 1.25 * distance(torchs, gradients)
    check_statistics(own, expected, 2e-2)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("batch", [2, 50])
def test_one_layers_outputs_and_gradients_are_those_of_float64(dtype, residual, batch):
    generator = torch.Generator().manual_seed(2)
    planes, other, back = (
        torch.randn(batch, 11, 3, 5, generator=generator).to(
            dtype, memory_format=torch.channels_last
        )
        for _ in range(3)
    )
    norm = nn.BatchNorm2d(11)
    nn.init.uniform_(norm.weight, -1, 1)
    oracle = copy.deepcopy(norm).double()
    inputs = [planes, other][: 1 + residual]
    mine = [tensor.clone().requires_grad_() for tensor in inputs]
    theirs = [tensor.double().requires_grad_() for tensor in inputs]
    layer = fused.Added if residual else fused.Rectified
    output = layer.apply(norm, mine[0], norm.weight, norm.bias, *mine[1:])
    expected = torch.relu(sum(theirs[1:], oracle(theirs[0])))
    output.backward(back)
    expected.backward(back.double())
    pairs = [(output, expected), (norm.weight.grad, oracle.weight.grad)]
    pairs += [(a.grad, b.grad) for a, b in zip(mine, theirs, strict=True)]
    for own, other in pairs:
        assert distance({"": own.detach()}, {"": other.detach()}) < TOLERANCES[dtype]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_two_threads_compute_what_two_shares_of_torch_do(attention):
    module, tensors = network(12, 42, attention), rows(31, 6, 7)
    value, gradients, own = computed(module, tensors, torch.float32, count=2)
    expected, others, plain = computed(module, tensors, torch.float32, layers=False, count=2)
    assert value == pytest.approx(expected, rel=1e-4)
    assert distance(gradients, others) < TOLERANCES[torch.float32]
    check_statistics(own, plain, 1e-4)


def test_the_same_batch_gives_the_same_bits_on_two_threads():
    module, tensors = network(12, 42, "global_pooling"), rows(31, 6, 7)
    results = [computed(module, tensors, torch.float32, count=2)[1] for _ in range(3)]
    for other in results[1:]:
        assert all(torch.equal(results[0][name], other[name]) for name in other)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("attention", ["none", "global_pooling"])
def test_nan_stays_visible_in_outputs_gradients_and_statistics(dtype, attention):
    block = residual_block(8, attention)
    layers = nn.Sequential(copy.deepcopy(block))
    fused.fuse(layers)
    for made in (block, layers):
        made.to(dtype)
        for part in made.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.float()
    planes = torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    planes[1, 3, 2, 2] = torch.nan
    results = []
    for made in (block, layers):
        inputs = planes.to(dtype, memory_format=torch.channels_last).requires_grad_()
        outputs = made(inputs)
        outputs.sum().backward()
        results.append([outputs, inputs.grad, *made.buffers()])
    for own, other in zip(*results, strict=True):
        assert other.ndim == 0 or other.isnan().any()
        assert torch.equal(own.isnan(), other.isnan())


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("case", ["evaluation", "other layout", "other type"])
def test_whatever_the_loops_do_not_compute_is_left_to_torch(case, attention, monkeypatch):
    module = network(8, 42, attention)
    inputs = rows(4, 6, 7)[0]
    if case == "evaluation":
        module.eval()
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if case == "other layout":
        module = module.to(memory_format=torch.contiguous_format)
    if case == "other type":
        module, inputs = module.double(), inputs.double()
    layers = copy.deepcopy(module)
    fused.fuse(layers)
    monkeypatch.setattr(fused, "kernels", None)
    assert torch.equal(layers(inputs), module(inputs))


def test_a_single_number_per_channel_is_refused_as_by_torch():
    layers = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
    fused.fuse(layers)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layers(torch.ones(1, 4, 1, 1))


def test_the_first_of_equal_maxima_has_the_gradient_that_torch_divides():
    block, planes = residual_block(4, "global_pooling"), torch.randn(3, 4, 2, 3)
    planes[:, :, 1, 2] = planes[:, :, 0, 1] = 9
    norm, linear = block.body[4], block.body[5].bias
    inputs = [planes.clone().to(memory_format=torch.channels_last) for _ in range(2)]
    ours, theirs = (tensor.requires_grad_() for tensor in inputs)
    back = torch.randn(3, 4, 2, 3)
    arguments = norm.weight, norm.bias, planes.clone().to(memory_format=torch.channels_last)
    fused.Pooled.apply(norm, ours, *arguments, linear.weight, linear.bias).backward(back)
    torch.relu(block.body[5](norm(theirs)) + planes).backward(back)
    moved = ours.grad - theirs.grad
    torch.testing.assert_close(moved[:, :, 0, 1], -moved[:, :, 1, 2], rtol=1e-4, atol=1e-6)
    assert moved[:, :, 0, 1].abs().min() > 1e-4
    moved[:, :, 0, 1] = moved[:, :, 1, 2] = 0
    torch.testing.assert_close(moved, torch.zeros_like(moved), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [2, 100, 70_001])
def test_variances_keep_their_digits_where_means_are_large(rows):
    generator = np.random.default_rng(0)
    planes = generator.normal([0, 1000, -3e4], [1, 1, 2], (rows, 3)).astype(np.float32)
    mean, variance = kernels.moments(planes.ravel(), 3)
    np.testing.assert_allclose(mean, planes.mean(axis=0, dtype=np.float64), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(variance, planes.var(axis=0, dtype=np.float64), rtol=1e-4)


@numba.njit
def converted(numbers, halves):
    """``numbers`` as bfloat16 in ``halves``, and back."""
    back = np.empty_like(numbers)
    for i in range(len(numbers)):
        halves[i] = kernels.narrow(numbers[i], halves[i])
        back[i] = kernels.widen(halves[i])
    return back


@pytest.mark.parametrize("function", [converted, converted.py_func], ids=["compiled", "plain"])
def test_numbers_become_bfloat16_and_back_as_in_torch(function):
    generator = np.random.default_rng(0)
    bits = generator.integers(2**32, size=3000, dtype=np.uint32)
    bits[:1000] &= 0xFFFF8000  # halfway between two numbers of bfloat16, or one of them
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3.4e38], np.float32)
    numbers = np.concatenate([bits.view(np.float32), special])
    halves = np.empty(len(numbers), np.uint16)
    back = function(numbers, halves)
    expected = torch.from_numpy(numbers).bfloat16()
    np.testing.assert_array_equal(back, expected.float().numpy())
    finite = ~np.isnan(numbers)
    np.testing.assert_array_equal(halves[finite], expected.view(torch.uint16).numpy()[finite])
