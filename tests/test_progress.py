"""Progress bars of long work, drawn only on a terminal."""

import io

import pytest
from rich.console import Console

from workers.terminal import progress


@pytest.fixture
def screen(monkeypatch):
    """The text that is written to a terminal of 100 columns."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda stderr: terminal)
    return screen


def test_each_name_has_its_own_bar_with_the_finished_and_total_number(screen):
    with progress.bars() as report:
        for done in (1, 3):
            report("end[easy]", 10, done)
        report("other", 7, 7)
    last = screen.getvalue().rpartition("end[easy]")[2]
    assert "3/10" in last
    assert "other" in last
    assert "7/7" in last


def test_the_bar_of_games_shows_finished_and_total_games(screen):
    with progress.games() as report:
        report(2, 30)
    assert "2/30" in screen.getvalue()


def test_increments_are_added_up():
    totals = []
    add = progress.running_total(totals.append)
    for count in (256, 256, 88):
        add(count)
    assert totals == [256, 512, 600]


def test_nothing_is_drawn_without_a_terminal(capsys):
    with progress.games() as report:
        report(2, 30)
    assert capsys.readouterr().err == ""
