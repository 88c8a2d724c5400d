"""The script that measures a GPU, where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent / "benchmarks" / "gpu.sh"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable}
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, env=environment, timeout=1200
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_script_says_so_in_one_line():
    result = run()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "no CUDA device here: nothing was measured\n"


def test_other_arguments_are_refused():
    result = run("--on", "tpu")
    assert (result.returncode, result.stdout) == (2, "")
    assert "usage" in result.stderr


@pytest.mark.slow
def test_every_command_of_the_script_works_on_a_cpu():
    pytest.importorskip("ray", reason="the cluster extra is not installed")
    result = run("--on", "cpu")
    assert "failed" not in result.stdout, result.stdout
    assert result.returncode == 0
    rows = result.stdout.splitlines()[2:]
    values = [row.split("|")[3].strip().replace(",", "") for row in rows]
    assert len(values) == 11
    assert all(float(value) > 0 for value in values)
