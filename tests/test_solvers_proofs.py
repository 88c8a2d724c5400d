"""Proven results of moves: against the solver of Connect Four, all of tic-tac-toe, and by hand."""

import numpy as np
import pytest

import games
from alphazero.judging import session
from games.solvers import minimax, proofs
from games.solvers.proofs import Proof


def proven(game, moves, depth):
    played = session.after(game, moves)
    results = {}
    for at, known in enumerate(proofs.deepening(game, played.states, len(played.actions)), 1):
        results = {game.move_to_text(played.states[0], a): proof for a, proof in known.items()}
        if at == depth:
            break
    return results


def test_in_tic_tac_toe_every_result_is_that_of_the_whole_enumeration():
    game = games.make("tic_tac_toe")
    solution = minimax.solve_all(game)
    for row in range(0, len(solution.states), 37):
        states = solution.states[row : row + 1]
        ply = int(np.count_nonzero(game.legal(game.initial(1))) - game.legal(states).sum())
        *_, last = proofs.deepening(game, states, ply)
        expected = solution.move_values[row]
        assert {action: proof.result for action, proof in last.items()} == {
            int(action): int(expected[action]) for action in np.flatnonzero(~np.isnan(expected))
        }


def random_position(game, rng, plies):
    """An unfinished position after so many random moves, and those moves."""
    while True:
        states, line = game.initial(1), []
        while len(line) < plies and np.isnan(game.outcome(states)[0]):
            line.append(int(rng.choice(np.flatnonzero(game.legal(states)[0]))))
            states = game.step(states, np.array(line[-1:]))
        if np.isnan(game.outcome(states)[0]):
            return states, line


def test_near_the_end_of_connect_four_deepening_and_the_solver_agree_on_results_and_plies(
    monkeypatch,
):
    """The solver counts stones that are left; the full-width search counts plies."""
    game, rng = games.make("connect_four"), np.random.default_rng(3)
    wins = 0
    for _ in range(12):
        states, line = random_position(game, rng, 34)
        solved = proofs._solved(game, states, len(line))
        monkeypatch.setattr(proofs, "FIRST_DEPTH", 42)
        *_, searched = proofs.deepening(game, states, len(line))
        assert searched == solved
        wins += sum(proof.result != 0 for proof in solved.values())
    assert wins > 10


def test_a_mate_and_the_moves_that_allow_one_are_proven_with_their_plies():
    chess = games.make("chess")
    assert proven(chess, ["f3", "e5", "g4"], 1) == {"Qh4#": Proof(1, 1)}
    assert proven(chess, ["f3", "e5"], 2)["g4"] == Proof(-1, 2)


def test_what_is_not_proven_is_not_reported():
    for game, moves in (("chess", ["e4"]), ("othello", []), ("hex:size=7", ["d4"])):
        assert proven(games.make(game), moves, 2) == {}


@pytest.mark.parametrize("moves", ["", "4", "44", "444"])
def test_a_score_of_the_solver_counts_the_plies_to_the_last_stone(moves):
    """21 stones each: a score of 1 is a win with the last one, of 2 with the one before it."""
    ply = len(moves)
    last = 41 if ply % 2 == 0 else 42  # the ply of the mover's 21st stone, from 1
    assert proofs._of_score(1, ply) == Proof(1, last - ply)
    assert proofs._of_score(2, ply) == Proof(1, last - ply - 2)
    others = 42 if ply % 2 == 0 else 41
    assert proofs._of_score(-1, ply) == Proof(-1, others - ply)
    assert proofs._of_score(0, ply) == Proof(0, None)
