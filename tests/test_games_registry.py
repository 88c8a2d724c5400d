"""The registry of games: every spec gives the right game or one clear line."""

import inspect
import subprocess
import sys

import numpy as np
import pytest

import games
from games.othello import Othello
from games.tic_tac_toe import TicTacToe


@pytest.mark.parametrize("name", games.registered())
def test_a_games_own_name_makes_it_again(name):
    game = games.make(name)
    again = games.make(game.name)
    assert type(again) is type(game)
    assert again.name == game.name


def test_parameters_reach_the_game():
    assert games.make("othello:size=6").observation_shape == (2, 6, 6)
    assert games.make("othello").name == "othello:size=8"


def test_the_list_names_parameters_and_describes_each_game_in_one_line():
    listed = games.registered()
    assert {"tic_tac_toe", "connect_four", "othello"} <= set(listed)
    assert listed["othello"].parameters == {"size": 8}
    assert listed["connect_four"].parameters == {}
    for name, entry in listed.items():
        game = type(games.make(name))
        defaults = {key: p.default for key, p in inspect.signature(game).parameters.items()}
        assert entry.parameters == defaults
        assert entry.description == (game.__doc__ or "").partition("\n")[0] != ""
        assert entry.keyless == game.keyless


def test_listing_the_games_imports_none_of_them():
    code = "import sys, games; games.registered(); print('numba' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"


def test_a_game_in_any_module_is_made_by_its_address():
    assert type(games.make("games.tic_tac_toe:TicTacToe")) is TicTacToe
    game = games.make("games.othello:Othello:size=4")
    assert isinstance(game, Othello)
    assert game.size == 4


def test_a_registered_game_is_made_by_its_name(monkeypatch):
    monkeypatch.setattr(games, "_registry", dict(games._registry))

    class Mine(TicTacToe):
        name = "mine"

    games.register("mine", Mine)
    games.register("mine", Mine)
    assert type(games.make("mine")) is Mine
    assert "mine" in games.registered()
    with pytest.raises(ValueError, match="'mine' is registered already"):
        games.register("mine", TicTacToe)
    with pytest.raises(ValueError, match="'connect_four' is registered already"):
        games.register("connect_four", Mine)


def test_a_cell_of_a_notebook_that_defines_and_registers_a_game_can_be_run_again(monkeypatch):
    monkeypatch.setattr(games, "_registry", dict(games._registry))
    for _ in range(2):

        class Mine(TicTacToe):
            name = "mine"

        games.register("mine", Mine)
        assert type(games.make("mine")) is Mine


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("conect_four", "unknown game 'conect_four'; did you mean 'connect_four'?"),
        (
            "zzz",
            f"unknown game 'zzz'; there is {', '.join(games.registered())}; a game of your own "
            "is named module:Class",
        ),
        ("", "unknown game ''; there is"),
        ("othelo:size=6", "unknown game 'othelo'; did you mean 'othello'?"),
        ("othello:sise=6", "othello has no parameter 'sise'; did you mean 'size'?"),
        ("tic_tac_toe:size=3", "tic_tac_toe has no parameter 'size'; it takes none"),
        ("othello:size=six", "othello: size must be of type int, not 'six'"),
        ("othello:size=7", "othello: size must be 4, 6, 8 or 10, not 7"),
        ("othello:6", "othello: parameters are written key=value, not '6'"),
        ("no.such.module:Game", "game 'no.such.module:Game' cannot be imported: No module named"),
        ("games.othello:Otelo", "game 'games.othello:Otelo' cannot be imported"),
        ("games.othello:np", "'games.othello:np' is not a game"),
        ("games.base:Game", "'games.base:Game' is not a game"),
    ],
)
def test_a_bad_spec_is_explained_in_one_line(spec, line):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        games.make(spec)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("go:size=9", "go", True),
        ("go:size=9,komi=7", "go:size=19", True),
        ("go", "hex", False),
        ("my_game:Mine:size=3", "my_game:Mine", True),
        ("my_game:Mine:size=3", "my_game:Other:size=3", False),
        ("open_spiel:hex(board_size=5)", "open_spiel:hex(board_size=7),max_plies=9", True),
        ("open_spiel:hex(board_size=5)", "open_spiel:y(board_size=5)", False),
        ("open_spiel:rules=hex(board_size=5)", "open_spiel:rules=y(board_size=5)", False),
        ("open_spiel:rules=hex(board_size=5)", "open_spiel:hex", True),
        ("gomoku:size=3x4,length=3", "games.gomoku:Gomoku:size=9", True),
    ],
)
def test_games_are_the_same_without_parameters_whatever_the_size(one, other, same):
    assert (games.without_parameters(one) == games.without_parameters(other)) == same


def test_states_of_equal_names_have_one_dtype():
    assert games.make("othello:size=6").dtype == np.dtype(
        [("mine", "<u8"), ("theirs", "<u8"), ("player", "i1")]
    )
