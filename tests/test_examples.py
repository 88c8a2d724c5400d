"""The example games of a run, ``examples.txt``."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_games import DoubleNim
from made_up_rows import made_up_rows, random_record

import games
from alphazero.types import Ending, GameRecord
from workers.runs.matches import game_as_text

TIC_TAC_TOE = games.make("tic_tac_toe")


def record(moves, ending, outcome):
    """The game of tic-tac-toe of cells ``moves``; ``outcome`` for the mover of its last row."""
    states, actions = [TIC_TAC_TOE.initial(1)], [int(move) - 1 for move in moves]
    for action in actions:
        states.append(TIC_TAC_TOE.step(states[-1], np.array([action])))
    played = np.concatenate(states[:-1])
    rows = made_up_rows(TIC_TAC_TOE, played, TIC_TAC_TOE.legal(played).astype(float))
    rows["outcome"] = outcome * (-1.0) ** np.arange(len(rows) - 1, -1, -1)
    return GameRecord(1, 1, np.array(actions, np.int32), rows, ending)


@pytest.mark.parametrize(
    ("moves", "ending", "outcome", "text"),
    [
        ("14253", Ending.RULES, 1, "1 4 2 5 3\nX*X*X*\nO O 6\n7 8 9\nover: X wins"),
        ("123546879", Ending.RULES, 0, "1 2 3 5 4 6 8 7 9\nX O X\nX O O\nO X X\nover: a draw"),
        # X has two rows of two: O, about to move, has lost, and its move 9 is not shown.
        ("153279", Ending.PROVEN, -1, "1 5 3 2 7\nX O X\n4 O 6\nX 8 9\nproven: O loses"),
        ("15", Ending.RESIGNED, -1, "1\nX 2 3\n4 5 6\n7 8 9\nresigned: O loses"),
        ("1", Ending.PROVEN, 0, "\n1 2 3\n4 5 6\n7 8 9\nproven: a draw"),
        ("15", Ending.LENGTH, 1, "1 5\nX 2 3\n4 O 6\n7 8 9\nended at max_plies: O wins"),
    ],
)
def test_an_example_ends_with_its_last_position_and_result(moves, ending, outcome, text):
    assert game_as_text(TIC_TAC_TOE, record(moves, ending, outcome)) == text


def test_the_result_has_the_right_sign_where_a_player_moves_twice_and_after_an_opening():
    # The outcome of the record is the oracle: for the mover of each row.
    game = DoubleNim()
    for number in range(20):
        played = random_record(game, number, opening=2)
        first = int(game.to_move(played.rows["state"][:1])[0])
        wins = {1: "XO"[first], -1: "XO"[1 - first]}[int(played.rows["outcome"][0])]
        loses = "XO"[wins == "X"]
        text = game_as_text(game, replace(played, ending=Ending.RULES)).splitlines()[-1]
        assert text in (f"over: {wins} wins", f"over: {loses} loses")
