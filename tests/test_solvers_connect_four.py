"""The Connect Four solver against published answers, a brute force and itself."""

import csv
import gzip
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import games
from games import solvers
from games.solvers import connect_four
from games.solvers import connect_four_kernels as kernels

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "connect4"
GAME = games.make("connect_four")
needs_data = pytest.mark.skipif(
    not DATA.exists(), reason=f"the solved positions are not at {DATA}: development and CI only"
)


PUBLISHED = [
    # Positions with scores from Pascal Pons's tutorial on solving Connect Four (its end game set).
    ("2252576253462244111563365343671351441", -1),
    ("7422341735647741166133573473242566", 1),
    ("23163416124767223154467471272416755633", 0),
]


@cache
def openings():
    """(moves, the seven scores) of every row, the deepest first: they are the cheapest."""
    with open(DATA / "openings.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    rows.sort(key=lambda row: (-len(row["moves"]), row["moves"]))
    return [
        (row["moves"], np.array([float(row[f"c{c}"] or "nan") for c in range(1, 8)]))
        for row in rows
    ]


@cache
def eight_plies():
    with gzip.open(DATA / "ply8_unforced_67557.csv.gz", "rt", newline="") as file:
        return sorted((row["moves"], int(row["score"])) for row in csv.DictReader(file))


def bitboards(moves):
    state = solvers.position(GAME, moves)[0]
    return int(state["mine"]), int(state["theirs"])


@pytest.mark.parametrize(("moves", "score"), PUBLISHED)
def test_published_scores_come_out(moves, score):
    assert solvers.scores(GAME, solvers.position(GAME, moves))[0] == score


def wrong_openings(solver, rows):
    return [
        moves
        for moves, expected in rows
        if not np.array_equal(solver.move_scores(*bitboards(moves)), expected, equal_nan=True)
    ]


def wrong_eight_plies(solver, rows):
    """A score is right when it is reached and one more is not."""
    wrong = []
    for moves, score in rows:
        own, other = bitboards(moves)
        if not solver.at_least(own, other, score) or solver.at_least(own, other, score + 1):
            wrong.append(moves)
    return wrong


def has_four(columns, side):
    cells = {(x, y) for x, column in enumerate(columns) for y, s in enumerate(column) if s == side}
    return any(
        all((x + k * dx, y + k * dy) in cells for k in range(4))
        for x, y in cells
        for dx, dy in ((0, 1), (1, 0), (1, 1), (1, -1))
    )


def brute_force(columns, mover):
    """Scores by the book: play every game to its end. ``columns``: seven strings of X and O."""
    scores = {}
    for x in range(7):
        if len(columns[x]) == 6:
            continue
        after = [*columns[:x], columns[x] + mover, *columns[x + 1 :]]
        stones = sum(map(len, after))
        if has_four(after, mover):
            scores[x] = 22 - (stones + 1) // 2
        elif stones == 42:
            scores[x] = 0
        else:
            scores[x] = -max(brute_force(after, "O" if mover == "X" else "X").values())
    return scores


def random_moves(rng, plies):
    """An unfinished game of ``plies`` random moves, as text."""
    while True:
        states, moves = GAME.initial(1), ""
        while len(moves) < plies and GAME.legal(states).any():
            action = rng.choice(np.flatnonzero(GAME.legal(states)[0]))
            states, moves = GAME.step(states, np.array([action])), moves + str(action + 1)
        if len(moves) == plies and GAME.legal(states).any():
            return moves


def columns_of(moves):
    columns = [""] * 7
    for ply, move in enumerate(moves):
        columns[int(move) - 1] += "XO"[ply % 2]
    return columns


@pytest.fixture(scope="module")
def solver():
    return connect_four.Solver(table_bits=20)


@needs_data
def test_move_scores_agree_with_the_solved_openings_on_a_sample(solver):
    assert wrong_openings(solver, openings()[:60:10]) == []


@needs_data
def test_scores_agree_with_the_solved_eight_ply_positions_on_a_sample(solver):
    assert wrong_eight_plies(solver, eight_plies()[::20000]) == []


@needs_data
@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.timeout(3 * 3600)
def test_move_scores_agree_with_all_solved_openings():
    assert wrong_openings(connect_four.Solver(table_bits=26), openings()) == []


@needs_data
@pytest.mark.slow
@pytest.mark.hours
@pytest.mark.timeout(12 * 3600)
def test_scores_agree_with_all_solved_eight_ply_positions():
    assert wrong_eight_plies(connect_four.Solver(table_bits=26), eight_plies()) == []


@pytest.mark.parametrize("empty", [1, 2, 3, 4, 5, 6, 7, 8])
def test_near_full_boards_agree_with_a_brute_force(solver, empty):
    rng = np.random.default_rng(empty)
    for _ in range(4):
        moves = random_moves(rng, 42 - empty)
        expected = brute_force(columns_of(moves), "XO"[len(moves) % 2])
        scores = solver.move_scores(*bitboards(moves))
        assert {x: s for x, s in enumerate(scores) if not np.isnan(s)} == expected
        assert solver.score(*bitboards(moves)) == max(expected.values())


def test_the_score_of_a_position_is_the_best_of_its_moves_and_a_mirror_changes_nothing(solver):
    rng = np.random.default_rng(0)
    for plies in (16, 20, 24, 28):
        moves = random_moves(rng, plies)
        scores = solver.move_scores(*bitboards(moves))
        assert connect_four.Solver(table_bits=16).score(*bitboards(moves)) == np.nanmax(scores)
        mirrored = "".join(str(8 - int(move)) for move in moves)
        fresh = connect_four.Solver(table_bits=16).move_scores(*bitboards(mirrored))
        np.testing.assert_array_equal(fresh[::-1], scores)


@pytest.mark.parametrize(("moves", "score"), [("112233", 18), ("121212", 18), ("22334", -18)])
def test_a_win_on_the_move_and_one_that_cannot_be_stopped_have_known_scores(solver, moves, score):
    # The winner wins with its 4th stone: that one and 17 more are left of its 21.
    assert solver.score(*bitboards(moves)) == score


def test_at_least_holds_for_every_bound_up_to_the_score_and_for_none_above(solver):
    own, other = bitboards("4444441762711653")
    score = solver.score(own, other)
    reached = [bound for bound in range(-21, 22) if solver.at_least(own, other, bound)]
    assert reached == list(range(-21, score + 1))


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (0b111 << 7, 0b1111, "over"),
        (1, 1, "no game"),
        (0, 0b10, "no game"),
        (0, 1 << 6, "no game"),
        (0b11, 0, "no game"),
    ],
)
def test_finished_and_impossible_boards_are_refused_in_one_line(solver, own, other, words):
    for method in (solver.score, solver.move_scores, lambda a, b: solver.at_least(a, b, 0)):
        with pytest.raises(ValueError, match=words):
            method(own, other)


def test_a_batch_gives_the_best_score_and_marks_full_columns(solver):
    states = np.concatenate(
        [solvers.position(GAME, m) for m in ("55555522222244", "44444415626262")]
    )
    best, scores = solver.solve(states)
    assert best.dtype == np.int8
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(best, np.nanmax(scores, axis=1))
    assert np.isnan(scores).tolist() == (~GAME.legal(states)).tolist()


def test_a_batch_names_the_finished_position_it_refuses(solver):
    states = np.concatenate([solvers.position(GAME, m) for m in ("44444415626262", "1122334")])
    with pytest.raises(ValueError, match="position 1 of 2: the game is over"):
        solver.solve(states)


def test_a_search_cut_into_slices_searches_the_same_nodes(monkeypatch):
    own, other = bitboards("44444415733")
    whole, sliced = connect_four.Solver(table_bits=18), connect_four.Solver(table_bits=18)
    expected = whole.score(own, other)
    monkeypatch.setattr(connect_four, "_BUDGET", 1000)
    assert sliced.score(own, other) == expected
    assert sliced.nodes == whole.nodes > 10_000


def test_an_interrupted_solver_can_still_be_used(monkeypatch):
    search, calls = kernels.search, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return search(*arguments)

    solver = connect_four.Solver(table_bits=18)
    monkeypatch.setattr(connect_four, "_BUDGET", 1000)
    monkeypatch.setattr(kernels, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solver.score(*bitboards("44444415733"))
    moves = "4444441573326"
    fresh = connect_four.Solver(table_bits=18).score(*bitboards(moves))
    assert solver.score(*bitboards(moves)) == fresh


@pytest.mark.parametrize("bits", [0, 35])
def test_a_table_of_an_impossible_size_is_refused(bits):
    with pytest.raises(ValueError, match="table_bits must be 1 to 34"):
        connect_four.Solver(table_bits=bits)


def test_a_tiny_table_only_costs_time(solver):
    own, other = bitboards("44444415626262371")
    assert connect_four.Solver(table_bits=1).score(own, other) == solver.score(own, other)


def test_the_heuristic_counts_69_lines_and_changes_its_sign_with_the_side():
    assert len(set(kernels.LINES.tolist())) == 69
    rng = np.random.default_rng(1)
    states = np.concatenate([solvers.position(GAME, random_moves(rng, p)) for p in range(30)])
    swapped = np.empty_like(states)
    swapped["mine"], swapped["theirs"] = states["theirs"], states["mine"]
    values = connect_four.heuristic(states)
    assert values.dtype == np.float32
    assert (np.abs(values) < 1).all()
    np.testing.assert_allclose(connect_four.heuristic(swapped), -values)


def test_the_heuristic_counts_open_lines_as_by_hand():
    # One stone at the foot of the middle column: 4 rows, 1 column and 2 diagonals go through it.
    value = connect_four.heuristic(solvers.position(GAME, "4"))
    np.testing.assert_allclose(value, np.tanh(-7 * connect_four._SCALE), rtol=1e-6)
