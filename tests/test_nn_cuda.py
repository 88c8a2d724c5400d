"""The path of a CUDA device, run on the CPU; only the captures themselves need the device."""

import gc
import inspect
import logging
import threading
import weakref
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_nn_export import SHAPE, inputs, parts, reference

from alphazero.nn import cuda
from alphazero.nn.cuda import CudaGraphSession, bucket, buckets, choose_sizes
from alphazero.nn.export import fold

CPU = torch.device("cpu")
GPU = pytest.param(
    torch.device("cuda"),
    marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
)


SIZES = buckets(1, 64)


def forward(device):
    """The trunk and heads of ``parts`` as a computation on the device."""
    trunk, *heads = (fold(module).to(device) for module in (parts()[0], *parts()[1]))
    return lambda inputs: [head(trunk(inputs)) for head in heads]


def new_session(device=CPU, sizes=SIZES, ready=(), capture=None) -> CudaGraphSession:
    make_capture = capture and (lambda: capture)
    return CudaGraphSession(forward(device), torch.empty(SHAPE), device, sizes, ready, make_capture)


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
    assert [sorted(sizes) for sizes in session.captured] == [[1, 2, 4, 8, 24, 48]]


def test_a_batch_larger_than_the_largest_pass_is_split():
    session = new_session(sizes=[2, 8])
    assert_right(session, 21)
    assert session.captured == [[8]]
    assert_right(session, 17)
    assert session.captured == [[8, 2]]


def test_each_lane_captures_a_size_once_and_the_given_ones_at_construction():
    captured = []
    session = new_session(ready=[[4, 32], [4]], capture=counting(captured))
    assert captured == [32, 4, 4]
    assert session.captured == [[32, 4], [4]]
    for batch in (3, 4, 3):
        assert_right(session, batch)
    assert captured == [32, 4, 4]
    for batch in (5, 6):
        assert_right(session, batch)
    assert captured == [32, 4, 4, 8]


def test_sizes_up_to_a_limit_are_the_buckets_up_to_the_one_that_holds_it():
    assert buckets(32, 100) == [32, 48, 64, 96, 128]
    assert buckets(32, 20) == [24]
    assert buckets(1, 10**6)[-1] == cuda.LARGEST


def test_the_sizes_are_those_that_save_time_up_to_the_best_rate():
    microseconds = {
        32: 100,
        64: 100,
        128: 101,
        256: 105,
        512: 180,
        1024: 300,
        2048: 585,
        4096: 1200,
    }
    assert choose_sizes(microseconds) == [256, 512, 1024]
    assert choose_sizes(microseconds, largest=2048) == [256, 512, 1024, 2048]
    assert choose_sizes({32: 1.0, 64: 1.99, 128: 3.0}) == [32, 64, 128]
    assert choose_sizes({32: 1.0, 64: 2.0}) == [32]


def test_a_pass_is_timed_without_its_copies_and_on_an_idle_lane():
    calls = []
    session = CudaGraphSession(
        lambda inputs: calls.append(len(inputs)) or [inputs], torch.empty(SHAPE), CPU, [4, 8]
    )
    assert 0 < session.seconds(8) < 60
    runs = cuda.TIMED_RUNS * (1 + cuda.TIMED_REPEATS)
    assert calls == [8] * (1 + runs)  # one for the capture


def test_two_calls_run_at_once_and_a_third_waits_for_one_of_them():
    """With two lanes the next batch is submitted while one is computed; more would only wait."""
    started, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def compute(inputs):
        started.release()
        assert go_on.acquire(timeout=60)
        return [inputs]

    session = CudaGraphSession(compute, torch.empty(SHAPE), CPU, [4])
    threads = [threading.Thread(target=session, args=(inputs(2),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(cuda.LANES):
        assert started.acquire(timeout=60)
    assert not started.acquire(timeout=0.2)
    assert len(session.captured) == cuda.LANES
    for _ in range(6):  # a capture per lane, a replay per call, and one more
        go_on.release()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert session.captured == [[4], [4]]


def test_lower_precision_and_other_types_of_inputs_come_back_as_float32():
    session = CudaGraphSession(
        lambda rows: [rows.to(torch.bfloat16) / 3, rows.sum(dim=1)],
        torch.empty(5, dtype=torch.uint8), CPU, [4],
    )  # fmt: skip
    rows = np.arange(15, dtype=np.uint8).reshape(3, 5)
    thirds, sums = session(rows)
    assert thirds.dtype == sums.dtype == np.float32
    expected = (torch.from_numpy(rows).to(torch.bfloat16) / 3).float().numpy()
    np.testing.assert_array_equal(thirds, expected)
    np.testing.assert_array_equal(sums, rows.sum(axis=1))


def test_a_refused_capture_gives_the_same_outputs_one_warning_and_no_second_attempt(caplog):
    tries = []

    def refuse(forward):
        tries.append(forward)
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    with caplog.at_level(logging.WARNING):
        session = new_session(ready=[[4], []], capture=refuse)
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


def test_the_memory_of_a_session_is_freed_with_it_without_a_search_for_cycles():
    session = new_session(ready=[[4], [8]])
    session(inputs(3))
    references = [weakref.ref(part) for part in (session, *session._lanes)]
    gc.disable()
    try:
        del session
        assert [reference() for reference in references] == [None] * 3
    finally:
        gc.enable()


def test_an_error_in_the_modules_is_not_handled_as_a_refused_capture():
    shape = (SHAPE[0] + 1, *SHAPE[1:])
    session = CudaGraphSession(forward(CPU), torch.empty(shape), CPU, SIZES)
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
