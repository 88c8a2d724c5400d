"""The command ``play``: its options, and what people and pipes give it to read."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from workers import cli
from workers.commands import play

ROOT = Path(__file__).parents[1]
PLAY = [sys.executable, "-m", "alphazero", "play", "tic_tac_toe", "--player", "random"]


def played(typed: bytes, *options: str, **environment: str) -> str:
    """The output of ``play`` while it reads ``typed`` from a pipe; its exit status is 0."""
    result = subprocess.run(
        [*PLAY, *options],
        input=typed,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def test_bytes_that_are_no_text_do_not_end_the_game():
    shown = played(b"\xff\xfe\n5\nq\n", PYTHONIOENCODING="utf-8")
    assert "is not a move here; possible are 1 2 3" in shown
    assert "X to move > 5\nThe agent plays " in shown
    assert shown.endswith("Goodbye.\n")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    ],
)
def test_an_output_that_knows_ascii_only_is_no_error(environment):
    shown = played("é\n5\nh\nq\n".encode(), "--hints", **environment)
    assert "is not a move here" in shown
    assert shown.endswith("Goodbye.\n")


def test_the_model_card_is_shown_where_the_output_knows_ascii_only():
    command = [sys.executable, "-m", "alphazero", "play", "connect_four", "--about"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=True)
    assert result.stdout.isascii()
    assert b"connect_four" in result.stdout.lower().replace(b" ", b"_")


def in_terminal(*lines: bytes) -> str:
    """The output of ``play`` in a terminal, where each of ``lines`` is typed at a prompt."""
    screen, keyboard = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "LINES": "40", "COLUMNS": "80"}
    process = subprocess.Popen(PLAY, stdin=keyboard, stdout=keyboard, cwd=ROOT, env=environment)
    os.close(keyboard)
    shown, waiting = b"", list(lines)
    while part := _read(screen):
        shown += part
        # Typed earlier, a line would be edited by the terminal instead of the program.
        if waiting and shown.endswith(b"to move > "):
            os.write(screen, waiting.pop(0) + b"\n")
    assert process.wait() == 0
    os.close(screen)
    return shown.decode()


def _read(screen: int) -> bytes:
    try:
        return os.read(screen, 2**16)
    except OSError:  # the other side is closed
        return b""


def test_a_line_can_be_edited_and_an_earlier_one_brought_back():
    pytest.importorskip("readline")
    # "79" with the cursor moved back and 7 deleted is 9; the arrow up brings 9 back.
    shown = in_terminal(b"79\x01\x04", b"\x1b[A", b"q")
    assert "'79'" not in shown
    assert "9 cannot be played here" in shown


def test_a_terminal_has_its_board_redrawn():
    assert in_terminal(b"5", b"q").count("\x1b[2J") >= 3


def options(*words: str):
    return cli.build_parser(cli.command_modules()).parse_args(["play", "connect_four", *words])


@pytest.mark.parametrize(
    ("player", "default", "seconds", "spec"),
    [
        (None, "mcts:simulations=1000", None, "mcts:simulations=1000"),
        (None, "mcts:simulations=1000", 2.0, "mcts:seconds=2"),
        ("minimax", "mcts", 0.5, "minimax:seconds=0.5"),
        ("checkpoint:path=x", "mcts", 2.0, "checkpoint:path=x,seconds=2"),
    ],
)
def test_seconds_become_the_time_of_the_player(player, default, seconds, spec):
    assert play.opponent(player, default, seconds) == spec


def test_a_player_with_a_time_of_its_own_takes_no_other(capsys):
    words = ["play", "tic_tac_toe", "--player", "mcts:seconds=2", "--seconds", "1"]
    assert cli.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--seconds: the player has seconds=2 already; leave one of them out" in line


def test_a_clock_has_a_time_and_an_increment():
    assert options("--clock", "5m+3s").clock == (300.0, 3.0)
    assert options("--clock", "90s").clock == (90.0, 0.0)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--seconds", "0"], "'0' is not a number of seconds above 0"),
        (["--seconds", "nan"], "'nan' is not a number of seconds above 0"),
        (["--clock", "5"], "'5' is not a duration such as 90s, 60m or 2h; with an increment 5m+3s"),
        (["--clock", "5m+"], "'' is not a duration"),
        (["--moves", "48"], "move 2 of '48', '8', cannot be played; possible are 1 2 3 4 5 6 7"),
        (["--load", "nowhere.json"], "nowhere.json: there is no such file"),
        (["--load", "x", "--moves", "4"], "--load: the file says which moves were played"),
        (["--about", "--moves", "4"], "--about only shows the agent"),
        (["--player", "random", "--seconds", "1"], "there is no option 'seconds'"),
    ],
)
def test_a_bad_option_is_explained_in_one_line(words, complaint, capsys):
    try:
        status = cli.main(["play", "connect_four", *words])
    except SystemExit as error:  # argparse
        status = error.code
    assert status == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert complaint in said


@pytest.mark.parametrize(
    "words",
    [
        ["games"],
        ["solve", "tic_tac_toe", "159"],
        ["evaluate", "tic_tac_toe", "--positions", "all", "--player", "random"],
        ["arena", "random", "minimax:depth=1", "--game", "tic_tac_toe", "--games", "2"],
    ],
)
def test_tables_and_boards_are_drawn_in_ascii_where_the_output_knows_no_more(words):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "alphazero", *words]
    result = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=True)
    assert result.stdout.isascii()
    assert b"?" not in result.stdout
