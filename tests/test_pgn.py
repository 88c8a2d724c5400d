"""PGN: python-chess reads what we write, and every move of it is legal."""

import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from alphazero.judging import pgn, saved_games
from alphazero.judging.session import Session

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
