"""The six sets: the committed positions have the stated properties and are drawn again."""

import csv
import gzip
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from test_solvers_connect_four import brute_force, columns_of

from games import solvers
from games.solvers import suite
from games.solvers.connect_four import Solver

FOLDER = Path(__file__).parent / "data" / "connect_four"
BY_NAME = {target.name: target for target in suite.SETS}
LATE = ("middle_easy", "middle_medium", "end_easy")
each_set = pytest.mark.parametrize("name", BY_NAME)


@cache
def rows(name):
    """(moves, best score, the seven scores) of each position."""
    with gzip.open(FOLDER / f"{name}.csv.gz", "rt", newline="") as file:
        return [
            (row["moves"], int(row["best"]), [row[f"c{c}"] for c in range(1, 8)])
            for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def solver():
    return Solver(table_bits=22)


def solved(solver, moves):
    (row,) = solvers.label(suite.GAME, [moves], lambda _, states: solver.solve(states))
    return moves, int(row[1]), row[2:]


@each_set
def test_a_set_has_a_thousand_unfinished_positions_of_its_stage_and_difficulty(name):
    stages = {"opening": range(15), "middle": range(15, 29), "end": range(29, 43)}
    difficulties = {"easy": range(1, 14), "medium": range(14, 29), "hard": range(29, 43)}
    stage, difficulty = name.split("_")
    assert len(rows(name)) == 1000
    for moves, best, scores in rows(name):
        assert len(moves) in stages[stage]
        assert suite.plies_left(best, len(moves)) in difficulties[difficulty]
        assert best == max(int(score) for score in scores if score)
    assert suite.GAME.legal(solvers.positions(suite.GAME, [r[0] for r in rows(name)])).any(1).all()


@each_set
def test_every_number_of_plies_is_there_equally_often(name):
    played = [len(moves) for moves, *_ in rows(name)]
    counts = [played.count(plies) for plies in BY_NAME[name].plies]
    assert sum(counts) == 1000
    assert max(counts) - min(counts) <= 1


@each_set
def test_no_two_positions_of_a_set_are_equal_or_mirror_images(name):
    boards = [tuple(columns_of(moves)) for moves, *_ in rows(name)]
    assert len({frozenset((board, board[::-1])) for board in boards}) == 1000


def test_the_last_positions_have_the_scores_of_a_brute_force():
    late = [row for row in rows("end_easy") if len(row[0]) >= 35][::20]
    assert len(late) > 10
    for moves, best, scores in late:
        expected = brute_force(columns_of(moves), "XO"[len(moves) % 2])
        assert {x: int(score) for x, score in enumerate(scores) if score} == expected
        assert best == max(expected.values())


@pytest.mark.parametrize("name", LATE)
def test_solved_anew_a_sample_has_the_same_scores(name, solver):
    for row in rows(name)[::100]:
        assert solved(solver, row[0]) == row


@pytest.mark.slow
@pytest.mark.parametrize("name", set(BY_NAME) - set(LATE))
def test_solved_anew_a_sample_of_the_openings_has_the_same_scores(name):
    solver = Solver(table_bits=24)
    for row in rows(name)[::50]:
        assert solved(solver, row[0]) == row


@pytest.mark.parametrize("name", LATE)
def test_perfect_play_lasts_as_long_as_the_score_says(name, solver):
    for moves, best, _ in rows(name)[::50]:
        states, left = solvers.position(suite.GAME, moves), 0
        while suite.GAME.legal(states).any():
            states = suite.GAME.step(states, np.nanargmax(solver.solve(states)[1], axis=1))
            left += 1
        assert left == suite.plies_left(best, len(moves))


@pytest.mark.parametrize("stage", ["middle", "end"])
def test_a_position_fits_the_set_that_belongs_to_its_exact_score(stage, solver):
    for name in LATE:
        for moves, best, _ in rows(name)[::60]:
            for target in (target for target in suite.SETS if target.name.startswith(stage)):
                left = suite.plies_left(best, len(moves))
                assert suite.fits(moves, target, solver) == (
                    len(moves) in target.plies and left in target.left
                )


def drawn_anew(name, count, solver):
    return list(islice(suite.draw(BY_NAME[name], 0, solver), count))


@pytest.mark.parametrize("name", [*LATE, "opening_easy"])
def test_the_same_seed_draws_the_same_positions_again(name, solver):
    assert drawn_anew(name, 14, solver) == [moves for moves, *_ in rows(name)[:14]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opening_medium", "opening_hard"])
def test_the_same_seed_draws_the_same_hard_openings_again(name):
    assert drawn_anew(name, 14, Solver(24)) == [moves for moves, *_ in rows(name)[:14]]


def test_another_seed_draws_other_positions(solver):
    others = set(islice(suite.draw(BY_NAME["end_easy"], 1, solver), 50))
    assert len(others) == 50
    assert not others & {moves for moves, *_ in rows("end_easy")[:50]}


def test_known_positions_are_not_solved_again():
    known = [moves for moves, *_ in rows("middle_medium")[:40]]
    solver = Solver(table_bits=20)
    going_on = suite.draw(BY_NAME["middle_medium"], 0, solver, known)
    assert list(islice(going_on, 40)) == known
    assert solver.nodes == 0
    assert next(going_on) == rows("middle_medium")[40][0]


def test_positions_drawn_with_another_seed_are_refused(monkeypatch, solver):
    monkeypatch.setattr(suite, "_ATTEMPTS", 300)
    known = [moves for moves, *_ in rows("middle_medium")[:3]]
    with pytest.raises(ValueError, match="middle_medium: position 1 cannot be found with seed 1"):
        next(suite.draw(BY_NAME["middle_medium"], 1, solver, known))
