"""Events that end a learner of several processes, and the state that is saved then.

Apart from ``test_learner_processes.py``, whose learner lives as long as its tests: a process has
one group of ranks at a time.
"""

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_learner import flat, same
from test_learner_processes import SETTINGS, alone, steps
from test_train import metrics, run, tiny

from alphazero import checkpoint
from alphazero.errors import LearnerLost
from alphazero.learner_processes import ProcessLearner
from alphazero.network_settings import NetworkByAddress
from workers.runs import monitoring


def test_without_batch_norm_two_processes_equal_one_with_the_whole_batch():
    own = replace(SETTINGS, network=NetworkByAddress(kind="made_up_networks:Own"))
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
        with pytest.raises(LearnerLost, match=r"^process 2 of 2 of the learner was ended by SIGKI"):
            steps(made, 2, 3)
        assert same(flat(made.state()), before)
    finally:
        made.close()


def test_a_process_that_is_stopped_ends_the_run_and_is_ended():
    made = ProcessLearner(SETTINGS)
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


def test_a_process_that_cannot_start_says_why():
    made = ProcessLearner(SETTINGS)
    made._config = replace(SETTINGS, game="a_module_that_is_missing:Game")
    try:
        with pytest.raises(LearnerLost) as error:
            steps(made, 0, 1)
    finally:
        made.close()
    assert str(error.value).startswith("process 2 of 2 of the learner failed: ")
    assert "a_module_that_is_missing" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's signal at a parent's death")
def test_a_stopped_process_ends_with_the_learner_that_started_it(tmp_path):
    """A stopped one does not read that its input has ended."""
    code = """
        import os, signal
        from test_learner_processes import SETTINGS, steps
        from test_learner_processes_lost import other_process
        from alphazero.learner_processes import ProcessLearner
        made = ProcessLearner(SETTINGS)
        steps(made, 0, 1)
        pid = other_process(made).pid
        os.kill(pid, signal.SIGSTOP)
        print(pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    folder = Path(__file__).parent
    paths = os.pathsep.join([str(folder), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    while Path(f"/proc/{int(done.stdout)}").exists():
        stat = Path(f"/proc/{int(done.stdout)}/stat").read_text()
        if stat.rpartition(")")[2].split()[0] in "ZX":  # ended; its status was not read yet
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
            other_process(self._learner).kill()

    assert run(tmp_path / "whole", tiny(*RUN)) == 0
    assert "2 processes of 1 thread" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr(monitoring.Monitor, "log", log)
        with pytest.raises(LearnerLost, match="was ended by SIGKILL"):
            run(tmp_path / "broken", tiny(*RUN))
    assert "step 9 is saved; the same command with --resume" in capsys.readouterr().out
    assert "ended by SIGKILL" in (tmp_path / "broken" / "log.txt").read_text()
    assert run(tmp_path / "broken", tiny(*RUN), resume=True) == 0
    assert [line["step"] for line in metrics(tmp_path / "broken")] == list(range(1, 31))
    ends = [checkpoint.load(checkpoint.newest(tmp_path / name)) for name in ("whole", "broken")]
    assert same(*(end.weights for end in ends))
