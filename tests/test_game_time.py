"""The share of self-play that is spent in the rules of a game of one's own."""

import threading

import numpy as np
import pytest
from test_train import metrics, run, tiny

from alphazero import game_time
from alphazero.game_time import GameTime
from games.tic_tac_toe import TicTacToe


@pytest.fixture
def clock(monkeypatch):
    """A clock that only a test advances."""
    now = [0.0]
    monkeypatch.setattr(game_time.time, "perf_counter", lambda: now[0])
    return now


class Slow(TicTacToe):
    """Tic-tac-toe whose ``step`` takes two seconds of ``clock`` and whose ``outcome`` takes one."""

    def __init__(self, clock):
        self.clock = clock

    def step(self, states, actions):
        self.clock[0] += 2
        return super().step(states, actions)

    def outcome(self, states):
        self.clock[0] += 1
        return super().outcome(states)


def test_a_method_that_calls_others_counts_once(clock):
    spent, game = GameTime(), Slow(clock)
    spent.watch(game)
    states = game.initial(1)
    before = clock[0]
    with spent.measured():
        clock[0] += 10
        game.advance(states, np.array([4]))  # by default: step, outcome and more
    inside = clock[0] - before - 10
    assert inside >= 3
    assert spent.share == pytest.approx(inside / (inside + 10))


def test_what_is_not_self_play_does_not_count(clock):
    spent, game = GameTime(), Slow(clock)
    spent.watch(game)
    with spent.measured():
        clock[0] += 1
        thread = threading.Thread(target=game.outcome, args=(game.initial(1),))
        thread.start()
        thread.join()
    game.outcome(game.initial(1))
    assert spent.share == 0.0


def test_an_error_in_the_rules_ends_the_measurement(clock):
    spent, game = GameTime(), Slow(clock)
    spent.watch(game)
    with pytest.raises(IndexError), spent.measured():
        game.step(game.initial(1), np.array([99]))
    with spent.measured():
        clock[0] += 2
    assert spent.share == 0.5


def test_a_run_of_ones_own_game_says_what_it_cost_if_that_is_most_of_it(
    tmp_path, capsys, monkeypatch
):
    for share, shown in ((0.62, True), (0.5, False)):
        monkeypatch.setattr(GameTime, "share", share)
        own = tiny("game=games.tic_tac_toe:TicTacToe", "training.steps=2")
        assert run(tmp_path / str(share), own) == 0
        line = "62 % of self-play was spent in games.tic_tac_toe:TicTacToe"
        assert (line in capsys.readouterr().out) is shown
        assert metrics(tmp_path / str(share))[0]["game_share"] == share


def test_a_game_that_comes_with_the_program_is_not_measured(tmp_path, capsys):
    assert run(tmp_path, tiny("training.steps=2")) == 0
    assert "of self-play" not in capsys.readouterr().out
    assert "game_share" not in metrics(tmp_path)[0]


def test_a_measured_run_equals_one_that_is_not(tmp_path):
    paths = [tmp_path / "own", tmp_path / "registered"]
    for path, game in zip(paths, ("games.tic_tac_toe:TicTacToe", "tic_tac_toe"), strict=True):
        assert run(path, tiny(f"game={game}")) == 0
    losses = [[line["loss"] for line in metrics(path)] for path in paths]
    assert losses[0] == losses[1]
    assert 0 < metrics(paths[0])[-1]["game_share"] < 1
