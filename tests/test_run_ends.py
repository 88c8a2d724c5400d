"""A run's end in its log, and what `--resume` says of it."""

import io
import logging

import pytest
from rich.console import Console
from test_train import run, tiny

from alphazero import checkpoint, loop
from alphazero.errors import FleetLost, RunFailed
from workers.runs import run_directory, train

LOST = "Ray's gcs_server has ended or hangs: no answer for 8 s"


def log_of(directory, *, error=None, line=None):
    """Log of one process that ended with ``error``, after it had logged ``line``."""
    path = directory / "log.txt"
    with run_directory.log_to_file(path, Console(file=io.StringIO())) as begin:
        begin()
        if line:
            logging.getLogger("workers.runs").info(line)
        if error:
            raise error
    return path


@pytest.mark.parametrize("line", ["done: run/checkpoints/step_000030", "stopped; saved"])
def test_nothing_is_said_of_a_run_that_ended_as_it_should(tmp_path, line):
    assert run_directory.describe_last_end(tmp_path / "log.txt") == ""
    assert run_directory.describe_last_end(log_of(tmp_path, line=line)) == ""


def test_an_error_is_in_the_log_in_one_line_and_said_by_the_next_process(tmp_path):
    with pytest.raises(RunFailed):
        log_of(tmp_path, error=RunFailed("the loss is not finite\nat step 7"))
    said = run_directory.describe_last_end(tmp_path / "log.txt")
    assert said == "this run ended before with an error: the loss is not finite"
    assert run_directory.describe_last_end(log_of(tmp_path, line="done: all")) == ""


def test_a_process_that_was_killed_wrote_neither_an_error_nor_an_end(tmp_path):
    with pytest.raises(RunFailed):
        log_of(tmp_path, error=RunFailed("an earlier error"))
    said = run_directory.describe_last_end(log_of(tmp_path, line="step 1 of 30"))
    assert said.startswith("this run ended before without a word")


def test_a_warning_while_the_run_starts_is_in_its_log_and_on_the_terminal(
    tmp_path, monkeypatch, capsys
):
    make = train._parts

    def warns(*arguments):
        logging.getLogger("workers.cluster.supervisor").warning("no machine has a free core")
        return make(*arguments)

    monkeypatch.setattr(train, "_parts", warns)
    assert run(tmp_path / "new", tiny()) == 0
    lines = (tmp_path / "new" / "log.txt").read_text().splitlines()
    assert lines[0].endswith(run_directory.BEGAN)
    assert lines[1].endswith("WARNING workers.cluster.supervisor: no machine has a free core")
    assert capsys.readouterr().out.count("no machine has a free core") == 1


@pytest.mark.parametrize("error", [RunFailed("and none came"), KeyboardInterrupt()])
def test_a_run_that_ends_while_it_starts_leaves_nothing_and_is_not_resumed(
    tmp_path, monkeypatch, error
):
    monkeypatch.chdir(tmp_path)

    def fails(*arguments):
        logging.getLogger("workers.cluster.supervisor").warning("no machine has a free core")
        raise error

    monkeypatch.setattr(train, "_parts", fails)
    with pytest.raises(type(error)), run_directory.opened("tic_tac_toe", None, False) as run_dir:
        run(run_dir, tiny())
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_leaves_nothing_leaves_the_folder_of_other_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with run_directory.opened("tic_tac_toe", None, False) as run_dir:
        assert run_dir.is_dir()
    assert [*tmp_path.rglob("*")] == [tmp_path / "runs"]


def test_a_run_whose_fleet_is_lost_saves_what_it_learned_and_resume_says_why(
    tmp_path, monkeypatch, capsys
):
    train_all = loop.train

    def lost_after_seven_steps(parts, hooks, limit):
        learner = parts.learner

        def collect():
            if learner.step == 7:
                logging.getLogger("workers.cluster.supervisor").error(LOST)
                raise FleetLost(LOST)
            return before()

        before, parts.fleet.collect = parts.fleet.collect, collect
        train_all(parts, hooks, limit)

    settings = tiny("replay.samples_per_position=1")
    with monkeypatch.context() as patched:
        patched.setattr(loop, "train", lost_after_seven_steps)
        with pytest.raises(FleetLost):
            run(tmp_path, settings)
    newest = checkpoint.newest(tmp_path)
    assert newest is not None
    assert checkpoint.load(newest).step == 7
    log = (tmp_path / "log.txt").read_text()
    assert log.count(f"ERROR workers.cluster.supervisor: {LOST}") == log.count("ERROR") == 1
    saved = (
        f"step 7 is saved; the same command with --resume --run-dir {tmp_path} continues the run"
    )
    assert saved in log
    capsys.readouterr()
    assert run(tmp_path, settings, resume=True) == 0
    assert f"this run ended before with an error: {LOST}" in capsys.readouterr().out
