"""One vector for all tensors: the module computes the same, and changes with the vector."""

import copy

import torch
from torch import nn

from alphazero.nn.flat import Flat


def network():
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.Linear(12, 2),
    )
    return made.to(memory_format=torch.channels_last)


def test_the_module_computes_what_it_computed_and_keeps_its_names_shapes_and_strides():
    plain, module = network(), network()
    Flat(module)
    inputs = torch.randn(5, 2, 2, 2)
    assert torch.equal(plain(inputs), module(inputs))
    for (name, before), (other, after) in zip(
        plain.state_dict().items(), module.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(before, after)
        assert before.stride() == after.stride()


def test_every_number_is_in_the_vector_once():
    module = network()
    flat = Flat(module)
    with torch.no_grad():
        flat.values.copy_(torch.arange(len(flat.values)))
    values = torch.cat([t.flatten() for t in module.state_dict().values() if t.is_floating_point()])
    assert torch.equal(values.sort().values, torch.arange(len(flat.values)).float())


def test_the_sections_hold_the_tensors_that_their_names_promise():
    module = network()
    flat = Flat(module)
    weights, normalized = [module[0].weight, module[3].weight], [module[1].weight, module[1].bias]
    for section, tensors in (
        (flat.matrices, weights),
        (flat.biases, [module[0].bias, module[3].bias]),
        (flat.scales, normalized),
        (flat.statistics, [module[1].running_mean, module[1].running_var]),
    ):
        expected = torch.cat([tensor.detach().flatten() for tensor in tensors])
        assert torch.equal(section.sort().values, expected.sort().values)


def test_loading_a_state_reaches_the_vector_and_stepping_the_leaves_reaches_the_module():
    module, other = network(), network()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    flat = Flat(module)
    module.load_state_dict(other.state_dict())
    optimizer = torch.optim.SGD(flat.leaves(), lr=0.5)
    flat.gradient.fill_(2.0)
    optimizer.step()
    for own, source in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(own, source - 1.0)


def test_another_vector_can_be_read_by_the_modules_names():
    module = network()
    flat = Flat(module)
    doubled = flat.named(2 * flat.values)
    expected = copy.deepcopy(module.state_dict())
    assert doubled.keys() == expected.keys()
    for name, tensor in expected.items():
        factor = 2 if tensor.is_floating_point() else 1
        assert torch.equal(doubled[name], factor * tensor)


def reader():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.LayerNorm(4), nn.LSTM(4, 3))
    made.register_buffer("constant", torch.randn(5))
    return made


def test_embeddings_are_with_the_biases_and_constants_are_in_no_vector():
    module = reader()
    constant = module.constant.clone()
    flat = Flat(module)
    assert len(flat.matrices) == 4 * 3 * 4 + 4 * 3 * 3
    assert len(flat.biases) == 9 * 4 + 2 * 4 + 2 * 4 * 3
    assert not len(flat.statistics)
    with torch.no_grad():
        flat.values.zero_()
    assert torch.equal(module.constant, constant)
    assert torch.equal(flat.named(flat.values + 1)["constant"], constant)
    assert not module[0].weight.any()


def test_a_recurrent_module_computes_with_the_numbers_in_the_vector():
    module, plain = reader(), reader()
    flat = Flat(module)
    with torch.no_grad():
        flat.values.mul_(2)
        for parameter in plain.parameters():
            parameter.mul_(2)
    tokens = torch.arange(9)[:, None]
    assert torch.equal(module(tokens)[0], plain(tokens)[0])
