"""Weight gradients on tiles of AMX against torch in float64."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from test_learner import assert_resumes, flat, learner, same, trained
from test_nn_fused import computed, distance, exact, loss, network, rows
from torch import Tensor, nn

from alphazero.config import NetworkSettings
from alphazero.nn import device, training
from alphazero.nn.flat import Flat
from alphazero.nn.parallel import Replicas

LAST = torch.channels_last
needs_tiles = pytest.mark.skipif(not device.has_tiles(), reason="the processor has no AMX tiles")

SHAPES = [  # (batch, inputs, outputs, height, width)
    (1, 16, 16, 1, 1),
    (1, 64, 64, 6, 7),
    (2, 16, 48, 3, 4),
    (5, 32, 32, 5, 5),
    (7, 48, 16, 9, 9),
    (33, 96, 64, 8, 8),
    (64, 64, 64, 6, 7),
    (3, 128, 128, 19, 19),
    (4, 32, 64, 2, 30),
]


def example(shape, seed=0) -> tuple[Tensor, Tensor, Tensor]:
    """Planes, weights and the gradient of the convolution's outputs, in bfloat16."""
    batch, inputs, outputs, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    sizes = [
        (batch, inputs, height, width),
        (outputs, inputs, 3, 3),
        (batch, outputs, height, width),
    ]
    planes, weight, gradient = (
        torch.randn(size, generator=generator).bfloat16().contiguous(memory_format=LAST)
        for size in sizes
    )
    return planes, weight, gradient


def of_torch(planes: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of planes and weights in the tensors' own type."""
    planes, weight = planes.clone().requires_grad_(), weight.clone().requires_grad_()
    nn.functional.conv2d(planes, weight, padding=1).backward(gradient)
    assert planes.grad is not None
    assert weight.grad is not None
    return planes.grad, weight.grad


def on_tiles(planes: Tensor, weight: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The same gradients by a layer whose weight gradient is computed on tiles."""
    from alphazero.nn.weight_gradients import Convolved, fits, replace

    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
    layer.weight = nn.Parameter(weight.clone())
    module = nn.Sequential(layer)
    assert replace(module) == 1
    assert fits(planes)
    assert fits(layer.weight)
    planes = planes.clone().requires_grad_()
    planes_out = module(planes)
    assert type(planes_out.grad_fn).__name__ == f"{Convolved.__name__}Backward"
    planes_out.backward(gradient)
    assert planes.grad is not None
    assert layer.weight.grad is not None
    return planes.grad, layer.weight.grad


@needs_tiles
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_weight_gradients_are_those_of_float64_rounded_once(shape):
    tensors = example(shape)
    back, own = on_tiles(*tensors)
    expected = of_torch(*(tensor.double() for tensor in tensors))[1]
    assert torch.equal(back, of_torch(*tensors)[0])
    # Half a unit in the last of 8 digits, and what float32 sums lose where terms cancel.
    limits = {"rtol": 2**-8, "atol": 1e-5 * expected.abs().max().item()}
    torch.testing.assert_close(own.double(), expected, **limits)


@needs_tiles
def test_neighbors_beyond_the_boards_edge_and_on_other_boards_count_as_zero():
    planes, weight, gradient = example((3, 16, 16, 3, 4))
    planes[1:], gradient[0] = 1000, 0
    expected = of_torch(*(tensor.double() for tensor in (planes, weight, gradient)))[1]
    own = on_tiles(planes, weight, gradient)[1]
    torch.testing.assert_close(own.double(), expected, rtol=2**-8, atol=0.1)


@needs_tiles
def test_two_threads_at_once_have_the_results_of_one():
    examples = [example((40, 64, 64, 6, 7), seed) for seed in range(2)]
    alone = [on_tiles(*tensors)[1] for tensors in examples]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda i: on_tiles(*examples[i % 2])[1], range(40)))
    assert all(torch.equal(own, alone[i % 2]) for i, own in enumerate(together))


@needs_tiles
@pytest.mark.parametrize("count", [1, 2])
def test_a_steps_gradients_are_as_near_to_those_of_float64_as_torchs_own(count):
    module, tensors = network(32, 42), rows(31, 6, 7)
    value, gradients, _ = exact(module, tensors)
    flat_module = Flat(copy.deepcopy(module))
    replicas = Replicas(flat_module, count, torch.bfloat16, fused=True, tiles=True)
    got = replicas.backward(loss, tensors)["loss"].item()
    named = flat_module.named(
        torch.cat([flat_module.gradient, torch.zeros_like(flat_module.statistics)])
    )
    ours = {name: named[name] for name in gradients}
    _, torchs, _ = computed(module, tensors, torch.bfloat16, layers=False, count=count)
    assert got == pytest.approx(value, abs=0.05 if count == 1 else 0.5)
    assert distance(ours, gradients) < 1.25 * distance(torchs, gradients)


def tiled(seed: int = 0, tiles: bool = True, threads: int = 2):
    small = NetworkSettings(blocks=2, channels=32)
    made = learner(small, seed=seed, precision="auto", threads=threads)
    made._optimization.set_precision("bfloat16", fused=True, tiles=tiles)
    return made


@needs_tiles
def test_two_trainings_of_one_seed_are_equal_bit_for_bit():
    first, second = tiled(), tiled()
    assert first.tiles
    assert first.description == "bfloat16 with fused layers and weight gradients on AMX"
    assert trained(first, 0, 5) == trained(second, 0, 5)
    assert same(flat(first.state()), flat(second.state()))


@needs_tiles
@pytest.mark.parametrize("threads", [1, 2])
def test_a_step_computes_the_weight_gradient_of_each_suitable_convolution_on_tiles(
    threads, monkeypatch
):
    """Two blocks have four; the first convolution, of few planes, stays torch's."""
    from alphazero.nn import weight_gradients

    compute, calls = weight_gradients.weight_gradient, []
    monkeypatch.setattr(
        weight_gradients, "weight_gradient", lambda *a: (calls.append(a), compute(*a))
    )
    trained(tiled(threads=threads), 0, 1)
    assert len(calls) == 4 * threads


@needs_tiles
def test_the_compiled_code_depends_on_all_files_that_it_comes_from():
    from alphazero.nn import kernels, weight_gradients

    for function in (weight_gradients.weight_gradient, weight_gradients.pack_planes):
        assert function._cache._cache_file._source_stamp == kernels.SOURCES


def test_what_is_replaced_once_is_not_replaced_again():
    from alphazero.nn.weight_gradients import replace

    module = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False))
    assert (replace(module), replace(module)) == (1, 0)
    assert module(torch.zeros(1, 16, 3, 4)).shape == (1, 16, 3, 4)


@needs_tiles
def test_losses_with_tiles_and_without_differ_by_rounding():
    for one, other in zip(trained(tiled(), 0, 5), trained(tiled(tiles=False), 0, 5), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.01)


@needs_tiles
def test_a_learner_with_tiles_resumes_bit_for_bit_with_tiles(tmp_path):
    second = tiled(seed=1, tiles=False)
    assert_resumes(tiled(), tiled(), second, tmp_path / "state.pt")
    assert second.tiles


@pytest.mark.parametrize("layer", ["bias", "stride", "1x1", "groups", "channels", "dilation"])
def test_convolutions_that_tiles_do_not_compute_stay_torchs(layer):
    from alphazero.nn.weight_gradients import replace

    other = {
        "bias": nn.Conv2d(16, 16, 3, padding=1),
        "stride": nn.Conv2d(16, 16, 3, 2, padding=1, bias=False),
        "1x1": nn.Conv2d(16, 16, 1, bias=False),
        "groups": nn.Conv2d(16, 16, 3, padding=1, groups=2, bias=False),
        "channels": nn.Conv2d(8, 16, 3, padding=1, bias=False),
        "dilation": nn.Conv2d(16, 16, 3, padding=2, dilation=2, bias=False),
    }[layer]
    module = nn.Sequential(other)
    replace(module)
    assert module[0] is other


@pytest.mark.parametrize("case", ["evaluation", "other layout", "other type"])
def test_whatever_tiles_do_not_compute_is_left_to_torch(case, monkeypatch):
    from alphazero.nn import weight_gradients

    module = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False))
    planes = torch.randn(2, 16, 3, 4)
    if case != "other type":
        module, planes = module.bfloat16(), planes.bfloat16()
    if case == "evaluation":
        planes = planes.contiguous(memory_format=LAST)
        module = module.to(memory_format=LAST).eval()
    replaced = copy.deepcopy(module)
    weight_gradients.replace(replaced)
    monkeypatch.setattr(weight_gradients, "Convolved", None)
    assert torch.equal(replaced(planes), module(planes))


def test_without_tiles_nothing_of_them_is_chosen_compiled_or_resumed(monkeypatch):
    kept = tiled().state() | {"tiles": True}
    monkeypatch.setattr(training, "has_tiles", lambda: False)
    monkeypatch.setattr(training, "faster_precision", lambda *_: "bfloat16")
    monkeypatch.setitem(sys.modules, "alphazero.nn.weight_gradients", None)
    made = learner(NetworkSettings(blocks=1, channels=32), precision="auto")
    assert made.precision == "bfloat16"
    assert made.fused
    assert not made.tiles
    assert made.description == "bfloat16 with fused layers"
    resumed = learner(NetworkSettings(blocks=2, channels=32), precision="auto", threads=2)
    resumed.restore(kept)
    assert not resumed.tiles
    trained(resumed, 0, 1)


@pytest.mark.parametrize(
    ("precision", "channels", "tiles"),
    [("bfloat16", 16, True), ("float32", 16, False), ("bfloat16", 24, False)],
)
def test_tiles_are_chosen_in_bfloat16_where_processor_and_channels_suit_them(
    precision, channels, tiles, monkeypatch
):
    monkeypatch.setattr(training, "has_tiles", lambda: True)
    monkeypatch.setattr(training, "faster_precision", lambda *_: precision)
    small = NetworkSettings(blocks=1, channels=channels)
    assert learner(small, precision="auto").tiles is tiles
    assert not learner(small, precision=precision).tiles


def test_a_state_from_before_tiles_continues_without():
    made, earlier = tiled(), tiled().state()
    del earlier["tiles"]
    made.restore(earlier)
    assert made.fused
    assert not made.tiles


def test_a_state_whose_tiles_is_no_truth_value_is_refused():
    with pytest.raises(ValueError, match="tiles 1 is neither true nor false"):
        tiled().restore(tiled().state() | {"tiles": 1})


class System:
    """The C library, whose system calls return ``result``."""

    def __init__(self, result: int):
        self.result, self.calls = result, []

    def syscall(self, *arguments: int) -> int:
        self.calls.append(arguments)
        return self.result


@pytest.mark.skipif(sys.platform != "linux", reason="tiles are asked for on Linux alone")
@pytest.mark.parametrize(("result", "granted"), [(0, True), (-1, False)])
def test_tiles_are_used_only_where_the_kernel_grants_them(result, granted, tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags : amx_tile amx_bf16 avx512bw\n")
    system = System(result)
    monkeypatch.setattr(device.ctypes, "CDLL", lambda _: system)
    monkeypatch.setattr(device.platform, "machine", lambda: "x86_64")
    assert device.has_tiles.__wrapped__(tmp_path) is granted
    assert system.calls == [(158, 0x1023, 18)]


@pytest.mark.parametrize(
    "flags", ["", "amx_tile avx512bw", "amx_bf16 avx512bw", "amx_tile amx_bf16"]
)
def test_processors_without_the_instructions_have_no_tiles(flags, tmp_path):
    assert not device.has_tiles(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"flags : fpu {flags}\n")
    device.has_tiles.cache_clear()
    assert not device.has_tiles(tmp_path)
