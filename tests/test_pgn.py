"""PGN: python-chess reads what we write, and we read what it and strangers write."""

import io
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_terminal import session as in_terminal

import games
from alphazero.judging import pgn, players, saved_games
from alphazero.judging.session import SEATS, Reason, Session
from workers.cli import main

reader = pytest.importorskip("chess.pgn", reason="python-chess is not installed")
chess_only = pytest.mark.skipif("chess" not in games.registered(), reason="chess is not registered")
RESULTS = {1: "1-0", 0: "1/2-1/2", -1: "0-1", None: "*"}


@chess_only
@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=120), st.booleans())
def test_python_chess_reads_the_players_the_moves_and_the_result(numbers, resigns):
    game = games.make("chess")
    session = Session(game, ('Ann "the rook"', "Bob \\ co"))
    for number in numbers:
        if session.over():
            break
        legal = np.flatnonzero(game.legal(session.states)[0])
        session.play(int(legal[number % len(legal)]))
    if resigns and not session.over():
        session.resign(0)
        session.forfeit = "played e9, which is } illegal"
    text = pgn.text(game, session.as_dict())
    read = reader.read_game(io.StringIO(text))
    assert read.errors == []
    # python-chess leaves the standard's backslashes before quotes and backslashes in place.
    names = (read.headers[side] for side in ("White", "Black"))
    assert tuple(re.sub(r"\\(.)", r"\1", name) for name in names) == session.seats
    assert read.headers["Result"] == RESULTS[session.result(0)]
    moves = [game.to_uci(s[0], a) for s, a in zip(session.history, session.actions, strict=False)]
    assert [move.uci() for move in read.mainline_moves()] == moves
    assert max(map(len, text.split("\n\n")[1].splitlines())) <= pgn.WIDTH


@chess_only
def test_games_follow_one_another_in_a_file(tmp_path):
    game = games.make("chess")
    write = saved_games.writer(game, tmp_path / "games.PGN")
    text = "".join(write(Session(game).as_dict()) for _ in range(3))
    file = io.StringIO(text)
    assert [reader.read_game(file) is None for _ in range(4)] == [False] * 3 + [True]


def test_pgn_is_for_chess(tmp_path):
    with pytest.raises(ValueError, match="PGN is for chess, not othello:size=8"):
        saved_games.writer(games.make("othello"), tmp_path / "games.pgn")


def of_random_moves(numbers, seats=("Ann", "Bob")):
    """A session of legal moves chosen by ``numbers``; it may have ended."""
    session = Session(games.make("chess"), seats)
    for number in numbers:
        if session.over():
            break
        legal = np.flatnonzero(session.game.legal(session.states)[0])
        session.play(int(legal[number % len(legal)]))
    return session


@chess_only
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**6), max_size=120), st.booleans())
def test_a_game_that_was_written_is_read_back(numbers, resigns):
    session = of_random_moves(numbers, ('A "the rook" \\', "Béla [x] {y} ; z"))
    if resigns and not session.over():
        session.resign(1)
    again = pgn.load(pgn.text(session.game, session.as_dict()).encode(), session.game)
    assert again.as_dict() == session.as_dict()


@chess_only
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=80), st.booleans())
def test_what_python_chess_writes_is_read_without_its_comments_and_variations(numbers, annotated):
    session = of_random_moves(numbers, ('Ann "the rook"', "Bob \\"))
    start = reader.Game()
    start.headers["White"], start.headers["Black"] = session.seats
    node = start
    for states, action in zip(session.history, session.actions, strict=False):
        board = node.board()
        other = next(iter(board.legal_moves))
        node = node.add_main_variation(board.parse_uci(session.game.to_uci(states[0], action)))
        if annotated:
            node.comment, node.nags = "1-0 (a comment [%clk 0:01]) e4", {1, 14}
            node.parent.add_variation(other, comment="instead")
    again = pgn.load(f"{start}\n\n[Event 'the next one']".encode(), session.game)
    assert again.actions == session.actions
    assert again.seats == session.seats


@chess_only
def test_the_standards_forms_of_movetext_are_read():
    text = (
        '\ufeff% escaped e9\n[Event "x"] [White "A"] [Black "B"]\n\n1.e4 ! {two\nlines} e5$1'
        " 2 . Nf3 (2. f4 {(} exf4 (2... d5)) ; 2... d6 1-0\n2...Nc6 ?! 3.\tBb5 a6 4. 0-0 * 4... e9"
    )
    session = pgn.load(text.encode(), games.make("chess"))
    assert session.notation() == ["e4", "e5", "Nf3", "Nc6", "Bb5", "a6", "O-O"]
    assert (session.seats, session.over()) == (("A", "B"), False)


@chess_only
@pytest.mark.parametrize(
    ("tags", "end", "resigned", "reason"),
    [
        ("", "1-0", 1, Reason.RESIGNATION),
        ("", "0-1", 0, Reason.RESIGNATION),
        ('[Result "0-1"]', "", 0, Reason.RESIGNATION),
        ('[Termination "normal"]', "0-1", 0, Reason.RESIGNATION),
        ('[Termination "Time forfeit"]', "1-0", 1, Reason.FORFEIT),
        ('[Termination "rules infraction"]', "1-0", 1, Reason.FORFEIT),
        ('[Termination "time forfeit"]', "*", None, None),
        ("", "1/2-1/2", None, None),
    ],
)
def test_a_game_that_is_not_over_on_the_board_ends_by_its_result(tags, end, resigned, reason):
    session = pgn.load(f"{tags}\n\n1. e4 e5 {end}\n".encode(), games.make("chess"))
    assert (session.resigned, session.reason()) == (resigned, reason)


@chess_only
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_has_the_line_ends_of_any_system_and_spaces_before_them(end):
    text = '[White "5" tall"] \n[Black "B"]\n\n1. e4 {x} e5 ; hi\n% no\n2. Nf3 1-0\n'
    session = pgn.load(text.replace("\n", end).encode(), games.make("chess"))
    assert session.notation() == ["e4", "e5", "Nf3"]
    assert (session.seats, session.resigned) == (('5" tall', "B"), 1)


@chess_only
def test_a_game_without_moves_and_result_is_not_mixed_with_the_next_one():
    text = '[White "a"]\n[Black "b"]\n\n[White "c"]\n[Black "d"]\n\n1. e4 1-0\n'
    session = pgn.load(text.encode(), games.make("chess"))
    assert (session.seats, session.notation()) == (("a", "b"), [])


@chess_only
@pytest.mark.parametrize("ending", ["normal", "time forfeit", "rules infraction"])
def test_the_way_in_which_a_game_was_lost_is_written_as_it_was_read(ending):
    game = games.make("chess")
    session = pgn.load(f'[Termination "{ending}"]\n\n1. e4 e5 1-0\n'.encode(), game)
    assert f'[Termination "{ending}"]' in pgn.text(game, session.as_dict())


@chess_only
def test_a_mate_is_a_mate_whatever_the_result_says():
    session = pgn.load(b"1. f3 e5 2. g4 Qh4# 1-0", games.make("chess"))
    assert (session.reason(), session.result(0)) == (Reason.RULES, -1)


@chess_only
@pytest.mark.parametrize("start", ["rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"])
def test_a_fen_of_the_first_position_changes_nothing(start):
    session = pgn.load(f'[SetUp "1"]\n[FEN "{start}"]\n\n1. e4 *'.encode(), games.make("chess"))
    assert session.notation() == ["e4"]


@chess_only
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it has neither tags nor moves"),
        ("hello", "move 1. hello: 'hello' is not a legal move here"),
        ("1. e4 e5 2. Ke3", "move 2. Ke3: 'Ke3' is not a legal move here; the nearest are"),
        ("1. e4 \x1b[2J", r"move 1\.\.\. \?: '\\x1b' is not a legal move"),
        ("1. f3 e5 2. g4 Qh4# 3. e4", "move 3. e4: the game is over before it"),
        ("1. e4 --", "'--' is not a legal move here"),
        ("1. e4 {no end", "a comment has no end"),
        ("1. e4 (1. d4", "a variation has no end"),
        ("1. e4 )", "a variation ends that has not begun"),
        ('[White "Ann"', r"'\[White \"Ann\"' is no tag"),
        ("[White Ann]\n\n1. e4", r"'\[White Ann\]' is no tag"),
        ('[FEN "4k3/8/8/8/8/8/8/4K2R w K - 0 1"]\n\n1. O-O', "it has a FEN"),
        ('[Variant "Atomic"]\n\n1. e4', "its variant is 'Atomic', not chess"),
        ("(" * 500_000, "a variation has no end"),
        ("{" * 500_000, "a comment has no end"),
        ("[" * 500_000, "is no tag"),
        ('["' * 250_000, "is no tag"),
        ("[a\n" * 250_000, "is no tag"),
        ('[A "' + '\\"' * 250_000, "is no tag"),
        ('[A "' + '" ' * 250_000, "is no tag"),
        ("1" * 500_000 + "x", "move 1. 1"),
        ("." * 500_000 + "x", "move 1. x"),
        ("e" * 500_000, "is not a legal move"),
        ("1. Nf3 Nf6 2. Ng1 Ng8 " * 20_000, "move 5. Nf3: the game is over before it"),
    ],
)
def test_a_file_that_is_no_game_of_chess_is_refused_in_one_line_and_at_once(
    tmp_path, text, complaint
):
    path, chess = tmp_path / "game.pgn", games.make("chess")
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(ValueError, match=complaint) as raised:
        saved_games.read(path, chess)
    assert time.process_time() - began < 5
    assert str(raised.value).startswith(f"{path}: ")
    assert not {"\n", "\x1b"} & set(str(raised.value))
    assert len(str(raised.value)) < 500 + len(str(path))


@chess_only
@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text('[]{}();$%"\\. 1-0e4\n*', max_size=60).map(str.encode))
def test_any_bytes_are_a_game_or_one_line(content):
    problem = ""
    try:
        pgn.load(content, games.make("chess"))
    except ValueError as error:
        problem = str(error)
    assert "\n" not in problem
    assert len(problem) < 1000


@chess_only
def test_bytes_that_are_no_utf_8_are_latin_1():
    text = '[White "Müller"]\n[Black "B"]\n\n1. e4 *'
    for encoding in ("utf-8", "latin-1"):
        session = pgn.load(text.encode(encoding), games.make("chess"))
        assert session.seats == ("Müller", "B")


@chess_only
def test_names_that_are_missing_or_equal_become_the_usual_ones():
    for tags in ("", '[White "x"]', '[White "x"][Black "x"]', '[White "?"][Black "y"]'):
        assert pgn.load(f"{tags}\n1. e4 *".encode(), games.make("chess")).seats == SEATS


def test_a_file_of_pgn_is_no_game_of_othello(tmp_path):
    path = tmp_path / "game.pgn"
    path.write_text("1. e4 *")
    with pytest.raises(ValueError, match=r"game\.pgn: PGN is for chess, not othello:size=8"):
        saved_games.read(path, games.make("othello"))


@chess_only
def test_play_saves_a_game_as_pgn_and_loads_it_and_does_not_replace_what_it_has_not_read(tmp_path):
    path, chess = tmp_path / "mine.pgn", games.make("chess")
    player = players.make("random", chess)
    in_terminal(["e4", f"save {path}", "q"], player, chess)
    written = path.read_text()
    game = reader.read_game(io.StringIO(written))
    assert game.headers["White"] == "you"
    assert len(list(game.mainline_moves())) == 2
    shown = in_terminal([f"load {path}", "save", f"save {path}", "q"], player, chess)
    assert "save needs a file" in shown
    assert "exists already" in shown
    assert path.read_text() == written


@chess_only
def test_the_arena_writes_pgn_from_which_play_goes_on(tmp_path):
    path = tmp_path / "games.pgn"
    assert main(f"arena random random --game chess --games 2 --games-out {path}".split()) == 0
    session = saved_games.read(path, games.make("chess"))
    assert session.over()
    assert set(session.seats) == {"random", "random (2)"}
