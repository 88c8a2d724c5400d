"""The display of a run in the terminal."""

import io
import logging
import re

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from workers.terminal import dashboard, node_rows
from workers.terminal.dashboard import Dashboard
from workers.terminal.output import counted
from workers.terminal.redrawing import Redrawn


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


def panel(width, **options):
    """The lines of a panel of 12 metrics in a terminal of this width, after 10 of 100 steps."""
    shown = Dashboard(100, console(terminal=True, width=width), **options)
    shown.update(10, {metric.name: 0.5 for metric in dashboard.METRICS[:12]})
    with shown._console.capture() as captured:
        shown._console.print(shown)
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "columns"), [(120, 3), (119, 2), (70, 2), (60, 2), (40, 1)])
def test_metrics_stand_in_as_many_columns_as_fit_and_none_is_cut(clock, width, columns):
    lines = panel(width)
    assert len(lines) == 1 + 12 / columns
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    for metric in dashboard.METRICS[:12]:
        assert re.search(rf"{metric.label} +{re.escape(format(0.5, metric.form))}", text), metric


@pytest.mark.parametrize(("width", "widest"), [(119, 60), (100, 60), (60, 56), (30, 26)])
def test_a_narrower_terminal_and_an_echoed_ctrl_c_fold_no_line_of_the_panel(clock, width, widest):
    """At 100 columns nothing is folded at 60, and ``^C`` twice fits behind the last line."""
    assert max(map(len, panel(width))) == widest


def test_in_a_terminal_what_the_panel_shows_is_not_printed_as_a_line_before_it(clock):
    screen = console(terminal=True)
    shown = Dashboard(100, screen)
    shown.filling(0, 2000, 0.0)
    assert screen.file.getvalue() == ""
    with shown:
        pass
    assert "filling the replay: 0 of 2,000 positions" in screen.file.getvalue()


def test_before_the_first_step_the_panel_says_what_it_waits_for(clock):
    shown = Dashboard(100, console(terminal=True, width=60), time_limit=60.0)
    shown.filling(1398, 2000, 25.2)
    clock[0] = 30.0
    with shown._console.capture() as captured:
        shown._console.print(shown)
    bar, line = captured.get().splitlines()[:2]
    assert line == "filling the replay: 1,398 of 2,000 positions, 25 games/s"
    assert bar.startswith("step 0 of 100 ")
    assert bar.endswith("50 % in 0:00:30, 0:00:30 left")
    shown.update(1, {"loss": 2.0})
    with shown._console.capture() as captured:
        shown._console.print(shown)
    assert "filling" not in captured.get()


def test_without_a_terminal_filling_is_a_plain_line_every_ten_seconds(clock):
    screen = console(terminal=False, width=60)
    with Dashboard(100, screen) as shown:
        for second in range(15):
            clock[0] = float(second)
            shown.filling(100 * second, 2000, 2.5)
    assert screen.file.getvalue().splitlines() == [
        "step 0 of 100 (0%): filling the replay: 0 of 2,000 positions, 2.5 games/s",
        "step 0 of 100 (0%): filling the replay: 1,000 of 2,000 positions, 2.5 games/s",
    ]


def test_where_no_machine_plays_every_line_says_so(clock):
    screen = console(terminal=False, width=80)
    with Dashboard(100, screen, time_limit=60.0) as shown:
        clock[0] = 30.0
        shown.filling(0, 2000, 0.0, idle=True)
    assert screen.file.getvalue().splitlines() == [
        "step 0 of 100 (50% of the time): no machine plays yet; "
        "filling the replay: 0 of 2,000 positions"
    ]


def test_the_time_left_is_that_of_the_pace_or_of_the_limit(clock):
    """A resumed run: 20 of its 100 steps and 100 s are over; 10 more steps take 50 s."""
    shown = Dashboard(100, console(terminal=True), step=20, seconds=100.0)
    assert shown.seconds_left() is None
    clock[0] = 50.0
    shown.update(30, {})
    assert shown.seconds_left() == 70 * 5.0
    limited = Dashboard(100, console(terminal=True), time_limit=240.0, step=20, seconds=100.0)
    assert limited.seconds_left() == 140.0
    clock[0] = 100.0
    limited.update(30, {})
    assert limited.seconds_left() == 90.0
    clock[0] = 500.0
    assert limited.seconds_left() == 0.0


class Terminal(io.StringIO):
    """A terminal that folds its lines when it becomes narrower, as those of today do."""

    def __init__(self, width):
        super().__init__()
        self.width, self.rows, self.row = width, [""], 0

    def write(self, text):
        for part in re.findall(r"\x1b\[[?\d]*[a-zA-Z]|\r|\n|[^\x1b\r\n]+", text):
            if part == "\n":
                self.row += 1
                self.rows += [""] * (self.row + 1 - len(self.rows))
            elif part == "\x1b[1A":
                self.row -= 1
            elif part == "\x1b[2K":
                self.rows[self.row] = ""
            elif part[0] not in "\x1b\r":
                assert not self.rows[self.row], "written over something else"
                self.rows[self.row] = part
        return len(text)

    def resize(self, width):
        folded = [[row[at : at + width] for at in range(0, len(row), width)] or [""]
                  for row in self.rows]  # fmt: skip
        self.row = sum(map(len, folded[: self.row + 1])) - 1
        self.width, self.rows = width, [part for parts in folded for part in parts]


def test_a_panel_that_is_drawn_again_in_a_narrower_terminal_leaves_nothing_behind():
    terminal = Terminal(100)
    screen = Console(file=terminal, force_terminal=True, width=100, height=50, color_system=None)
    words = {width: f"{width} wide".ljust(width, ".") for width in (100, 60, 47, 90)}
    with Live(Redrawn(Text("")), console=screen, auto_refresh=False) as live:
        drawn = live.get_renderable()
        screen.print("above")
        for width in words:
            terminal.resize(width)
            screen.width = width
            for count in (1, 3):
                drawn.renderable = Text("\n".join([words[width], "short", *["x" * width] * count]))
                live.refresh()
                expected = ["above", words[width], "short", *["x" * width] * count]
                assert [row for row in terminal.rows if row] == expected


def test_a_noun_stands_in_the_singular_after_one_only():
    assert [counted(n, "thread") for n in (0, 1, 2000)] == [
        "0 threads",
        "1 thread",
        "2,000 threads",
    ]
    assert [counted(n, "loss", "es") for n in (1, 2)] == ["1 loss", "2 losses"]


def figures(*names, **values):
    known = {figure.name: 0.0 for figure in node_rows.FIGURES} | values
    return {f"node/{name}/{figure}": value for name in names for figure, value in known.items()}


def test_the_panel_has_a_row_per_machine_where_there_are_several(clock):
    screen = console(terminal=True)
    with Dashboard(100, screen) as shown:
        more = {"evaluations_per_second": 1234.0, "busy": 0.93, "waiting_requests": 3.0}
        shown.update(1, figures("gpu1", **more) | figures("gpu2"))
        shown.update(2, {"loss": 2.0})  # figures of machines are not in every line
    last = screen.file.getvalue().rpartition("step 2 of")[2]
    lines = [line.split() for line in last.splitlines()]
    start = next(number for number, line in enumerate(lines) if line[:1] == ["machine"])
    first, second = lines[start + 1 : start + 3]
    assert first == ["gpu1", "1,234", "0.0", "93%", "0%", "3", "0"]
    assert second[0] == "gpu2"


def test_the_figures_of_a_single_machine_are_those_of_the_run_and_have_no_row():
    assert node_rows.rows(figures("gpu1") | {"loss": 1.0}) == []
    assert node_rows.rows({}) == []


def test_at_most_eight_rows_of_machines_are_shown_and_the_others_counted():
    names = [f"host{number:02d}" for number in range(10)]
    rows = node_rows.rows(figures(*names))
    assert [row[0] for row in rows] == ["machine", *names[:7], "3 more"]
    rows = node_rows.rows(figures(*names[:8]))
    assert [row[0] for row in rows] == ["machine", *names[:8]]


def test_machines_have_no_rows_where_the_terminal_is_too_narrow_or_absent(clock):
    for screen in (console(terminal=True, width=60), console(terminal=False)):
        with Dashboard(100, screen) as shown:
            shown.update(1, figures("gpu1", "gpu2") | {"loss": 2.0})
        assert "loss" in screen.file.getvalue()
        assert "gpu1" not in screen.file.getvalue()
