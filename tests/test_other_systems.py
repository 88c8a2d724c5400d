"""Systems without the modules of Unix: imports, locks and folders there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alphazero import durable, file_locks

ROOT = Path(__file__).parents[1]

IMPORT_ALL = """
import builtins, importlib, pkgutil, sys, types
OURS = ("alphazero", "games", "workers")
MISSING = ("fcntl", "grp", "pty", "pwd", "readline", "resource", "termios", "tty")
imported = builtins.__import__

def without(name, scope=None, *more):
    importer = (scope or {}).get("__name__", "").partition(".")[0]
    if name in MISSING and importer in OURS:  # packages of others need them on this system
        raise ImportError(f"{name} is missing on Windows")
    return imported(name, scope, *more)

builtins.__import__ = without
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=None)
for package in map(importlib.import_module, OURS):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an optional package that is not installed
            assert error.name.partition(".")[0] not in (*OURS, *MISSING), error
"""


def test_every_module_can_be_imported_where_the_modules_of_unix_are_missing():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr


def test_a_lock_is_held_by_one_handle_until_it_is_closed(tmp_path):
    path = tmp_path / ".lock"
    handle = file_locks.take(path)
    assert file_locks.take(path) is None
    os.close(handle)
    again = file_locks.take(path)
    assert again is not None
    os.close(again)


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path):
    path = tmp_path / ".lock"
    code = (
        "import sys, pathlib; from alphazero import file_locks\n"
        "file_locks.take(pathlib.Path(sys.argv[1])); print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    assert file_locks.take(path) is None
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    handle = file_locks.take(path)
    assert handle is not None
    os.close(handle)


def test_on_windows_the_first_byte_is_locked(tmp_path):
    code = """
import os, sys, types
held = set()
def locking(handle, mode, count):
    assert (mode, count) == (2, 1)
    place = os.fstat(handle).st_ino
    if place in held:
        raise PermissionError(13, "Permission denied")
    held.add(place)
sys.modules["fcntl"] = None
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
from pathlib import Path
from alphazero import file_locks
print(file_locks.take(Path(sys.argv[1])) is None, file_locks.take(Path(sys.argv[1])) is None)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / ".lock")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", "True"]


def test_a_lock_in_a_missing_folder_is_an_error_and_not_a_lock_of_another(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_locks.take(tmp_path / "nowhere" / ".lock")


def test_a_folder_is_synchronized_where_that_is_possible(tmp_path, monkeypatch):
    synchronized = []
    monkeypatch.setattr(os, "fsync", lambda handle: synchronized.append(os.fstat(handle).st_ino))
    durable.sync_folder(tmp_path)
    assert synchronized == [tmp_path.stat().st_ino]
    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.setattr(os, "open", None)  # Windows refuses to open a folder
    durable.sync_folder(tmp_path)
    assert len(synchronized) == 1
