"""The disk cache of compiled functions: what is printed of it, where it is, who needs none."""

import logging
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from games import compiling

ROOT = Path(__file__).parents[1]
GAME = ["arena", "mcts:simulations=2", "random", "--game", "tic_tac_toe", "--games", "1"]


def test_only_the_first_run_prints_that_it_compiles_and_the_folder_of_the_cache(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    errors = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "workers.cli", *GAME],
            env=environment, capture_output=True, text=True, timeout=200, check=True,
        )  # fmt: skip
        errors.append(done.stderr)
    assert errors[0].count("compiling for this machine") == 1
    assert str(tmp_path) in errors[0]
    assert "compiling" not in errors[1]
    assert any(tmp_path.rglob("nodes.attach-*.nbi"))


COMPILE = """
from games import compiling, make
from alphazero.search import kernels
for name in kernels.__all__:
    getattr(kernels, name)
compiling.announce(print)
game = make("connect_four")
game.step(game.initial(1), [3])
"""


@pytest.mark.slow
def test_a_read_only_installation_without_a_home_compiles_into_a_temporary_folder(tmp_path):
    installed, temporary = tmp_path / "installed", tmp_path / "temporary"
    temporary.mkdir()
    for package in ("alphazero", "games"):
        unneeded = shutil.ignore_patterns("__pycache__", "*.safetensors")
        shutil.copytree(ROOT / package, installed / package, ignore=unneeded)
    for folder in {path.parent for path in installed.rglob("*.py")}:
        # No user, not even root, can write into a file as if it were a folder.
        (folder / "__pycache__").touch()
    environment = os.environ | {
        "HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/cache", "TMPDIR": str(temporary),
        "NUMBA_CACHE_DIR": "", "PYTHONPATH": str(installed),
    }  # fmt: skip
    runs = [
        subprocess.run(
            [sys.executable, "-c", COMPILE], cwd=installed, env=environment,
            capture_output=True, text=True, check=True, timeout=100,
        )
        for _ in range(2)
    ]  # fmt: skip
    (folder,) = temporary.glob("alphazero-numba-*")
    assert [run.stderr.count(f"compiled code is kept in {folder}") for run in runs] == [1, 1]
    assert [run.stdout.count("compiling for this machine") for run in runs] == [1, 0]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_without_any_folder_for_temporary_files_functions_are_compiled_and_not_kept(monkeypatch):
    def no_cache(*_, cache, **options):
        assert not cache or len(calls) < 1
        calls.append(cache)
        if cache:
            raise RuntimeError("cannot cache function")
        return lambda function: function

    def nowhere():
        raise FileNotFoundError("No usable temporary directory found")

    calls = []
    monkeypatch.setattr("numba.njit", no_cache)
    monkeypatch.setattr(compiling, "temporary_folder", nowhere)
    assert compiling.jit(len) is len
    assert calls == [True, False]


def test_a_temporary_folder_in_which_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = compiling.temporary_folder()
    assert own.parent == tmp_path
    assert compiling.temporary_folder() == own, "the same in the next process"
    own.chmod(0o777)
    other = compiling.temporary_folder()
    assert other != own
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    own.rmdir()
    own.symlink_to(tmp_path)
    assert compiling.temporary_folder() not in (own, tmp_path)


COMMANDS = """
import sys
from workers import cli
for words in {words!r}:
    try:
        cli.main(words)
    except SystemExit:
        pass
    names = [name.partition(".")[0] for name in sys.modules]
    assert "numba" not in names, words
    assert not any(name.startswith("alphazero.search.kernels.") for name in sys.modules), words
"""


def test_commands_that_compute_no_game_do_not_import_kernels():
    commands = [
        ["--version"],
        ["--help"],
        ["games"],
        ["play", "--help"],
        ["bench", "--help"],
        ["trian"],
        ["supervised", "predict", "nowhere", "--text", "good"],
    ]
    code = COMMANDS.format(words=commands)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)


def test_the_training_of_an_image_classifier_does_not_import_numba():
    code = (
        "import sys, workers.supervised.train, workers.supervised.evaluate, alphazero.checkpoint\n"
        "import workers.serve.predictions, alphazero.supervised.tasks, workers.supervised.trials\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'numba'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_kernel_has_a_name_of_its_own_and_an_unknown_one_is_an_attribute_error():
    from alphazero.search import kernels

    assert all(callable(getattr(kernels, name)) for name in kernels.__all__ if name.islower())
    assert not set(kernels.__all__) & set(kernels._MODULES)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = kernels.nothing


def test_the_notice_goes_where_the_command_line_sends_it(monkeypatch):
    import numba

    notices = []
    monkeypatch.setattr(compiling, "_report", logging.getLogger("games.compiling").warning)
    monkeypatch.setattr(compiling, "_due", False)
    compiling.announce(notices.append)
    double = numba.njit(lambda number: 2 * number)
    assert (double(2), double(2.5)) == (4, 5.0)
    (notice,) = notices
    assert notice.startswith("compiling for this machine")
