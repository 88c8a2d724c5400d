"""Environments of PettingZoo as games: copies against replays, our own rules, what is refused."""

import numpy as np
import pytest

import games
from games.conformance import check
from games.conformance.choices import random_moves
from games.conformance.rules import play
from games.solvers import minimax

pytest.importorskip("pettingzoo.classic.tictactoe_v3", reason="pettingzoo[classic] is missing")

TIC_TAC_TOE = "pettingzoo:pettingzoo.classic.tictactoe_v3"
GO = "pettingzoo:pettingzoo.classic.go_v5(board_size=5,komi=2.5)"


def test_connect_four_keeps_the_contract():
    check(games.make("pettingzoo:pettingzoo.classic.connect_four_v3,max_plies=42"), games=10)


@pytest.mark.slow
@pytest.mark.parametrize("spec", [f"{GO},max_plies=40", "pettingzoo:pettingzoo.classic.chess_v6,"
                                  "max_plies=10"])  # fmt: skip
def test_go_and_chess_keep_the_contract(spec):
    check(games.make(spec), games=3)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("connect_four", "pettingzoo:pettingzoo.classic.connect_four_v3"),
        ("tic_tac_toe", TIC_TAC_TOE),
    ],
)
def test_our_own_game_has_the_same_legal_moves_results_and_planes(name, spec):
    ours, theirs, rng = games.make(name), games.make(spec), np.random.default_rng(0)
    one, two = ours.initial(10), theirs.initial(10)
    # PettingZoo's tic-tac-toe numbers cells down the columns.
    order = np.arange(9).reshape(3, 3).T.ravel() if name == "tic_tac_toe" else np.arange(7)
    while len(one):
        legal = ours.legal(one)
        assert np.array_equal(legal, theirs.legal(two)[:, order])
        assert np.array_equal(ours.outcome(one), theirs.outcome(two), equal_nan=True)
        assert np.array_equal(ours.to_move(one), theirs.to_move(two))
        if name == "connect_four":
            assert np.array_equal(ours.observe(one), theirs.observe(two))
        going = legal.any(axis=1)
        one, two, legal = one[going], two[going], legal[going]
        actions = random_moves(ours, one, legal, rng)
        one, two = ours.step(one, actions), theirs.step(two, order[actions])


def test_a_copy_is_at_its_position_and_not_at_the_beginning():
    game = games.make(GO)
    states = game.initial(1)
    for action in (12, 6, 7):
        states = game.step(states, np.array([action]))
    fresh = games.make(GO)  # plays the three moves anew
    assert np.array_equal(fresh.observe(states), game.observe(states))
    assert np.flatnonzero(~game.legal(states)[0]).tolist() == [6, 7, 12]


def test_the_agent_who_begins_is_player_0_and_the_last_stone_wins():
    for flaw in ("", "(flaw=b begins)"):
        game = games.make(f"pettingzoo:made_up_environments{flaw}")
        check(game, games=10)
        states = game.initial(1)
        assert game.to_move(states)[0] == 0
        for action in (1, 1, 1, 0):
            states = game.step(states, np.array([action]))
        assert game.outcome(states)[0] == -1
        assert game.to_move(states)[0] == 0
    # Multiples of three are lost: seven is won by taking one.
    value, values = minimax.search(game, game.initial(1), 7)
    assert value[0] > 0.5
    assert values[0].argmax() == 0


def test_a_game_of_max_plies_is_drawn():
    game = games.make(f"{TIC_TAC_TOE},max_plies=3")
    states = play(game, 2, np.random.default_rng(0), random_moves, 3)[-1].after
    assert (game.result(states, 3) == 0).all()
    assert np.isnan(game.outcome(states)).all()


def test_drawings_show_the_mover_of_the_first_stone_as_x():
    game = games.make("pettingzoo:pettingzoo.classic.connect_four_v3")
    states = game.step(game.initial(1), np.array([3]))
    assert game.render(states[0]).splitlines()[-1] == "...X..."
    states = game.step(states, np.array([3]))
    assert game.render(states[0]).splitlines()[-2:] == ["...O...", "...X..."]
    chess = games.make("pettingzoo:pettingzoo.classic.chess_v6")
    assert "r n b q k b n r" in chess.render(chess.initial(1)[0])


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ("pettingzoo.classic.rps_v2", "observations have no action_mask of legal actions"),
        ("pettingzoo.classic.tictactoe_v1", "cannot be imported: No module named"),
        ("pettingzoo.classic.tictactoe_v3(render_mode=human)", "render_mode is not for games"),
        ("pettingzoo.classic.tictactoe_v3(rows=9)", "cannot be made: raw_env.__init__() got an"),
        ("pettingzoo.classic.go_v5(board_size=10000)", "board_size must be -500 to 500, not 10000"),
        ("pettingzoo.classic.go_v5(komi=-501)", "komi must be -500 to 500, not -501"),
        ("pettingzoo.classic.go_v5(komi=/etc/passwd)", "komi must be a number or a word, not"),
        ("pettingzoo.classic", "cannot be imported: cannot import name 'env'"),
        ("os", "cannot be imported: module 'os' has no attribute 'env'"),
        ("../evil", "'../evil' is no module, as pettingzoo.classic.go_v5"),
        ("made_up_environments(flaw=three)", "has 3 agents, not 2"),
        ("made_up_environments(flaw=continuous)", "actions must be numbers from 0"),
        ("made_up_environments(flaw=no mask)", "observations have no action_mask"),
        ("made_up_environments(flaw=generous)", "is not zero-sum: a game ended with rewards (1.0,"),
        ("made_up_environments(flaw=chance)", "has chance, or cannot be copied"),
        ("made_up_environments(flaw=lambda)", "cannot be copied: Can't"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(environment, line):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        games.make(f"pettingzoo:{environment}")
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


def test_modules_outside_of_pettingzoo_are_addresses_that_must_be_allowed():
    assert games.address_of(TIC_TAC_TOE) is None
    assert games.address_of("pettingzoo") is None
    for spec in (
        "pettingzoo:evil.module",
        "pettingzoo:evil.module(size=3),max_plies=9",
        "pettingzoo:environment=evil.module",
        f"{TIC_TAC_TOE},environment=evil.module()",
        "games.pettingzoo_game:PettingZooEnvironment:evil.module",
        "games.pettingzoo_game:PettingZooEnvironment:environment=evil.module",
    ):
        assert games.address_of(spec) == "evil.module:env"
    assert games.address_of("pettingzoo:pettingzoo_evil") == "pettingzoo_evil:env"
