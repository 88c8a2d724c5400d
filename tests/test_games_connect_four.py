"""Connect Four against published counts, a naive board and hand-made positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games

GAME = games.make("connect_four")

# Distinct positions after 0, 1, 2, ... plies: OEIS A212693, computed by John Tromp.
POSITIONS = [1, 7, 49, 238, 1120, 4263, 16422, 54859, 184275, 558186, 1662623]


def play(moves):
    states = GAME.initial(1)
    for move in moves:
        states = GAME.step(states, np.array([int(move) - 1]))
    return states


def drawn(states):
    return GAME.render(states[0]).splitlines()


@pytest.mark.parametrize(
    "plies",
    [pytest.param(7, id="7 plies"), pytest.param(10, id="10 plies", marks=pytest.mark.slow)],
)
def test_the_number_of_distinct_positions_after_each_ply_is_the_published_one(plies):
    # Equal positions must have equal bytes for this to come out.
    layer, counts = GAME.initial(1), [1]
    for _ in range(plies):
        rows, actions = np.nonzero(GAME.legal(layer))
        layer = np.unique(GAME.step(layer[rows], actions))
        counts.append(len(layer))
    assert counts == POSITIONS[: plies + 1]


def naive_winner(board):
    """``board[column]`` is a list of letters from the bottom."""
    cells = {(x, y): stone for x, column in enumerate(board) for y, stone in enumerate(column)}
    for (x, y), stone in cells.items():
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
            if all(cells.get((x + k * dx, y + k * dy)) == stone for k in range(4)):
                return stone
    return None


@given(st.lists(st.integers(0, 6), max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_game_goes_as_on_a_board_of_lists(columns):
    board, states, ply = [[] for _ in range(7)], GAME.initial(1), 0
    for column in columns:
        over = naive_winner(board) is not None
        free = [len(stones) < 6 and not over for stones in board]
        assert GAME.legal(states)[0].tolist() == free
        assert GAME.to_move(states)[0] == ply % 2
        expected = -1 if over else (np.nan if any(free) else 0)
        np.testing.assert_equal(GAME.outcome(states)[0], np.float32(expected))
        rows = [[(stones + ["."] * 6)[y] for stones in board] for y in range(5, -1, -1)]
        assert drawn(states)[:6] == [" ".join(row) for row in rows]
        if not free[column]:
            continue
        board[column].append("XO"[ply % 2])
        states, ply = GAME.step(states, np.array([column])), ply + 1


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param("1213141", id="upright"),
        pytest.param("1122334", id="flat"),
        pytest.param("12234334544", id="rising"),
        pytest.param("76654554344", id="falling"),
    ],
)
def test_four_in_a_line_wins_for_the_player_who_has_just_moved(moves):
    assert np.isnan(GAME.outcome(play(moves[:-1])))[0]
    assert GAME.outcome(play(moves))[0] == -1
    assert not GAME.legal(play(moves)).any()


def test_a_line_does_not_run_over_from_the_top_of_one_column_to_the_next():
    # The upper three cells of column 1 and the lowest of column 2.
    states = np.zeros(1, GAME.dtype)
    states["theirs"] = 0b111000 | 1 << 7
    assert np.isnan(GAME.outcome(states))[0]


@pytest.mark.parametrize("shift", [1, 6, 7, 8])
def test_every_line_on_the_board_and_no_other_wins(shift):
    for column in range(7):
        for row in range(6):
            step = {1: (0, 1), 6: (1, -1), 7: (1, 0), 8: (1, 1)}[shift]
            cells = [(column + k * step[0], row + k * step[1]) for k in range(4)]
            states = np.zeros(1, GAME.dtype)
            on_board = [(x, y) for x, y in cells if x < 7 and 0 <= y < 6]
            states["theirs"] = sum(1 << (7 * x + y) for x, y in on_board)
            assert (GAME.outcome(states)[0] == -1) == (len(on_board) == 4)


def test_a_full_column_takes_no_stone():
    assert GAME.legal(play("111111"))[0].tolist() == [False] + 6 * [True]


DRAW = "121212212121343434434343565656656565777777"


def test_a_full_board_without_a_line_is_a_draw():
    assert len(DRAW) == GAME.max_plies
    assert np.isnan(GAME.outcome(play(DRAW[:-1])))[0]
    assert GAME.outcome(play(DRAW))[0] == 0
    assert not GAME.legal(play(DRAW)).any()


def test_a_line_made_by_the_last_stone_wins():
    states = np.zeros(1, GAME.dtype)
    full = sum(0b111111 << (7 * column) for column in range(7))
    states["theirs"] = 0b1111
    states["mine"] = full & ~0b1111
    assert GAME.outcome(states)[0] == -1


def test_the_mover_sees_its_own_stones_first_and_the_top_row_first():
    planes = GAME.observe(play("12"))[0]
    assert planes.sum() == 2
    assert planes[0, 5, 0] == 1
    assert planes[1, 5, 1] == 1


def test_columns_are_counted_from_one_and_the_beginner_is_drawn_as_x():
    assert GAME.action_to_text(0) == "1"
    assert GAME.text_to_action(" 7 ") == 6
    assert drawn(play("443"))[4:] == [". . . O . . .", ". . X X . . .", "1 2 3 4 5 6 7"]


def test_a_state_takes_sixteen_bytes():
    assert GAME.initial(1).nbytes == 16
