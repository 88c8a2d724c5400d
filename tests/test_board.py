"""The board in the terminal: colours of pieces, and the marks of the last move and the line."""

import numpy as np
import pytest
from made_up_games import Tug

import games
from alphazero.judging.board import as_text
from games.drawing import Cell, Drawing


def styles(text):
    """The style of each character; every one has exactly one."""
    assert [span.start for span in text.spans] == list(range(len(text.plain)))
    assert all(span.end == span.start + 1 for span in text.spans)
    return [str(span.style) for span in text.spans]


def drawn(spec, *moves):
    """The drawings before and after the last of ``moves``."""
    game = games.make(spec)
    states, shown, action = game.initial(1), [game.drawing(game.initial(1)[0])], None
    for move in moves:
        action = game.text_to_action(move)
        states = game.step(states, np.array([action]))
        shown.append(game.drawing(states[0], action))
    return shown


@pytest.mark.parametrize("spec", ["tic_tac_toe", "connect_four", "othello:size=6"])
def test_the_plain_text_of_the_board_is_what_render_shows(spec):
    game = games.make(spec)
    assert as_text(game.drawing(game.initial(1)[0])).plain == game.render(game.initial(1)[0])


def test_stones_have_their_players_colours_the_last_is_reversed_and_the_rest_is_dim():
    text = as_text(drawn("tic_tac_toe", "1", "5")[-1])
    assert text.plain == "X 2 3\n4 O 6\n7 8 9"
    coloured = {0: "bold red", 8: "bold yellow reverse"}
    assert styles(text) == [coloured.get(index, "dim") for index in range(17)]


def test_the_winning_line_is_underlined_and_its_last_stone_reversed_too():
    text = as_text(drawn("tic_tac_toe", "1", "4", "2", "5", "3")[-1])
    assert styles(text)[:5:2] == ["bold red underline", "bold red underline",
                                  "bold red reverse underline"]  # fmt: skip
    assert text.plain.splitlines()[0] == "X*X*X*"
    assert styles(text)[1:6:2] == ["bold"] * 3
    assert styles(text)[7] == "bold yellow"


def test_the_winning_line_has_stars_between_and_behind_its_stones():
    # A diagonal from the lower left; the first row's X completes it at the edge of the board.
    text = as_text(drawn("tic_tac_toe", "7", "1", "5", "2", "3")[-1])
    assert text.plain == "O O X*\n4 X*6\nX*8 9"
    cells = tuple(Cell(float(x), 0.0, player=0, piece=piece) for x, piece in enumerate("QXK"))
    wide = Drawing((*cells, Cell(3.0, 0.0, label="d4")), {}, line=(0, 2))
    assert as_text(wide).plain == "Q* X  K* d4"


def test_in_othello_only_the_placed_disc_is_marked_not_the_turned_ones():
    text = as_text(drawn("othello:size=4", "b1")[-1])
    assert text.plain.splitlines()[:3] == ["  a b c d", "1 . X . .", "2 . X X ."]
    assert [style for style in styles(text) if "reverse" in style] == ["bold red reverse"]


def test_a_piece_of_neither_player_and_a_square_that_was_left_are_marked():
    cells = (Cell(0.0, 0.0, piece="#"), Cell(1.0, 0.0), Cell(2.0, 0.0, player=1, piece="Q"))
    text = as_text(Drawing(cells, {}, last=(1, 2)))
    assert text.plain == "# . Q"
    assert styles(text) == ["bold", "dim", "reverse", "dim", "bold yellow reverse"]


def test_text_without_cells_is_coloured_by_its_letters_and_compared_with_the_text_before():
    old, new = (Drawing((), {}, {0: "a"}, text=text) for text in ("X.O|.", "XXO|."))
    expected = ["bold red", "bold red reverse", "bold yellow", "dim", "dim"]
    assert styles(as_text(new, old)) == expected
    # Without a position before, or with one of another size, no stone is marked.
    for before in (None, Drawing((), {}, {0: "a"}, text="...")):
        assert styles(as_text(new, before)) == ["bold red", *expected[:1], *expected[2:]]


def test_a_game_that_only_renders_text_has_a_board():
    assert as_text(Tug().drawing(Tug().initial(1)[0])).plain == "..T.."
