"""The record of a run's metrics, and its mirror."""

import functools
import json
import math
import os
import struct
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import psutil
import pytest
from made_up_wandb_server import recording_server

from alphazero import file_locks, metrics_file
from alphazero.config import TrackingSettings
from alphazero.metrics_file import MetricsFile
from workers import cli
from workers.runs import mirror, tracking
from workers.runs.pictures import Pictures
from workers.runs.tracking import Tracker
from workers.runs.upload import HOW_TO_TURN_ON, Follower

OFF = TrackingSettings(wandb="off")


KEY = "a" * 40


@pytest.fixture(autouse=True)
def logged_out(tmp_path, monkeypatch):
    """No key, no settings of wandb's commands, and no server but the one of a test."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb-config"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def server(monkeypatch):
    """A server of this machine, for which a key is stored."""
    with recording_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield server


@pytest.fixture
def closed_at_the_end():
    with ExitStack() as stack:
        yield lambda file: stack.enter_context(closing(file))


def lines(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def steps(run_dir: Path) -> list[int]:
    return [line["step"] for line in lines(run_dir)]


def test_every_step_is_one_line_written_immediately(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        for step in (20, 40):
            tracker.log(step, {"loss": 1 / step, "games": np.float32(step), "workers": 2})
            assert steps(tmp_path)[-1] == step
    assert lines(tmp_path)[0] | {"time": 0} == {
        "step": 20, "time": 0, "loss": 0.05, "games": 20.0, "workers": 2
    }  # fmt: skip
    assert abs(lines(tmp_path)[0]["time"] - time.time()) < 600


def test_a_value_that_is_not_finite_is_written_as_null(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        tracker.log(1, {"a": math.nan, "b": -math.inf, "c": float(np.float64(2))})
    (line,) = lines(tmp_path)
    assert (line["a"], line["b"], line["c"]) == (None, None, 2.0)


def test_a_second_call_for_a_step_adds_to_its_line(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        tracker.log(1, {"loss": 0.123456789})
        tracker.log(2, {"loss": 0.123456789})
        tracker.log(2, {"elo": 5, "loss": 3})
        tracker.log(3, {"loss": 1})
    assert steps(tmp_path) == [1, 2, 3]
    assert lines(tmp_path)[1] | {"time": 0} == {"step": 2, "time": 0, "loss": 3, "elo": 5}


def test_a_resumed_run_removes_later_lines_and_a_line_cut_short(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        for step in (20, 40, 60, 80):
            tracker.log(step, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 100, "lo')
    with Tracker(tmp_path, OFF, resume=True, step=50) as tracker:
        assert steps(tmp_path) == [20, 40]
        tracker.log(60, {"loss": -60})
    assert [line["loss"] for line in lines(tmp_path)] == [20, 40, -60]


def test_a_resumed_run_adds_to_the_line_of_the_step_it_resumes_from(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        tracker.log(20, {"loss": 1})
    with Tracker(tmp_path, OFF, resume=True, step=20) as tracker:
        tracker.log(20, {"elo": 2})
    (line,) = lines(tmp_path)
    assert (line["loss"], line["elo"]) == (1, 2)


def test_steps_increase_in_any_order_of_calls(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        for step in (20, 40, 60, 40, 41):
            tracker.log(step, {"loss": 1})
    assert steps(tmp_path) == [20, 40, 41]


def test_a_new_run_starts_an_empty_file(tmp_path):
    for loss in (1, 2):
        with Tracker(tmp_path, OFF) as tracker:
            tracker.log(20, {"loss": loss})
    assert [line["loss"] for line in lines(tmp_path)] == [2]


def test_an_example_game_is_written_with_its_step(tmp_path):
    with Tracker(tmp_path, OFF) as tracker:
        tracker.example(20, "1 2 3", Pictures("<b>a board</b>", [[1, "first"]]))
    assert (tmp_path / "examples.txt").read_text() == "step 20, example_game\n1 2 3\n\n"
    (line,) = metrics_file.read(tmp_path / "examples.jsonl")
    assert (line["step"], line["page"]) == (20, "<b>a board</b>")
    assert line["positions"] == [[1, "first"]]


def test_this_process_never_imports_wandb(tmp_path, server):
    code = (
        "import sys; from alphazero.config import TrackingSettings as S; "
        "from workers.runs.tracking import Tracker; "
        f"Tracker({str(tmp_path)!r}, S(), lambda line: None).close();"
        "print('wandb' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


@pytest.mark.parametrize(
    ("setting", "environ", "mode", "line"),
    [
        ("off", {}, "off", "Weights & Biases: off"),
        ("auto", {}, "auto", None),
        ("auto", {"WANDB_MODE": "OFFLINE"}, "offline", None),
        ("auto", {"WANDB_MODE": "dryrun"}, "offline", None),
        ("auto", {"WANDB_MODE": "Online"}, "online", None),
        ("auto", {"WANDB_MODE": "disabled"}, "off", "Weights & Biases: off (WANDB_MODE=disabled)"),
        ("auto", {"WANDB_DISABLED": "true"}, "off", "Weights & Biases: off (WANDB_DISABLED=true)"),
        ("auto", {"WANDB_DISABLED": "false"}, "auto", None),
        (
            "auto",
            {"WANDB_MODE": "sometimes"},
            "off",
            "Weights & Biases: off, for WANDB_MODE=sometimes is not one of online, offline or "
            "disabled",
        ),
        (
            "online",
            {"WANDB_MODE": "offline"},
            "online",
            "Weights & Biases: tracking.wandb=online is followed, not WANDB_MODE=offline",
        ),
        ("offline", {"WANDB_MODE": "offline"}, "offline", None),
    ],
)
def test_the_setting_and_the_environment_decide_and_are_named(setting, environ, mode, line):
    assert mirror.choose(setting, environ) == (mode, line)


def test_a_value_that_is_added_to_the_last_line_is_followed_alone(tmp_path, closed_at_the_end):
    path = tmp_path / "metrics.jsonl"
    file, follower = closed_at_the_end(MetricsFile(path, False, None)), Follower(path, 20)
    assert list(follower.new()) == []
    for step in (20, 40):
        file.write(step, {"loss": step})
    (line,) = follower.new()
    assert (line["step"], line["loss"]) == (40, 40)
    file.write(40, {"elo": 5})
    (line,) = follower.new()
    assert line == {"step": 40, "time": line["time"], "elo": 5}
    with path.open("a") as half:
        half.write('{"step": 60, "lo')
    assert list(follower.new()) == []


def test_a_file_that_was_written_anew_is_followed_behind_the_last_line(tmp_path, closed_at_the_end):
    path = tmp_path / "metrics.jsonl"
    file, follower = closed_at_the_end(MetricsFile(path, False, None)), Follower(path, 0)
    for step in (20, 40, 60):
        file.write(step, {"loss": step})
    assert [line["step"] for line in follower.new()] == [20, 40, 60]
    file.write(40, {"loss": -40})  # the run went back to step 40
    for step in (60, 80):
        file.write(step, {"loss": -step})
    assert [line["step"] for line in follower.new()] == [60, 80]


def test_every_step_arrives_once_with_the_runs_own_step_as_axis(tmp_path, server):
    """A resumed run repeats steps that the server has; the server's own steps still increase."""
    (tmp_path / "config.yaml").write_text("seed: 7\n")
    reports = []
    with Tracker(tmp_path, TrackingSettings(), reports.append) as tracker:
        for step in (20, 40, 60):
            tracker.log(step, {"loss": 1 / step, "broken": math.nan})
    with Tracker(tmp_path, TrackingSettings(), reports.append, resume=True, step=40) as tracker:
        for step in (60, 80):
            tracker.log(step, {"loss": 1 / step})
    assert server.steps() == [20, 40, 60, 80]
    assert [row["loss"] for row in server.history] == [1 / step for step in (20, 40, 60, 80)]
    assert [row["_step"] for row in server.history] == [0, 1, 2, 3]
    assert server.config["seed"]["value"] == 7
    identity = (tmp_path / "wandb_id").read_text()
    assert reports == [f"Weights & Biases: {server.url}/me/project/runs/{identity}"] * 2
    times = [line["time"] for line in metrics_file.read(tmp_path / "metrics.jsonl")]
    assert [row["_timestamp"] for row in server.history[-1:]] == pytest.approx(times[-1:])


def test_a_run_that_is_killed_has_sent_all_that_it_had_written(tmp_path, server):
    code = (
        "import os, signal; from alphazero.config import TrackingSettings as S; "
        "from workers.runs.tracking import Tracker; "
        f"tracker = Tracker({str(tmp_path)!r}, S());"
        "[tracker.log(step, {'loss': 1.0}) for step in range(1, 61)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    wait_until(lambda: len(server.history) == 60)
    assert server.steps() == list(range(1, 61))


def test_what_is_missing_without_a_network_is_named_and_sent_afterwards(
    tmp_path, server, monkeypatch, capfd
):
    monkeypatch.setattr(tracking, "Mirror", functools.partial(mirror.Mirror, seconds=2.0))
    reports = []
    with Tracker(tmp_path, TrackingSettings(), reports.append) as tracker:
        tracker.log(20, {"loss": 1.0})
        wait_until(lambda: server.steps() == [20])
        server.unreachable = True
        for step in (40, 60):
            tracker.log(step, {"loss": 1.0})
    assert server.steps() == [20]
    assert reports[1:] == [
        "Weights & Biases: of the 3 lines since it began some may not have arrived: the server did "
        f"not confirm all within 2 s; `alphazero track {tmp_path}` sends what is missing"
    ]
    server.unreachable = False
    assert tracking.track(tmp_path) == 0
    assert server.steps() == [20, 40, 60]
    assert tracking.track(tmp_path) == 0
    assert server.steps() == [20, 40, 60]
    assert not capfd.readouterr().err


def test_an_end_of_wandbs_own_process_is_one_line(tmp_path, server, capfd):
    reports = []
    with Tracker(tmp_path, TrackingSettings(), reports.append) as tracker:
        tracker.log(20, {"loss": 1.0})
        wait_until(lambda: server.steps() == [20])
        (core,) = [
            process
            for process in psutil.Process().children(recursive=True)
            if "wandb-core" in process.name()
        ]
        core.kill()
        tracker.log(40, {"loss": 1.0})
    assert len(reports) == 2
    assert reports[1].startswith("Weights & Biases: of the ")
    assert reports[1].endswith(f"`alphazero track {tmp_path}` sends what is missing")
    assert capfd.readouterr() == ("", "")
    assert tracking.track(tmp_path) == 0
    assert server.steps() == [20, 40]


def test_without_a_key_nothing_is_sent_and_the_line_says_how_to_turn_it_on(tmp_path, capfd):
    for setting in ("auto", "online"):
        reports = []
        with Tracker(tmp_path, TrackingSettings(wandb=setting), reports.append) as tracker:
            tracker.log(1, {"loss": 1})
        assert reports == [HOW_TO_TURN_ON]
    assert not (tmp_path / "wandb").exists()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("command", "expected"), [("offline", "offline ("), ("disabled", "off (")])
def test_what_wandbs_own_command_stored_is_followed_and_named(
    tmp_path, server, monkeypatch, command, expected
):
    monkeypatch.chdir(tmp_path)  # the command stores it in this folder
    subprocess.run([sys.executable, "-m", "wandb", command], check=True, capture_output=True)
    reports = []
    with Tracker(tmp_path, TrackingSettings(), reports.append) as tracker:
        tracker.log(1, {"loss": 1})
    assert reports[0] == (
        f"Weights & Biases: {expected}`wandb {command}` was called here; `wandb online` undoes it)"
    )
    assert not server.history


def test_a_key_that_is_none_is_named_with_the_reason(tmp_path, server, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    reports = []
    with Tracker(tmp_path, TrackingSettings(), reports.append):
        pass
    (line,) = reports
    assert line.startswith("Weights & Biases: nothing was sent: ")
    assert "API key" in line
    assert "validation error" not in line


def test_two_processes_never_send_the_same_run_at_a_time(tmp_path, server, capfd):
    """One of them may be left of a run that was killed, and resumed while it still sends."""
    path = tmp_path / mirror.LOG
    sending = file_locks.take(path)
    with Tracker(tmp_path, TrackingSettings()) as tracker:
        tracker.log(20, {"loss": 1.0})
    assert tracking.track(tmp_path) == 1
    line = (
        "Weights & Biases: nothing was sent: another process still sends the files of this run; "
        f"`alphazero track {tmp_path}` sends what is missing"
    )
    assert capfd.readouterr().out.splitlines() == [line, line]
    with Tracker(tmp_path, TrackingSettings(), resume=True, step=20) as tracker:
        os.close(sending)
        wait_until(lambda: server.steps() == [20])
        tracker.log(40, {"loss": 1.0})
    assert server.steps() == [20, 40]


def test_a_mirror_that_cannot_start_is_one_line_and_the_run_goes_on(tmp_path):
    (tmp_path / mirror.LOG).mkdir()
    reports = []
    with Tracker(tmp_path, TrackingSettings(), reports.append) as tracker:
        tracker.log(20, {"loss": 1.0})
        assert not tracker.is_mirrored
    assert steps(tmp_path) == [20]
    assert reports == [
        "Weights & Biases: nothing is sent, its process did not start: Is a directory; "
        f"`alphazero track {tmp_path}` sends what is missing"
    ]


def test_the_name_of_a_folder_may_have_any_letters(tmp_path, server, monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    reports = []
    with Tracker(tmp_path / "größe", TrackingSettings(), reports.append):
        pass
    (line,) = reports
    assert "API key" in line
    assert line.endswith("/größe'` sends what is missing")


@pytest.mark.parametrize("text", ["[1, 2]", "tracking: [1]", "tracking: {project: 3}", "a"])
def test_settings_of_any_form_are_no_traceback(tmp_path, text, capfd):
    (tmp_path / "metrics.jsonl").write_text("")
    (tmp_path / "config.yaml").write_text(text)
    if text.startswith("tracking"):
        assert tracking.track(tmp_path) == 1
        assert capfd.readouterr().out == f"{HOW_TO_TURN_ON}\n"
    else:
        with pytest.raises(ValueError, match=r"config\.yaml has no settings"):
            tracking.track(tmp_path)


def test_an_offline_run_holds_every_step_for_a_later_sync(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 7\n")
    settings = TrackingSettings(wandb="offline", project="test")
    with Tracker(tmp_path, settings) as tracker:
        for step in range(20, 220, 20):
            tracker.log(step, {"loss": 1 / step})
    with Tracker(tmp_path, settings, resume=True, step=200) as tracker:
        tracker.log(220, {"loss": 0.5, "broken": math.nan})
    folders = sorted(tmp_path.glob("wandb/offline-run-*"))
    first, second = (next(folder.glob("*.wandb")) for folder in folders)
    (_, history), (resumed, more) = contents(first), contents(second)
    assert [row["training_step"] for row in history] == steps(tmp_path)[:-1]
    assert [row["loss"] for row in history] == [line["loss"] for line in lines(tmp_path)[:-1]]
    assert [(row["training_step"], row["loss"]) for row in more] == [(220, 0.5)]
    identity = (tmp_path / "wandb_id").read_text()
    assert {run.run_id for run in (contents(first)[0], resumed)} == {identity}
    assert resumed.project == "test"
    assert any(item.key == "seed" and item.value_json == "7" for item in resumed.config.update)


def test_pictures_positions_and_the_agent_arrive(tmp_path, server):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "MODEL_CARD.md").write_text("# An agent")
    page = Pictures("<svg>1 &lt; 2</svg>", [[1, "first", 0.5, 1.0, "5", "5 90%"]])
    with Tracker(tmp_path, TrackingSettings()) as tracker:
        tracker.example(20, "5", page)
    assert server.steps() == [20]
    (html,) = [data for name, data in server.files.items() if name.endswith(".html")]
    (table,) = [data for name, data in server.files.items() if name.startswith("media/table")]
    assert html == b"<svg>1 &lt; 2</svg>"
    assert json.loads(table)["data"] == page.positions
    assert server.files["MODEL_CARD.md"] == b"# An agent"


def test_the_home_folder_is_found_in_the_path_of_a_run(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    options = cli.build_parser(cli.command_modules()).parse_args(["track", "~/run"])
    assert options.run_dir == Path("/somewhere/run")


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"is no run's directory: there is no metrics\.jsonl"):
        tracking.track(tmp_path)


def wait_until(condition) -> None:
    """Wait for another process; the suite's timeout ends a test that waits for ever."""
    while not condition():
        time.sleep(0.05)


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
