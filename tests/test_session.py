"""A game in progress: moves, undo, seats, resignation and results, without any console."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import DoubleNim

import games
from alphazero.judging import session
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.session import Reason, Session


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
        ("x", "'x' is not a move here; possible are 2 3 4"),
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
    for over in (played("1", "4", "2", "5", "3"), resigned):
        plies, result = len(over.history), over.result(0)
        for act in (lambda s: s.move("9"), lambda s: s.play(8), lambda s: s.resign(1)):
            with pytest.raises(ValueError, match="the game is over"):
                act(over)
        assert (len(over.history), over.result(0)) == (plies, result)


def test_a_pass_in_othello_is_an_ordinary_move_and_can_be_undone():
    moves = ["d3", "d4", "c4", "d2", "c1", "b4", "a4", "a3", "a2", "d1"]
    session = played(*moves, game="othello:size=4")
    assert session.legal_moves() == ["pass"]
    side, plies = session.to_move, len(session.history)
    session.move("pass")
    assert session.to_move == 1 - side
    assert session.undo(side)
    assert (session.to_move, len(session.history)) == (side, plies)


class Short(DoubleNim):
    """Double nim that is cut after five plies: the mover wins with an even number of stones."""

    max_plies = 5

    def adjudicate(self, states):
        return np.where(states["stones"] % 2 == 0, 1, -1).astype(np.float32)


def replayed(game, line):
    """``(mover, result for side 0 or None, reason or None)`` by the rules alone."""
    states = game.initial(1)
    for action in line:
        states = game.step(states, np.array([action]))
    mover = int(game.to_move(states)[0])
    outcome, reason = game.outcome(states)[0], Reason.RULES
    if np.isnan(outcome):
        if len(line) < game.max_plies:
            return mover, None, None
        outcome, reason = game.adjudicate(states)[0], Reason.LENGTH
    return mover, int(outcome) * (1 if mover == 0 else -1), reason


def decisions(game, line, side):
    """The plies of ``line`` at which ``side`` was to move."""
    return [ply for ply in range(len(line)) if replayed(game, line[:ply])[0] == side]


STEPS = st.lists(st.tuples(st.sampled_from("mmmmmur"), st.integers(0, 10**6)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["tic_tac_toe", "othello:size=4", "double_nim", "short"]), STEPS)
def test_any_sequence_of_moves_undos_and_resignations_agrees_with_a_slow_replay(name, steps):
    game = {"double_nim": DoubleNim(), "short": Short()}.get(name) or games.make(name)
    played, line, resigned = Session(game), [], None
    for kind, number in steps:
        mover, result, reason = replayed(game, line)
        side = number % 2
        going = reason is None and resigned is None
        if kind == "m" and going:
            states = session_states(game, line)
            legal = np.flatnonzero(game.legal(states)[0])
            action = int(legal[number % len(legal)])
            played.move(game.action_to_text(action))
            line.append(action)
        elif kind == "u":
            own = decisions(game, line, side)
            assert played.undo(side) == (resigned is not None or bool(own))
            if resigned is not None:
                resigned = None
            elif own:
                line = line[: own[-1]]
        elif kind == "r" and going:
            played.resign(side)
            resigned = side
        mover, result, reason = replayed(game, line)
        if resigned is not None:
            result, reason = (-1 if resigned == 0 else 1), Reason.RESIGNATION
        assert (played.actions, played.to_move) == (line, mover)
        assert (played.reason(), played.over()) == (reason, reason is not None)
        assert played.result(0) == result
        assert played.result(1) == (None if result is None else -result)
        assert played.states.tobytes() == session_states(game, line).tobytes()
        assert len(played.history) == len(line) + 1
    loaded = session.load(json.loads(json.dumps(played.as_dict())), game)
    assert loaded.actions == line
    assert (loaded.result(0), loaded.reason()) == (played.result(0), played.reason())


def session_states(game, line):
    states = game.initial(1)
    for action in line:
        states = game.step(states, np.array([action]))
    return states


def test_a_game_of_the_most_plies_is_adjudicated_for_the_side_about_to_move():
    # Five times one of 15 stones: ten are left, an even number, and side 1 is about to move.
    cut = Session(Short())
    for _ in range(4):
        cut.move("1")
    assert cut.reason() is None
    cut.move("1")
    assert (cut.reason(), cut.result(0), cut.result(1)) == (Reason.LENGTH, -1, 1)
    with pytest.raises(ValueError, match="the game is over"):
        cut.move("1")


def test_each_player_keeps_its_name_when_the_seats_are_swapped():
    played = Session(games.make("tic_tac_toe"), ("Ann", "Bob"))
    assert (played.side("Ann"), played.side("Bob")) == (0, 1)
    played.move("5")
    played.swap_seats()
    assert (played.side("Ann"), played.side("Bob"), played.to_move) == (1, 0, 1)
    with pytest.raises(ValueError, match="'Eve' does not play here, only Bob and Ann"):
        played.side("Eve")
    with pytest.raises(ValueError, match="two sides need two names, not \\('Ann', 'Ann'\\)"):
        Session(games.make("tic_tac_toe"), ("Ann", "Ann"))


def test_a_saved_session_names_everything_in_plain_types():
    played = Session(games.make("tic_tac_toe"), ("Ann", "Bob"))
    for move in "14253":
        played.move(move)
    assert played.as_dict() == {
        "game": "tic_tac_toe",
        "seats": ["Ann", "Bob"],
        "moves": [1, 4, 2, 5, 3],
        "resigned": None,
        "clock": None,
        "result": {"first": 1, "reason": "rules"},
    }
    assert session.load(played.as_dict()).seats == ("Ann", "Bob")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"moves": [1, 1]}, "move 2 of '11', '1', cannot be played"),
        ({"moves": None}, "this is no saved session"),
        ({"game": "chess_960"}, "chess_960"),
        ({"moves": {"1": 1}}, "this is no saved session"),
        ({"game": 5}, "this is no saved session"),
        ({"resigned": 2}, "the side that resigned is 0, 1 or null, not 2"),
        ({"resigned": True}, "the side that resigned is 0, 1 or null, not True"),
        ({"moves": list("14253"), "resigned": 0}, "no side can have resigned"),
        ({"seats": ["Ann", "Ann"]}, "two names"),
        ({"seats": ["Ann"]}, "two names"),
        ({"seats": "XO"}, "two names"),
        ({"seats": 5}, "two names"),
        ({"seats": {"Ann": 1, "Bob": 2}}, "two names"),
        ({"seats": [1, 2]}, "two names"),
        ({"clock": []}, "no saved session"),
        ({"clock": {"start": [1, 1]}}, "no saved session"),
        ({"clock": {"start": [1, 10**400], "increment": 0}}, "seconds must be 0 or more"),
        ({"clock": {"start": [1], "increment": 0}}, "seconds of two sides"),
    ],
)
def test_a_session_that_was_not_saved_by_us_is_refused_in_one_line(change, complaint):
    saved = played("1").as_dict() | change
    with pytest.raises(ValueError, match=complaint) as refused:
        session.load(saved)
    assert "\n" not in str(refused.value)


def test_a_session_that_is_loaded_for_one_game_imports_no_other():
    game = games.make("tic_tac_toe")
    assert session.load(played("1").as_dict(), game).actions == [0]
    stranger = played("1").as_dict() | {"game": "a_module_that_is_absent:Game"}
    with pytest.raises(ValueError, match=r"one of a_module_that_is_absent:Game, not of tic_tac_t"):
        session.load(stranger, game)


@pytest.mark.parametrize("side", [-1, 2])
def test_only_the_two_sides_can_resign(side):
    going = played("1")
    with pytest.raises(ValueError, match=f"the sides are 0 and 1, not {side}"):
        going.resign(side)
    assert not going.over()


def test_a_player_is_called_with_the_moves_so_far_and_its_move_is_played():
    game, seen = games.make("tic_tac_toe"), []

    def decide(states, rngs, limits, lines):
        seen.append((lines, len(rngs), game.legal(states).sum()))
        return Decision(game.legal(states).argmax(axis=1))

    played, rng = Session(game), np.random.default_rng(0)
    played.move("5")
    hint = played.decide(Player("first", decide), rng)
    assert (hint.action[0], played.actions) == (0, [4])
    played.play_by(Player("first", decide), rng)
    assert played.actions == [4, 0]
    played.play_by(Player("first", decide), rng)
    assert seen == [([(4,)], 1, 8), ([(4,)], 1, 8), ([(4, 0)], 1, 7)]
    with pytest.raises(RuntimeError, match="stubborn played an illegal move in tic_tac_toe"):
        played.play_by(Player("stubborn", lambda *_: Decision(np.array([4]))), rng)
    assert len(played.actions) == 3


@pytest.mark.parametrize(
    ("moves", "line"),
    [("", []), ("44", [3, 3]), ([4, "5"], [3, 4]), (" 71 ", [6, 0]), ([], [])],
)
def test_moves_of_one_text_or_list_are_played_one_after_another(moves, line):
    game = games.make("connect_four")
    assert session.after(game, moves).actions == line
    assert (session.unfinished(game, moves).states == session_states(game, line)).all()


def test_a_game_that_is_cut_by_its_length_is_no_position_to_analyse():
    with pytest.raises(ValueError, match="the game is over after '11111'"):
        session.unfinished(Short(), "11111")
    with pytest.raises(ValueError, match="move 6 of '111111', '1', cannot be played"):
        session.after(Short(), "111111")


def test_moves_that_were_not_separated_are_told_how():
    with pytest.raises(ValueError, match=r"several moves are separated by spaces$"):
        session.after(games.make("hex:size=5"), "b2,c3")


def test_a_finished_position_is_named_with_its_result():
    game = games.make("tic_tac_toe")
    for moves, result in (("14253", "X has won"), ("142596", "O has won"), ("123546879", "a draw")):
        with pytest.raises(ValueError, match=f"^the game is over after '{moves}': {result}$"):
            session.unfinished(game, moves)
    with pytest.raises(ValueError, match="'9', cannot be played; the game is over after"):
        session.after(game, "142539")

    class Over(Short):
        max_plies = 0

    with pytest.raises(ValueError, match="the game is over in its initial position: O has won"):
        session.unfinished(Over(), "")


def test_a_parser_that_stumbles_over_a_text_is_no_fault_of_the_person_who_types_it():
    class Careless(DoubleNim):
        def text_to_action(self, text):
            return {"one": 0, "two": 1}[text]

    played = Session(Careless())
    with pytest.raises(ValueError, match="'three' is not a move here; possible are 1 2 3"):
        played.move("three")
    played.move("two")
    assert played.actions == [1]


def test_a_number_of_any_length_and_a_line_of_any_length_get_one_short_message():
    game = games.make("othello:size=6")
    for moves in ("9" * 5000, ["9" * 5000], ["pass"] * 2000):
        with pytest.raises(ValueError, match=r"^move 1 of ") as refused:
            session.after(game, moves)
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 500
