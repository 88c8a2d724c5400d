"""``supervised tune``: its files, stopping and continuing, and trials in processes."""

import contextlib
import csv
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

from alphazero.errors import RunFailed
from alphazero.supervised import config, pictures, tuning
from workers import cli
from workers.commands.supervised import tune_options
from workers.supervised import trials as running
from workers.supervised import tune
from workers.supervised.tune import TuneOptions

SHARED = (
    "mlp", "data.limit=300", "model.hidden=[16]", "fit.epochs=2", "fit.batch_size=32",
    "fit.device=cpu",
)  # fmt: skip
GRID = ("--grid", "optimizer.name=adam,sgd", "--grid", "optimizer.learning_rate=1e-3,1e-2")
SMALL = (*SHARED, *GRID, "--folds", "2", "--parallel", "1")


PARSER = cli.build_parser(cli.command_modules())


def options(*arguments: object) -> TuneOptions:
    """The options of a command line, ``alphazero supervised tune ARGUMENTS``."""
    return tune_options(PARSER.parse_args(["supervised", "tune", *map(str, arguments)]))


def results(folder: Path) -> list[dict]:
    """The rows of results.json without their seconds, which differ between any two runs."""
    rows = json.loads((folder / "results.json").read_text())["results"]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def trials(folder: Path) -> list[str]:
    return (folder / "trials.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with the results of ``SMALL``."""
    folder = tmp_path_factory.mktemp("tuned") / "small"
    assert tune.main(options(*SMALL, "--to", folder)) == 0
    return folder


def refuse(*_):
    raise AssertionError("a trial was run")


def test_the_best_configuration_is_ready_to_train(done):
    best = results(done)[0]
    chosen = [f"{key}={value}" for key, value in best["values"].items()]
    assert config.load(str(done / "best.yaml")) == config.load("mlp", [*SHARED[1:], *chosen])
    assert best["mean"] == max(result["mean"] for result in results(done))


def test_the_files_hold_every_candidate_best_first(done):
    rows = list(csv.DictReader((done / "results.csv").read_text().splitlines()))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert [float(row["mean"]) for row in rows] == [result["mean"] for result in results(done)]
    for row, result in zip(rows, results(done), strict=True):
        assert {key: row[key] for key in result["values"]} == result["values"]
        assert [float(row["fold_1"]), float(row["fold_2"])] == result["accuracies"]
    means = [result["mean"] for result in results(done)]
    assert means == sorted(means, reverse=True)
    assert (done / "results.png").read_bytes().startswith(b"\x89PNG")
    assert len(trials(done)) == 8


def test_the_terminal_shows_the_table_and_the_command_that_trains_the_best(
    done, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    tune.main(options(*SMALL, "--to", done))
    shown = capsys.readouterr().out
    assert "4 candidates, 2 folds: 8 trials, 8 of them finished already" in shown
    assert "digits: accuracy in 2 folds" in shown
    assert f"train it: alphazero supervised train {done / 'best.yaml'}" in shown
    best = results(done)[0]
    assert f"{best['mean']:.2%}" in shown


def test_the_same_command_given_again_trains_nothing(done, monkeypatch):
    before = results(done), trials(done)
    monkeypatch.setattr(tuning, "run", refuse)
    assert tune.main(options(*SMALL, "--to", done)) == 0
    assert (results(done), trials(done)) == before


def stopping(after: int):
    """A ``tuning.run`` that is interrupted, as by Ctrl-C, after so many trials."""
    count, run = itertools.count(), tuning.run

    def stopped(trial, pool):
        if next(count) == after:
            raise KeyboardInterrupt
        return run(trial, pool)

    return stopped


def test_a_stopped_search_keeps_its_finished_trials_and_is_continued(
    done, tmp_path, monkeypatch, capsys
):
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "run", stopping(after=3))
        assert tune.main(options(*SMALL, "--to", folder)) == 130
    assert len(trials(folder)) == 3
    assert "3 of 8 trials are finished" in capsys.readouterr().out
    assert not (folder / "results.json").exists()
    monkeypatch.setattr(tuning, "run", stopping(after=5))
    assert tune.main(options(*SMALL, "--to", folder)) == 0
    assert len(trials(folder)) == 8
    assert results(folder) == results(done)


def test_a_line_cut_short_by_a_kill_is_run_again(done, tmp_path, monkeypatch):
    folder = tmp_path / "torn"
    folder.mkdir()
    lines = (done / "trials.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "trials.jsonl").write_bytes(b"".join(lines)[:-20])
    monkeypatch.setattr(tuning, "run", stopping(after=1))
    assert tune.main(options(*SMALL, "--to", folder)) == 0
    assert len(trials(folder)) == 8
    assert results(folder) == results(done)


def test_a_larger_grid_runs_only_its_new_trials(done, tmp_path, monkeypatch):
    folder = tmp_path / "larger"
    folder.mkdir()
    (folder / "trials.jsonl").write_bytes((done / "trials.jsonl").read_bytes())
    monkeypatch.setattr(tuning, "run", stopping(after=4))
    larger = [word.replace("adam,sgd", "adam,sgd,rmsprop") for word in SMALL]
    assert tune.main(options(*larger, "--to", folder)) == 0
    assert len(results(folder)) == 6


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "trials.jsonl").write_text('{"key": "a"}\n')
    with pytest.raises(ValueError, match=r"trials\.jsonl:1: not a finished trial"):
        tune.main(options(*SMALL, "--to", tmp_path))


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(ValueError, match="holds something else already"):
        tune.main(options(*SMALL, "--to", tmp_path))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to try"),
        (("--range", "optimizer.learning_rate=1e-4..1e-1"), "give --random N, too"),
        (("--grid", "optimizer.name=adm,adam"), "got 'adm'"),
        (("--grid", "seed=1,2", "--folds", "1"), "--folds"),
        (("--grid", "seed=1,2", "--folds", "1000"), r"got 1000, but class \d has only \d+"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    tmp_path, monkeypatch, arguments, message
):  # fmt: skip
    monkeypatch.setattr(tuning, "run", refuse)
    with pytest.raises(ValueError, match=message):
        tune.main(options(*SHARED, *arguments, "--to", tmp_path / "new"))


def test_random_candidates_are_drawn_and_shown_in_a_picture(tmp_path):
    arguments = (
        "--random", "3", "--grid", "optimizer.name=adam,sgd", "--range", "model.dropout=0..0.5",
        "--range", "optimizer.learning_rate=1e-4..1e-1", "--folds", "2", "--parallel", "1",
    )  # fmt: skip
    assert tune.main(options(*SHARED, *arguments, "--to", tmp_path)) == 0
    assert len({json.dumps(result["values"]) for result in results(tmp_path)}) == 3
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_candidate_that_diverges_is_shown_and_never_the_best(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "parallel_coordinates", lambda *given: drawn.append(given))
    grid = ("--grid", "optimizer.learning_rate=1e30,1e-2", "--folds", "2", "--parallel", "1")
    assert tune.main(options(*SHARED, *grid, "--to", tmp_path)) == 0
    assert drawn[0][0] == {"optimizer.learning_rate": ["1e-2"]}
    assert "diverged" in (tmp_path / "results.csv").read_text()
    assert config.load(str(tmp_path / "best.yaml")).optimizer.learning_rate == 1e-2


def test_trials_in_processes_have_the_same_results(done, tmp_path):
    folder = tmp_path / "processes"
    assert tune.main(options(*SMALL, "--parallel", "2", "--to", folder)) == 0
    assert results(folder) == results(done)


def test_a_process_that_dies_ends_the_search_with_one_line():
    calls = running.in_processes(2)(lambda trial, pool: os._exit(1), [1, 2, 3], [0, 0, 0])
    with pytest.raises(RunFailed, match=r"^a trial's process died without an error.*$"):
        list(calls)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_ends_all_processes_and_finished_trials_are_kept(tmp_path, number):
    folder = tmp_path / "stopped"
    arguments = [
        *SHARED, "fit.epochs=10", "--grid", "seed=" + ",".join(map(str, range(200))),
        "--parallel", "2", "--to", str(folder),
    ]  # fmt: skip
    child = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "supervised", "tune", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 200
        while not ((folder / "trials.jsonl").exists() and len(trials(folder)) >= 2):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # A terminal sends Ctrl-C to every process of the group.
        (os.killpg if number == signal.SIGINT else os.kill)(child.pid, number)
        out, err = child.communicate(timeout=60)  # waits for every process that may write there
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
    assert child.returncode == 130, err
    assert "the same command continues" in out
    assert "Traceback" not in err
    assert len(trials(folder)) >= 2
