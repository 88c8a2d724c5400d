import ctypes
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from alphazero.errors import RunFailed
from alphazero.nn import export, layers

SHAPE = (3, 6, 7)
CPU = torch.device("cpu")
TRUNKS = ["none", "squeeze_excitation", "global_pooling", "perceptron"]


def parts(kind="none", seed: int = 0) -> tuple[nn.Sequential, list[nn.Module]]:
    """A trunk and two heads in evaluation mode, with BatchNorm values far from the initial ones.

    ``kind``: perceptron, or the attention of a residual tower.
    """
    torch.manual_seed(seed)
    if kind == "perceptron":
        trunk = layers.perceptron_tower(3 * 42, width=32, layers=3)
        heads = [nn.Linear(32, 7), nn.Linear(32, 3)]
    else:
        trunk = layers.residual_tower(3, 16, blocks=3, attention=kind)
        heads = [
            layers.policy_head(16, cells=42, channels=4, outputs=7),
            layers.value_head(16, cells=42, channels=4, hidden=16, outputs=3),
        ]
    for module in (trunk, *heads):
        unsettle(module.eval())
    return trunk, heads


def unsettle(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2.0)


def inputs(batch: int = 33) -> np.ndarray:
    return np.random.default_rng(0).random((batch, *SHAPE), dtype=np.float32)


def reference(trunk: nn.Module, heads: list[nn.Module], x: np.ndarray) -> list[np.ndarray]:
    with torch.no_grad():
        features = trunk(torch.from_numpy(x))
        return [head(features).numpy() for head in heads]


def test_folding_scales_a_convolution_by_hand():
    pair = layers.convolution(1, 1, kernel=1).eval()
    norm = pair[1]
    for tensor, value in (
        (pair[0].weight, 3.0), (norm.weight, 2.0), (norm.bias, 0.5),
        (norm.running_mean, 1.0), (norm.running_var, 4.0 - norm.eps),
    ):  # fmt: skip
        nn.init.constant_(tensor, value)
    folded = export.fold(pair)[0]
    assert folded.weight.item() == pytest.approx(3 * 2 / 2)
    assert folded.bias.item() == pytest.approx(0.5 - 1 * 2 / 2)


@pytest.mark.parametrize("kind", TRUNKS)
def test_the_folded_copy_computes_the_same_and_the_original_is_unchanged(kind):
    trunk, _ = parts(kind)
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    folded = export.fold(trunk)
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    assert not any(isinstance(part, norms) for part in folded.modules())
    x = torch.from_numpy(inputs())
    with torch.no_grad():
        torch.testing.assert_close(folded(x), trunk(x), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(before[name], now) for name, now in trunk.state_dict().items())
    assert len(list(trunk.modules())) > len(list(folded.modules()))


def test_a_module_left_in_training_mode_is_folded_with_its_running_statistics():
    trunk, _ = parts()
    x = torch.from_numpy(inputs())
    with torch.no_grad():
        expected = trunk(x)
        torch.testing.assert_close(export.fold(trunk.train())(x), expected, atol=1e-5, rtol=1e-5)
    assert trunk.training


def copies(backend: str, kind, dtype: torch.dtype):
    trunk, heads = parts(kind)
    return trunk, heads, session(backend, trunk, heads, dtype)


def session(backend: str, trunk, heads, dtype: torch.dtype):
    if backend == "openvino":
        pytest.importorskip("openvino", reason="the openvino extra is not installed")
        return export.OpenVINOSession(trunk, heads, dtype, SHAPE)
    return export.TorchSession(trunk, heads, dtype, CPU)


@pytest.mark.parametrize("trunk_kind", ["none", "perceptron"])
@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize(("name", "value"), [("running_var", -1.0), ("weight", 3e38)])
def test_every_backend_refuses_what_is_not_finite_once_it_is_folded(
    backend, name, value, trunk_kind
):
    trunk, heads = parts(trunk_kind)
    norms = nn.BatchNorm1d | nn.BatchNorm2d
    norm = next(part for part in trunk.modules() if isinstance(part, norms))
    nn.init.constant_(norm.running_var, 1e-3)
    getattr(norm, name).data[0] = value
    with pytest.raises(RunFailed, match="not finite after BatchNorm was folded: "):
        session(backend, trunk, heads, torch.float32)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("kind", TRUNKS)
def test_a_float32_session_agrees_with_the_module(backend, kind):
    trunk, heads, copy = copies(backend, kind, torch.float32)
    for batch in (1, 33, 5):
        right = reference(trunk, heads, inputs(batch))
        for got, expected in zip(copy(inputs(batch)), right, strict=True):
            assert got.dtype == np.float32
            np.testing.assert_allclose(got, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
@pytest.mark.parametrize("kind", TRUNKS)
def test_a_bfloat16_session_agrees_to_three_digits(backend, kind):
    trunk, heads, copy = copies(backend, kind, torch.bfloat16)
    for got, expected in zip(copy(inputs()), reference(trunk, heads, inputs()), strict=True):
        assert got.dtype == np.float32
        assert np.abs(got - expected).mean() < 0.01 * np.abs(expected).mean() + 0.005


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_an_earlier_result_is_not_overwritten_by_a_later_call(backend):
    *_, copy = copies(backend, "none", torch.float32)
    first = copy(inputs())
    kept = [array.copy() for array in first]
    copy(np.zeros_like(inputs()))
    for array, expected in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, expected)


def test_openvino_computes_few_sizes_of_batches_and_few_rows_in_vain():
    for rows in range(1, 5000):
        assert rows <= export.padded(rows) <= rows * 17 / 16
        assert export.padded(export.padded(rows)) == export.padded(rows)
    for first in (32, 64, 1024):
        sizes = {export.padded(rows) for rows in range(first + 1, 2 * first + 1)}
        assert len(sizes) == export.SIZES_PER_OCTAVE


def test_rows_of_padding_change_no_answer_and_are_not_returned():
    trunk, heads = parts()
    copy = session("openvino", trunk, heads, torch.float32)
    all_rows = copy(inputs(152))
    for got, expected in zip(copy(inputs(152)[:150]), all_rows, strict=True):
        np.testing.assert_array_equal(got, expected[:150])


def openmp_threads() -> int:
    """How many threads the next parallel loop of the calling thread would use."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.exists() else []
    # torch's own: other packages may have loaded another one into this process.
    paths = (line.split()[-1] for line in lines if re.search(r"torch.*lib[gi]omp", line))
    path = next(paths, None)
    if path is None:
        pytest.skip("torch's OpenMP library is not found")
    return ctypes.CDLL(path).omp_get_max_threads()


def test_a_call_in_a_new_thread_uses_one_core():
    """Self-play threads that use several cores each would wait for each other."""
    torch.set_num_threads(1)
    *_, copy = copies("torch", "none", torch.float32)
    with ThreadPoolExecutor(1) as pool:
        if pool.submit(openmp_threads).result() == 1:
            pytest.skip("one core, or OpenMP is set to use one")
        pool.submit(copy, inputs()).result()
        assert pool.submit(openmp_threads).result() == 1


def test_a_module_without_a_translation_to_openvino_is_named():
    pytest.importorskip("openvino", reason="the openvino extra is not installed")
    with pytest.raises(ValueError, match="LayerNorm"):
        export.OpenVINOSession(nn.Sequential(nn.LayerNorm(7)), [], torch.float32, SHAPE)


def test_openvino_that_is_set_but_not_installed_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    trunk, heads = parts()
    with pytest.raises(ValueError, match=r"not installed.*pip install --editable '\.\[openvino\]'"):
        export.OpenVINOSession(trunk, heads, torch.float32, SHAPE)
    assert not export.openvino_installed()
