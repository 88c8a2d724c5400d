"""A game in progress: moves, undo, resignation and results, without any console."""

import pytest

import games
from alphazero.judging.session import Session


def played(*moves, game="tic_tac_toe"):
    session = Session(games.make(game))
    for move in moves:
        session.move(move)
    return session


def test_the_result_has_the_sign_of_the_side_that_it_is_for():
    session = played("1", "4", "2", "5")
    assert (session.result(0), session.result(1), session.over()) == (None, None, False)
    session.move("3")
    assert (session.result(0), session.result(1), session.over()) == (1, -1, True)
    drawn = played(*"123546879")
    assert (drawn.result(0), drawn.result(1)) == (0, 0)


def test_undo_goes_back_to_the_last_decision_of_the_side():
    session = played("1", "5", "9")
    assert session.undo(1)
    assert session.to_move == 1
    assert session.legal_moves() == list("23456789")
    assert not session.undo(1)
    assert session.undo(0)
    assert len(session.history) == 1
    assert not session.undo(0)


def test_a_resignation_decides_the_game_until_it_is_taken_back():
    session = played("1")
    session.resign(0)
    assert (session.result(0), session.result(1), session.over()) == (-1, 1, True)
    assert session.undo(0)
    assert (session.result(0), session.over(), len(session.history)) == (None, False, 2)


def test_a_new_game_has_no_moves_and_no_resignation():
    session = played("1", "2")
    session.resign(1)
    session.start()
    assert (len(session.history), session.over(), session.to_move) == (1, False, 0)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x", "'x' is not a move here; moves run from 1 to 9"),
        ("1", "1 cannot be played here; possible are 2 3 4 5 6 7 8 9"),
    ],
)
def test_a_move_that_cannot_be_played_is_refused_and_changes_nothing(text, complaint):
    session = played("1")
    with pytest.raises(ValueError, match=complaint):
        session.move(text)
    assert len(session.history) == 2


def test_no_move_is_played_in_a_game_that_is_over():
    resigned = played("1")
    resigned.resign(0)
    for session in (played("1", "4", "2", "5", "3"), resigned):
        plies, result = len(session.history), session.result(0)
        for act in (lambda s: s.move("9"), lambda s: s.play(8), lambda s: s.resign(1)):
            with pytest.raises(ValueError, match="the game is over"):
                act(session)
        assert (len(session.history), session.result(0)) == (plies, result)


def test_a_pass_in_othello_is_an_ordinary_move_and_can_be_undone():
    moves = ["d3", "d4", "c4", "d2", "c1", "b4", "a4", "a3", "a2", "d1"]
    session = played(*moves, game="othello:size=4")
    assert session.legal_moves() == ["pass"]
    side, plies = session.to_move, len(session.history)
    session.move("pass")
    assert session.to_move == 1 - side
    assert session.undo(side)
    assert (session.to_move, len(session.history)) == (side, plies)
