"""Files of solved positions: complete, resumed after Ctrl-C, refused in one line."""

import gzip

import numpy as np
import pytest

import games
from alphazero.judging import mistakes
from games import solvers
from games.solvers import files, suite
from workers import cli

GAME = games.make("connect_four")
MOVES = ["4444441562626237", "1122335566775566", "44444415626262371"]


def quiet(name, total, done):
    pass


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "moves.txt"
    path.write_text("\n".join(MOVES) + "\n")
    return path


def test_the_command_solves_a_file_into_one_that_evaluate_reads(source, tmp_path, capsys):
    out = tmp_path / "solved.csv.gz"
    assert cli.main(["solve", "connect_four", "--positions", str(source), "--out", str(out)]) == 0
    positions = mistakes.load_positions(out, GAME)
    assert positions.states.tolist() == solvers.positions(GAME, MOVES).tolist()
    assert positions.best.tolist() == solvers.scores(GAME, positions.states)[0].tolist()
    assert {path.name for path in tmp_path.iterdir()} == {"moves.txt", "solved.csv.gz"}


def test_a_position_file_is_solved_too_whatever_its_other_columns_hold(source, tmp_path):
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("moves,best\n" + "".join(f"{moves},99\n" for moves in MOVES))
    files.label(GAME, source, tmp_path / "a.csv", quiet)
    files.label(GAME, wrong, tmp_path / "b.csv", quiet)
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()


def test_after_an_interruption_the_same_call_solves_the_remaining_positions(
    source, tmp_path, monkeypatch
):
    def interrupted(name, total, done):
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "solved.csv"
    with pytest.raises(KeyboardInterrupt):
        files.label(GAME, source, out, interrupted)
    assert not out.exists()
    with open(tmp_path / "solved.csv.part", "a") as part:
        part.write("444")  # torn
    solved, real = [], solvers.label
    monkeypatch.setattr(
        solvers, "label", lambda game, moves: solved.extend(moves) or real(game, moves)
    )
    reports = []
    files.label(GAME, source, out, lambda *report: reports.append(report))
    assert solved == MOVES[2:]
    assert reports == [("solved.csv", 3, 3)]
    files.label(GAME, source, tmp_path / "whole.csv", quiet)
    assert out.read_text() == (tmp_path / "whole.csv").read_text()


def test_a_file_begun_with_other_positions_is_not_continued(source, tmp_path):
    (tmp_path / "solved.csv.part").write_text("moves,best\n44,1\n")
    with pytest.raises(ValueError, match=r"solved\.csv\.part holds other positions"):
        files.label(GAME, source, tmp_path / "solved.csv", quiet)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("44\n\n48\n", ":3: move 2 of '48', '8', cannot be played"),
        ("moves\n44\n1122334\n", ":3: the game is over"),
        ("moves\n", "holds no positions"),
        (None, "no such file"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_the_place(text, complaint, tmp_path):
    path = tmp_path / "moves.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=r"moves\.txt") as refused:
        files.label(GAME, path, tmp_path / "out.csv", quiet)
    assert complaint in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == (["moves.txt"] if text else [])


@pytest.mark.parametrize("there", ["moves.txt", "solved.csv"])
def test_an_existing_file_is_never_overwritten(there, source, tmp_path, capsys):
    (tmp_path / "solved.csv").write_text("kept\n")
    before = (tmp_path / there).read_text()
    words = ["solve", "connect_four", "--positions", str(source), "--out", str(tmp_path / there)]
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert f"{there} exists already" in capsys.readouterr().err
    assert (tmp_path / there).read_text() == before


def test_an_interrupted_suite_is_completed_to_the_same_files(tmp_path, monkeypatch):
    monkeypatch.setattr(suite, "SETS", (suite.SETS[5], suite.SETS[3]))
    monkeypatch.setattr(suite, "_GAMES", 32)
    monkeypatch.setattr(files, "TABLE_BITS", 16)

    def interrupted(name, total, done):
        if (name, done) == ("middle_easy.csv.gz", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.make_suite(GAME, tmp_path / "broken", 7, interrupted, size=5)
    files.make_suite(GAME, tmp_path / "broken", 7, quiet, size=5)
    files.make_suite(GAME, tmp_path / "whole", 7, quiet, size=5)
    for name in ("end_easy.csv.gz", "middle_easy.csv.gz"):
        packed = (tmp_path / "whole" / name).read_bytes()
        assert len(gzip.decompress(packed).splitlines()) == 6
        assert (tmp_path / "broken" / name).read_bytes() == packed
    assert len(list((tmp_path / "broken").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "words", "actions"),
    [
        # Actions of Othello 4x4 in rows from the top left: a1, b1, ..., d4, and then passing.
        ("othello:size=4", ["b1", "a1"], [1, 0]),
        ("othello:size=4", ["B1 1"], [1, 0]),
        ("connect_four", ["44 5 3"], [3, 3, 4, 2]),
        ("connect_four", ["44", "53"], [3, 3, 4, 2]),
        ("connect_four", [], []),
    ],
)
def test_the_command_reads_moves_in_notation_as_numbers_and_with_spaces(
    name, words, actions, monkeypatch, capsys
):
    game = games.make(name)
    given = []

    def solved(game, states):
        given.append(states)
        return np.zeros(1, np.int64), np.where(game.legal(states), 0, np.nan)

    monkeypatch.setattr(solvers, "scores", solved)
    assert cli.main(["solve", name, *words]) == 0
    expected = game.initial(1)
    for action in actions:
        expected = game.step(expected, np.array([action]))
    assert [states.tolist() for states in given] == [expected.tolist()]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["tic_tac_toe", "55"], "move 2 of '55', '5', cannot be played; possible are 1 2 3 4 6"),
        (["othello:size=4", "b1 zz"], "'zz', cannot be played; possible are a1 c1 a3"),
        (["tic_tac_toe", "1 4 2 5 3"], "the game is over after '14253': X has won"),
    ],
)
def test_the_command_lists_the_possible_moves_where_one_cannot_be_played(words, complaint, capsys):
    assert cli.main(["solve", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line
