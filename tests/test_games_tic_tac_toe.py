"""Tic-tac-toe against well-known counts and a naive board."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games

GAME = games.make("tic_tac_toe")
ROWS = ["123", "456", "789", "147", "258", "369", "159", "357"]


def play(moves):
    states = GAME.initial(1)
    for move in moves:
        states = GAME.step(states, np.array([GAME.text_to_action(move)]))
    return states


def test_all_games_have_the_known_number_and_results():
    # 255,168 games: 131,184 won by the beginner, 77,904 by the other, 46,080 drawn.
    states, results = GAME.initial(1), {-1: 0, 0: 0, 1: 0}
    for _ in range(GAME.max_plies):
        rows, actions = np.nonzero(GAME.legal(states))
        states = GAME.step(states[rows], actions)
        for_beginner = GAME.outcome(states) * (1 - 2 * GAME.to_move(states))
        for result in results:
            results[result] += int((for_beginner == result).sum())
    assert results == {1: 131_184, -1: 77_904, 0: 46_080}


def test_there_are_5478_positions_of_which_4520_go_on():
    layer = GAME.initial(1)
    total = unfinished = 0
    while len(layer):
        going = GAME.legal(layer)
        total += len(layer)
        unfinished += int(going.any(axis=1).sum())
        rows, actions = np.nonzero(going)
        layer = np.unique(GAME.step(layer[rows], actions))
    assert (total, unfinished) == (5478, 4520)


@given(st.permutations("123456789"))
@settings(max_examples=200, deadline=None)
def test_any_game_goes_as_on_a_board_of_letters(moves):
    board, states = dict.fromkeys("123456789"), GAME.initial(1)
    for ply, move in enumerate(moves):
        won = [row for row in ROWS if board[row[0]] and len({board[cell] for cell in row}) == 1]
        free = [cell for cell in board if not board[cell] and not won]
        legal = [GAME.action_to_text(a) for a in np.flatnonzero(GAME.legal(states)[0])]
        assert legal == free
        if won:
            assert GAME.outcome(states)[0] == -1
            return
        board[move] = "XO"[ply % 2]
        states = GAME.step(states, np.array([GAME.text_to_action(move)]))


@pytest.mark.parametrize("row", ROWS)
def test_each_line_of_three_wins(row):
    others = [cell for cell in "123456789" if cell not in row][:2]
    moves = [row[0], others[0], row[1], others[1], row[2]]
    assert GAME.outcome(play(moves))[0] == -1


def test_a_full_board_without_a_line_is_a_draw():
    assert GAME.outcome(play("123546879"))[0] == 0


def test_the_mover_sees_its_own_stones_first():
    planes = GAME.observe(play("15"))[0]
    assert planes[0].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert planes[1].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_the_drawing_numbers_the_empty_cells():
    assert GAME.render(play("15")[0]) == "X 2 3\n4 O 6\n7 8 9"
    assert GAME.render(play("152")[0]) == "X X 3\n4 O 6\n7 8 9"


def test_a_text_that_is_no_move_is_explained():
    with pytest.raises(ValueError, match="'10' is not a move here; the nearest are 1, 2, 3"):
        GAME.text_to_action("10")
