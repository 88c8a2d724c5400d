"""The adapters pass the other libraries' own checks and keep the game's results."""

import subprocess
import sys
import warnings
from importlib import import_module

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from made_up_games import TugNearerEnd

import games
from games import pixels
from games.as_gymnasium import GymnasiumGame, random_opponent
from games.as_pettingzoo import PettingZooGame
from games.drawing import Cell, Drawing, Edge, Label

TWO_PLAYERS = [name for name in games.registered() if name != "gymnasium"]
EVERY_GAME = pytest.mark.parametrize("spec", [*TWO_PLAYERS, "othello:size=4"])
SEATS = pytest.mark.parametrize("seat", [0, 1, None])


def make(spec):
    return TugNearerEnd() if spec == TugNearerEnd.name else games.make(spec)


ALSO_ENDLESS = pytest.mark.parametrize("spec", [*TWO_PLAYERS, "othello:size=4", TugNearerEnd.name])


@pytest.fixture(scope="module")
def checks():
    """PettingZoo's modules of checks, by name; their import warns of that library's old names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import_module("pettingzoo.test")
    return lambda name: sys.modules[f"pettingzoo.test.{name}"]


def without_human(game):
    """Makes environments; the render test begins with an environment of the mode ``human``."""

    def make_environment(render_mode):
        return PettingZooGame(game, None if render_mode == "human" else render_mode)

    return make_environment


@ALSO_ENDLESS
def test_pettingzoos_own_checks_pass_without_a_warning(spec, checks, monkeypatch):
    game, api = make(spec), checks("api_test")
    # Lists of environments in the check itself, with the names of its own board games: those whose
    # observations are dictionaries with a mask and may be zeros, as those of an empty board.
    for names in ("env_obs_dicts", "env_obs_space", "env_all_zeros_obs"):
        monkeypatch.setattr(api, names, [*getattr(api, names), game.name])
    api.api_test(PettingZooGame(game), num_cycles=200)
    checks("seed_test").seed_test(lambda: PettingZooGame(game), num_cycles=200)
    checks("render_test").render_test(without_human(game))


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
    for _ in environment.agents[:]:
        environment.step(None)
    with pytest.raises(ResetNeeded):
        environment.step(None)


def test_in_pettingzoo_an_illegal_action_is_refused_and_the_other_player_has_no_move():
    environment = PettingZooGame(games.make("tic_tac_toe"))
    environment.reset()
    environment.step(4)
    assert environment.observe("player_0")["action_mask"].sum() == 0
    for action in (4, -1, 9, None, 3.0, "3"):
        with pytest.raises(ValueError, match="is not a legal action of tic_tac_toe here"):
            environment.step(action)


def test_pettingzoos_wrapper_makes_an_illegal_action_a_loss(checks):
    wrappers = import_module("pettingzoo.utils.wrappers")
    game = PettingZooGame(games.make("tic_tac_toe"))
    environment = wrappers.TerminateIllegalWrapper(game, illegal_reward=-1)
    environment.reset()
    environment.step(4)
    environment.step(4)
    assert environment.rewards == {"player_0": 0, "player_1": -1}
    assert all(environment.terminations.values())


@SEATS
@ALSO_ENDLESS
def test_gymnasiums_own_check_passes_without_a_warning(spec, seat):
    game = make(spec)
    arguments = {"game": game, "opponent": random_opponent(game), "seat": seat}
    # From the registry, because the check takes the other render modes from an entry in it.
    entry = gymnasium.envs.registration.EnvSpec(
        "Made-v0", entry_point=GymnasiumGame, kwargs=arguments
    )
    check_env(entry.make(render_mode="ansi").unwrapped)


def scripted(*actions):
    """An opponent that plays these one after another."""
    script = iter(actions)
    return lambda states, rng: np.array([next(script)])


def environment(opponent, seat):
    made = GymnasiumGame(games.make("tic_tac_toe"), opponent, seat)
    made.reset(seed=0)
    return made


def episode(opponent, seat, actions):
    made = environment(opponent, seat)
    return [made.step(action)[1:3] for action in actions]


def test_in_gymnasium_a_win_a_loss_and_a_draw_are_rewarded_from_ones_own_seat():
    assert episode(scripted(3, 4), 0, [0, 1, 2]) == [(0, False), (0, False), (1, True)]
    assert episode(scripted(3, 4, 5), 0, [0, 1, 8]) == [(0, False), (0, False), (-1, True)]
    assert episode(scripted(3, 4, 8), 1, [0, 1, 2]) == [(0, False), (0, False), (1, True)]
    assert episode(scripted(0, 1, 2), 1, [3, 4]) == [(0, False), (-1, True)]
    assert episode(scripted(4, 2, 3, 7), 0, [0, 1, 6, 5, 8])[-1] == (0, True)


@pytest.mark.parametrize("action", [3, -1, 9, 1.0])
def test_in_gymnasium_an_illegal_action_loses_at_once(action):
    assert episode(scripted(3), 0, [0, action]) == [(0, False), (-1, True)]


@pytest.mark.parametrize("last", [2, 3], ids=["a win", "an illegal move"])
def test_in_gymnasium_a_step_needs_a_reset_before_it_and_after_the_end(last):
    made = environment(scripted(3, 4, 4), 0)
    for action in (0, 1, last):
        made.step(action)
    with pytest.raises(ResetNeeded):
        made.step(8)
    made.reset()
    assert made.step(8)[1:4] == (0, False, False)
    with pytest.raises(ResetNeeded):
        GymnasiumGame(made.game, made.opponent).step(0)


def test_in_gymnasium_the_masks_mark_the_legal_actions_of_the_position():
    made = environment(scripted(3), 0)
    info = made.step(0)[4]
    assert np.flatnonzero(made.action_masks()).tolist() == [1, 2, 4, 5, 6, 7, 8]
    assert made.action_masks().dtype == np.bool_
    assert info["action_mask"].tolist() == made.action_masks().astype(int).tolist()


def test_in_gymnasium_an_illegal_action_of_the_opponent_is_an_error():
    with pytest.raises(ValueError, match=r"opponent's action .* is not legal"):
        episode(scripted(0), 0, [0])


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


@pytest.mark.parametrize(("seat", "reward"), [(0, 1), (1, -1)])
def test_in_gymnasium_a_game_of_max_plies_is_truncated_with_the_adjudicated_result(seat, reward):
    always_own_end = lambda states, rng: np.array([0])  # noqa: E731
    environment = GymnasiumGame(TugNearerEnd(), always_own_end, seat)
    environment.reset(seed=0)
    steps = [environment.step(0)[1:4] for _ in range(7 - seat)]
    assert steps == [(0, False, False)] * (6 - seat) + [(reward, False, True)]


def test_a_game_that_the_opponents_first_move_ends_has_an_episode_of_one_step():
    class OnePly(TugNearerEnd):
        max_plies = 1

    made = GymnasiumGame(OnePly(), lambda states, rng: np.array([0]), seat=1)
    made.reset(seed=0)
    assert made.step(0)[1:4] == (-1, False, True)


@pytest.mark.parametrize("adapted", [PettingZooGame, lambda game, mode: GymnasiumGame(
    game, random_opponent(game), 0, mode)], ids=["pettingzoo", "gymnasium"])  # fmt: skip
def test_a_render_mode_is_refused_in_one_line_that_says_what_there_is(adapted, monkeypatch):
    game = games.make("tic_tac_toe")
    with pytest.raises(ValueError, match=r"must be ansi, rgb_array or None, not 'svg'$"):
        adapted(game, "svg")
    with pytest.raises(ValueError, match=r"opens no window; .* return one$"):
        adapted(game, "human")
    assert adapted(game, None).render_mode is None
    monkeypatch.setattr(pixels, "available", lambda: False)
    with pytest.raises(ValueError, match="needs Pillow"):
        adapted(game, "rgb_array")


def test_the_modes_are_known_from_the_class_and_the_bounds_are_those_of_the_game():
    assert GymnasiumGame.metadata["render_modes"] == ["ansi", "rgb_array"]
    assert PettingZooGame.metadata["render_modes"] == ["ansi", "rgb_array"]
    wide = type("Wide", (TugNearerEnd,), {"observation_bounds": (-2.0, 3.0)})()
    box = GymnasiumGame(wide, random_opponent(wide)).observation_space
    assert (box.low.min(), box.high.max()) == (-2, 3)


def test_an_image_shows_stones_marks_and_the_text_below():
    square, label = Cell(0, 0), Label(0, -1, "a")
    empty = pixels.render(Drawing((square,), {}))
    stone = pixels.render(Drawing((Cell(0, 0, player=1),), {}))
    marked = pixels.render(Drawing((Cell(0, 0, player=1),), {}, last=(0,)))
    assert empty.shape == stone.shape == (56, 56, 3)
    assert empty.dtype == np.uint8
    assert empty[28, 28].tolist() == [0xF3, 0xEA, 0xD7]
    assert stone[28, 28].tolist() == [0x35, 0x66, 0xB0]
    assert (stone != marked).any(axis=2).sum() > 50
    assert pixels.render(Drawing((square,), {}, labels=(label,))).shape == (96, 56, 3)
    assert pixels.render(Drawing((square,), {}, text="one\ntwo")).shape == (116, 56, 3)
    hexagon = pixels.render(Drawing((Cell(0, 0, "hexagon"),), {}))
    point = pixels.render(Drawing((Cell(0, 0, "point"),), {}))
    corners = hexagon[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()
    assert hexagon[28, 28].tolist() == empty[28, 28].tolist()
    assert (point[20, 20] == 255).all()
    edge = Edge(1, ((-0.5, 0.0), (0.5, 0.0)))
    side = pixels.render(Drawing((square,), {}, edges=(edge,)))
    assert side[28, 20].tolist() == [0x35, 0x66, 0xB0]
    text = pixels.render(Drawing((), {}, text=". . X"))
    assert text.shape[2] == 3
    assert (text < 128).any()


def test_images_of_one_episode_have_one_size_also_where_a_text_grows():
    class Longer(TugNearerEnd):
        def drawing(self, state, last_action=None):
            return Drawing((), {}, {0: "a", 1: "b"}, text="x" * 30 * (1 + int(state["player"])))

    environment = PettingZooGame(Longer(), "rgb_array")
    environment.reset()
    before = environment.render()
    environment.step(0)
    after = environment.render()
    assert before.shape == after.shape
    assert not np.array_equal(before, after)


def test_the_package_of_games_is_imported_without_the_other_libraries():
    code = "import games, sys; print(*{'gymnasium', 'pettingzoo', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
