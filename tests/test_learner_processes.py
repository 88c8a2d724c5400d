"""A learner of two processes against one whose threads compute the same shares, and its failures."""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_learner import batch, flat, same
from test_train import metrics, run, tiny

from alphazero import checkpoint, config, local_run, shared_rows
from alphazero.config import TrainingSettings
from alphazero.errors import LearnerLost
from alphazero.learner import Learner
from alphazero.learner_processes import ProcessLearner
from alphazero.nn.ranks import device_of
from alphazero.parts import game_of
from workers.runs import monitoring

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


@pytest.fixture(scope="module")
def pair():
    """A learner of two processes, which takes some seconds to start, and its first state."""
    made = ProcessLearner(SETTINGS)
    yield made, made.state()
    made.close()


def test_twenty_steps_equal_those_of_two_threads_bit_for_bit(pair):
    """Each share is half of the batch, so its weight makes no rounding."""
    two, start = pair
    two.restore(start)
    threads = alone()
    assert steps(two, 0, 20) == steps(threads, 0, 20)
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
    assert steps(single, 10, 20) == expected


def test_initial_weights_reach_the_other_process(pair):
    two, start = pair
    two.restore(start)
    threads, other = alone(), alone(replace(SETTINGS, seed=5))
    for one in (two, threads):
        one.initialize_from(other.weights())
    assert steps(two, 0, 3) == steps(threads, 0, 3)


def test_without_batch_norm_two_processes_equal_one_with_the_whole_batch():
    own = replace(SETTINGS, network=config.load("connect_four", [
        "recipe=none", "network.kind=made_up_networks:Own"]).network)  # fmt: skip
    whole = alone(own, threads=1)
    two = ProcessLearner(own)
    try:
        for one, other in zip(steps(two, 0, 5), steps(whole, 0, 5), strict=True):
            assert one == pytest.approx(other, rel=1e-5)
    finally:
        two.close()
    ours, theirs = (flat(one.state()) for one in (two, whole))
    for name, array in theirs.items():
        if name.startswith((".network", ".average")):
            np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def other_process(made: ProcessLearner) -> subprocess.Popen:
    return made._others._processes[0]


def test_a_process_that_is_killed_is_named_and_the_state_is_that_of_the_last_step():
    made = ProcessLearner(SETTINGS)
    try:
        steps(made, 0, 2)
        before = flat(made.state())
        other_process(made).kill()
        with pytest.raises(LearnerLost, match="^process 2 of 2 of the learner was ended by SIGKI"):
            steps(made, 2, 3)
        assert same(flat(made.state()), before)
    finally:
        made.close()


def test_a_process_that_is_stopped_ends_the_run_and_is_ended():
    made = ProcessLearner(SETTINGS, patience=60.0)
    try:
        steps(made, 0, 1)
        made._others._ranks._patience = 0.5
        process = other_process(made)
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(LearnerLost, match=r"^a process of the learner has not answered for 0"):
            steps(made, 1, 2)
    finally:
        made.close()
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_cannot_start_says_why(monkeypatch):
    """The other process finds no game of this address: its module exists in this one only."""
    made = ProcessLearner(SETTINGS)
    made._config = replace(SETTINGS, game="a_module_of_nobody:Game")
    try:
        with pytest.raises(LearnerLost) as error:
            steps(made, 0, 1)
    finally:
        made.close()
    assert str(error.value).startswith("process 2 of 2 of the learner failed: ")
    assert "a_module_of_nobody" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's signal at a parent's death")
def test_a_stopped_process_ends_with_the_learner_that_started_it():
    """A stopped one does not read that its input has ended."""
    code = """
        import os, signal
        from test_learner_processes import SETTINGS, other_process, steps
        from alphazero.learner_processes import ProcessLearner
        made = ProcessLearner(SETTINGS)
        steps(made, 0, 1)
        pid = other_process(made).pid
        os.kill(pid, signal.SIGSTOP)
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    folder = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    while Path(f"/proc/{int(done.stdout)}").exists():
        stat = Path(f"/proc/{int(done.stdout)}/stat").read_text()
        if stat.rpartition(")")[2].split()[0] in "ZX":  # ended; nobody has read its status yet
            break


RUN = ["training.processes=2", "training.threads=1", "training.publish_every=1",
       "evaluation.games=0"]  # fmt: skip
"""A publication empties the caches, as a checkpoint does: so one at any step changes nothing."""


def test_a_run_whose_process_is_killed_is_saved_and_resumed_bit_for_bit(
    tmp_path, monkeypatch, capsys
):
    real = monitoring.Monitor.log

    def log(self, step, values):
        real(self, step, values)
        if step == 9:
            other_process(self._run.learner).kill()

    assert run(tmp_path / "whole", tiny(*RUN)) == 0
    assert "2 processes of 1 thread" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(monitoring.Monitor, "log", log)
        with pytest.raises(LearnerLost, match="was ended by SIGKILL"):
            run(tmp_path / "broken", tiny(*RUN))
    assert "step 9 is saved; --resume" in capsys.readouterr().out
    assert "ended by SIGKILL" in (tmp_path / "broken" / "log.txt").read_text()
    assert run(tmp_path / "broken", tiny(*RUN), resume=True) == 0
    assert [line["step"] for line in metrics(tmp_path / "broken")] == list(range(1, 31))
    ends = [checkpoint.load(checkpoint.newest(tmp_path / name)) for name in ("whole", "broken")]
    assert same(*(end.weights for end in ends))


def test_rows_are_read_where_they_were_written_and_the_memory_grows():
    written, rng = shared_rows.create(), np.random.default_rng(0)
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
    with pytest.raises(ValueError, match="8 need a training.batch_size of at least 16, .* not 15"):
        tiny("training.processes=8", "training.batch_size=15")
    with pytest.raises(ValueError, match="should be auto, cpu or cuda, not cuda:1"):
        tiny("training.processes=2", "training.device=cuda:1")


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr("alphazero.nn.ranks.choose", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(device_of("auto", rank, 2)) for rank in (0, 1)] == ["cuda:0", "cuda:1"]
    with pytest.raises(ValueError, match="^3 processes need a GPU each, and this machine has 2$"):
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
