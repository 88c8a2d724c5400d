"""Numba's disk cache of the kernels: an edit of any of their files compiles all of them again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
KERNELS = REPOSITORY / "alphazero" / "search" / "kernels"
FOLDER = "alphazero.search.kernels"

CALL = """
import numpy as np
from rules.caller import double
print(double(3), sum(double.stats.cache_hits.values()))
"""
CALLER = """
from rules.compiling import jit
from rules.inner import factor

@jit
def double(number):
    return factor(number) * number
"""
INNER = """
from rules.compiling import jit

@jit
def factor(number):
    return {factor}
"""


def test_an_edit_of_another_file_of_the_folder_is_noticed(tmp_path):
    package = tmp_path / "rules"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(KERNELS / "compiling.py", package)
    (package / "caller.py").write_text(CALLER)
    environment = os.environ | {
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(REPOSITORY),
    }

    def called(factor):
        (package / "inner.py").write_text(INNER.format(factor=factor))
        done = subprocess.run(
            [sys.executable, "-c", CALL],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert not done.returncode, done.stderr
        return done.stdout.split()

    assert called(2) == ["6", "0"]
    assert called(2) == ["6", "1"], "unchanged code comes from the cache"
    assert called(5) == ["15", "0"], "the caller's own file is the same as before"
    assert called(5) == ["15", "1"]


def test_kernels_call_compiled_functions_of_their_folder_only():
    code = (
        "import alphazero.search.kernels as k, sys\n"
        "for name in k.__all__: getattr(k, name)\n"
        "from numba.core.dispatcher import Dispatcher\n"
        "for name, module in sys.modules.items():\n"
        "    if name.startswith(k.__name__):\n"
        "        for f in vars(module).values():\n"
        "            if isinstance(f, Dispatcher):\n"
        "                print(f.py_func.__module__, f._cache._cache_file._source_stamp)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) > 20
    assert all(module.startswith(FOLDER) for module, _ in lines)
    assert len({stamp for _, stamp in lines}) == 1, "one digest for all files"
