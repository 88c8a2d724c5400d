"""Whole runs whose ``--run-dir`` is a URL: killed, without their machine, and resumed elsewhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import games
from alphazero import checkpoint, replay, wire
from workers import cli
from workers.runs import run_copy, stored_run
from workers.runs.storage import open_storage

ROOT = Path(__file__).parents[1]
NUMBERS = count()
SETTINGS = [
    "search.simulations=4", "selfplay.games=8", "network.blocks=1", "network.channels=8",
    "replay.min_positions=100", "replay.samples_per_position=4", "training.steps=100",
    "training.batch_size=16", "training.checkpoint_every=20", "training.precision=float32",
    "training.keep_checkpoints=2", "inference.backend=torch", "inference.precision=float32",
    "evaluation.games=0", "tracking.wandb=off", "training.time_limit_minutes=null",
]  # fmt: skip
SMALL_SHARD = 1000
"""Bytes of a shard in these runs: each has several that are closed."""


def train(*words):
    """The exit status of the command."""
    return cli.main(["train", "tic_tac_toe", *SETTINGS, "--ray", "off", *map(str, words)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a run that was neither stored nor disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "SHARD_BYTES", SMALL_SHARD)
        assert train("--run-dir", folder) == 0
    return folder


@pytest.fixture(autouse=True)
def _small(tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "SHARD_BYTES", SMALL_SHARD)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ids(folder):
    """The ids of all games in a run's shards."""
    game = games.make("tic_tac_toe")
    return [
        record.game_id
        for path in sorted((folder / "games").glob("shard_*"))
        for _, record in wire.read_shard(game, path, pytest.fail)
    ]


def steps(folder):
    return [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def assert_equal(folder, undisturbed):
    """The run is whole, and is bit for bit what it would have been without any disturbance."""
    assert steps(folder) == list(range(1, 101))
    assert len(set(ids(folder))) == len(ids(folder))
    assert ids(folder) == ids(undisturbed)
    assert len(list((folder / "games").glob("shard_*"))) > 3
    ends = [checkpoint.load(path) for path in (folder, undisturbed)]
    assert [end.step for end in ends] == [100, 100]
    for name, array in ends[0].weights.items():
        assert np.array_equal(array, ends[1].weights[name]), name


KILLED = """
import os, signal, sys
import fsspec
from fsspec.implementations.local import LocalFileSystem
from alphazero import replay
from workers import cli

replay.SHARD_BYTES = {shard}
uploads = 0

class Killing(LocalFileSystem):
    protocol = ("killing",)

    def _open(self, path, mode="rb", **options):
        global uploads
        file = super()._open(path, mode, **options)
        if mode == "wb" and path.endswith({half!r}):
            uploads += 1
            if uploads == 2:
                file.write(b"half")
                file.f.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        return file

fsspec.register_implementation("killing", Killing)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "half",
    [
        pytest.param("training.pt", marks=pytest.mark.slow),
        "json",  # before the first mark is complete: the run begins again
        pytest.param(".bin", marks=pytest.mark.slow),
        pytest.param("log.txt", marks=pytest.mark.slow),
    ],
)
def test_a_run_whose_machine_is_lost_in_the_middle_of_an_upload_is_resumed_elsewhere(
    half, undisturbed, tmp_path, capsys
):
    place = tmp_path / "storage" / "run"
    command = ["train", "tic_tac_toe", *SETTINGS, "--ray", "off", "--run-dir", f"killing://{place}"]
    ended = subprocess.run(
        [sys.executable, "-c", KILLED.format(shard=SMALL_SHARD, half=half), *command],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    shutil.rmtree(tmp_path / "cache")
    work = tmp_path / "elsewhere"
    assert train("--run-dir", f"file://{place}", "--resume", "--work-dir", work) == 0
    assert f"the run works in {work}" in capsys.readouterr().out
    assert_equal(work, undisturbed)
    again = tmp_path / "again"
    again.mkdir()
    assert stored_run.fetch_newest(open_storage(f"file://{place}"), again, pytest.fail)
    assert_equal(again, undisturbed)
    # Shards with games that are lost, of the machine before, are deleted.
    assert sorted(ids(place)) == sorted(ids(undisturbed))


def test_a_run_in_memory_storage_is_stopped_and_goes_on_in_another_folder(
    undisturbed, tmp_path, monkeypatch, capsys
):
    from workers.runs.monitoring import Monitor

    url, real = f"memory://training{next(NUMBERS)}/run", Monitor.log

    def log(self, step, values):
        real(self, step, values)
        if step == 47:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "log", log)
        with pytest.raises(MemoryError):
            train("--run-dir", url, "--work-dir", tmp_path / "first")
    shutil.rmtree(tmp_path / "first")
    capsys.readouterr()
    assert train("--run-dir", url, "--resume", "--work-dir", tmp_path / "second") == 0
    printed = capsys.readouterr()
    assert "fetched step 40" in printed.out
    assert printed.err == f"warning: what is kept at {url} is gone when this process ends\n"
    assert_equal(tmp_path / "second", undisturbed)


def test_a_run_that_ended_is_continued_where_it_is_without_fetching_anything(tmp_path, capsys):
    url = f"file://{tmp_path}/storage"
    assert train("--run-dir", url, "training.steps=40") == 0
    capsys.readouterr()
    assert train("--run-dir", url, "--resume", "training.steps=60") == 0
    out = capsys.readouterr().out
    assert "the run continues in " in out
    assert "fetched" not in out
    assert steps(tmp_path / "storage") == list(range(1, 61))


class Broken(MemoryFileSystem):
    """A storage in which nothing but the first file can be written."""

    protocol = "broken"
    written = 0

    def _open(self, path, mode="rb", **options):
        if mode == "wb":
            Broken.written += 1
            if Broken.written > 1:
                raise PermissionError(13, "Access denied")
        return super()._open(path, mode, **options)


def test_a_run_whose_storage_fails_reaches_its_end_says_what_is_missing_and_fails(
    tmp_path, monkeypatch, capsys
):
    fsspec.register_implementation("broken", Broken, clobber=True)
    monkeypatch.setattr(Broken, "written", 0)
    monkeypatch.setattr(run_copy, "LAST_PAUSE", 0.01)
    monkeypatch.setattr(run_copy.RunCopy.__init__, "__defaults__", (None, None, 0.1))
    url, work = f"broken://run{next(NUMBERS)}", tmp_path / "work"
    assert train("--run-dir", url, "--work-dir", work, "training.steps=20") == 1
    printed = capsys.readouterr()
    assert "not stored: broken://run" in (work / "log.txt").read_text()
    assert printed.err.count("\n") == 1
    assert "step 20 and its games: not stored" in printed.err
    assert "Access denied" in printed.err
    assert steps(work) == list(range(1, 21))


def test_where_a_run_is_kept_is_checked_before_anything_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for words, line in (
        (["--run-dir", "nothing://x"], "nothing://x cannot be used"),
        (
            ["--run-dir", "memory://empty", "--resume"],
            "--resume: there is no run at memory://empty",
        ),
        (["--work-dir", "work"], "--work-dir needs a --run-dir that is a URL"),
        (["--run-dir", "here", "--work-dir", "work"], "--work-dir needs a --run-dir that is a URL"),
    ):
        assert train(*words) == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert line in error
    for words in (
        ["train", "tic_tac_toe", "--work-dir"],
        ["supervised", "train", "mlp", "--run-dir"],
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "memory://x"])
        assert ended.value.code == 2
        assert "this command needs a folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
