"""The sequential test of two players: its statistic, its errors in simulated matches."""

import json
import math
import re
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_arena import TwoAtATime, first_legal

import games
from alphazero.judging import arena, players, sprt
from alphazero.judging.sprt import Test
from workers.cli import main


def by_optimization(counts, elo):
    """The greatest log-likelihood of ``counts`` among distributions whose mean fits ``elo``."""
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    result = np.linspace(0, 1, len(counts))
    mean = 1 / (1 + 10 ** (-elo / 400))
    best = optimize.minimize(
        lambda p: -(counts * np.log(p)).sum() / counts.sum(),
        np.full(len(counts), 1 / len(counts)),
        jac=lambda p: -counts / p / counts.sum(),
        bounds=[(1e-9, 1)] * len(counts),
        constraints=[
            {"type": "eq", "fun": lambda p: p.sum() - 1, "jac": np.ones_like},
            {"type": "eq", "fun": lambda p: p @ result - mean, "jac": lambda p: result},
        ],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    return -best.fun * counts.sum()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=3, max_size=5), st.sampled_from([5, 20, 80]))
def test_the_ratio_is_that_of_the_most_likely_distributions_found_by_optimization(counts, elo1):
    counts = np.array(counts, float)
    expected = by_optimization(counts, elo1) - by_optimization(counts, -5)
    assert Test(-5, elo1).ratio(counts) == pytest.approx(expected, abs=2e-4 * counts.sum() ** 0.5)


def test_many_results_have_the_ratio_of_normal_distributions():
    # Of two normal distributions with equal variance v: n (s1 - s0) (2 m - s0 - s1) / (2 v).
    counts, points = np.array([1000, 2000, 4000, 2200, 1300]), np.linspace(0, 1, 5)
    mean = counts @ points / counts.sum()
    variance = counts @ (points - mean) ** 2 / counts.sum()
    low, high = 0.5, sprt.expected_score(5)
    expected = counts.sum() * (high - low) * (2 * mean - low - high) / (2 * variance)
    assert Test(0, 5).ratio(counts) == pytest.approx(expected, rel=0.01)


def test_results_never_seen_leave_the_ratio_finite_and_on_the_right_side():
    test = Test(0, 20)
    ratios = [test.ratio(np.eye(5)[seen] * 60) for seen in range(5)]
    assert ratios == sorted(ratios)
    assert ratios[2] < 0 < ratios[4]
    assert test.ratio(np.zeros(5)) == pytest.approx(0, abs=0.01)


def test_the_example_of_the_docstring_is_right():
    counts = [100, 200, 400, 170, 130]
    assert Test(0, 5).ratio(counts) == pytest.approx(0.35, abs=0.005)
    assert Test(0, 20).ratio(counts) == pytest.approx(-2.44, abs=0.005)


def test_pairs_of_games_that_repeat_count_once_and_end_a_test_undecided():
    game, test = games.make("tic_tac_toe"), Test(0, 100)
    pair = first_legal(game), first_legal(game, "again")
    result = arena.play_until_certain(game, pair, test, 1000, 0, opening_plies=0)
    assert (sum(result.sprt.pairs), result.sprt.accepted, result.games) == (1, None, 64)


def test_the_bounds_are_walds():
    low, high = Test(alpha=0.05, beta=0.1).bounds
    assert low == pytest.approx(math.log(0.1 / 0.95))
    assert high == pytest.approx(math.log(0.9 / 0.05))


def test_pairs_are_counted_by_their_points():
    assert sprt.pair_counts([-1, -1, 1, 1, 1, -1, 0, 1, 0, 0, -1, 0]).tolist() == [1, 1, 2, 1, 1]


def simulated(rng, elo, pairs):
    """Results ``[2 * pairs]`` of a player ``elo`` points stronger; three of ten games are drawn.

    An opening favours one side by up to a fifth of a point: the games of a pair are dependent.
    """
    favour = rng.uniform(-0.2, 0.2, (pairs, 1)) * (1, -1)
    lost = 1 - (sprt.expected_score(elo) + favour) - 0.15
    drawn = rng.random((pairs, 2))
    return np.where(drawn < lost, -1, np.where(drawn < lost + 0.3, 0, 1)).ravel()


def ends(test, elo, seed, most_pairs=20_000):
    """The Elo that ``test`` accepts in a simulated match, and after how many games."""
    results = simulated(np.random.default_rng(seed), elo, most_pairs)
    for pairs in range(sprt.PAIRS_PER_LOOK, most_pairs, sprt.PAIRS_PER_LOOK):
        verdict = test.judge(results[: 2 * pairs])
        if verdict.accepted is not None:
            return verdict.accepted, 2 * pairs
    raise AssertionError("undecided")


def shares(test, elo, tests):
    """How often ``elo1`` is accepted where ``elo`` is true, and the mean number of games."""
    all_ends = [ends(test, elo, [int(elo), seed]) for seed in range(tests)]
    return np.mean([accepted == test.elo1 for accepted, _ in all_ends]), np.mean(
        [n for _, n in all_ends]
    )


def fixed_length(test, rng):
    """Games of a match of fixed length with the errors of ``test``, alpha equal to beta.

    The mean of n pairs, whose variance is v, is on the wrong side of the middle with the
    probability alpha where ``z(alpha) sqrt(v / n)`` is half of the difference of the two scores.
    """
    variance = simulated(rng, 0, 100_000).reshape(-1, 2).mean(axis=1).var() / 4
    half = (sprt.expected_score(test.elo1) - sprt.expected_score(test.elo0)) / 2
    return 2 * variance * (1.6449 / half) ** 2


@pytest.mark.parametrize(("test", "tests"), [
    (Test(0, 40), 300),
    pytest.param(Test(0, 20), 400, marks=pytest.mark.slow),
])  # fmt: skip
def test_the_errors_are_as_rare_as_stated_and_fewer_games_are_played_than_at_a_fixed_length(
    test, tests
):
    # Two and a half standard deviations are 3.1 points in 300 tests, 2.7 in 400.
    (wrong, games_0), (right, games_1) = (shares(test, elo, tests) for elo in (0, test.elo1))
    assert wrong <= 0.05 + 0.031
    assert right >= 0.95 - 0.031
    assert max(games_0, games_1) < 0.75 * fixed_length(test, np.random.default_rng(0))


def test_a_player_between_the_hypotheses_is_accepted_about_as_often_as_not():
    share, _ = shares(Test(0, 80), 40, 200)
    assert 0.35 < share < 0.65


def test_play_until_certain_plays_the_first_games_of_a_longer_match():
    game, test = games.make("tic_tac_toe"), Test(0, 100)
    pair = players.make("minimax:depth=2", game), players.make("random", game)
    seen, looks = [], []
    result = arena.play_until_certain(game, pair, test, 400, 0, 2, looks.append, record=seen.append)
    assert result.sprt == looks[-1]
    assert result.sprt.accepted == 100
    assert [look.accepted for look in looks[:-1]] == [None] * (len(looks) - 1)
    assert result.games == 32 * len(looks) < 400
    recorded = []
    arena.play(game, pair, 400, 0, 2, record=recorded.append)
    assert seen == recorded[: result.games]


def test_a_game_that_the_beginner_wins_shows_no_difference_between_players():
    game, test = TwoAtATime(), Test(0, 200)
    pair = first_legal(game), players.make("random", game)
    result = arena.play_until_certain(game, pair, test, 2000, 0, 1)
    assert result.sprt.pairs[2] == sum(result.sprt.pairs)


def test_the_most_games_of_a_test_are_never_exceeded_and_the_last_look_may_be_a_short_one():
    game = games.make("tic_tac_toe")
    pair = players.make("random", game), players.make("random", game)
    result = arena.play_until_certain(game, pair, Test(0, 1), 40, 0)
    assert (result.games, result.sprt.accepted) == (40, None)
    for number in (0, 1, 41):
        with pytest.raises(ValueError, match=f"must be an even number, not {number}"):
            arena.play_until_certain(game, pair, Test(0, 1), number, 0)


def test_the_command_stops_by_itself_and_says_what_is_accepted(tmp_path, capsys):
    target = tmp_path / "result.json"
    words = ["--game", "tic_tac_toe", "--sprt", "elo1=100,alpha=0.1", "--json", str(target)]
    assert main(["arena", "minimax:depth=9", "random", *words]) == 0
    shown = capsys.readouterr()
    looks = " ".join(shown.err.split())
    assert "16 different pairs of games: log-likelihood ratio" in looks
    assert "; the test ends at -2.89 or +2.25" in looks
    said = " ".join(shown.out.split())
    lead = "a lead of +100 Elo or more for minimax:depth=9 is accepted, of +0 Elo or less rejected"
    assert f"sequential test: {lead}" in said
    assert "The test counts pairs of games; the interval of the table counts single games" in said
    saved = json.loads(target.read_text())
    assert saved["sprt"]["test"] == asdict(Test(elo1=100, alpha=0.1))
    assert saved["sprt"]["accepted"] == 100
    assert sum(saved["sprt"]["pairs"]) * 2 == saved["games"] < 1000


def test_the_command_says_where_nothing_could_be_accepted(capsys):
    words = ["--game", "tic_tac_toe", "--sprt", "elo0=-1,elo1=1", "--games", "10"]
    assert main(["arena", "random", "random", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "sequential test: undecided between a lead of -1 and +1 Elo for" in said
    assert "More --games may decide it or, where games repeat, more --opening-plies." in said


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["random", "--sprt", "elo1=20"], "--sprt compares two players, not 1"),
        (["random", "random", "random", "--sprt", "elo1=20"], "compares two players, not 3"),
        (["random", "random", "--sprt", "elo1=20", "--fixed-seats"], "leave --fixed-seats out"),
        (["random", "random", "--sprt", ","], "it is empty: elo0=0,elo1=20 are the usual values"),
        (["random", "random", "--sprt", ""], "it is empty: elo0=0,elo1=20 are the usual values"),
        (["random", "random", "--sprt", "elo1=0"], "elo0 must be less than elo1"),
        (["random", "random", "--sprt", "elo0=nan"], "elo0 must be less than elo1"),
        (["random", "random", "--sprt", "elo1=5000"], "both -1000 to 1000"),
        (["random", "random", "--sprt", "alpha=0.5"], "alpha must be above 0 and below 0.5"),
        (["random", "random", "--sprt", "beta=0"], "beta must be above 0 and below 0.5"),
        (["random", "random", "--sprt", "elo=3"], "there is no 'elo'; did you mean 'elo"),
        (["random", "random", "--sprt", "once=3"], "'once'; choose from elo0, elo1, alpha, beta"),
        (["random", "random", "--sprt", "elo1=3,elo1=4"], "elo1 is given twice"),
        (["random", "random", "--sprt", "elo1"], "'elo1': elo1 is a number, as in elo1=20"),
        (["random", "random", "--sprt", "elo1=x"], "'elo1=x': elo1 is a number, as in elo1=20"),
        (
            ["random", "random", "--sprt", "elo1=20", "--games", "7"],
            "--games with --sprt: an even number, 2 or more, not 7",
        ),
    ],
)
def test_a_test_that_cannot_be_made_is_refused_in_one_line(words, line, capsys):
    try:
        status = main(["arena", *words, "--game", "tic_tac_toe"])
    except SystemExit as left:
        status = left.code
    assert status == 2
    assert line in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("games", "advice"),
    [
        ("66", "No new games came, as equal ones count once: more --opening-plies may decide it."),
        ("64", "More --games may decide it or, where games repeat, more --opening-plies."),
    ],
)
def test_a_test_that_ends_where_games_repeat_asks_for_longer_openings(games, advice, capsys):
    player = "policy:backend=torch,precision=float32"
    words = ["--game", "tic_tac_toe", "--sprt", "elo1=20", "--opening-plies", "0"]
    assert main(["arena", player, player, *words, "--games", games]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "undecided between a lead of +0 and +20 Elo" in said
    assert advice in said


def test_the_command_counts_the_pairs_that_were_left_out_as_played_before(tmp_path, capsys):
    target = tmp_path / "result.json"
    words = ["--game", "tic_tac_toe", "--sprt", "elo1=20", "--opening-plies", "1"]
    words += ["--json", str(target)]
    assert main(["arena", "policy", "policy", *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    (left_out,) = map(int, re.findall(r"(\d+) pairs left out as played before", said))
    saved = json.loads(target.read_text())
    assert left_out == saved["games"] // 2 - sum(saved["sprt"]["pairs"]) > 0
