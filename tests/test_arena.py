"""Matches played on known games, and ratings against hand-computed ones."""

import json
import math
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up_games import OneMove
from test_session import Short, replayed

import games
from alphazero.judging import arena, ladder, lock_step, openings, players, ratings, session
from alphazero.judging.players import Decision, Player
from alphazero.judging.session import Reason
from games import solvers
from games.base import Game
from games.history import replay
from workers.cli import main


class TwoAtATime(Game):
    """Four plies, of which the first two are the beginner's, who always wins."""

    name = "two_at_a_time"
    num_actions = 2
    observation_shape = (1, 1, 1)
    max_plies = 4
    dtype = np.dtype([("ply", "i1")])

    def initial(self, batch):
        return np.zeros(batch, self.dtype)

    def legal(self, states):
        return np.repeat(states["ply"][:, None] < 4, 2, axis=1)

    def step(self, states, actions):
        after = states.copy()
        after["ply"] += 1
        return after

    def outcome(self, states):
        won = np.where(self.to_move(states) == 0, 1, -1)
        return np.where(states["ply"] < 4, np.nan, won).astype(np.float32)

    def to_move(self, states):
        return np.array([0, 0, 1, 1, 1], np.int8)[states["ply"]]

    def observe(self, states):
        return states["ply"].astype(np.float32).reshape(-1, 1, 1, 1)

    def render(self, state):
        return str(state["ply"])


def first_legal(game, name="first", seen=None):
    """Plays the first legal move; appends the players to move in its positions to ``seen``."""

    def decide(states, rngs, *_):
        if seen is not None:
            seen.append(game.to_move(states).tolist())
        return Decision(game.legal(states).argmax(axis=1))

    return Player(name, decide)


def test_seats_are_swapped_evenly_and_each_player_gets_only_its_own_positions():
    game, seen = TwoAtATime(), []
    shown = first_legal(game, seen=seen)
    result = arena.play(game, [shown, first_legal(game)], games=6, seed=0, opening_plies=0)
    # Seat 0 wins every game, so each player wins the three games that it began.
    assert [(player.wins, player.losses) for player in result.players] == [(3, 3), (3, 3)]
    assert seen == [[0] * 3] * 2 + [[1] * 3] * 2


def test_without_swapping_the_first_of_each_pair_begins_every_game():
    game = TwoAtATime()
    pair = [first_legal(game), first_legal(game)]
    result = arena.play(game, pair, games=5, seed=0, opening_plies=0, swap=False)
    assert [(player.wins, player.losses) for player in result.players] == [(5, 0), (0, 5)]
    four = games.make("connect_four")
    pair = [first_legal(four), first_legal(four)]
    assert arena.play(four, pair, 20, 0, 4, swap=False).distinct_games == 20


def test_every_pair_meets_and_the_progress_counts_all_games():
    game, reports = games.make("tic_tac_toe"), []
    three = [players.make("random", game)] * 3
    result = arena.play(game, three, 10, 0, 2, lambda done, total: reports.append((done, total)))
    assert result.games == 30
    assert [p.wins + p.draws + p.losses for p in result.players] == [20, 20, 20]
    assert reports[-1] == (30, 30)
    assert reports == sorted(reports)
    assert sum(p.wins for p in result.players) == sum(p.losses for p in result.players)


def test_the_same_seed_gives_the_same_result_and_another_seed_another():
    game = games.make("connect_four")
    pair = [players.make("random", game)] * 2
    first = arena.play(game, pair, 40, seed=1, opening_plies=2)
    assert arena.play(game, pair, 40, seed=1, opening_plies=2) == first
    assert arena.play(game, pair, 40, seed=2, opening_plies=2) != first


def test_each_opening_is_played_twice_so_that_deterministic_players_still_vary():
    game = games.make("connect_four")
    pair = [first_legal(game), first_legal(game)]
    assert arena.play(game, pair, 20, seed=0, opening_plies=0).distinct_games == 1
    # Both play alike, so the two games of an opening are the same and ten remain.
    assert arena.play(game, pair, 20, seed=0, opening_plies=4).distinct_games == 10


def test_openings_are_legal_distinct_unfinished_and_stable_when_more_are_drawn():
    game = games.make("tic_tac_toe")
    drawn = openings.draw_openings(game, 30, seed=5, plies=6)
    assert len(set(drawn)) == 30
    assert game.legal(replay(game, drawn)).any(axis=1).all()
    assert openings.draw_openings(game, 10, seed=5, plies=6) == drawn[:10]


def test_openings_become_longer_until_they_differ_and_are_repeated_where_none_are_left():
    game = games.make("tic_tac_toe")
    drawn = openings.draw_openings(game, 90, seed=5, plies=1)
    lengths = [len(line) for line in drawn]
    assert set(drawn[:9]) == {(cell,) for cell in range(9)}
    assert lengths == sorted(lengths)
    assert lengths[-1] > 2
    positions = replay(game, drawn)
    assert len({position.tobytes() for position in positions}) == 90
    # One move from the start in which nothing is left to draw: the empty opening, again and again.
    assert openings.draw_openings(game, 3, seed=5, plies=0) == [(), (), ()]
    # Five plies of one or two moves: 2 + 4 + 8 + 16 lines at most, and the position is the ply.
    assert [len(line) for line in openings.draw_openings(TwoAtATime(), 8, 0, 1)] == [
        1, 2, 3, 1, 2, 3, 1, 2,
    ]  # fmt: skip


def test_without_a_number_an_opening_has_two_plies_or_fewer_in_a_shorter_game():
    assert openings.usual_plies(games.make("connect_four")) == 2
    game = TwoAtATime()
    game.max_plies = 2
    assert openings.usual_plies(game) == 1
    result = arena.play(game, [first_legal(game)] * 2, games=4, seed=0)
    assert (result.games, result.adjudicated) == (4, 4)
    game.max_plies = 1
    assert openings.usual_plies(game) == 0


def test_equal_games_count_as_one_in_the_interval_and_all_count_in_the_score():
    game = games.make("connect_four")
    pair = [first_legal(game), players.make("minimax:depth=1", game)]
    deterministic = [first_legal(game, "a"), first_legal(game, "b")]
    result = arena.play(game, deterministic, 100, seed=0, opening_plies=0, swap=False)
    one, _ = result.players
    assert (result.games, result.distinct_games, result.counted()) == (
        100,
        1,
        "100 games, 1 different",
    )
    assert (one.wins, one.score, one.elo_high) == (100, 1.0, None)
    # Wilson's lower bound for one point of one game, not for 100 of 100: 1 / (1 + 1.96 ** 2).
    assert one.elo_low == pytest.approx(400 * math.log10(1 / 1.96**2), abs=0.1)
    varied = arena.play(game, pair, 20, seed=0, opening_plies=4)
    assert (varied.distinct_games, varied.counted()) == (20, "20 games")


def test_equal_games_of_three_players_widen_the_interval_as_the_root_of_their_number():
    points = np.array([[0, 30, 20], [10, 0, 25], [20, 15, 0]], float)
    distinct = (points + points.T) / 4
    for all_different, repeated in zip(
        ratings.elo(points), ratings.elo(points, distinct), strict=True
    ):
        elo, low, high = all_different
        assert repeated[0] == elo
        assert repeated[1:] == pytest.approx((elo - 2 * (elo - low), elo + 2 * (high - elo)))


def test_recorded_games_are_sessions_that_can_be_loaded_with_the_result_of_the_table():
    game, played = Short(), []
    names = ["random", "random", "minimax:depth=2"]
    three = [players.make(name, game) for name in names]
    result = arena.play(game, three, 10, seed=0, opening_plies=2, record=played.append)
    assert len(played) == 30
    names = [player.name for player in result.players]
    assert names == ["random", "random (2)", "minimax:depth=2"]
    points = dict.fromkeys(names, 0.0)
    for line in json.loads(json.dumps(played)):
        again = session.load(line, game)
        assert again.as_dict() == {key: line[key] for key in again.as_dict()}
        assert line["opening_plies"] == 2
        for seat, name in enumerate(line["seats"]):
            points[name] += (again.result(seat) + 1) / 2
    table = [player.wins + player.draws / 2 for player in result.players]
    assert list(points.values()) == table
    assert sum(table) == 30


def test_of_players_with_one_name_each_has_a_number_that_no_other_player_has_as_its_name():
    game = Short()
    texts = ["random", "random", "minimax:depth=1", "random"]
    named = [players.make(text, game) for text in texts]
    named[2] = replace(named[2], name="random (2)")
    assert arena.different_names(named) == ["random", "random (2)", "random (2) (2)", "random (3)"]


@pytest.mark.parametrize(("plies", "games", "longer"), [(1, 18, False), (1, 20, True)])
def test_the_command_says_where_openings_are_longer_than_asked_for(plies, games, longer, capsys):
    # Tic-tac-toe has nine first moves, so nine pairs of games.
    words = ["random", "random", "--game", "tic_tac_toe"]
    assert main(["arena", *words, "--games", f"{games}", "--opening-plies", f"{plies}"]) == 0
    shown = capsys.readouterr()
    line = "warning: games begin with 1 to 2 random plies, because there are too few different "
    assert (f"{line}openings of 1" in shown.err) == longer
    assert "random (2)" in shown.out


def test_the_pairings_of_a_table_add_up_to_its_rows():
    game = games.make("tic_tac_toe")
    specs = ["random", "minimax:depth=2", "minimax:depth=9"]
    result = arena.play(game, [players.make(spec, game) for spec in specs], 20, seed=0)
    assert [(p.first, p.second) for p in result.pairings] == [(0, 1), (0, 2), (1, 2)]
    assert sum(p.distinct_games for p in result.pairings) == result.distinct_games
    wins = [0, 0, 0]
    for pairing in result.pairings:
        wins[pairing.first] += pairing.wins
        wins[pairing.second] += pairing.losses
        assert pairing.wins + pairing.draws + pairing.losses == 20
    assert wins == [player.wins for player in result.players]


def test_othello_with_its_passes_gives_the_results_of_a_plain_replay():
    game = games.make("othello:size=6")
    pair = (players.make("random", game), players.make("random", game))
    seeds = [[index] for index in range(30)]
    match = lock_step.play_match(game, pair, [()] * 30, seeds, lambda done: None)
    passes = 0
    for index, line in enumerate(match.lines):
        state = game.initial(1)
        for action in line:
            assert game.legal(state)[0, action]
            passes += action == 36
            state = game.step(state, np.array([action]))
        winner = game.outcome(state)[0] * (1 if game.to_move(state)[0] == index % 2 else -1)
        assert match.result[index] == winner
    assert passes > 0


def test_games_of_the_most_plies_are_adjudicated_and_counted():
    game = Short()
    pair = [first_legal(game), first_legal(game)]
    result = arena.play(game, pair, games=4, seed=0, opening_plies=0)
    # Five times one of 15 stones: ten are left, and the side about to move, the second, wins.
    assert result.adjudicated == 4
    assert [(player.wins, player.losses) for player in result.players] == [(2, 2), (2, 2)]
    game = games.make("tic_tac_toe")
    assert arena.play(game, [first_legal(game)] * 2, 4, 0, 0).adjudicated == 0


def test_games_with_and_without_adjudication_have_the_results_of_a_slow_replay():
    game = Short()
    pair = (players.make("random", game), players.make("random", game))
    seeds = [[index] for index in range(60)]
    match = lock_step.play_match(game, pair, [()] * 60, seeds, lambda done: None)
    reasons = []
    for index, line in enumerate(match.lines):
        _, result, reason = replayed(game, line)
        assert match.result[index] == (result if index % 2 == 0 else -result)
        assert reason is not None
        assert replayed(game, line[:-1])[2] is None
        reasons.append(reason)
    assert match.adjudicated.sum() == reasons.count(Reason.LENGTH)
    assert 0 < match.adjudicated.sum() < 60


def test_each_player_gets_the_moves_that_led_to_its_positions():
    game, seen = games.make("connect_four"), []

    def decide(states, rngs, limits, lines):
        seen.extend(zip(lines, states.copy(), strict=True))
        return Decision(game.legal(states).argmax(axis=1))

    pair = (Player("watching", decide), first_legal(game))
    lock_step.play_match(game, pair, [(3, 2), (0, 1)], [[0], [1]], lambda done: None)
    assert len(seen) > 10
    for line, state in seen:
        assert replay(game, [line])[0].tobytes() == state.tobytes()


def test_a_game_does_not_depend_on_the_games_beside_it():
    game = games.make("connect_four")
    pair = (players.make("random", game), players.make("random", game))
    seeds = [[7, index] for index in range(6)]
    together = lock_step.play_match(game, pair, [(3,)] * 6, seeds, lambda done: None)
    fewer = lock_step.play_match(game, pair, [(3,)] * 2, seeds[:2], lambda done: None)
    assert together.lines[:2] == fewer.lines


def test_an_illegal_move_is_reported_with_its_player():
    game = games.make("connect_four")
    stubborn = Player(
        "stubborn", lambda states, rngs, *_: Decision(np.zeros(len(states), np.int64))
    )
    with pytest.raises(RuntimeError, match="stubborn played an illegal move in connect_four"):
        arena.play(game, [stubborn, stubborn], 2, seed=0, opening_plies=0)


@pytest.mark.parametrize(
    ("count", "number", "plies", "complaint"),
    [
        (1, 2, 0, "at least 2 players, not 1"),
        (2, 0, 0, "at least 1, not 0"),
        (2, 2, 9, "0 to 8 in tic_tac_toe, not 9"),
        (2, 2, -1, "0 to 8 in tic_tac_toe, not -1"),
    ],
)
def test_impossible_settings_are_refused(count, number, plies, complaint):
    game = games.make("tic_tac_toe")
    with pytest.raises(ValueError, match=complaint):
        arena.play(game, [players.make("random", game)] * count, number, 0, plies)


def ranked(results):
    return ratings.rank(["one", "two"], [(0, 1)], [np.array(results, np.int8)], [len(results)])


def test_two_players_are_rated_by_the_score_between_them():
    one, two = ranked([1] * 28 + [0] * 4 + [-1] * 8)
    assert (one.wins, one.draws, one.losses, one.score) == (28, 4, 8, 0.75)
    assert (two.wins, two.draws, two.losses, two.score) == (8, 4, 28, 0.25)
    # 400 * log10(0.75 / 0.25), and the same of Wilson's bounds for 30 of 40, 0.5981 and 0.8581.
    assert one.elo == pytest.approx(190.85, abs=0.01)
    assert one.elo_low == pytest.approx(400 * math.log10(0.5981 / 0.4019), abs=0.2)
    assert one.elo_high == pytest.approx(400 * math.log10(0.8581 / 0.1419), abs=0.2)
    assert (two.elo, two.elo_low, two.elo_high) == pytest.approx(
        (-one.elo, -one.elo_high, -one.elo_low)
    )


def test_a_player_that_won_every_game_has_a_finite_rating_and_an_open_upper_bound():
    one, two = ranked([1] * 100)
    # One imagined draw: 100.5 of 101 points; Wilson's lower bound for 100 of 100 is 0.9630.
    assert one.elo == pytest.approx(400 * math.log10(100.5 / 0.5))
    assert one.elo_low == pytest.approx(400 * math.log10(0.9630 / 0.0370), abs=1)
    assert one.elo_high is None
    assert (two.elo, two.elo_low) == (-one.elo, None)
    assert two.elo_high == pytest.approx(-one.elo_low)
    result = arena.ArenaResult("tic_tac_toe", 100, (one, two), 100)
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["players"][0]["wins"] == 100


def test_three_players_whose_odds_multiply_get_exactly_these_ratings():
    # Odds 2 : 1, 3 : 1 and, between the outer two, their product 6 : 1.
    points = np.array([[0, 8, 6], [4, 0, 9], [1, 3, 0]], float)
    elos = [elo for elo, _, _ in ratings.elo(points)]
    assert sum(elos) == pytest.approx(0, abs=1e-9)
    assert elos[0] - elos[1] == pytest.approx(400 * math.log10(2))
    assert elos[1] - elos[2] == pytest.approx(400 * math.log10(3))


def test_the_deviation_of_two_strengths_is_that_of_the_log_odds_halved():
    # The log-odds' variance is 1 / (n p q); each of two strengths with mean 0 is half of them.
    _, covariance = ratings.bradley_terry(np.array([[0, 30], [10, 0]], float))
    deviation = np.sqrt(covariance.diagonal())
    assert deviation == pytest.approx([math.sqrt(1 / (40 * 0.75 * 0.25)) / 2] * 2)


@settings(max_examples=100, deadline=None)
@given(arrays(float, (4, 4), elements=st.integers(0, 30).map(float)))
def test_the_likeliest_strengths_expect_the_points_that_were_scored(table):
    points = np.where(np.eye(4, dtype=bool), 0, table + 0.5)
    strength, _ = ratings.bradley_terry(points)
    gap = strength[:, None] - strength[None, :]
    expected = (points + points.T) / (1 + np.exp(-gap))
    np.testing.assert_allclose(expected.sum(axis=1), points.sum(axis=1), rtol=1e-6)


def test_a_player_who_lost_everything_among_three_has_an_open_lower_bound():
    points = np.array([[0, 5, 10], [5, 0, 10], [0, 0, 0]], float)
    (best, _, high), _, (worst, low, _) = ratings.elo(points)
    assert low is None
    assert worst < -200 < 0 < best < high < math.inf


@pytest.fixture(scope="module")
def connect_four():
    return games.make("connect_four")


def test_the_solver_wins_every_won_position_of_connect_four_against_random(connect_four):
    drawn = openings.draw_openings(connect_four, 60, seed=1, plies=22)
    best, _ = solvers.scores(connect_four, replay(connect_four, drawn))
    won = [opening for opening, score in zip(drawn, best, strict=True) if score > 0]
    assert len(won) > 20
    # The solver is the one to move after 22 plies: the first player of every other game begins.
    pair = (players.make("solver", connect_four), players.make("random", connect_four))
    twice = [opening for opening in won for _ in range(2)]
    seeds = [[0, index] for index in range(len(twice))]
    match = lock_step.play_match(connect_four, pair, twice, seeds, lambda done: None)
    assert (match.result[::2] == 1).all()


def test_the_solver_never_loses_tic_tac_toe_and_is_rated_above_random():
    game = games.make("tic_tac_toe")
    pair = [players.make("solver", game), players.make("random", game)]
    solver, random = arena.play(game, pair, 200, seed=0, opening_plies=0).players
    assert solver.losses == 0
    assert solver.elo_low > 0 > random.elo_high


def test_a_tiny_game_gets_only_openings_that_can_be():
    class TwoPlies(Short):
        max_plies = 2

    assert arena.usual_plies(OneMove([0, 1])) == 0
    assert arena.usual_plies(TwoPlies()) <= 1
    assert arena.usual_plies(games.make("tic_tac_toe")) == 2
    pair = [players.make("random", OneMove([0, 1]))] * 2
    assert arena.play(OneMove([0, 1]), pair, 4, seed=0, opening_plies=None).games == 4


def forfeiting(after, reason):
    """A player of the first legal move that forfeits its games after so many plies."""

    def decide(states, rngs, limits, lines):
        lost = {row: reason for row, line in enumerate(lines) if len(line) >= after + len(line) % 3}
        return Decision(first_legal(game)(states, rngs).action, forfeits=lost or None)

    game = games.make("connect_four")
    return Player("forfeiting", decide, program="a program 1.0")


def test_a_player_that_forfeits_loses_that_game_and_the_others_go_on():
    game, played = games.make("connect_four"), []
    pair = [forfeiting(6, "gave no answer within 1 s"), first_legal(game, "b")]
    result = arena.play(game, pair, 8, seed=0, opening_plies=2, record=played.append)
    lost = [one for one in played if one["result"]["reason"] == "forfeit"]
    assert result.forfeits == (arena.Forfeits(0, "gave no answer within 1 s", len(lost)),)
    assert result.programs == ("a program 1.0", "")
    assert len(lost) > 0
    for one in lost:
        seat = one["seats"].index("forfeiting")
        assert one["resigned"] == seat == len(one["moves"]) % 2
        assert one["result"]["first"] == (-1 if seat == 0 else 1)
        assert one["forfeit"] == "gave no answer within 1 s"
    assert result.players[0].losses >= len(lost)
    assert result.players[1].wins == result.players[0].losses
    assert result.adjudicated == 0
    assert json.loads(json.dumps(asdict(result)))["forfeits"][0]["games"] == len(lost)


def test_a_game_in_which_both_players_would_forfeit_is_lost_by_the_first_to_move():
    game = games.make("connect_four")
    pair = [forfeiting(0, "a"), forfeiting(0, "")]
    result = arena.play(game, pair, 2, seed=0, opening_plies=0)
    # Each begins once; the second player of the pair resigns, which is no forfeit.
    assert [(player.wins, player.losses) for player in result.players] == [(1, 1), (1, 1)]
    assert result.forfeits == (arena.Forfeits(0, "a", 1),)


def test_the_table_of_the_command_shows_forfeits_their_reasons_and_the_programs(tmp_path, capsys):
    engine = Path(__file__).parent / "made_up_engine.py"
    player = f"gtp:cmd='{sys.executable} {engine} gtp tic_tac_toe killed',seconds=20"
    target = tmp_path / "result.json"
    words = ["--game", "tic_tac_toe", "--games", "2", "--opening-plies", "0", "--json", str(target)]
    assert main(["arena", player, "solver", *words]) == 0
    shown = capsys.readouterr()
    assert "forfeits" in shown.out
    assert "lost 2 games: it was ended by SIGKILL" in " ".join(shown.out.split())
    assert "made up 0.1" in shown.err
    saved = json.loads(target.read_text())
    assert saved["programs"] == ["made up 0.1", ""]
    assert saved["forfeits"] == [{"player": 0, "reason": "was ended by SIGKILL", "games": 2}]


def test_no_program_is_started_for_a_configuration_or_a_ladder(tmp_path, capsys):
    target = tmp_path / "started"
    program = f"evaluation.opponent=gtp:cmd=touch {target}"
    assert main(["train", "tic_tac_toe", program, "--run-dir", str(tmp_path / "run")]) == 2
    assert "evaluation.opponent: player" in (shown := capsys.readouterr().err)
    assert "gtp starts a program, so it can be named only on the command lines of" in shown
    rung = ladder.Rung(f"gtp:cmd=touch {target}", 0.0, 0.0, 0)
    rungs = ladder.Ladder("tic_tac_toe", 0, 2, ("1",), (rung,), ())
    game = games.make("tic_tac_toe")
    with pytest.raises(ValueError, match="gtp starts a program"):
        ladder.rate(game, players.make("random", game), rungs, 2)
    assert not target.exists()
