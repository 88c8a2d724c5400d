"""The ladder: ratings against hand-made and simulated results, and the one that is shipped."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import games
from alphazero.judging import calibration, ladder, lock_step, players
from alphazero.judging.ladder import Ladder, Pairing, Rung
from alphazero.judging.mistakes import wilson
from games import solvers
from workers import cli
from workers.commands import ladder as command

GAME = games.make("tic_tac_toe")


RUNG = {"player": "random", "elo": 0.0, "error": 0.0, "games": 0}


def made_up(rung_elos, openings=("51", "15", "59", "95"), game="tic_tac_toe"):
    rungs = tuple(Rung("random", float(elo), 0.0, 0) for elo in rung_elos)
    return Ladder(game, 0, 2, openings, rungs, ())


def made_up_match(results, lines):
    return lock_step.Match(
        results, lines, np.zeros(len(lines), bool), np.zeros(len(lines), np.int8)
    )


def estimate(rung_elos, results):
    return ladder.estimate(np.array(rung_elos, float), np.array(results))


def test_against_one_rung_a_rating_is_the_arenas_and_its_interval_wilsons():
    elo, low, high = estimate([1000], [[28, 4, 8]])
    # 400 * log10(0.75 / 0.25), and the same of Wilson's bounds for 30 of 40, 0.5981 and 0.8581.
    assert elo == pytest.approx(1190.85, abs=0.01)
    assert low == pytest.approx(1000 + 400 * math.log10(0.5981 / 0.4019), abs=0.2)
    assert high == pytest.approx(1000 + 400 * math.log10(0.8581 / 0.1419), abs=0.2)


def test_a_player_between_two_rungs_has_the_rating_computed_by_hand():
    # Twice the odds of the first and half those of the second, which has four times the first's.
    rung_elos = [0, 400 * math.log10(4)]
    elo, low, high = estimate(rung_elos, [[20, 0, 10], [8, 4, 18]])
    assert elo == pytest.approx(400 * math.log10(2))
    # The points' variance is 60 * 2/9; the interval is nearly its quadratic approximation.
    radius = 1.96 * 400 / math.log(10) / math.sqrt(60 * 2 / 9)
    assert [elo - low, high - elo] == pytest.approx([radius] * 2, rel=0.05)


def test_an_elo_lies_between_its_bounds_where_games_against_one_rung_were_repeated():
    rungs = np.array([0.0, 500.0])
    for results in ([[50, 0, 150], [25, 0, 25]], [[90, 0, 10], [5, 0, 45]]):
        elo, low, high = ladder.estimate(rungs, np.array(results), np.array([2, 50]))
        assert low < elo < high
        _, closer, near = ladder.estimate(rungs, np.array(results))
        assert low < closer < near < high


def test_a_rung_without_games_does_not_change_the_estimate():
    assert estimate([0, 500, 900], [[5, 1, 4], [0, 0, 0], [1, 0, 9]]) == pytest.approx(
        estimate([0, 900], [[5, 1, 4], [1, 0, 9]])
    )


def test_a_player_that_won_or_lost_every_game_is_rated_with_one_more_draw_and_an_open_bound():
    elo, low, high = estimate([300], [[40, 0, 0]])
    assert elo == pytest.approx(300 + 400 * math.log10(40.5 / 0.5))
    # Wilson's lower bound for 40 of 40 is 40 / (40 + 1.96 ** 2).
    assert low == pytest.approx(300 + 400 * math.log10(40 / 1.96**2), abs=0.1)
    assert high is None
    beaten, below, above = estimate([300], [[0, 0, 40]])
    assert (beaten - 300, below) == (pytest.approx(300 - elo), None)
    assert above == pytest.approx(600 - low)


def simulated(monkeypatch, rung_elos, true_elo):
    """Results drawn from the model: the player of ``true_elo`` against rungs of ``rung_elos``."""
    opponents = []
    shares = {f"rung{i}": 1 / (1 + 10 ** ((h - true_elo) / 400)) for i, h in enumerate(rung_elos)}

    def match(game, pair, starts, seeds, report):
        opponents.append((pair[1].name, len(starts)))
        wins = np.random.default_rng(seeds[0]).binomial(len(starts), shares[pair[1].name])
        results = np.array([1] * wins + [-1] * (len(starts) - wins), np.int8)
        return made_up_match(results, [tuple(seed) for seed in seeds])

    monkeypatch.setattr(ladder, "play_match", match)
    monkeypatch.setattr(
        ladder.players, "make", lambda spec, *_, **__: players.Player(spec, lambda s, r, *_: None)
    )
    rungs = tuple(Rung(f"rung{i}", h, 0.0, 0) for i, h in enumerate(rung_elos))
    return replace(made_up(rung_elos), rungs=rungs), opponents


@pytest.mark.parametrize("true_elo", [pytest.param(130.0, marks=pytest.mark.slow), 845.0, 1700.0])
def test_a_known_elo_is_recovered_from_simulated_games(monkeypatch, true_elo):
    rung_elos = np.arange(0, 1801, 150.0)
    rungs, opponents = simulated(monkeypatch, rung_elos.tolist(), true_elo)
    player = players.Player("simulated", lambda states, rngs, *_: None)
    ratings = [ladder.rate(GAME, player, rungs, 200, seed) for seed in range(60)]
    elos = np.array([rating.elo for rating in ratings])
    # 200 games at even odds fix an Elo to 400 / ln(10) / sqrt(200 / 4), about 25.
    assert abs(elos.mean() - true_elo) < 4 * elos.std() / math.sqrt(60)
    assert 20 < elos.std() < 40
    assert sum(r.elo_low < true_elo < r.elo_high for r in ratings) >= 52
    assert {rating.games for rating in ratings} == {200}
    near = [size for name, size in opponents if abs(rung_elos[int(name[4:])] - true_elo) < 400]
    assert sum(near) > 0.8 * 60 * 200


def test_every_opening_is_played_from_both_seats_and_games_differ_in_their_randomness(monkeypatch):
    seen = []

    def match(game, pair, openings, seeds, report):
        seen.extend(zip(openings, map(tuple, seeds), strict=True))
        return made_up_match(np.zeros(len(openings), np.int8), list(openings))

    monkeypatch.setattr(ladder, "play_match", match)
    rating = ladder.rate(GAME, players.make("random", GAME), made_up([0]), 50, seed=3)
    assert [opening for opening, _ in seen[:10]] == [
        (4, 0), (4, 0), (0, 4), (0, 4), (4, 8), (4, 8), (8, 4), (8, 4), (4, 0), (4, 0),
    ]  # fmt: skip
    assert len({seed for _, seed in seen}) == len(seen) == 50
    assert (rating.opponents[0].draws, rating.elo) == (50, pytest.approx(0, abs=1e-6))
    # Each of these games is one of four; the interval is that of four draws.
    assert (rating.games, rating.distinct_games, rating.opponents[0].distinct_games) == (50, 4, 4)
    assert (rating.elo_low, rating.elo_high) == pytest.approx(estimate([0], [[0, 4, 0]])[1:])
    low, high = wilson(2, 4)
    assert (rating.opponents[0].low, rating.opponents[0].high) == pytest.approx((low, high))


def test_a_fit_gives_odds_that_multiply_exactly_and_the_error_of_the_log_odds():
    # Odds 2 : 1, 3 : 1 and, between the outer two, their product 6 : 1.
    pairings = [Pairing(0, 1, 4, 0, 8), Pairing(1, 2, 3, 0, 9), Pairing(0, 2, 0, 2, 6)]
    rungs = calibration.fit(["a", "b", "c"], pairings[:2])
    assert [rung.elo for rung in rungs] == pytest.approx([0, 120.4, 311.3], abs=0.1)
    assert [rung.games for rung in rungs] == [12, 24, 12]
    # In a chain the variances 1 / (n p q) add up: 1 / (12 * 2/9), then 1 / (12 * 3/16) more.
    scale = 400 / math.log(10)
    errors = [0, scale * math.sqrt(0.375), scale * math.sqrt(0.375 + 4 / 9)]
    assert [rung.error for rung in rungs] == pytest.approx(errors, abs=0.1)
    assert [rung.player for rung in calibration.fit(["a", "b", "c"], pairings)] == ["a", "b", "c"]


def test_balanced_openings_are_distinct_positions_that_exhaustive_search_finds_drawn():
    openings = calibration.balanced_openings(GAME, 30, 3, seed=1)
    states = np.concatenate([solvers.position(GAME, text) for text in openings])
    assert len({state.tobytes() for state in states}) == 30
    solution = solvers.minimax.solve_all(GAME)
    drawn = {
        s.tobytes() for s, value in zip(solution.states, solution.value, strict=True) if not value
    }
    assert all(state.tobytes() in drawn for state in states)
    assert calibration.balanced_openings(GAME, 30, 3, seed=1) == openings
    assert calibration.balanced_openings(GAME, 30, 3, seed=2) != openings


def test_the_search_for_openings_that_do_not_exist_ends(monkeypatch):
    monkeypatch.setattr(calibration, "ATTEMPTS", 20)
    with pytest.raises(ValueError, match="no 80 balanced openings of 2 plies"):
        calibration.balanced_openings(GAME, 80, 2, seed=0)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reach": 0}, "reach: should be greater than or equal to 1"),
        ({"pairing_games": 0}, "pairing_games: should be greater than or equal to 1"),
        ({"pairing_games": 9}, "pairing_games are 1 to twice the openings, not 9"),
        ({"pairing_games": 3}, "pairing_games is even, as each opening is played twice, not 3"),
        ({"reach": "far"}, "reach: should be "),
        ({"seed": -1}, "seed: should be "),
        ({"game": 7}, "game: should be "),
        ({"openings": 7}, "openings: should be "),
        ({"openings": [["51"]]}, "openings.0: should be "),
        ({"rungs": 7}, "rungs: should be a valid tuple"),
        ({"rungs": [7]}, "rungs.0: should be a dictionary"),
        (
            {"pairings": ["01100"], "rungs": [RUNG] * 2},
            "pairings.0: should be a row of five numbers",
        ),
        (
            {"pairings": [[0, 1, 1, 0]], "rungs": [RUNG] * 2},
            "pairings.0: should be a row of five numbers",
        ),
        ({"rungs": [RUNG | {"elo": math.nan}]}, "elo: should be "),
        ({"rungs": [RUNG | {"elo": 1e300}]}, "elo: should be "),
        ({"rungs": [RUNG | {"player": ["random"]}]}, "player: should be "),
        ({"rungs": [RUNG | {"more": 1}]}, "more: Unexpected keyword argument"),
        ({"pairings": [[0, 1, 10**30, 0, 0]]}, "pairings.0.wins: should be "),
        ({"pairings": [[0, 5, 1, 0, 0]]}, "rungs 0 and 5 are no pair of rungs"),
        ({"pairings": [[0, 0, 1, 0, 0]]}, "rungs 0 and 0 are no pair of rungs"),
        ({"pairings": [[0, 1, 1, 0, 0]] * 2, "rungs": [RUNG] * 2}, "a pairing twice"),
        ({"rungs": []}, "no rungs"),
        ({"more": 1}, "more: Unexpected keyword argument"),
    ],
)
def test_a_ladder_with_a_wrong_field_is_refused_in_one_line(change, complaint, tmp_path):
    path = tmp_path / "ladder.json"
    ladder.save(made_up([0]), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=f"{path} is no ladder: .*{complaint}") as refused:
        ladder.load(GAME, path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[]", "should be a dict"), ("{}", "rungs: Field required"), ("[" * 10**5, "recursion"),
     ("{", "no JSON at line 1, column 2: expecting property"),
      (" " * 2**21, "has 2,097,152 bytes, should have at most"),
     ("\udcff", "can't decode")],
    ids=range(6),
)  # fmt: skip
def test_a_file_that_is_no_ladder_is_refused_in_one_line(text, complaint, tmp_path):
    path = tmp_path / "ladder.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=f"{path} is no ladder: .*{complaint}") as refused:
        ladder.load(GAME, path)
    assert len(str(refused.value).splitlines()) == 1


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A ladder of tic-tac-toe, calibrated and installed."""
    specs = ("random", "solver:errors=0.5", "solver")
    uncalibrated = replace(made_up([0] * 3), rungs=tuple(Rung(spec, 9.0, 9.0, 9) for spec in specs))
    *_, made = calibration.calibrate(GAME, calibration.blank(GAME, uncalibrated))
    monkeypatch.setattr(ladder, "FOLDER", tmp_path)
    ladder.save(made, tmp_path / "tic_tac_toe.json")
    return made


def test_a_calibration_ranks_random_below_an_erring_solver_below_the_solver_and_repeats_itself(
    small,
):
    assert [rung.player for rung in small.rungs] == ["random", "solver:errors=0.5", "solver"]
    assert 0 == small.rungs[0].elo < small.rungs[1].elo < small.rungs[2].elo
    assert [(pairing.lower, pairing.higher) for pairing in small.pairings] == [
        (0, 1),
        (1, 2),
        (0, 2),
    ]
    assert {p.wins + p.draws + p.losses for p in small.pairings} == {8}
    assert list(calibration.calibrate(GAME, calibration.blank(GAME, small)))[-1] == small
    assert ladder.load(GAME) == small


def test_a_stopped_calibration_continues_where_it_ended(small):
    begun = replace(small, pairings=small.pairings[:1])
    later = list(calibration.calibrate(GAME, begun))
    assert [len(step.pairings) for step in later] == [2, 3]
    assert later[-1] == small
    assert list(calibration.calibrate(GAME, small)) == []


def test_the_command_rates_a_player_and_calibrates(small, tmp_path, capsys):
    words = ["ladder", "tic_tac_toe"]
    assert (
        cli.main([*words, "minimax:depth=9", "--games", "30", "--json", str(tmp_path / "x")]) == 0
    )
    printed = capsys.readouterr().out
    assert "solver" in printed
    assert "30 games" in printed
    assert cli.main([*words, "--calibrate", str(tmp_path / "new.json")]) == 0
    assert "solver:errors=0.5" in capsys.readouterr().out
    assert (tmp_path / "new.json").read_text() == (tmp_path / "tic_tac_toe.json").read_text()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["othello:size=6"], "othello:size=6 has no ladder, only connect_four; go:"),
        (["connect_four", "random", "--games", "0"], "at least 1, not 0"),
        (["connect_four", "random", "--calibrate", "x.json"], "leave PLAYER out"),
        (
            ["connect_four", "--calibrate", "x.json", "--seed", "3"],
            "--seed are for rating a PLAYER",
        ),
        (["connect_four", "--games", "5"], "--games and --seed are for rating a PLAYER"),
        (["connect_four", "--calibrate", "README.md"], "README.md is no ladder"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_2(words, complaint, capsys, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    assert cli.main(["ladder", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nowhere/x.json", "nowhere is not a folder"),
        ("tests", "tests is a folder, not a file"),
        ("-", "standard output cannot be used here"),
    ],
)
def test_a_calibration_path_that_cannot_be_a_file_is_refused_by_the_grammar(
    path, complaint, capsys, monkeypatch
):
    monkeypatch.chdir(Path(__file__).parents[1])
    with pytest.raises(SystemExit) as ended:
        cli.main(["ladder", "connect_four", "--calibrate", path])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("openings", "complaint"),
    [
        (("51", "55"), "move 2 of '55', '5', cannot be played"),
        (("51", "x"), "move 1 of 'x', 'x', cannot be played"),
        (("14253",), "the game is over after '14253'"),
        ((), "has no openings"),
    ],
)
def test_a_ladder_whose_openings_cannot_be_played_is_refused(openings, complaint, tmp_path):
    path = tmp_path / "ladder.json"
    ladder.save(made_up([0], openings), path)
    with pytest.raises(ValueError, match=re.escape(f"{path}")) as refused:
        ladder.load(GAME, path)
    assert complaint in str(refused.value)


INSTALLED = sorted(ladder.installed())


@pytest.fixture(scope="module")
def shipped():
    return ladder.load(games.make("connect_four"))


def test_there_are_ladders_of_four_games():
    assert [name.partition(":")[0] for name in INSTALLED] == [
        "connect_four",
        "go",
        "hex",
        "othello",
    ]


@pytest.mark.parametrize("name", INSTALLED)
def test_the_shipped_elo_is_the_fit_of_the_shipped_results(name):
    game = games.make(name)
    shipped = ladder.load(game)
    specs = [rung.player for rung in shipped.rungs]
    assert calibration.fit(specs, shipped.pairings) == shipped.rungs
    assert (shipped.game, specs[0], shipped.rungs[0].elo) == (name, "random", 0)
    for spec in specs:
        players.parse(spec)


@pytest.mark.parametrize("name", INSTALLED)
def test_every_pair_within_reach_has_played_its_games(name):
    shipped = ladder.load(games.make(name))
    size = len(shipped.rungs)
    within = {(i, j) for i in range(size) for j in range(i + 1, size) if j - i <= shipped.reach}
    assert {(pairing.lower, pairing.higher) for pairing in shipped.pairings} == within
    expected = shipped.pairing_games or 2 * len(shipped.openings)
    assert {p.wins + p.draws + p.losses for p in shipped.pairings} == {expected}


@pytest.mark.parametrize("name", [name for name in INSTALLED if name != "connect_four"])
def test_random_openings_are_those_of_the_ladders_seed_and_lead_to_different_positions(name):
    game = games.make(name)
    shipped = ladder.load(game)
    drawn = calibration.random_openings(game, 50, shipped.opening_plies, shipped.seed)
    assert shipped.openings == drawn
    assert not shipped.balanced
    states = solvers.positions(game, drawn)
    assert len({identity.tobytes() for identity in game.identity(states)}) == 50


def test_the_shipped_ladder_of_connect_four_ends_with_the_solver(shipped):
    assert shipped.rungs[-1].player == "solver"


def test_the_shipped_rungs_rise_without_wide_gaps(shipped):
    rung_elos = np.array([rung.elo for rung in shipped.rungs])
    assert rung_elos.min() == rung_elos[0] == 0
    assert rung_elos.max() == rung_elos[-1] > 1000
    assert (np.diff(np.sort(rung_elos)) < 300).all()
    assert len(shipped.openings) == len(set(shipped.openings)) == 50


def test_the_shipped_openings_are_drawn(shipped):
    game = games.make("connect_four")
    states = solvers.position(game, shipped.openings[0])
    for text in shipped.openings[10::15]:
        states = np.append(states, solvers.position(game, text))
    assert {len(text) for text in shipped.openings} == {shipped.opening_plies}
    assert (solvers.scores(game, states)[0] == 0).all()


def test_the_command_says_how_many_games_of_a_rating_were_different(small, capsys):
    deterministic = ["ladder", "tic_tac_toe", "policy", "--games", "200"]
    assert cli.main(deterministic) == 0
    captured = capsys.readouterr()
    counted = re.search(r"200 games, (\d+) different", " ".join(captured.out.split()))
    assert counted
    assert f"warning: only {counted[1]} of 200 games are different" in captured.err


def test_a_player_without_a_point_or_without_a_loss_is_given_its_bound_alone(capsys):
    for results, words in (((0, 0, 9), "x: Elo below 300 with 95 %; "), ((9, 0, 0), "Elo above 7")):
        ends = (None, 300.0) if results[2] else (7.0, None)
        record = ladder.Record("random", 0.0, *results, results[0] / 9, 0.0, 1.0, 9)
        table = command._rating_table(ladder.Rating("nim", "x", 1.0, *ends, 9, (record,), 9))
        assert words in str(table.title)


def test_the_help_states_the_size_of_a_round():
    assert command.ROUND == ladder.ROUND
