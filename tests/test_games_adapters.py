"""The adapters pass the other libraries' own checks and keep the game's results."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from made_up_games import TugNearerEnd

import games
from games.as_gymnasium import GymnasiumGame, random_opponent
from games.as_pettingzoo import PettingZooGame

EVERY_GAME = pytest.mark.parametrize("spec", [*games.registered(), "othello:size=4"])


# The check warns of every observation that is a dictionary, as in pettingzoo's own board games, and
# of empty boards and unbounded planes; what is wrong raises. Its import warns of its own old names.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@EVERY_GAME
def test_pettingzoos_own_check_passes(spec):
    from pettingzoo.test import api_test

    api_test(PettingZooGame(games.make(spec)), num_cycles=200)


@EVERY_GAME
def test_a_pettingzoo_game_ends_with_the_games_result(spec):
    game, rng = games.make(spec), np.random.default_rng(1)
    environment, states = PettingZooGame(game, "ansi"), game.initial(1)
    environment.reset()
    while not any(environment.terminations.values()):
        observation, *_ = environment.last()
        legal = game.legal(states)[0]
        assert observation is not None
        assert np.array_equal(observation["action_mask"], legal)
        assert np.array_equal(observation["observation"], game.observe(states)[0])
        assert environment.agent_selection == f"player_{game.to_move(states)[0]}"
        action = int(rng.choice(np.flatnonzero(legal)))
        environment.step(action)
        states = game.step(states, np.array([action]))
        assert environment.render() == game.render(states[0])
    first = float(game.outcome(states)[0]) * (1 - 2 * int(game.to_move(states)[0]))
    assert environment.rewards == {"player_0": first, "player_1": -first}


def test_in_pettingzoo_an_illegal_action_is_refused_and_the_other_player_has_no_move():
    environment = PettingZooGame(games.make("tic_tac_toe"))
    environment.reset()
    environment.step(4)
    assert environment.observe("player_0")["action_mask"].sum() == 0
    for action in (4, -1, 9, None):
        with pytest.raises(ValueError, match="is not a legal action of tic_tac_toe here"):
            environment.step(action)


# As above: unbounded planes and an environment outside Gymnasium's registry are warned of.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seat", [0, 1, None])
@EVERY_GAME
def test_gymnasiums_own_check_passes(spec, seat):
    game = games.make(spec)
    check_env(GymnasiumGame(game, random_opponent(game), seat, "ansi"))


def scripted(*actions):
    """An opponent that plays these one after another."""
    script = iter(actions)
    return lambda states, rng: np.array([next(script)])


def episode(opponent, seat, actions):
    environment: gymnasium.Env = GymnasiumGame(games.make("tic_tac_toe"), opponent, seat)
    environment.reset(seed=0)
    return [environment.step(action)[1:3] for action in actions]


def test_in_gymnasium_a_win_a_loss_and_a_draw_are_rewarded_from_ones_own_seat():
    assert episode(scripted(3, 4), 0, [0, 1, 2]) == [(0, False), (0, False), (1, True)]
    assert episode(scripted(3, 4, 5), 0, [0, 1, 8]) == [(0, False), (0, False), (-1, True)]
    assert episode(scripted(3, 4, 8), 1, [0, 1, 2]) == [(0, False), (0, False), (1, True)]
    assert episode(scripted(0, 1, 2), 1, [3, 4]) == [(0, False), (-1, True)]
    assert episode(scripted(4, 2, 3, 7), 0, [0, 1, 6, 5, 8])[-1] == (0, True)


def test_in_gymnasium_an_illegal_action_loses_at_once():
    assert episode(scripted(3), 0, [0, 3]) == [(0, False), (-1, True)]
    assert episode(scripted(3), 0, [0, -1]) == [(0, False), (-1, True)]


def test_in_gymnasium_the_seat_is_drawn_from_the_seed():
    game = games.make("tic_tac_toe")
    environment = GymnasiumGame(game, random_opponent(game))
    stones = [int(environment.reset(seed=seed)[0].sum()) for seed in range(20)]
    assert set(stones) == {0, 1}
    assert stones == [int(environment.reset(seed=seed)[0].sum()) for seed in range(20)]


def test_a_pettingzoo_game_of_max_plies_is_truncated_with_the_adjudicated_result():
    environment = PettingZooGame(TugNearerEnd())
    environment.reset()
    for _ in range(12):  # both pull to their own ends
        environment.step(0)
        assert not any(environment.truncations.values())
        assert environment.rewards == {"player_0": 0, "player_1": 0}
    environment.step(0)
    assert environment.truncations == {"player_0": True, "player_1": True}
    assert environment.terminations == {"player_0": False, "player_1": False}
    assert environment.rewards == {"player_0": 1, "player_1": -1}
    environment.step(None)
    environment.step(None)
    assert environment.agents == []


# As above: the check warns of unbounded planes and of an environment outside the registry.
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_libraries_own_checks_pass_for_a_game_without_end():
    from pettingzoo.test import api_test

    api_test(PettingZooGame(TugNearerEnd()), num_cycles=200)
    check_env(GymnasiumGame(TugNearerEnd(), random_opponent(TugNearerEnd()), None, "ansi"))


@pytest.mark.parametrize(("seat", "reward"), [(0, 1), (1, -1)])
def test_in_gymnasium_a_game_of_max_plies_is_truncated_with_the_adjudicated_result(seat, reward):
    always_own_end = lambda states, rng: np.array([0])  # noqa: E731
    environment = GymnasiumGame(TugNearerEnd(), always_own_end, seat)
    environment.reset(seed=0)
    steps = [environment.step(0)[1:4] for _ in range(7 - seat)]
    assert steps == [(0, False, False)] * (6 - seat) + [(reward, False, True)]
