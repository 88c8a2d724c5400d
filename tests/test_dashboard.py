"""The picture of a run in the terminal."""

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
    """A clock that stands still until a test moves it."""
    now = [0.0]
    monkeypatch.setattr(dashboard.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_a_plain_line_comes_every_ten_seconds(clock):
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
        shown.update(1, {figure.metric: 1.0 for figure in dashboard.FIGURES})
    first, last = screen.file.getvalue().splitlines()
    assert first == last
    assert first.isprintable()


def test_in_a_terminal_the_panel_shows_every_figure_it_knows():
    screen = console(terminal=True)
    with Dashboard(1000, screen) as shown:
        shown.update(250, {figure.metric: 1.0 for figure in dashboard.FIGURES} | {"other": 1.0})
        shown.message("a message [with brackets]")
    text = screen.file.getvalue()
    assert all(figure.label in text for figure in dashboard.FIGURES)
    assert "step 250 of 1,000" in text
    assert "25 %" in text
    assert "a message [with brackets]" in text
    assert "other" not in text


def test_a_figure_stays_until_a_new_one_comes(clock):
    screen = console(terminal=False)
    with Dashboard(100, screen) as shown:
        shown.update(1, {"loss": 3.0, "elo": 50.0})
        shown.update(2, {"loss": 2.0})
    assert "loss 2.0000, arena Elo +50" in screen.file.getvalue().splitlines()[-1]


def test_progress_follows_whichever_of_steps_and_time_is_further_on(clock):
    shown = Dashboard(100, console(terminal=False), time_limit=60.0)
    shown.update(10, {})
    assert shown.fraction() == 0.1
    clock[0] = 30.0
    assert shown.fraction() == 0.5
    shown.update(90, {})
    assert shown.fraction() == 0.9
    clock[0] = 90.0
    assert shown.fraction() == 1.0


def test_a_resumed_run_goes_on_where_it_stood(clock):
    shown = Dashboard(100, console(terminal=False), step=60)
    assert shown.fraction() == 0.6
    shown.update(80, {})
    assert shown.fraction() == 0.8


def test_the_time_of_earlier_parts_counts(clock):
    shown = Dashboard(100, console(terminal=False), time_limit=60.0, step=10, seconds=30.0)
    assert shown.fraction() == 0.5
    clock[0] = 15.0
    assert shown.fraction() == 0.75


def test_what_is_shown_is_logged_too(caplog):
    with caplog.at_level(logging.INFO), Dashboard(10, console(terminal=False)) as shown:
        shown.message("hello")
        shown.update(1, {"loss": 1.0})
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "hello"
    assert said[1].startswith("step 1 of 10 (10%): loss 1.0000")


def test_an_error_in_the_run_leaves_the_panel_and_passes_through():
    screen = console(terminal=True)
    with pytest.raises(ZeroDivisionError), Dashboard(10, screen) as shown:
        shown.update(1 // 0, {})
    assert screen.file.getvalue().endswith("\n\x1b[?25h")  # the cursor is visible again
