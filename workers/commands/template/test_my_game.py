"""MyGame keeps the contract, and its rules are those on paper."""

import numpy as np
import pytest
from my_game import LINES, SIDE, MyGame

from games import conformance

GAME = MyGame()


def position(*moves: str) -> np.ndarray:
    """The position [1] after these moves from the start."""
    states = GAME.initial(1)
    for move in moves:
        action = GAME.text_to_action(move)
        assert GAME.legal(states)[0, action], f"{move} is not legal"
        states = GAME.step(states, np.array([action]))
    return states


def test_the_game_keeps_the_contract():
    conformance.check(GAME)


# The check does not know who wins. Positions like these, set up by hand, show that the rules do.
@pytest.mark.parametrize(
    "moves",
    [
        "a1 a2 b1 b2 c1 c2 d1",  # a row
        "a1 b1 a2 b2 a3 b3 a4",  # a column
        "a1 b1 b2 c1 c3 d1 d4",  # a diagonal
        "e2 a1 d3 b1 c4 c1 b5",  # the other one
    ],
)
def test_four_in_a_row_win(moves):
    before, after = position(*moves.split()[:-1]), position(*moves.split())
    assert np.isnan(GAME.outcome(before)[0])
    assert GAME.outcome(after)[0] == -1  # for the other player, who would move next
    assert not GAME.legal(after).any()


def test_the_second_player_wins_too():
    after = position("a1", "a5", "b1", "b5", "c1", "c5", "e2", "d5")
    assert (GAME.outcome(after)[0], GAME.to_move(after)[0]) == (-1, 0)


def test_a_full_board_without_four_in_a_row_is_a_draw():
    board = "XXOOXOOXXOXXOOXOOXXOXXOOX"
    first, second = (
        [GAME.action_to_text(cell) for cell in range(SIDE * SIDE) if board[cell] == stone]
        for stone in "XO"
    )
    in_turn = [move for pair in zip(first, second, strict=False) for move in pair] + first[-1:]
    after = position(*in_turn)
    assert GAME.outcome(after)[0] == 0
    assert not GAME.legal(after).any()


def test_there_are_as_many_lines_as_on_paper():
    assert len(LINES) == 5 * 2 + 5 * 2 + 4 + 4  # in rows, in columns and on both diagonals
    assert len({tuple(sorted(line)) for line in LINES.tolist()}) == len(LINES)
