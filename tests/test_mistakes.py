"""Positions files and mistake rates against hand-made answers."""

import gzip
import math

import numpy as np
import pytest

import games
from alphazero.judging import mistakes, players
from alphazero.judging.players import Decision, Player

HEADER = "moves,best,c1,c2,c3,c4,c5,c6,c7,c8,c9\n"
# X holds cells 1 and 2, O 4 and 5, X to move: 3 wins at once, 6 holds the draw, the rest lose.
X_WINS = "1425,1,,,1,,,0,-1,-1,-1\n"
# X holds 1 and 2, O 5: O must block at 3; everything else loses.
O_BLOCKS = "152,0,,,0,-1,,-1,-1,-1,-1\n"
START = ",0,0,0,0,0,0,0,0,0,0\n"


@pytest.fixture
def game():
    return games.make("tic_tac_toe")


@pytest.fixture
def write(tmp_path):
    def written(text, name="positions.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return written


def always(*actions):
    """Plays the first of ``actions`` that is legal."""
    game = games.make("tic_tac_toe")

    def decide(states, rngs, *_):
        legal = game.legal(states)
        return Decision(np.array([next(a for a in actions if row[a]) for row in legal]))

    return Player("always", decide, simulations=7)


def test_a_file_gives_states_best_scores_and_the_scores_of_all_moves(game, write):
    states, best, scores = mistakes.load_positions(write(HEADER + START + X_WINS), game)
    assert states[0] == game.initial(1)[0]
    assert states[1]["cells"].tolist() == [1, 1, 0, -1, -1, 0, 0, 0, 0]
    assert best.tolist() == [0, 1]
    np.testing.assert_array_equal(
        scores[1], np.array([math.nan, math.nan, 1, math.nan, math.nan, 0, -1, -1, -1])
    )


def test_a_gzipped_file_reads_like_a_plain_one(game, write, tmp_path):
    packed = tmp_path / "positions.csv.gz"
    packed.write_bytes(gzip.compress((HEADER + X_WINS).encode()))
    plain = mistakes.load_positions(write(HEADER + X_WINS), game)
    assert mistakes.load_positions(packed, game).states == plain.states


def test_moves_are_separated_by_spaces_where_there_are_ten_or_more(write):
    othello = games.make("othello:size=6")
    legal = {8: "0", 13: "0", 22: "0", 27: "0"}
    scores = ",".join(legal.get(action, "") for action in range(othello.num_actions))
    header = ",".join(["moves", "best", *(f"c{i + 1}" for i in range(othello.num_actions))])
    start = othello.initial(1)
    assert set(np.flatnonzero(othello.legal(start)[0])) == set(legal)
    one = mistakes.load_positions(write(f"{header}\n,0,{scores}\n"), othello)
    assert one.states == start
    after = othello.step(start, np.array([8]))
    allowed = othello.legal(after)[0]
    scores = ",".join("0" if allowed[action] else "" for action in range(othello.num_actions))
    two = mistakes.load_positions(write(f"{header}\n9,0,{scores}\n"), othello)
    assert two.states == after


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("moves,score\n,0\n", ":1: the header is 'moves,score'"),
        (HEADER, "holds no positions"),
        (HEADER + START + "11,0,,0,0,0,0,0,0,0,0\n", ":3: move 2 of '11', '1', cannot be played"),
        (HEADER + "10,0,,0,0,0,0,0,0,0,0\n", ":2: move 2 of '10', '0', cannot be played"),
        (HEADER + ",1,0,0,0,0,0,0,0,0,0\n", ":2: best is 1"),
        (HEADER + ",0,0,0,0,0,0,0,0,0,\n", ":2: c9 has no score but can be played"),
        (HEADER + "1,0,0,0,0,0,0,0,0,0,0\n", ":2: c1 has a score but cannot be played"),
        (HEADER + ",0,0,0\n", ":2: has 4 fields, not 11"),
        (HEADER + ",x,0,0,0,0,0,0,0,0,0\n", ":2: 'x' is not a score"),
        (HEADER + "14253,0,,,,,,,,,\n", ":2: the game is over after '14253'"),
    ],
)
def test_a_bad_file_is_refused_in_one_line_that_names_the_place(game, write, text, complaint):
    with pytest.raises(ValueError, match=r"positions\.csv") as refused:
        mistakes.load_positions(write(text), game)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_or_damaged_file_is_refused_in_one_line(game, tmp_path, write):
    with pytest.raises(ValueError, match="no such file"):
        mistakes.load_positions(tmp_path / "none.csv", game)
    with pytest.raises(ValueError, match="not a whole gzip file"):
        mistakes.load_positions(write("not gzip", "positions.csv.gz"), game)


def test_mistakes_are_moves_that_change_the_result_for_the_worse(game, write):
    positions = mistakes.load_positions(write(HEADER + START + X_WINS + O_BLOCKS), game)
    # Cell 6 throws away the win and, in the other position, the draw; cell 1 is right at the start.
    report = mistakes.evaluate(always(5), positions, game, seed=0)
    assert report["mistakes"] == 2
    assert report["mistake_rate"] == pytest.approx(2 / 3)
    assert report["optimal_rate"] == pytest.approx(1 / 3)
    assert report["positions"] == 3
    assert report["simulations"] == 7
    assert report["classes"] == {
        "win": {"positions": 1, "mistakes": 1},
        "draw": {"positions": 2, "mistakes": 1},
        "loss": {"positions": 0, "mistakes": 0},
    }
    assert mistakes.evaluate(always(2), positions, game, seed=0)["mistakes"] == 0


def test_a_slower_win_is_no_mistake_but_not_optimal(game, write):
    text = HEADER + ",3,3,1,0,0,0,0,0,0,-1\n"
    report = mistakes.evaluate(always(1), mistakes.load_positions(write(text), game), game, seed=0)
    assert (report["mistakes"], report["optimal_rate"]) == (0, 0.0)


# Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(successes, trials, low, high):
    assert mistakes.wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)
    mirrored = mistakes.wilson(trials - successes, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_every_position_of_tic_tac_toe_is_checked_and_the_solver_makes_no_mistake(game):
    everything = mistakes.positions_from("all", game)
    assert len(everything.states) == 4520
    report = mistakes.evaluate(players.make("solver", game), everything, game, seed=0)
    assert report["mistakes"] == 0
    assert report["optimal_rate"] == 1.0
    assert report["high"] < 0.001


@pytest.mark.parametrize(
    ("spec", "measured"),
    [
        ("minimax:depth=5", ["minimax:depth=5"]),
        ("checkpoint", ["policy", "checkpoint:simulations=600"]),
        ("checkpoint:path=x", ["policy:path=x", "checkpoint:simulations=600,path=x"]),
        (
            "checkpoint:path=x,search=puct,simulations=50",
            ["policy:path=x", "checkpoint:simulations=50,path=x,search=puct"],
        ),
        (
            "checkpoint:backend=torch,precision=float32,device=cpu",
            [
                "policy:backend=torch,precision=float32,device=cpu",
                "checkpoint:simulations=600,backend=torch,precision=float32,device=cpu",
            ],
        ),
    ],
)
def test_a_suite_measures_a_checkpoint_without_search_and_with_600_simulations(spec, measured):
    assert mistakes.suite_players(spec) == measured


def test_a_game_without_a_suite_is_refused_in_one_line(game, monkeypatch, tmp_path):
    with pytest.raises(
        ValueError, match=r"no suite for tic_tac_toe; there is one for connect_four$"
    ):
        mistakes.load_suite(game)
    monkeypatch.setattr(mistakes, "SUITES", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="only a checkout of the source has them"):
        mistakes.load_suite(games.make("connect_four"))


def test_the_suite_has_six_sets_which_the_rules_agree_with():
    sets = mistakes.load_suite(games.make("connect_four"))
    assert {len(positions.states) for positions in sets.values()} == {1000}
    assert list(sets)[:3] == ["opening_easy", "opening_medium", "opening_hard"]
    assert len(sets) == 6


def test_progress_counts_every_position_once(game):
    everything, counts = mistakes.positions_from("all", game), []
    mistakes.evaluate(players.make("random", game), everything, game, 0, counts.append)
    assert sum(counts) == 4520
    assert max(counts) == mistakes.BATCH


def test_the_same_seed_gives_the_same_report(game):
    everything = mistakes.positions_from("all", game)
    player = players.make("random", game)
    first = mistakes.evaluate(player, everything, game, seed=3)
    assert mistakes.evaluate(player, everything, game, seed=3) == first
    assert mistakes.evaluate(player, everything, game, seed=4) != first
