"""The path of a CUDA device, run on the CPU; only the captures themselves need the device."""

import inspect
import logging
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_nn_export import SHAPE, inputs, parts, reference

from alphazero.nn import cuda
from alphazero.nn.cuda import CudaGraphSession, bucket

CPU = torch.device("cpu")
GPU = pytest.param(
    torch.device("cuda"),
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
)


def new_session(device=CPU, sizes=(), capture=None) -> CudaGraphSession:
    return CudaGraphSession(*parts(), torch.float32, device, SHAPE, sizes, capture)


def counting(captured: list) -> cuda.Capture:
    """Captures eagerly and notes the batch size of each capture."""

    def capture(forward):
        replay, outputs = cuda.eagerly(forward)
        captured.append(len(outputs[0]))
        return replay, outputs

    return capture


def assert_right(session: CudaGraphSession, batch: int) -> None:
    tolerance = 5e-3 if torch.cuda.is_available() else 2e-5  # there TF32 has three digits
    x = np.random.default_rng(batch).random((batch, *SHAPE), dtype=np.float32)
    for got, expected in zip(session(x), reference(*parts(), x), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=tolerance, rtol=tolerance)


def test_buckets_hold_the_rows_and_pad_less_than_a_third_above_16():
    sizes = [bucket(rows) for rows in range(1, 5000)]
    assert sorted(set(sizes))[:12] == [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192]
    assert sizes == sorted(sizes)
    assert all(size >= rows for rows, size in enumerate(sizes, 1))
    assert all(3 * (size - rows) < size for rows, size in enumerate(sizes, 1) if rows > 16)
    assert bucket(cuda.LARGEST) == cuda.LARGEST


@pytest.mark.parametrize("device", [CPU, GPU])
def test_batches_of_every_size_give_the_rows_of_the_reference(device):
    session = new_session(device)
    for batch in (1, 2, 3, 5, 17, 33, 24, 5):
        assert_right(session, batch)
    assert sorted(session.sizes) == [1, 2, 4, 8, 24, 48]


def test_a_batch_larger_than_the_largest_pass_is_split(monkeypatch):
    monkeypatch.setattr(cuda, "LARGEST", 8)
    session = new_session()
    assert_right(session, 21)
    assert sorted(session.sizes) == [8]


def test_each_size_is_captured_once_and_the_given_ones_at_construction():
    captured = []
    session = new_session(sizes=[4, 32], capture=counting(captured))
    assert captured == [32, 4]
    for batch in (3, 4, 30, 5, 6):
        assert_right(session, batch)
    assert captured == [32, 4, 8]
    assert session.sizes == captured


def test_a_refused_capture_gives_the_same_outputs_one_warning_and_no_second_attempt(caplog):
    tries = []

    def refuse(forward):
        tries.append(forward)
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    with caplog.at_level(logging.WARNING):
        session = new_session(capture=refuse)
        for batch in (3, 9, 4):
            assert_right(session, batch)
    assert len(tries) == 1
    assert [record.message for record in caplog.records] == [
        "inference continues without CUDA graphs: operation not permitted when stream is capturing"
    ]


def test_a_graph_is_captured_after_warming_up_with_arguments_that_torch_accepts(monkeypatch):
    runs, known = [], inspect.signature(torch.cuda.graph.__init__)

    def graph(*arguments, **options):
        known.bind(None, *arguments, **options)
        runs.append("capture")
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: "stream")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=None))
    _, outputs = cuda.graphs()(lambda: runs.append("run") or [torch.ones(len(runs))])
    assert runs == ["run"] * cuda.WARM_UP + ["capture", "run"]
    assert len(outputs[0]) == len(runs)


def test_an_error_in_the_modules_is_not_handled_as_a_refused_capture():
    session = CudaGraphSession(*parts(), torch.float32, CPU, (SHAPE[0] + 1, *SHAPE[1:]))
    with pytest.raises(RuntimeError, match="channels"):
        session(np.zeros((2, SHAPE[0] + 1, *SHAPE[1:]), np.float32))


@pytest.mark.parametrize("device", [CPU, GPU])
def test_padding_does_not_change_the_rows_of_the_batch(device):
    session = new_session(device)
    session(np.full((8, *SHAPE), 1e30, np.float32))  # values that must not be left in the padding
    assert_right(session, 5)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_an_earlier_result_is_not_overwritten_by_a_later_call(device):
    session = new_session(device)
    first = session(inputs())
    kept = [array.copy() for array in first]
    session(np.zeros_like(inputs()))
    for array, expected in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("device", [CPU, GPU])
def test_calls_of_many_threads_do_not_mix(device):
    session, modules, wrong = new_session(device, sizes=[8]), parts(), []

    def call(seed: int) -> None:
        x = np.random.default_rng(seed).random((5 + seed, *SHAPE), dtype=np.float32)
        expected = reference(*modules, x)
        for _ in range(100):
            pairs = zip(session(x), expected, strict=True)
            wrong.extend(seed for got, right in pairs if np.abs(got - right).max() > 5e-3)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
