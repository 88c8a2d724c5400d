"""Drawings: the layout as text, the plain form, and the built-in games' cells, clicks and marks."""

import doctest
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import Rosette, Tug

import games
from games import drawing as drawings
from games.drawing import Cell, Drawing, Edge, Label, squares

SPECS = [
    "tic_tac_toe", "connect_four",
    "othello:size=4", "othello:size=6", "othello:size=8", "othello:size=10",
]  # fmt: skip
OTHERS = ["breakthrough:rows=5,columns=4", "dots_and_boxes:rows=2,columns=3"]
"""Games in which a move is more or less than a stone on the clicked cell."""


@st.composite
def moves(draw):
    """A built-in game, two states ``[1]`` that follow each other, and the action between them."""
    game = games.make(draw(st.sampled_from(SPECS)))
    random = draw(st.randoms(use_true_random=False))
    length = random.randint(1, game.max_plies)
    before = after = game.initial(1)
    action = 0
    for _ in range(length):
        legal = np.flatnonzero(game.legal(after)[0])
        if not len(legal):
            break
        action = int(random.choice(legal))
        before, after = after, game.step(after, np.array([action]))
    return game, before, action, after


every_move = settings(max_examples=80, deadline=None)


def pieces(drawing):
    return [cell.player for cell in drawing.cells]


@given(moves())
@every_move
def test_the_text_of_a_drawing_is_what_render_shows_and_its_spans_are_the_cells(move):
    game, _, action, after = move
    drawing = game.drawing(after[0], action)
    layout = drawing.layout()
    assert drawing.as_text() == layout.text == game.render(after[0])
    assert [layout.text[a:b] for a, b in layout.spans] == [cell.text for cell in drawing.cells]
    assert len(set(layout.spans)) == len(drawing.cells)


@given(moves())
@every_move
def test_a_stone_appears_on_the_clicked_cell_which_is_marked_as_the_last_move(move):
    game, before, action, after = move
    old, new = game.drawing(before[0]), game.drawing(after[0], action)
    mover = int(game.to_move(before)[0])
    if action in old.named:
        assert pieces(old) == pieces(new)
        assert (game.action_to_text(action), new.last) == ("pass", ())
        return
    (cell,) = old.clicks[action]
    appeared = [i for i, (a, b) in enumerate(zip(pieces(old), pieces(new), strict=True))
                if a is None and b is not None]  # fmt: skip
    assert [cell] == appeared
    assert new.last == (cell,)
    assert new.cells[cell].player == mover
    assert game.drawing(after[0]).last == ()
    # NumPy's integers, as searches return them, give the same numbers, which JSON has.
    again = game.drawing(after[0], np.int64(action))
    assert json.dumps(again.plain()) == json.dumps(new.plain())


@given(moves())
@every_move
def test_a_marked_line_is_every_line_of_the_winner_and_marked_in_won_games_only(move):
    game, _, _, after = move
    drawing = game.drawing(after[0])
    length = {"tic_tac_toe": 3, "connect_four": 4}.get(game.name, 0)
    owner = {(int(cell.x), int(cell.y)): cell.player for cell in drawing.cells}
    winning = set()
    for x, y in owner if length else ():
        for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
            line = [(x + k * dx, y + k * dy) for k in range(length)]
            if owner[x, y] is not None and {owner.get(c) for c in line} == {owner[x, y]}:
                winning |= set(line)
    marked = {(int(drawing.cells[i].x), int(drawing.cells[i].y)) for i in drawing.line}
    assert marked == winning
    assert len(drawing.line) == len(marked)
    assert bool(marked) <= bool(abs(np.nan_to_num(game.outcome(after)[0])))


@given(moves())
@every_move
def test_a_drawing_in_plain_numbers_and_texts_survives_json(move):
    game, _, action, after = move
    drawing = game.drawing(after[0], action)
    plain = drawing.plain()
    assert json.loads(json.dumps(plain)) == plain
    again = Drawing(
        cells=tuple(Cell(**cell) for cell in plain["cells"]),
        clicks={int(key): tuple(cells) for key, cells in plain["clicks"].items()},
        named={int(key): text for key, text in plain["named"].items()},
        labels=tuple(Label(**label) for label in plain["labels"]),
        edges=tuple(Edge(e["player"], tuple(map(tuple, e["points"]))) for e in plain["edges"]),
        last=tuple(plain["last"]),
        line=tuple(plain["line"]),
        text=plain["text"],
    )
    assert again == drawing


@pytest.mark.parametrize("spec", [*SPECS, *OTHERS])
def test_render_and_drawing_read_the_state_and_never_observe(spec, monkeypatch):
    game = games.make(spec)
    state = game.step(game.initial(1), game.legal(game.initial(1)).argmax(axis=1))[0]
    shown, text = game.drawing(state), game.render(state)

    def refuse(self, states):
        raise AssertionError("observe was called")

    monkeypatch.setattr(type(game), "observe", refuse)
    assert (game.drawing(state), game.render(state)) == (shown, text)


def test_connect_four_marks_two_lines_at_once_and_the_stone_that_joined_them():
    game = games.make("connect_four")
    states = game.initial(1)
    for move in "11223355667747474":
        states = game.step(states, np.array([int(move) - 1]))
    assert game.outcome(states)[0] == -1
    lines = game.drawing(states[0], 3)
    assert game.render(states[0]).splitlines()[-2] == "X X X X X X X"
    assert lines.line == tuple(range(35, 42))


def test_the_default_drawing_is_the_text_with_every_action_named():
    drawing = Tug().drawing(Tug().initial(1)[0], last_action=1)
    assert drawing == Drawing(cells=(), clicks={}, named={0: "1", 1: "2"}, text="..T..")
    assert drawing.as_text() == "..T.."
    assert drawing.layout().spans == ()


def test_hexagons_stand_under_the_gaps_of_the_row_above():
    rows = [(0.0, (0.0, 1.0, 2.0)), (0.866, (0.5, 1.5, 2.5)), (1.732, (1.0, 2.0, 3.0))]
    cells = tuple(Cell(x, y, "hexagon") for y, row in rows for x in row)
    drawing = Drawing(cells, {i: (i,) for i in range(9)})
    assert drawing.as_text().splitlines() == [
        ". . .",
        " . . .",
        "  . . .",
    ]


def test_a_move_from_a_hexagon_to_another_is_two_clicks_and_marks_both():
    game = Rosette()
    states = game.step(game.initial(1), np.array([7 * 1 + 2]))
    drawing = game.drawing(states[0], last_action=9)
    assert drawing.clicks[9] == drawing.last == (1, 2)
    assert drawing.named == {49: "pass"}
    assert [cell.player for cell in drawing.cells] == [None, None, 0, None, 1, None, None]
    assert drawing.as_text().splitlines() == [
        " . .",
        "O . .",
        " . X",
    ]


def test_pieces_and_labels_of_several_letters_widen_the_columns():
    cells = (
        Cell(0.0, 0.0, player=0, piece="Kn"),
        Cell(1.0, 0.0, piece="#"),
        Cell(0.0, 1.0, label="7"),
        Cell(1.0, 1.0, player=1),
    )
    drawing = Drawing(cells, {}, labels=(Label(-1.0, 0.0, "10"), Label(-1.0, 1.0, "9")), text="end")
    assert drawing.as_text() == "10 Kn #\n9  7  O\nend"
    assert drawing.layout().spans == ((3, 5), (6, 7), (11, 12), (14, 15))


def test_cells_closer_than_a_column_move_to_the_right_instead_of_touching():
    drawing = Drawing((Cell(0.0, 0.0, "point"), Cell(0.2, 0.0, "point", player=0)), {})
    assert drawing.as_text() == ". X"


def test_squares_run_row_by_row_with_nobody_on_empty_cells():
    cells = squares(np.array([0, -1, 1, -1]), 2, "abcd")
    assert [(c.x, c.y, c.player, c.text) for c in cells] == [
        (0.0, 0.0, 0, "X"),
        (1.0, 0.0, None, "b"),
        (0.0, 1.0, 1, "O"),
        (1.0, 1.0, None, "d"),
    ]


def test_the_example_of_the_module_gives_what_it_shows():
    result = doctest.testmod(drawings)
    assert result.attempted >= 6
    assert result.failed == 0
