"""Environments of Gymnasium as games of one player: search solves small ones."""

import sys

import numpy as np
import pytest

import games
from alphazero import targets, values
from alphazero.config import ReplaySettings
from alphazero.evaluators import uniform
from alphazero.judging import players
from alphazero.search import strongest_moves
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Limits
from games import gymnasium_game
from games.conformance import check
from workers.cli import main

LAKE = "gymnasium:FrozenLake-v1(is_slippery=false)"
CLIFF = "gymnasium:CliffWalking-v1,lowest=-100,highest=0,max_plies=20"
WALK = "gymnasium:made_up_environments:made_up/Walk-v0"


def solved(spec, simulations):
    """The length and result of an episode of tree search with rollouts."""
    game = games.make(spec)
    player, states, line = (
        players.make(f"mcts:simulations={simulations}", game),
        game.initial(1),
        [],
    )
    rngs = [np.random.default_rng(0)]
    while np.isnan(game.result(states, len(line))[0]):
        action = player.decide(states, rngs, Limits(), [line]).action
        line.append(int(action[0]))
        states = game.step(states, action)
    return len(line), float(game.result(states, len(line))[0])


def test_an_environment_whose_returns_are_minus_one_or_one_keeps_the_contract():
    check(games.make(f"{LAKE},max_plies=20"), games=10)


@pytest.mark.slow
def test_search_crosses_the_frozen_lake():
    length, result = solved(f"{LAKE},max_plies=12", 400)
    assert length >= 6  # a longer way is as good
    assert result == 1


@pytest.mark.parametrize("search", [PUCT(simulations=60), Gumbel(simulations=60)])
def test_returns_between_the_results_are_values_and_no_proofs(search):
    game = games.make(WALK)
    states = game.initial(1)
    for action, outcome in ((np.array([1]), 0.5), (np.array([0]), 0)):
        assert game.outcome(game.step(game.step(states, action), action))[0] == outcome
    result = strongest_moves(
        search.without_noise(), game, states, [np.random.default_rng(0)], uniform(game)
    )
    assert result.action[0] == 1
    assert 0 < result.value[0] <= 0.5
    assert result.proven is not None
    assert not result.proven[0]


def test_a_scaled_return_as_a_target_has_its_value():
    rows = np.zeros(2, [("outcome", "f4"), ("value", "f4")])
    rows["outcome"] = 0.5, -1
    episode = targets.Episode(rows, np.zeros(2, np.int8), rows, None)  # type: ignore[arg-type]
    target = targets.mixture(games.make("tic_tac_toe"), episode, ReplaySettings(value_mixing=0))
    assert values.expectation(target).tolist() == [0.5, -1]
    assert target.tolist() == [[0.5, 0.5, 0], [0, 0, 1]]


def test_an_episode_that_is_cut_has_the_return_so_far_and_one_beyond_the_bounds_counts_as_them():
    game = games.make(CLIFF)
    states = game.initial(1)
    assert game.adjudicate(states)[0] == 1
    for plies in range(1, 20):
        states = game.step(states, np.array([3]))  # against the wall
        assert game.adjudicate(states)[0] == pytest.approx(1 - 2 * plies / 100)
        assert not game.to_move(states).any()
    fallen = game.step(game.step(game.initial(1), np.array([1])), np.array([1]))  # -100 twice
    assert game.adjudicate(fallen)[0] == -1


def test_the_start_is_that_of_the_seed():
    first, same, other = (
        games.make(f"gymnasium:CartPole-v1,highest=500,seed={n}") for n in (1, 1, 2)
    )
    start = first.observe(first.initial(1))
    assert np.array_equal(start, same.observe(same.initial(1)))
    assert not np.array_equal(start, other.observe(other.initial(1)))
    assert first.max_plies == 500


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ("FrozenLake-v1", "has chance: the same moves led to two positions"),
        ("Blackjack-v1", "has chance"),
        ("CartPole-v1", "a random episode had the return 2; state the bounds of returns as"),
        ("made_up_environments:made_up/Rich-v0", "state the bounds of returns as lowest="),
        ("Pendulum-v1", "actions must be numbers from 0 (a Discrete space), not Box("),
        ("Nothing-v0", "no such environment"),
        ("FrozenLake", "no such environment; did you mean"),
        ("FrozenLake-v1(render_mode=human)", "render_mode is not for games that are searched"),
        ("FrozenLake-v1(desc=/etc/passwd)", "desc must be a number or a word"),
        ("FrozenLake-v1(map_name=9x9)", "cannot be made"),
        ("made_up/Walk-v0", "is not Gymnasium's own: write module:made_up/Walk-v0"),
        ("evil:", "'evil:' is no id, as CartPole-v1 or module:Mine-v0"),
        ("a:b:c", "'a:b:c' is no id"),
        ("no_such_module:Mine-v0", "cannot be made: No module named 'no_such_module'"),
        ("CliffWalking-v1,lowest=1", "lowest must be a number below highest"),
        ("CliffWalking-v1,lowest=nan", "lowest must be a number below highest"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(environment, line):
    games.make(WALK)  # registers what the module made_up_environments has
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        games.make(f"gymnasium:{environment}")
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_environment_without_an_end_is_made_after_a_bounded_number_of_steps():
    game = games.make("gymnasium:made_up_environments:made_up/Endless-v0,max_plies=100000")
    assert game.max_plies == 100_000
    played = sys.modules["made_up_environments"].Endless.steps
    # Each ply is made twice, to compare.
    assert 0 < played == 2 * gymnasium_game.TRIAL_GAMES * gymnasium_game.TRIAL_PLIES


def test_environments_of_other_modules_are_addresses_that_must_be_allowed():
    assert games.address_of(LAKE) is None
    assert games.address_of("gymnasium") is None
    for spec in (
        "gymnasium:evil:Walk-v0",
        "gymnasium:evil:Walk-v0(size=3),seed=2",
        "gymnasium:environment=evil:Walk-v0",
        f"{LAKE},environment=evil:Walk-v0",
        "games.gymnasium_game:GymnasiumEnvironment:evil:Walk-v0",
        "games.gymnasium_game:GymnasiumEnvironment:environment=evil:Walk-v0",
    ):
        assert games.address_of(spec) == "evil:Walk-v0"


def test_the_arena_warns_that_a_match_of_one_player_means_nothing(capsys):
    assert main(["arena", "random", "random", "--games", "2", "--game", LAKE]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert line == (
        f"warning: {LAKE} has one player: who begins makes all moves of a match, so its result "
        "means nothing"
    )


def test_the_example_of_the_list_of_games_can_be_played():
    example = games.registered()["gymnasium"].description.rpartition(" ")[2].rstrip(".")
    assert games.make(example).name == LAKE
