"""SGF: the library sgfmill reads what we write, and we read what it and strangers write."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_rows import made_up_rows, random_record, uniform_policy
from test_terminal import session as in_terminal

import games
from alphazero.judging import players, saved_games, sgf
from alphazero.judging.session import SEATS, Reason, Session
from alphazero.types import Ending, GameRecord
from workers.cli import main
from workers.commands import arena
from workers.runs import game_files

sgfmill = pytest.importorskip("sgfmill.sgf", reason="sgfmill is not installed")

SPECS = [
    "othello:size=4",
    "othello:size=6",
    "go:size=5",
    "go:size=13",
    "hex:size=5",
    "gomoku:size=9",
]
KNOWN = [spec for spec in SPECS if spec.partition(":")[0] in games.registered()]
MADE = {spec: games.make(spec) for spec in KNOWN}


def played(game, numbers, seats=("Ann", "Bob")):
    """A session of moves chosen by ``numbers`` among the legal ones; it may have ended."""
    session = Session(game, seats)
    for number in numbers:
        if session.over():
            break
        legal = np.flatnonzero(game.legal(session.states)[0])
        session.play(int(legal[number % len(legal)]))
    return session


def read_by_sgfmill(text):
    return sgfmill.Sgf_game.from_string(text)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KNOWN), st.lists(st.integers(0, 10**6), max_size=60), st.booleans())
def test_a_game_that_was_written_is_read_back(spec, numbers, resigns):
    game = MADE[spec]
    session = played(game, numbers, ("A \\ [x] : y", "Béla"))
    if resigns and not session.over():
        session.resign(1)
    text = sgf.text(game, session.as_dict())
    again = sgf.load(text.encode(), game)
    assert again.as_dict() == session.as_dict()


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KNOWN), st.lists(st.integers(0, 10**6), max_size=60))
def test_sgfmill_finds_the_players_the_moves_and_the_result(spec, numbers):
    game = MADE[spec]
    session = played(game, numbers, ("Ann ] and", "Bob"))
    tree = read_by_sgfmill(sgf.text(game, session.as_dict()))
    assert (tree.get_player_name("b"), tree.get_player_name("w")) == ("Ann ] and", "Bob")
    nodes = tree.get_main_sequence()[1:]
    assert len(nodes) == len(session.actions)
    winner = {1: "b", -1: "w"}.get(session.result(0))
    assert tree.get_winner() == winner
    for node, state, action in zip(nodes, session.history, session.actions, strict=False):
        color, raw = node.get_raw_move()
        assert color == "bw"[int(game.to_move(state)[0])]
        text = game.move_to_text(state[0], action)
        if spec.startswith("hex"):
            assert raw.decode() == ("swap-pieces" if text == "swap" else text)
        elif text == "pass":
            assert node.get_move()[1] is None
        else:  # sgfmill counts rows from the bottom, as Go does
            row, column = node.get_move()[1]
            letters = "ABCDEFGHJKLMN" if spec.startswith("go:") else "abcdefghij"
            size = game.observation_shape[1]
            number = size - row if spec.startswith("othello") else row + 1
            assert text == f"{letters[column]}{number}"


def test_a_game_of_othello_is_the_text_that_the_format_prescribes():
    game = games.make("othello:size=4")
    session = played(game, [0, 0])
    moves = [game.action_to_text(action) for action in session.actions]
    assert moves == ["b1", "a1"]
    session.resign(0)
    assert sgf.text(game, session.as_dict()) == (
        "(;FF[4]GM[2]CA[UTF-8]AP[alphazero]SZ[4]PB[Ann]PW[Bob]RE[W+R]C[othello:size=4]\n"
        ";B[ba];W[aa])\n"
    )


def test_a_forfeit_is_a_result_with_its_reason():
    game = games.make("othello:size=4")
    session = played(game, [0])
    session.resign(1)
    session.forfeit = "gave no answer within 1 s"
    text = sgf.text(game, session.as_dict())
    assert "RE[B+F]" in text
    assert "Bob gave no answer within 1 s" in text


OTHELLO = "(;GM[2]SZ[4]{};B[ba])"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        ("B+R", Reason.RESIGNATION),
        ("B+Resign", Reason.RESIGNATION),
        ("B+T", Reason.FORFEIT),
        ("B+Time", Reason.FORFEIT),
        ("B+F", Reason.FORFEIT),
        ("B+Forfeit", Reason.FORFEIT),
    ],
)
def test_a_game_that_was_lost_without_a_move_is_over_when_it_is_read(result, reason):
    session = sgf.load(OTHELLO.format(f"RE[{result}]").encode(), games.make("othello:size=4"))
    assert session.resigned == 1
    assert session.reason() == reason
    assert f"RE[{result[:3]}]" in sgf.text(session.game, session.as_dict())


@pytest.mark.skipif("go" not in games.registered(), reason="needs the game go")
@pytest.mark.parametrize(
    ("moves", "komi", "result"),
    [
        ("C3 pass pass", 7, "B+18"),
        ("C3 pass pass", 24.5, "B+0.5"),
        ("pass pass", 7, "W+7"),
        ("pass pass", 0, "0"),
    ],
)
def test_the_result_of_a_finished_game_of_go_has_the_points(moves, komi, result):
    game = games.make(f"go:size=5,komi={komi}")
    session = Session(game)
    for move in moves.split():
        session.move(move)
    text = sgf.text(game, session.as_dict())
    assert f"RE[{result}]" in text
    assert sgf.load(text.encode(), game).reason() is Reason.RULES


def test_the_points_are_the_difference_of_the_discs_and_a_row_of_stones_has_none():
    game = games.make("othello:size=4")
    session = played(game, np.random.default_rng(3).integers(0, 99, 30).tolist())
    board = game.render(session.states[0])
    black, white = board.count("X"), board.count("O")
    assert session.over()
    assert black != white
    result = f"RE[{'BW'[black < white]}+{abs(black - white)}]"
    assert result in sgf.text(game, session.as_dict())
    row = games.make("gomoku:size=9")
    session = Session(row)
    for move in ("a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2", "e1"):
        session.move(move)
    assert "RE[B+]" in sgf.text(row, session.as_dict())


def test_a_board_that_is_not_square_is_refused_with_the_words_of_sgf(tmp_path):
    complaint = (
        "files of SGF are written and read for square boards only, and gomoku:size=5x6.* has"
    )
    with pytest.raises(ValueError, match=complaint):
        saved_games.writer(games.make("gomoku:size=5x6"), tmp_path / "games.sgf")


def test_a_result_by_score_does_not_end_a_game_in_progress():
    session = sgf.load(OTHELLO.format("RE[B+3]").encode(), games.make("othello:size=4"))
    assert not session.over()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "cannot be used"),
        ("hello", "cannot be used"),
        ("(;GM[2]SZ[4]", "cannot be used"),
        ("(;" * 100_000, "cannot be used"),
        (OTHELLO.format("CA[nonsense]"), "unknown encoding"),
        ("(;GM[1]SZ[9];B[aa])", r"its game is GM\[1\], not GM\[2\]"),
        ("(;SZ[4];B[aa])", r"its game is GM\[1\]"),
        ("(;GM[2];B[aa])", "has the size 8, not that of othello:size=4"),
        ("(;GM[2]SZ[4:6];B[ba])", "bad SZ property"),
        (OTHELLO.format("AB[aa]"), "sets stones on the board"),
        ("(;GM[2]SZ[4];B[ba];AW[aa])", "sets stones on the board"),
        ("(;GM[2]SZ[4];B[ba];B[aa])", "B a1 is out of turn"),
        ("(;GM[2]SZ[4];B[aa])", "a1 cannot be played here"),
        ("(;GM[2]SZ[4];B[zz])", "'zz' is outside of a board of 4 x 4"),
        ("(;GM[2]SZ[4];B[b1])", "'b1' is no point of SGF"),
        ("(;GM[2]SZ[4];B[\x1b\\[2J])", "is no point of SGF"),
        ("(;GM[2]SZ[4];B[])", "pass cannot be played here"),
    ],
)
def test_a_file_that_is_no_game_of_these_rules_is_refused_in_one_line(tmp_path, text, complaint):
    path = tmp_path / "game.sgf"
    path.write_text(text)
    with pytest.raises(ValueError, match=complaint) as raised:
        saved_games.read(path, games.make("othello:size=4"))
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text("(;)[]BWaSZGM24\\", max_size=60).map(str.encode))
def test_any_bytes_are_a_game_or_one_line(content):
    game = MADE["othello:size=4"]
    problem = ""
    try:
        sgf.load(content, game)
    except ValueError as error:
        problem = str(error)
    assert "\n" not in problem
    assert len(problem) < 1000


def test_a_file_of_gomoku_must_state_its_size():
    with pytest.raises(ValueError, match="it has no SZ"):
        sgf.load(b"(;GM[4];B[aa])", games.make("gomoku:size=9"))


def test_save_does_not_replace_a_loaded_file_of_which_only_the_main_line_was_read(tmp_path):
    path = tmp_path / "game.sgf"
    path.write_text("(;GM[2]SZ[4]C[a comment];B[ba])")
    game = games.make("othello:size=4")
    shown = in_terminal(
        [f"load {path}", "save", f"save {path}", "q"], players.make("random", game), game
    )
    assert "save needs a file" in shown
    assert "exists already" in shown
    assert path.read_text() == "(;GM[2]SZ[4]C[a comment];B[ba])"


def test_a_file_that_has_appeared_since_the_command_began_is_not_replaced(tmp_path):
    path = tmp_path / "games.sgf"
    path.write_text("kept")
    with pytest.raises(FileExistsError), arena._writer(games.make("othello:size=4"), path):
        pass
    assert path.read_text() == "kept"


def test_stones_of_a_handicap_and_passes_that_are_left_out_are_read_in_go():
    game = games.make("go:size=5,komi=0.5")
    text = b"(;SZ[5]KM[0.5]HA[2]PL[W]AB[bb][dd];W[cc];B[bd];B[])"
    session = sgf.load(text, game)
    assert session.notation() == ["D2", "pass", "B4", "C3", "B2", "pass", "pass"]
    assert sgf.read(text, game).session(game, 4).notation() == ["D2", "pass", "B4", "C3"]
    with pytest.raises(ValueError, match=r"its komi is 0\.5, not that of go:size=5,komi=7"):
        sgf.load(text, games.make("go:size=5"))


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "game.sgf"
    path.write_text("(;GM[2]SZ[4]C[" + "x" * saved_games.LARGEST_BYTES + "])")
    with pytest.raises(ValueError, match="at most 1,048,576 bytes"):
        saved_games.read(path, games.make("othello:size=4"))


def test_forced_passes_that_another_program_left_out_are_played():
    game = games.make("othello:size=4")
    for seed in range(100):
        session = played(game, np.random.default_rng(seed).integers(0, 99, 30).tolist())
        if game.num_actions - 1 in session.actions:
            break
    text = sgf.text(game, session.as_dict())
    assert re.search(r"[BW]\[\]", text)
    assert sgf.load(re.sub(r";[BW]\[\]", "", text).encode(), game).actions == session.actions


def test_names_that_are_missing_or_equal_become_the_usual_ones():
    game = games.make("othello:size=4")
    for names in ("", "PB[x]", "PB[x]PW[x]"):
        assert sgf.load(OTHELLO.format(names).encode(), game).seats == SEATS
    assert sgf.load(OTHELLO.format("PB[x]PW[y]").encode(), game).seats == ("x", "y")


def test_games_that_sgf_does_not_have_are_refused_before_anything_is_played(tmp_path):
    path = tmp_path / "games.sgf"
    with pytest.raises(ValueError, match="SGF is for go, othello, gomoku, hex, not connect_four"):
        saved_games.writer(games.make("connect_four"), path)


def test_the_arena_writes_a_collection_that_sgfmill_reads(tmp_path, capsys):
    path = tmp_path / "games.sgf"
    command = f"arena random random --game othello:size=4 --games 4 --games-out {path}"
    assert main(command.split()) == 0
    trees = path.read_text().split("(;FF")[1:]
    assert len(trees) == 4
    for tree in trees:
        assert len(read_by_sgfmill(f"(;FF{tree}").get_main_sequence()) > 5
    again = saved_games.read(path, games.make("othello:size=4"))
    assert again.reason() is Reason.RULES
    assert again.seats == ("random", "random (2)")
    assert "4 games" in capsys.readouterr().out


def test_the_games_of_a_run_are_written_with_their_results(tmp_path, capsys):
    train = "train tic_tac_toe game=othello:size=4 training.steps=1 training.batch_size=16"
    small = "network.blocks=1 network.channels=4 evaluation.games=0 search.simulations=4"
    run, to = tmp_path / "run", tmp_path / "games.sgf"
    assert main([*train.split(), *small.split(), "--run-dir", str(run)]) == 0
    assert main(["records", str(run), "--to", str(to), "--last", "3"]) == 0
    assert "3 games of othello:size=4" in capsys.readouterr().out
    trees = to.read_text().split("(;FF")[1:]
    assert len(trees) == 3
    game = games.make("othello:size=4")
    for tree in trees:
        session = sgf.load(f"(;FF{tree}".encode(), game)
        assert session.actions
        stated = read_by_sgfmill(f"(;FF{tree}").get_winner()
        if session.over():
            assert stated == {1: "b", -1: "w", 0: None}[session.result(0)]
    assert main(["records", str(tmp_path), "--to", str(tmp_path / "x.sgf")]) == 2
    assert "is no run directory" in capsys.readouterr().err


@pytest.mark.parametrize("spec", ["othello:size=4", "tic_tac_toe", "connect_four"])
def test_a_recorded_game_has_the_result_of_its_moves(spec):
    game = games.make(spec)
    for number in range(20):
        record = random_record(game, number, opening=number % 3)
        shown = game_files.as_dict(game, record)
        session = Session(game)
        for action in record.actions:
            session.play(int(action))
        assert shown["moves"] == session.as_dict()["moves"]
        assert shown["result"] == {"first": session.result(0), "reason": "rules"}
        assert shown["opening_plies"] == number % 3


@pytest.mark.parametrize("outcome", [1, -1])
@pytest.mark.parametrize("plies", [3, 4])
def test_a_recorded_resignation_is_that_of_the_side_that_loses(outcome, plies):
    game, session = games.make("tic_tac_toe"), Session(games.make("tic_tac_toe"))
    for action in (4, 1, 3, 7)[: plies - 1]:
        session.play(action)
    policy = uniform_policy(game, session.states)
    rows = made_up_rows(game, session.states, policy, outcome=outcome)
    actions = np.array([4, 1, 3, 7][:plies], np.int32)
    shown = game_files.as_dict(game, GameRecord(1, 5, actions, rows, Ending.RESIGNED))
    mover = session.to_move
    session.resign(mover if outcome < 0 else 1 - mover)
    expected = session.as_dict()
    assert [shown[key] for key in ("moves", "resigned")] == [
        expected[key] for key in ("moves", "resigned")
    ]
    assert shown["result"] == {"first": session.result(0), "reason": "resignation"}


def test_the_terminal_goes_on_with_a_game_in_sgf(tmp_path, capsys, monkeypatch):
    path = tmp_path / "game.sgf"
    path.write_text("(;GM[2]SZ[4];B[ba])")
    monkeypatch.setattr("builtins.input", lambda prompt="": "q")
    assert main(["play", "othello:size=4", "--player", "random", "--load", str(path)]) == 0
    assert "othello:size=4 against random" in capsys.readouterr().out
