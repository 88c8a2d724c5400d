"""Every game has its ids in Gymnasium and PettingZoo once ``alphazero.environments`` is imported.

``test_games_adapters.py`` tests the environments themselves.
"""

import json
import subprocess
import sys

import gymnasium
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env

import games
from alphazero.environments import arguments, identifier
from alphazero.judging.environments import opponent_of

EVERY_GAME = pytest.mark.parametrize("name", [name for name in arguments() if name != "game"])


def output(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_name_becomes_that_of_a_class():
    assert identifier("tic_tac_toe") == "TicTacToe"
    assert identifier("othello") == "Othello"


def test_importing_the_program_imports_neither_library():
    code = "import alphazero, sys; print(*{'gymnasium', 'pettingzoo', 'numpy'} & set(sys.modules))"
    assert output(code) == []


def test_every_game_of_this_program_has_an_id_in_both_libraries():
    own = [name for name, entry in games.registered().items() if not entry.keyless]
    assert set(arguments()) == {"game", *own}
    for name in arguments():
        assert f"alphazero/{identifier(name)}-v0" in gymnasium.registry
        assert f"alphazero/{name}-v0" in pettingzoo.aec_registry


def test_gymnasium_finds_the_ids_by_the_name_of_the_module_alone():
    code = "import gymnasium; made = gymnasium.make('alphazero.environments:alphazero/Othello-v0')"
    assert output(f"{code}; print(made.unwrapped.game.name)") == ["othello:size=8"]


@EVERY_GAME
def test_gymnasium_makes_and_checks_every_game_without_a_warning(name):
    made = gymnasium.make(f"alphazero/{identifier(name)}-v0", render_mode="rgb_array")
    assert made.unwrapped.game.name == games.make(name).name
    check_env(made.unwrapped)


@EVERY_GAME
def test_pettingzoo_makes_every_game(name):
    made = pettingzoo.make("aec", f"alphazero/{name}-v0", render_mode="ansi")
    assert made.game.name == made.metadata["name"] == games.make(name).name
    made.reset()
    assert made.render() == made.game.render(made.game.initial(1)[0])


def test_parameters_of_a_game_are_keyword_arguments():
    assert gymnasium.make("alphazero/Othello-v0", size=6).unwrapped.game.name == "othello:size=6"
    assert pettingzoo.make("aec", "alphazero/othello-v0", size=4).game.name == "othello:size=4"
    own = {"game": "made_up_games:TugNearerEnd"}
    assert gymnasium.make("alphazero/Game-v0", **own).unwrapped.game.name == own["game"]
    assert pettingzoo.make("aec", "alphazero/game-v0", **own).game.name == own["game"]
    given = gymnasium.make("alphazero/Game-v0", game="othello:size=6").unwrapped.game
    assert given.name == "othello:size=6"


@pytest.mark.parametrize(("arguments", "message"), [
    ({"sise": 6}, "othello has no parameter 'sise'; did you mean 'size'?"),
    ({"size": "big"}, "othello: size must be of type int, not 'big'"),
    ({"opponent": "rando"}, "player 'rando': there is no kind 'rando'; did you mean 'random'?"),
    ({"opponent": "mcts:simulations=0"}, "simulations=0"),
    ({"size": 6, "opponent": "checkpoint"}, "no agent for othello:size=6 comes with this program"),
    ({"opponent": "checkpoint:path=nowhere"}, "nowhere"),
    ({"seat": 2}, "seat must be 0"),
    ({"render_mode": "human"}, "an environment opens no window"),
])  # fmt: skip
def test_a_bad_argument_is_one_line(arguments, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")) as refused:
        gymnasium.make("alphazero/Othello-v0", **arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("make", [
    lambda lake: gymnasium.make("alphazero/Game-v0", game=lake),
    lambda lake: pettingzoo.make("aec", "alphazero/game-v0", game=lake),
])  # fmt: skip
def test_a_game_of_one_player_is_no_environment_of_two(make):
    with pytest.raises(ValueError, match=r"FrozenLake-.* is a game of one player") as refused:
        make("gymnasium:FrozenLake-v1(is_slippery=false)")
    assert "\n" not in str(refused.value)


def test_an_environment_of_any_game_needs_its_name():
    with pytest.raises(ValueError, match="unknown game ''"):
        gymnasium.make("alphazero/Game-v0")


def episodes(made, seed):
    """Observations and rewards of three episodes against the opponent, by a seeded player."""
    rng, seen = np.random.default_rng(0), []
    for number in range(3):
        observation, _ = made.reset(seed=seed + number)
        over = False
        while not over:
            action = rng.choice(np.flatnonzero(made.get_wrapper_attr("action_masks")()))
            observation, reward, terminated, truncated, _ = made.step(action)
            seen.append((observation.tobytes(), reward))
            over = terminated or truncated
    return seen


@pytest.mark.parametrize("opponent", ["random", "mcts:simulations=20", "minimax:depth=2",
                                      "checkpoint:simulations=8", "policy"])  # fmt: skip
def test_the_same_seed_gives_the_same_episodes_against_every_kind_of_opponent(opponent):
    made = gymnasium.make("alphazero/TicTacToe-v0", opponent=opponent)
    first = episodes(made, 1)
    again = gymnasium.make("alphazero/TicTacToe-v0", opponent=opponent)
    assert episodes(again, 1) == first
    assert episodes(made, 1) == first
    assert opponent != "random" or episodes(made, 5) != first


def test_the_opponent_is_the_player_of_the_text():
    game = games.make("tic_tac_toe")
    states = game.initial(1)
    for action in (0, 3, 1, 4):
        states = game.step(states, np.array([action]))
    for spec in ("minimax:depth=3", "checkpoint"):
        assert opponent_of(spec, game)(states, np.random.default_rng(0)).tolist() == [2]
    made = gymnasium.make("alphazero/TicTacToe-v0", seat=0, opponent=lambda s, rng: [8]).unwrapped
    made.reset()
    made.step(0)
    assert made.action_masks().tolist() == [False] + [True] * 7 + [False]


def test_vectors_of_environments_are_made_from_the_id():
    vector = gymnasium.make_vec("alphazero/ConnectFour-v0", num_envs=3, opponent="random")
    observations, infos = vector.reset(seed=0)
    assert observations.shape == (3, 2, 6, 7)
    assert infos["action_mask"].shape == (3, 7)
    vector.step(np.array([0, 1, 2]))
    vector.close()


def test_the_entry_of_an_environment_can_be_stored_as_json():
    entry = gymnasium.make("alphazero/Othello-v0", size=6, opponent="mcts:simulations=5").spec
    assert entry is not None
    assert json.loads(entry.to_json())["kwargs"]["size"] == 6
    again = gymnasium.make(gymnasium.envs.registration.EnvSpec.from_json(entry.to_json()))
    assert again.unwrapped.game.name == "othello:size=6"
