"""How commands end: signals, closed terminals, output that fails, folders that are taken."""

import contextlib
import errno
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from test_train import TINY

from alphazero import checkpoint, file_locks
from workers import cli
from workers.runs import run_directory, train
from workers.terminal import output, signals, tables

ENDLESS = [
    "train", "tic_tac_toe", *TINY, "training.steps=1000000", "training.checkpoint_every=1000000",
    "ray=off",
]  # fmt: skip
PERFECT = ["supervised", "train", "mlp", "data.limit=200", "model.hidden=[16]",
           "fit.batch_size=32", "fit.epochs=100000", "fit.patience=0", "fit.device=cpu",
           "tracking.wandb=off"]  # fmt: skip


@contextlib.contextmanager
def started(words, folder, before="", **options):
    """A command in a process of its own, begun once it has written a line of metrics."""
    code = (
        f"import sys, signal\n{before}\nfrom workers import cli\nsys.exit(cli.main(sys.argv[1:]))"
    )
    words = [*words, "--run-dir", str(folder)]
    process = subprocess.Popen([sys.executable, "-c", code, *words], **options)
    try:
        while not lines(folder) and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.wait()


def lines(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def saved_step(folder):
    newest = checkpoint.newest(folder, report=pytest.fail)
    return None if newest is None else int(newest.name[5:])


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_and_a_second_hangup_does_no_harm(tmp_path, sent):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(ENDLESS, tmp_path / "run", **quiet) as process:
        process.send_signal(sent)
        process.send_signal(signal.SIGHUP)
        assert process.wait(120) == 130
    assert saved_step(tmp_path / "run") == json.loads(lines(tmp_path / "run")[-1])["step"]


@pytest.mark.slow
def test_a_run_started_by_nohup_outlives_its_terminal(tmp_path):
    before = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(ENDLESS, tmp_path / "run", before, **quiet) as process:
        process.send_signal(signal.SIGHUP)
        here = len(lines(tmp_path / "run"))
        while len(lines(tmp_path / "run")) < here + 30:
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        assert process.wait(120) == 130


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(ENDLESS, id="self-play"),
        pytest.param(PERFECT, id="supervised"),
        pytest.param([*ENDLESS, "selfplay.processes=1", "--ray", "local"], id="on Ray",
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_closed_terminal_ends_a_run_as_sigterm_does(tmp_path, words, monkeypatch):
    """The process leads a session whose terminal is closed: SIGHUP, then EIO at every output."""
    if "local" in words:
        pytest.importorskip("ray")
        monkeypatch.setenv("RAY_TMPDIR", tempfile.mkdtemp(prefix="r", dir="/tmp"))
        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ours, theirs = pty.openpty()
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs, "start_new_session": True}
    take = "import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    with started(words, tmp_path / "run", take, **terminal) as process:
        os.close(theirs)
        os.close(ours)
        assert process.wait(120) == 130
    assert saved_step(tmp_path / "run") is not None
    assert "stopped; " in (tmp_path / "run/log.txt").read_text()


@pytest.mark.slow
def test_a_run_whose_output_nobody_reads_trains_on_and_saves(tmp_path):
    with started(ENDLESS, tmp_path / "run", stdout=subprocess.PIPE,
                 stderr=subprocess.STDOUT) as process:  # fmt: skip
        process.stdout.close()
        log = tmp_path / "run" / "log.txt"
        process.terminate()
        assert process.wait(120) == 130
    assert saved_step(tmp_path / "run") == json.loads(lines(tmp_path / "run")[-1])["step"]
    assert "cannot be written: Broken pipe" in log.read_text()


class Broken(io.StringIO):
    """A stream that fails; ``name`` is that of a real one."""

    name = "<stdout>"

    def __init__(self, number):
        super().__init__()
        self.number = number

    def write(self, text):
        raise OSError(self.number, os.strerror(self.number))

    flush = close = lambda self: self.write("")


@pytest.mark.parametrize("number", [errno.EIO, errno.EPIPE, errno.ENOSPC])
def test_output_that_fails_is_lost_and_named_once(monkeypatch, caplog, number):
    monkeypatch.setattr(sys, "stdout", Broken(number))
    with output.tolerated():
        print("one")
        Console().print("two")
        sys.stdout.flush()
    named = [record.getMessage() for record in caplog.records]
    assert named == [f"<stdout> cannot be written: {os.strerror(number)}"]
    with pytest.raises(OSError, match=os.strerror(number)):
        print("three")


def test_a_process_that_was_started_without_an_output_runs(monkeypatch):
    """As by a shell's ``>&- 2>&-``: Python has None for both."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with output.tolerated():
        print("one")
        Console().print("two")
    assert cli.main(["games"]) == 0


@pytest.mark.signals
def test_a_signal_counts_though_its_line_comes_in_the_middle_of_another(monkeypatch):
    """Python refuses a write within a write: a terminal that is full, and Ctrl-C meanwhile."""

    class Writing(io.StringIO):
        def write(self, text):
            raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")

    with signals.stop_on_signal(Console(file=Writing())) as received:
        signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]


@pytest.mark.signals
def test_the_second_hangup_of_a_closed_terminal_does_not_interrupt_the_cleanup():
    with signals.handled(signals.interrupt):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    with signals.handled(signals.interrupt), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGHUP)


def test_a_command_runs_in_a_folder_that_was_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    assert cli.main(["games"]) == 0


def test_the_options_that_continue_a_lost_run_are_quoted(tmp_path):
    run = SimpleNamespace(directory=tmp_path / "my run", learner=SimpleNamespace(step=0))
    run.directory.mkdir()
    assert f"--resume --run-dir '{run.directory}' continues" in train._save_at_end(
        run, 0.0, run.directory
    )


def test_figures_are_in_their_file_though_the_table_cannot_be_printed(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken(errno.EIO))
    path = tmp_path / "figures.json"
    with pytest.raises(OSError, match="Input/output error"):
        tables.report(tables.make(None, "a"), {"games": 3}, str(path))
    assert json.loads(path.read_text()) == {"games": 3}


def test_processes_started_while_hangups_are_blocked_never_get_one():
    code = "import signal; print(signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, []))"

    def blocked_in_a_new_process():
        return subprocess.run([sys.executable, "-c", code], capture_output=True).stdout.decode()

    with signals.hangup_blocked():
        assert blocked_in_a_new_process() == "True\n"
    assert blocked_in_a_new_process() == "False\n"


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_directory.time, "strftime", lambda form: "20260101-120000")
    with contextlib.ExitStack() as stack:
        for _ in range(11):
            run_dir = stack.enter_context(run_directory.opened("mlp", None, resume=False))
            (run_dir / "config.yaml").write_text("")
    names = {path.name for path in Path("runs").iterdir()}
    first = "mlp-20260101-120000"
    assert names == {first, *(f"{first}-{number}" for number in range(2, 12))}
    with run_directory.opened("mlp", None, resume=True) as run_dir:
        assert run_dir.name == f"{first}-11"
    Path("runs/mlp-20251231-235959-3").mkdir()
    Path("runs/mlp-20260101-120000-old").mkdir()
    Path("runs/mlp-wide-20270101-120000").mkdir()
    with run_directory.opened("mlp", None, resume=True) as run_dir:
        assert run_dir.name == f"{first}-11"


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_belongs_to_one_run_at_a_time(tmp_path, resume):
    with (
        file_locks.held(tmp_path / "run"),
        pytest.raises(ValueError, match=r"another run writes to .*/run; end it first"),
        run_directory.opened("mlp", tmp_path / "run", resume),
    ):
        pass
    with run_directory.opened("mlp", tmp_path / "run", resume) as run_dir:
        assert run_dir == tmp_path / "run"


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    for folder in (tmp_path / "new", kept):
        with pytest.raises(ZeroDivisionError), run_directory.opened("mlp", folder, resume=False):
            1 / 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_the_folder_of_a_run_that_has_just_begun_stays(tmp_path, monkeypatch):
    """Two runs in one new folder: the second finds none yet, and then its lock taken."""
    held = file_locks.held
    with contextlib.ExitStack() as first:

        def held_by_the_first(folder):
            first.enter_context(held(folder))
            return held(folder)

        monkeypatch.setattr(file_locks, "held", held_by_the_first)
        with (
            pytest.raises(ValueError, match="another run writes to"),
            run_directory.opened("mlp", tmp_path / "run", resume=False),
        ):
            pass
        assert (tmp_path / "run" / file_locks.NAME).exists()


def test_a_link_to_a_disk_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").symlink_to("missing/runs")
    with pytest.raises(FileExistsError), run_directory.opened("mlp", None, resume=False):
        pass


def test_an_escape_sequence_in_a_log_is_not_shown(tmp_path):
    lines = ["INFO a: the process began", "ERROR a: \x1b]0;title\x07 lost"]
    path = tmp_path / "log.txt"
    path.write_text("".join(f"2026-01-01 00:00:00,000 {line}\n" for line in lines))
    assert run_directory.describe_last_end(path).endswith("with an error: ?]0;title? lost")


def test_a_foreign_folder_is_refused_and_unchanged(tmp_path):
    (tmp_path / "letter.txt").write_text("")
    with (
        pytest.raises(ValueError, match="is not empty: --resume continues the run in it"),
        run_directory.opened("mlp", tmp_path, resume=False),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.slow
def test_three_trainings_started_together_have_three_folders(tmp_path):
    words = ["supervised", "train", "mlp", "data.limit=200", "model.hidden=[16]", "fit.epochs=1",
             "fit.device=cpu", "tracking.wandb=off"]  # fmt: skip
    code = "import sys\nfrom workers import cli\nsys.exit(cli.main(sys.argv[1:]))"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, *words, f"seed={seed}"], cwd=tmp_path,
                         env=environment, stdout=subprocess.DEVNULL)
        for seed in range(3)
    ]  # fmt: skip
    assert [process.wait(240) for process in processes] == [0, 0, 0]
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 3
    seeds = {re.findall(r"^seed: (\d)", (run / "config.yaml").read_text(), re.M)[0] for run in runs}
    assert seeds == {"0", "1", "2"}
