"""Random games are identical in pettingzoo's classic games and in OpenSpiel, move by move."""

from typing import NamedTuple

import numpy as np
import pettingzoo
import pytest

import games

pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
pytest.importorskip("pygame", reason="pettingzoo's classic games need pygame, of the extra dev")


class Turn(NamedTuple):
    mover: int
    legal: list[int]
    action: int


def random_games(spec, number, seed):
    """``number`` games as ``(turns, result for the player who began)``."""
    game, rng = games.make(spec), np.random.default_rng(seed)
    states, turns = game.initial(number), [[] for _ in range(number)]
    while (going := np.flatnonzero(game.legal(states).any(axis=1))).size:
        legal, mover = game.legal(states[going]), game.to_move(states[going])
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        for i, row in enumerate(going):
            turn = Turn(int(mover[i]), np.flatnonzero(legal[i]).tolist(), int(actions[i]))
            turns[row].append(turn)
        states[going] = game.step(states[going], actions)
    results = game.outcome(states) * (1 - 2 * game.to_move(states))
    return list(zip(turns, results.tolist(), strict=True))


def same_in_open_spiel(rules, turns, result):
    state = rules.new_initial_state()
    for turn in turns:
        assert not state.is_terminal()
        assert state.current_player() == turn.mover
        assert state.legal_actions() == turn.legal
        state.apply_action(turn.action)
    assert state.is_terminal()
    assert state.returns() == [result, -result]


def same_in_pettingzoo(environment, turns, result):
    environment.reset()
    for turn in turns:
        observation, reward, over, _, _ = environment.last()
        assert (reward, over) == (0, False)
        assert environment.agent_selection == environment.possible_agents[turn.mover]
        assert np.flatnonzero(observation["action_mask"]).tolist() == turn.legal
        environment.step(turn.action)
    assert all(environment.terminations.values())
    assert [environment.rewards[agent] for agent in environment.possible_agents] == [
        result,
        -result,
    ]


NUMBERS = [pytest.param(300, id="300"), pytest.param(10_000, id="10000", marks=pytest.mark.slow)]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        ("tic_tac_toe", "tic_tac_toe"),
        ("connect_four", "connect_four"),
        ("othello:size=8", "othello"),
    ],
)
def test_random_games_are_the_same_in_open_spiel(spec, theirs, number):
    rules = pyspiel.load_game(theirs)
    for turns, result in random_games(spec, number, seed=number):
        same_in_open_spiel(rules, turns, result)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("spec", "theirs"),
    [("tic_tac_toe", "classic/tictactoe-v3"), ("connect_four", "classic/connect_four-v3")],
)
def test_random_games_are_the_same_in_pettingzoo(spec, theirs, number):
    environment = pettingzoo.make("aec", theirs).unwrapped
    for turns, result in random_games(spec, number, seed=number):
        same_in_pettingzoo(environment, turns, result)


def test_the_random_othello_games_include_passes_and_early_ends():
    played = [turns for turns, _ in random_games("othello:size=8", 300, seed=300)]
    assert any(turn.action == 64 for turns in played for turn in turns)
    assert any(sum(turn.action != 64 for turn in turns) < 60 for turns in played)
