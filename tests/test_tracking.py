"""The record of a run's metrics, and its mirror."""

import json
import math
import struct
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest

from alphazero.config import TrackingSettings
from workers.runs.tracking import HOW_TO_TURN_ON, Tracker

OFF = TrackingSettings(wandb="off")


@pytest.fixture(autouse=True)
def logged_out(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def wandb():
    """The real library; its service process ends with the test."""
    import wandb

    wandb.teardown()
    yield wandb
    wandb.teardown()


def lines(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def steps(run_dir: Path) -> list[int]:
    return [line["step"] for line in lines(run_dir)]


def test_every_step_is_one_line_written_immediately(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        for step in (20, 40):
            tracker.log(step, {"loss": 1 / step, "games": np.float32(step), "workers": 2})
            assert steps(tmp_path)[-1] == step
    assert lines(tmp_path)[0] | {"time": 0} == {
        "step": 20, "time": 0, "loss": 0.05, "games": 20.0, "workers": 2
    }  # fmt: skip
    assert abs(lines(tmp_path)[0]["time"] - time.time()) < 600


def test_a_value_that_is_not_finite_is_written_as_null(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        tracker.log(1, {"a": math.nan, "b": -math.inf, "c": float(np.float64(2))})
    (line,) = lines(tmp_path)
    assert (line["a"], line["b"], line["c"]) == (None, None, 2.0)


def test_a_second_call_for_a_step_adds_to_its_line(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        tracker.log(1, {"loss": 0.123456789})
        tracker.log(2, {"loss": 0.123456789})
        tracker.log(2, {"elo": 5, "loss": 3})
        tracker.log(3, {"loss": 1})
    assert steps(tmp_path) == [1, 2, 3]
    assert lines(tmp_path)[1] | {"time": 0} == {"step": 2, "time": 0, "loss": 3, "elo": 5}


def test_a_resumed_run_removes_later_lines_and_a_line_cut_short(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        for step in (20, 40, 60, 80):
            tracker.log(step, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 100, "lo')
    with Tracker(tmp_path, OFF, {}, resume=True, step=50) as tracker:
        assert steps(tmp_path) == [20, 40]
        tracker.log(60, {"loss": -60})
    assert [line["loss"] for line in lines(tmp_path)] == [20, 40, -60]


def test_a_resumed_run_adds_to_the_line_of_the_step_it_resumes_from(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        tracker.log(20, {"loss": 1})
    with Tracker(tmp_path, OFF, {}, resume=True, step=20) as tracker:
        tracker.log(20, {"elo": 2})
    (line,) = lines(tmp_path)
    assert (line["loss"], line["elo"]) == (1, 2)


def test_steps_increase_in_any_order_of_calls(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        for step in (20, 40, 60, 40, 41):
            tracker.log(step, {"loss": 1})
    assert steps(tmp_path) == [20, 40, 41]


def test_a_new_run_starts_an_empty_file(tmp_path):
    for loss in (1, 2):
        with Tracker(tmp_path, OFF, {}) as tracker:
            tracker.log(20, {"loss": loss})
    assert [line["loss"] for line in lines(tmp_path)] == [2]


def test_a_text_is_written_with_its_step(tmp_path):
    with Tracker(tmp_path, OFF, {}) as tracker:
        tracker.text(20, "example_game", "1 2 3")
    assert (tmp_path / "examples.txt").read_text() == "step 20, example_game\n1 2 3\n\n"


def test_a_mirror_that_is_off_is_not_imported(tmp_path):
    code = (
        "import sys; from alphazero.config import TrackingSettings as S; "
        "from workers.runs.tracking import Tracker; "
        f"Tracker({str(tmp_path)!r}, S(wandb='off'), {{}}).close();"
        "print('wandb' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_without_a_key_auto_is_off_and_the_status_explains_how_to_turn_it_on(tmp_path, wandb):
    with Tracker(tmp_path, TrackingSettings(), {}) as tracker:
        tracker.log(1, {"loss": 1})
    assert tracker.status == HOW_TO_TURN_ON
    assert not (tmp_path / "wandb").exists()


def test_without_a_key_online_is_off_without_a_prompt(tmp_path, wandb, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a prompt"))
    with Tracker(tmp_path, TrackingSettings(wandb="online"), {}) as tracker:
        assert tracker.status == HOW_TO_TURN_ON


@pytest.mark.parametrize(("mode", "started"), [("offline", True), ("disabled", False)])
def test_auto_follows_the_environment_variable(tmp_path, wandb, monkeypatch, mode, started):
    monkeypatch.setenv("WANDB_MODE", mode)
    with Tracker(tmp_path, TrackingSettings(), {}) as tracker:
        tracker.log(1, {"loss": 1})
    assert bool(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == started
    assert tracker.status.startswith("Weights & Biases: off" + "line, in " * started)


def test_an_offline_run_holds_every_step_for_a_later_sync(tmp_path, wandb):
    settings = TrackingSettings(wandb="offline", project="test")
    with Tracker(tmp_path, settings, {"seed": 7}) as tracker:
        for step in range(20, 220, 20):
            tracker.log(step, {"loss": 1 / step})
        tracker.text(200, "example_game", "1 < 2")
    with Tracker(tmp_path, settings, {"seed": 7}, resume=True, step=200) as tracker:
        tracker.log(220, {"loss": 0.5, "broken": math.nan})
    # finish() returns before wandb's own process has flushed the file; teardown() waits for it.
    wandb.teardown()
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    first, second = (next(folder.glob("*.wandb")) for folder in folders)
    (_, history), (resumed, more) = contents(first), contents(second)
    assert [row["_step"] for row in history] == steps(tmp_path)[:-1]
    assert [row["loss"] for row in history] == [line["loss"] for line in lines(tmp_path)[:-1]]
    assert [(row["_step"], row["loss"]) for row in more] == [(220, 0.5)]
    assert "1 &lt; 2" in next(first.parent.rglob("*.html")).read_text()
    identity = (tmp_path / "wandb_id").read_text()
    assert {run.run_id for run in (contents(first)[0], resumed)} == {identity}
    assert resumed.project == "test"
    assert any(item.key == "seed" and item.value_json == "7" for item in resumed.config.update)


class Broken(types.ModuleType):
    """A wandb in which every call fails after the first ``working_calls``."""

    def __init__(self, working_calls: int):
        super().__init__("wandb")
        self.left, self.Settings, self.Html, self.url = working_calls, dict, str, "http://here"
        self.setup = self.login = self.init = self.log = self.define_metric = self.finish = (
            self.call
        )

    def call(self, *_, **__):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("it broke\nin two lines")
        return self


@pytest.mark.parametrize("working_calls", range(9))
def test_a_mirror_that_fails_logs_one_warning_and_loses_no_line(
    tmp_path, monkeypatch, caplog, working_calls
):
    monkeypatch.setitem(sys.modules, "wandb", Broken(working_calls))
    with Tracker(tmp_path, TrackingSettings(wandb="online"), {}) as tracker:
        for step in (1, 2):
            tracker.log(step, {"loss": 1})
            tracker.text(step, "example_game", "1")
    assert steps(tmp_path) == [1, 2]
    expected = "Weights & Biases is off for the rest of the run: it broke"
    assert [record.getMessage() for record in caplog.records] == [expected]


def contents(path: Path):
    """The run and the history rows of a .wandb file, which is a LevelDB log of protocol buffers."""
    from wandb.proto import wandb_internal_pb2

    run, rows = None, []
    for data in log_records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.HasField("run"):
            run = record.run
        if record.HasField("history"):
            items = record.history.item
            rows.append({i.key or i.nested_key[0]: json.loads(i.value_json) for i in items})
            rows[-1].setdefault("_step", record.history.step.num)
    return run, rows


def log_records(data: bytes):
    """LevelDB's log format (its doc/log_format.md) behind a 7-byte header of wandb's."""
    assert data[:4] == b":W&B"
    position, parts = 7, []
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts.append(data[position + 7 : position + 7 + length])
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield b"".join(parts)
            parts = []
