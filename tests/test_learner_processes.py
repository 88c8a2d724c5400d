"""A learner of two processes against one whose threads compute the same shares."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_learner import batch, flat, same
from test_train import tiny

from alphazero import config, local_run, memory_files, shared_rows
from alphazero.config import TrainingSettings
from alphazero.learner import Learner
from alphazero.learner_processes import ProcessLearner
from alphazero.nn.ranks import device_of
from alphazero.parts import game_of

SETTINGS = config.load(
    "connect_four",
    ["recipe=none", "network={blocks: 2, channels: 16}", "schedule.warmup_steps=5",
     "training={precision: float32, device: cpu, threads: 1, processes: 2}"],
)  # fmt: skip


def alone(settings=SETTINGS, threads=2) -> Learner:
    """One process, with as many threads as shares."""
    training = replace(settings.training, processes=1, threads=threads)
    return Learner(game_of(settings), settings.network, settings.optimizer, training, settings.seed)


def steps(made: Learner, first: int, last: int, size: int = 32) -> list[dict[str, float]]:
    return [made.train_step(batch(size, i), i / 20) for i in range(first, last)]


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    """As in every run: torch's own threads would split sums, and round them differently."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def pair():
    """A learner of two processes, which takes some seconds to start, and its first state."""
    made = ProcessLearner(SETTINGS)
    yield made, made.state()
    made.close()


def test_twenty_steps_equal_those_of_two_threads_bit_for_bit(pair):
    """Each share is half of the batch, so its weight makes no rounding; figures are for the log."""
    two, start = pair
    two.restore(start)
    threads = alone()
    for one, other in zip(steps(two, 0, 20), steps(threads, 0, 20), strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    assert same(flat(two.state()), flat(threads.state()))


def test_shares_of_17_and_16_rows_equal_those_of_two_threads_to_rounding(pair):
    two, start = pair
    two.restore(start)
    threads = alone()
    rows = [one.train_step(batch(33), 0.5) for one in (two, threads)]
    assert rows[0] == pytest.approx(rows[1], rel=1e-6)
    ours, theirs = (one._optimization._flat for one in (two, threads))
    torch.testing.assert_close(ours.gradient, theirs.gradient, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(ours.statistics, theirs.statistics, rtol=1e-6, atol=1e-9)


def test_ten_steps_a_restore_and_ten_more_equal_twenty_bit_for_bit(pair):
    two, start = pair
    two.restore(start)
    steps(two, 0, 10)
    middle = two.state()
    expected = steps(two, 10, 20)
    end = flat(two.state())
    two.restore(middle)
    assert steps(two, 10, 20) == expected
    assert same(flat(two.state()), end)
    single = alone()
    single.restore(middle)
    steps(single, 10, 20)
    assert same(flat(single.state()), end)


def test_initial_weights_reach_the_other_process(pair):
    two, start = pair
    two.restore(start)
    threads, other = alone(), alone(replace(SETTINGS, seed=5))
    for one in (two, threads):
        one.initialize_from(other.weights())
    steps(two, 0, 3)
    steps(threads, 0, 3)
    assert same(two.weights(), threads.weights())


def test_rows_are_read_where_they_were_written_and_the_memory_grows():
    written, rng = shared_rows.SharedRows(memory_files.create()), np.random.default_rng(0)
    read = shared_rows.SharedRows(os.dup(written.descriptor))
    for size in (3, 1, 200):
        columns = {
            "planes": rng.random((size, 2, 3, 3), np.float32),
            "legal": rng.random(size) > 0.5,
        }
        places = written.write(columns)
        for name, array in read.read(places, slice(1, size)).items():
            assert array.dtype == columns[name].dtype
            np.testing.assert_array_equal(array, columns[name][1:])
    written.close()
    read.close()


def test_settings_that_several_processes_cannot_have_are_refused():
    with pytest.raises(ValueError, match=r"8 need a training.batch_size of at least 16, .* not 15"):
        tiny("training.processes=8", "training.batch_size=15")
    with pytest.raises(ValueError, match="should be auto, cpu or cuda, not cuda:1"):
        tiny("training.processes=2", "training.device=cuda:1")


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr("alphazero.nn.ranks.choose", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device_of("auto", rank, 2)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    with pytest.raises(ValueError, match=r"^3 processes need a GPU each, and this machine has 2$"):
        device_of("cuda", 0, 3)


@pytest.mark.parametrize(("cores", "processes", "threads"), [(2, 2, 1), (16, 2, 2), (16, 1, 4)])
def test_the_threads_of_each_process_have_at_least_64_rows(monkeypatch, cores, processes, threads):
    monkeypatch.setattr(local_run, "cores", lambda: cores)
    settings = local_run.resolve(
        tiny("training.batch_size=256", f"training.processes={processes}"), "off"
    )
    assert settings.training.threads == threads


def test_one_process_is_the_default():
    assert TrainingSettings().processes == 1
    assert type(local_run.make_learner(tiny(), resumed=True)) is Learner
