"""The bars of what takes long, drawn for a terminal and for nobody else."""

import io

import pytest
from rich.console import Console

from workers.terminal import progress


@pytest.fixture
def screen(monkeypatch):
    """What a terminal of 100 columns is sent."""
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(progress, "Console", lambda stderr: terminal)
    return screen


def test_each_name_has_a_bar_of_its_own_with_what_is_done_of_how_much(screen):
    with progress.bars() as report:
        for done in (1, 3):
            report("end[easy]", 10, done)
        report("other", 7, 7)
    last = screen.getvalue().rpartition("end[easy]")[2]
    assert "3/10" in last
    assert "other" in last
    assert "7/7" in last


def test_games_are_counted_as_an_arena_counts_them(screen):
    with progress.games() as report:
        report(2, 30)
    assert "2/30" in screen.getvalue()


def test_what_is_heard_in_pieces_is_added_up():
    heard = []
    add = progress.added(heard.append)
    for count in (256, 256, 88):
        add(count)
    assert heard == [256, 512, 600]


def test_what_is_no_terminal_sees_nothing(capsys):
    with progress.games() as report:
        report(2, 30)
    assert capsys.readouterr().err == ""
