"""The clock of a game, with a time source whose values are set by hand."""

import json
from functools import partial
from itertools import chain, count, repeat

import pytest

import games
from alphazero.judging import session
from alphazero.judging.clock import Clock
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.session import Reason, Session
from alphazero.types import Limits


class Time:
    """A time source that moves only by ``pass_by``."""

    def __init__(self):
        self.value = 1000.0

    def __call__(self):
        return self.value

    def pass_by(self, seconds):
        self.value += seconds


def timed(*seconds, increment=0.0, game="tic_tac_toe"):
    now = Time()
    return Session(games.make(game), clock=Clock(seconds, increment, now)), now


def test_only_the_time_of_the_side_about_to_move_runs():
    game, now = timed(60.0, 60.0)
    now.pass_by(5)
    assert game.clock.remaining() == (55, 60)
    game.move("1")
    now.pass_by(7)
    assert game.clock.remaining() == (55, 53)
    game.move("2")
    now.pass_by(1)
    assert game.clock.remaining() == (54, 53)


def test_the_increment_is_given_after_the_move_to_the_side_that_made_it():
    game, now = timed(10.0, 20.0, increment=3.0)
    now.pass_by(4)
    assert game.clock.remaining() == (6, 20)
    game.move("5")
    assert game.clock.remaining() == (9, 20)
    now.pass_by(20 - 1e-6)
    game.move("1")
    assert game.clock.remaining() == (9, pytest.approx(3, abs=1e-3))


def test_a_side_whose_time_is_over_has_lost_and_cannot_move():
    game, now = timed(10.0, 5.0, increment=2.0)
    game.move("5")
    now.pass_by(4.9)
    assert game.reason() is None
    now.pass_by(0.1)
    assert (game.reason(), game.result(0), game.result(1)) == (Reason.TIME, 1, -1)
    with pytest.raises(ValueError, match="the game is over"):
        game.move("1")
    now.pass_by(100)
    assert game.clock.remaining() == (12, 0)
    assert len(game.actions) == 1


def test_the_clock_stops_when_the_game_is_over():
    for moves, end in (("14253", Reason.RULES), ("1", Reason.RESIGNATION)):
        game, now = timed(10.0, 10.0)
        for move in moves:
            game.move(move)
        if end is Reason.RESIGNATION:
            game.resign(0)
        now.pass_by(100)
        assert (game.reason(), game.clock.remaining()) == (end, (10, 10))
        assert game.result(0) == (1 if end is Reason.RULES else -1)


def test_undo_gives_both_sides_the_time_that_they_had():
    game, now = timed(60.0, 60.0, increment=1.0)
    for seconds, move in ((2, "1"), (3, "2"), (4, "3")):
        now.pass_by(seconds)
        game.move(move)
    assert game.clock.remaining() == (60 - 2 + 1 - 4 + 1, 60 - 3 + 1)
    now.pass_by(100)
    assert game.reason() is Reason.TIME
    assert game.undo(0)
    assert (game.reason(), game.clock.remaining()) == (None, (59, 58))
    now.pass_by(10)
    assert game.clock.remaining() == (49, 58)
    assert game.undo(0)
    assert game.clock.remaining() == (60, 60)


def test_a_resignation_that_is_taken_back_lets_the_time_run_on_where_it_stopped():
    game, now = timed(60.0, 60.0)
    game.move("1")
    now.pass_by(10)
    game.resign(1)
    now.pass_by(500)
    assert game.undo(1)
    now.pass_by(5)
    assert game.clock.remaining() == (60, 45)


def test_a_new_game_begins_with_the_clock_as_it_was_at_first():
    game, now = timed(60.0, 30.0)
    now.pass_by(10)
    game.move("1")
    game.start()
    now.pass_by(1)
    assert game.clock.remaining() == (59, 30)


def test_a_players_share_of_the_time_is_equal_for_the_moves_to_come():
    clock = Clock((100.0, 10.0), increment=2.0, now=Time())
    assert clock.share(0, 30) == pytest.approx(100 / 20 + 2)
    assert clock.share(0, 10) == pytest.approx(100 / 10 + 2)
    # The last move may not take all of the time.
    assert clock.share(0, 1) == pytest.approx(90)
    assert Clock((1.0, 1.0), increment=5.0, now=Time()).share(1, 30) == pytest.approx(0.9)


def test_a_player_gets_its_share_of_the_clock_unless_its_own_time_is_shorter():
    game, _ = timed(100.0, 40.0, game="connect_four")
    seen = []

    def decide(states, rngs, limits, lines):
        seen.append((limits, lines))
        return Decision(game.game.legal(states).argmax(axis=1))

    game.play_by(Player("any", decide, limits=Limits(600)), None)
    game.play_by(Player("quick", decide, limits=Limits(seconds=0.5)), None)
    game.play_by(Player("any", decide), None, Limits(50, 100.0))
    assert seen == [
        (Limits(600, 100 / 20), [()]),
        (Limits(None, 0.5), [(0,)]),
        (Limits(50, 100 / 20), [(0, 0)]),
    ]


def test_the_time_may_end_at_any_moment_of_a_players_move():
    game, seconds = games.make("tic_tac_toe"), []

    def decide(states, rngs, limits, lines):
        seconds.append(limits.seconds)
        return Decision(game.legal(states).argmax(axis=1))

    for moment in range(2, 25):
        ticks = chain(repeat(0.0, moment), count(9.0, 9.0))
        late = Session(game, clock=Clock((1.0, 1.0), now=partial(next, ticks)))
        while not late.over():
            called = len(seconds)
            try:
                late.play_by(Player("any", decide), None)
            except ValueError:
                assert len(seconds) == called
        assert late.reason() is Reason.TIME
    assert min(seconds) == session.LEAST_SECONDS


def test_a_move_that_comes_too_late_is_not_played():
    game, now = timed(10.0, 10.0)

    def slow(states, *_):
        now.pass_by(11)
        return Decision(game.game.legal(states).argmax(axis=1))

    game.play_by(Player("slow", slow), None)
    assert (game.actions, game.reason(), game.result(0)) == ([], Reason.TIME, -1)


def test_a_saved_session_goes_on_with_the_time_that_was_left():
    game, now = timed(60.0, 60.0, increment=1.0)
    now.pass_by(10)
    game.move("5")
    now.pass_by(20)
    saved = json.loads(json.dumps(game.as_dict()))
    later = Time()
    later.pass_by(1e6)
    loaded = session.load(saved, now=later)
    later.pass_by(5)
    assert loaded.clock.remaining() == (51, 35)
    loaded.move("1")
    assert loaded.clock.remaining() == (51, 36)
    loaded.start()
    assert loaded.clock.remaining() == (60, 60)


def test_a_game_lost_by_time_is_lost_after_saving_and_loading():
    game, now = timed(60.0, 60.0)
    game.move("5")
    now.pass_by(61)
    saved = game.as_dict()
    assert saved["result"] == {"first": 1, "reason": "time"}
    loaded = session.load(saved, now=Time())
    assert (loaded.reason(), loaded.result(0), loaded.result(1)) == (Reason.TIME, 1, -1)


@pytest.mark.parametrize(
    ("seconds", "increment"),
    [((-1.0, 5.0), 0), ((5.0, float("inf")), 0), ((5.0, float("nan")), 0), ((5.0, 5.0), -1.0)],
)
def test_a_clock_needs_seconds_that_are_finite_and_not_negative(seconds, increment):
    with pytest.raises(ValueError, match="a clock's seconds must be 0 or more, not "):
        Clock(seconds, increment)
