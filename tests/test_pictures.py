"""Boards as SVG, and a game of self-play as pictures and figures."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_rows import random_record

import games
from games import svg
from games.drawing import Cell, Drawing, Edge, Label
from workers.runs import pictures

SVG = "{http://www.w3.org/2000/svg}"


def elements(text: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter(f"{SVG}{name}"))


def test_a_picture_has_a_shape_per_cell_a_circle_per_stone_and_a_ring_per_last_cell():
    game = games.make("tic_tac_toe")
    states = game.step(game.step(game.initial(1), np.array([4])), np.array([0]))
    picture = svg.render(game.drawing(states[0], last_action=0))
    assert len(elements(picture, "rect")) == 9
    stones = [e for e in elements(picture, "circle") if e.get("fill") in svg.STONES]
    rings = [e for e in elements(picture, "circle") if e.get("fill") == "none"]
    middle, corner = str(svg.UNIT), "0"
    assert [(e.get("cx"), e.get("cy"), e.get("fill")) for e in stones] == [
        (corner, corner, svg.STONES[1]),
        (middle, middle, svg.STONES[0]),
    ]
    assert [(e.get("cx"), e.get("cy")) for e in rings] == [(corner, corner)]
    assert {e.text for e in elements(picture, "text")} == set("234678") | {"9"}


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ("hexagon", "polygon"),
        ("point", "path"),
        ("dot", "circle"),
        ("across", "path"),
        ("down", "path"),
    ],
)
def test_every_shape_of_cell_is_drawn(shape, name):
    drawing = Drawing((Cell(0.0, 0.0, shape), Cell(1.0, 0.0, shape)), {})
    assert len(elements(svg.render(drawing), name)) == 2


def test_a_line_with_a_piece_is_thick_and_dotted_without_one():
    cells = (Cell(0.0, 0.0, "across", piece="-"), Cell(0.0, 1.0, "down"))
    picture = svg.render(Drawing(cells, {}))
    drawn, open_ = elements(picture, "path")
    assert (drawn.get("d"), drawn.get("stroke-dasharray")) == (f"M-20 0h{svg.UNIT}", None)
    assert (open_.get("d"), open_.get("stroke-width")) == (f"M0 20v{svg.UNIT}", None)
    assert elements(picture, "text") == []


def test_hexagons_in_a_row_touch_without_overlapping():
    drawing = Drawing((Cell(0.0, 0.0, "hexagon"), Cell(1.0, 0.0, "hexagon")), {})
    left, right = (
        [float(pair.split(",")[0]) for pair in (e.get("points") or "").split()]
        for e in elements(svg.render(drawing), "polygon")
    )
    assert max(left) == pytest.approx(min(right))


def test_an_edge_that_belongs_to_a_player_is_a_line_in_the_colour_of_its_stones():
    edges = (Edge(1, ((-0.5, 0.5), (0.0, 0.75), (0.5, 0.5))),)
    (line,) = elements(svg.render(Drawing((Cell(0.0, 0.0),), {}, edges=edges)), "polyline")
    assert (line.get("stroke"), line.get("fill")) == (svg.STONES[1], "none")
    assert line.get("points") == "-20.0,20.0 0.0,30.0 20.0,20.0"


def test_weights_are_the_opacity_of_green_grounds():
    drawing = Drawing((Cell(0.0, 0.0), Cell(1.0, 0.0)), {})
    (shade,) = elements(svg.render(drawing, {1: 0.25}), "circle")
    assert (shade.get("fill"), shade.get("fill-opacity")) == (svg.SHADE, "0.25")


def test_texts_of_a_game_are_escaped():
    hostile = "<script>&"
    cell = Cell(0.0, 0.0, piece=hostile)
    drawing = Drawing((cell,), {}, labels=(Label(0, -1, hostile),), text=hostile)
    picture = svg.render(drawing, caption=hostile)
    assert [e.text for e in elements(picture, "text")] == [hostile] * 4
    assert "<script>" not in picture


@pytest.mark.parametrize("spec", ["tic_tac_toe", "connect_four", "othello:size=6"])
def test_a_game_becomes_boards_with_the_searchs_policy_and_a_row_per_position(spec):
    game = games.make(spec)
    record = random_record(game, 7, opening=2)
    shown = pictures.of_game(game, record)
    assert [row[0] for row in shown.positions] == [
        ply + 3 for ply in range(len(record.actions) - 2)
    ]
    played = [game.action_to_text(int(action)) for action in record.actions[2:]]
    assert [row[4] for row in shown.positions] == played
    assert [row[3] for row in shown.positions] == record.rows["outcome"].tolist()
    boards = re.findall("<svg.*?</svg>", shown.page)
    assert len(boards) == min(pictures.BOARDS, len(record.rows))
    first = elements(boards[0], "circle")
    shades = [float(e.get("fill-opacity") or 0) for e in first if e.get("fill") == svg.SHADE]
    probabilities = record.rows["policy_weight"][0].astype(float)
    assert sum(shades) == pytest.approx(probabilities.sum(), abs=0.01 * len(shades))


def test_the_most_likely_moves_are_named_with_their_probabilities():
    game = games.make("tic_tac_toe")
    record = random_record(game, 3)
    rows = record.rows[:1]
    best = int(np.argmax(rows["policy_weight"][0]))
    move = game.action_to_text(int(rows["policy_action"][0][best]))
    named = pictures.of_game(game, record).positions[0][5]
    assert named.startswith(f"{move} {float(rows['policy_weight'][0][best]):.0%}, ")
