"""The display of a run in the terminal."""

import io
import logging

import pytest
from rich.console import Console

from workers.terminal import dashboard
from workers.terminal.dashboard import Dashboard


def console(terminal: bool, width: int = 120) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only a test advances."""
    now = [0.0]
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_plain_line_is_printed_every_ten_seconds(clock):
    screen = console(terminal=False)
    with Dashboard(100, screen) as shown:
        for step in range(31):
            clock[0] = float(step)
            shown.update(step, {"loss": 2.0, "games": 1234.0, "games_per_second": 5.25})
    lines = screen.file.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "step 0 of 100 (0%)",
        "step 10 of 100 (10%)",
        "step 20 of 100 (20%)",
        "step 30 of 100 (30%)",
        "step 30 of 100 (30%)",
    ]
    assert lines[0].endswith("games 1,234, games/s 5.2, loss 2.0000")


def test_a_plain_line_is_never_wrapped_and_holds_no_control_characters(clock):
    screen = console(terminal=False, width=20)
    with Dashboard(100, screen) as shown:
        shown.update(1, {metric.name: 1.0 for metric in dashboard.METRICS})
    first, last = screen.file.getvalue().splitlines()
    assert first == last
    assert first.isprintable()


def test_in_a_terminal_the_panel_shows_every_listed_metric():
    screen = console(terminal=True)
    with Dashboard(1000, screen) as shown:
        shown.update(250, {metric.name: 1.0 for metric in dashboard.METRICS} | {"other": 1.0})
        shown.message("a message [with brackets]")
    text = screen.file.getvalue()
    assert all(metric.label in text for metric in dashboard.METRICS)
    assert "step 250 of 1,000" in text
    assert "25 %" in text
    assert "a message [with brackets]" in text
    assert "other" not in text


def test_a_value_is_shown_until_a_new_one_replaces_it(clock):
    screen = console(terminal=False)
    with Dashboard(100, screen) as shown:
        shown.update(1, {"loss": 3.0, "elo": 50.0})
        shown.update(2, {"loss": 2.0})
    assert "loss 2.0000, arena Elo +50" in screen.file.getvalue().splitlines()[-1]


def test_progress_is_the_larger_of_the_shares_of_steps_and_of_time(clock):
    shown = Dashboard(100, console(terminal=False), time_limit=60.0)
    shown.update(10, {})
    assert shown.fraction() == 0.1
    clock[0] = 30.0
    assert shown.fraction() == 0.5
    shown.update(90, {})
    assert shown.fraction() == 0.9
    clock[0] = 90.0
    assert shown.fraction() == 1.0


def test_a_resumed_run_continues_at_its_step(clock):
    shown = Dashboard(100, console(terminal=False), step=60)
    assert shown.fraction() == 0.6
    shown.update(80, {})
    assert shown.fraction() == 0.8


def test_the_time_of_earlier_parts_is_included(clock):
    shown = Dashboard(100, console(terminal=False), time_limit=60.0, step=10, seconds=30.0)
    assert shown.fraction() == 0.5
    clock[0] = 15.0
    assert shown.fraction() == 0.75


def test_messages_and_lines_are_logged_too(caplog):
    with caplog.at_level(logging.INFO), Dashboard(10, console(terminal=False)) as shown:
        shown.message("hello")
        shown.update(1, {"loss": 1.0})
    logged = [record.getMessage() for record in caplog.records]
    assert logged[0] == "hello"
    assert logged[1].startswith("step 1 of 10 (10%): loss 1.0000")


def test_an_exception_restores_the_terminal_and_is_raised():
    screen = console(terminal=True)
    with pytest.raises(ZeroDivisionError), Dashboard(10, screen) as shown:
        shown.update(1 // 0, {})
    assert screen.file.getvalue().endswith("\n\x1b[?25h")  # the cursor is visible again
