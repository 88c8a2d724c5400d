"""``WithHistory``: the same game, with the positions before in its states."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_positions import positions

import games
from games import conformance, history
from games.base import Game
from games.history import WithHistory, replay

GAMES = ["tic_tac_toe", "connect_four", "othello:size=6"]


@pytest.mark.parametrize("plies", [1, 3])
@pytest.mark.parametrize("name", GAMES)
def test_it_keeps_every_promise_of_a_game_but_that_its_name_makes_it(monkeypatch, name, plies):
    """``games.make(name)`` makes the game inside."""
    monkeypatch.setattr(conformance, "check_registry", lambda game: None)
    conformance.check(WithHistory(games.make(name), plies), games=20)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 25), st.integers(1, 6))
def test_the_earlier_positions_are_those_of_the_game_played_again(seed, length, plies):
    plain = games.make("connect_four")
    game, rng = WithHistory(plain, plies), np.random.default_rng(seed)
    past, states = [plain.initial(1)], game.initial(1)
    for _ in range(length):
        legal = plain.legal(past[-1])[0]
        if not legal.any():
            break
        action = np.array([rng.choice(np.flatnonzero(legal))])
        past.append(plain.step(past[-1], action))
        states = game.step(states, action)
    assert history.present(states).tobytes() == past[-1].tobytes()
    known = min(len(past) - 1, plies)
    assert states["known"].tolist() == [known]
    for back in range(1, plies + 1):
        expected = past[-1 - back] if back <= known else np.zeros(1, plain.dtype)
        assert history.earlier(states, back).tobytes() == expected.tobytes()


def test_lines_of_different_lengths_are_replayed_to_the_states_that_playing_them_gives():
    game = WithHistory(games.make("connect_four"), 2)
    lines = [[], [3], [3, 3, 2], [0, 6, 0, 6, 0]]
    replayed = replay(game, lines)
    for row, line in enumerate(lines):
        states = game.initial(1)
        for action in line:
            states = game.step(states, np.array([action]))
        assert replayed[row : row + 1].tobytes() == states.tobytes()
    assert len(replay(game, [])) == 0


def test_the_optional_methods_are_those_of_the_game():
    class Special(type(games.make("connect_four"))):
        max_legal = 5

        def adjudicate(self, states):
            return np.full(len(states), -1, np.float32)

        def final_ownership(self, states):
            return self.observe(states)[:, 0].reshape(len(states), -1)

        def final_score(self, states):
            return self.observe(states).mean(axis=(1, 2, 3))

    plain = Special()
    game = WithHistory(plain, 2)
    states = positions(plain, 5, seed=0)
    longer = game.without_earlier(states)
    assert (game.max_legal, game.name, game.max_plies) == (5, plain.name, plain.max_plies)
    for method in ("adjudicate", "final_ownership", "final_score"):
        np.testing.assert_array_equal(getattr(game, method)(longer), getattr(plain, method)(states))
    cut = game.result(longer, np.full(5, game.max_plies))
    np.testing.assert_array_equal(cut, plain.result(states, np.full(5, plain.max_plies)))
    assert (cut == -1).any()
    assert game.identity(longer).tobytes() == longer.tobytes()


def test_every_method_of_a_game_is_passed_on():
    """A method added to ``Game`` must be passed on, too, or be one that calls the others."""
    own = {"identity", "result"}  # all bytes; made of outcome and adjudicate
    own |= {"observe_bytes"}  # planes of several positions are made on the CPU
    made = WithHistory(games.make("tic_tac_toe"), 1)
    methods = {name for name in vars(Game) if not name.startswith("_")}
    assert methods - vars(WithHistory).keys() - vars(made).keys() - own == set()
    assert made.observe_bytes(lambda array: array) is None


@pytest.mark.parametrize("plies", [0, -1, 256])
def test_a_history_of_no_or_too_many_plies_is_refused(plies):
    with pytest.raises(ValueError, match=f"1 to 255 plies, not {plies}"):
        WithHistory(games.make("tic_tac_toe"), plies)


def test_a_history_of_too_large_states_is_refused_in_one_line():
    WithHistory(games.make("chess"), 255)
    line = "a state of go:size=19,komi=7.0,history=2048 with 255 earlier ones would have 4,2"
    with pytest.raises(ValueError, match=line) as refused:
        WithHistory(games.make("go:size=19,history=2048"), 255)
    assert "\n" not in str(refused.value)


def test_the_longest_history_counts_right():
    game = WithHistory(games.make("othello:size=6"), 255)
    states = game.initial(1)
    states["known"] = 255
    assert game.step(states, game.legal(states).argmax(axis=1))["known"].tolist() == [255]
