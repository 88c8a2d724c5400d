"""The benchmark of the whole loop counts every CPU second once."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def whole_loop(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import whole_loop

    return whole_loop


def test_time_that_a_wrapped_call_spends_in_another_one_is_counted_there(whole_loop, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(whole_loop.time, "thread_time", lambda: now[0])
    clocks = whole_loop.Clocks()

    def spend(seconds, then=lambda: None):
        now[0] += seconds
        then()
        now[0] += seconds

    inner = clocks.timed("inner", lambda: spend(2.0))
    outer = clocks.timed("outer", lambda: spend(10.0, lambda: spend(0.5, inner)))
    outer()
    inner()
    assert clocks.seconds == {"outer": 21.0, "inner": 8.0}


def test_a_run_in_miniature_is_reported():
    settings = (
        "selfplay.games=8", "search.simulations=4", "replay.min_positions=50",
        "training.steps=30", "training.batch_size=16", "network.blocks=1", "network.channels=8",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(FOLDER / "whole_loop.py"), "tic_tac_toe", "4", *settings],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert float(lines["samples per position"]) > 1
    assert float(lines["evaluations per simulation"]) < 1
    assert int(lines["simulations per second"].replace(",", "")) > 0
    for part in ("network evaluation", "network training", "search kernels", "publishing"):
        assert part in done.stdout
