"""``alphazero.show``, and sessions and analyses in a notebook."""

import numpy as np
import pytest

import alphazero
import games
from alphazero.judging import session
from games import svg
from games.drawing import Drawing


def test_the_picture_of_moves_is_the_drawing_of_their_position_with_the_last_move():
    game = games.make("connect_four")
    played = session.after(game, "4453")
    expected = svg.render(game.drawing(played.states[0], 2))
    assert alphazero.show("connect_four", "4453")._repr_svg_() == expected
    assert alphazero.show(game, [4, "4", 5, 3])._repr_svg_() == expected
    assert played._repr_svg_() == expected


def test_a_state_is_shown_alone_or_in_an_array_of_one():
    game = games.make("tic_tac_toe")
    states = game.step(game.initial(1), np.array([4]))
    expected = svg.render(game.drawing(states[0]))
    assert alphazero.show(game, states).svg() == expected
    assert alphazero.show(game, states[0]).svg() == expected


def test_weights_are_a_policy_a_dictionary_or_an_analysis():
    game = games.make("connect_four")
    policy = np.zeros(7, np.float32)
    policy[[0, 3]] = 0.25, 0.75
    picture = alphazero.show(game, weights=policy)
    (left,), (middle,) = (picture.drawing.clicks[action] for action in (0, 3))
    # The bottom cells of the first and the fourth column.
    cells = picture.drawing.cells
    assert [(cells[cell].x, cells[cell].y) for cell in (left, middle)] == [(0, 5), (3, 5)]
    assert {cell: weight for cell, weight in picture.weights.items() if weight} == {
        left: 0.25, middle: 0.75,
    }  # fmt: skip
    assert alphazero.show(game, weights={0: 0.25, 3: 0.75}).svg() == picture.svg()
    assert picture.svg().count(svg.SHADE) == 2


def test_weights_of_moves_that_end_on_one_cell_are_added_and_a_pass_is_left_out():
    game = games.make("chess")
    moves = [game.text_to_move(game.initial(1)[0], text) for text in ("Nc3", "Na3", "Nf3")]
    drawing = game.drawing(game.initial(1)[0])
    shared = Drawing(drawing.cells, {0: (1, 5), 1: (2, 5), 2: (7,)}, {3: "pass"})
    assert svg.cell_weights(shared, {0: 0.25, 1: 0.5, 2: 0.125, 3: 1.0}) == {5: 0.75, 7: 0.125}
    weights = alphazero.show(game, weights=dict.fromkeys(moves, 0.3)).weights
    assert {(drawing.cells[cell].x, drawing.cells[cell].y) for cell in weights} == {
        (2, 5), (0, 5), (5, 5),
    }  # fmt: skip


def test_an_analysis_is_shown_with_the_policy_of_its_search_and_the_last_move():
    agent = alphazero.load_agent("tic_tac_toe", simulations=16)
    analysis = agent.analyse("15")
    expected = alphazero.show("tic_tac_toe", "15", weights=analysis)
    assert analysis._repr_svg_() == expected.svg()
    assert sum(expected.weights.values()) == pytest.approx(1, abs=1e-5)
    assert "picture" not in repr(analysis)


def test_an_analysis_of_another_game_is_refused():
    analysis = alphazero.load_agent("tic_tac_toe", simulations=16).analyse("15")
    with pytest.raises(ValueError, match="the analysis is one of tic_tac_toe, not of connect_four"):
        alphazero.show("connect_four", "4", weights=analysis)


def test_a_finished_game_is_shown_with_its_line():
    picture = alphazero.show("tic_tac_toe", "14253")
    assert picture.svg().count(f'stroke="{svg.WON}"') == 3


class Nim(alphazero.Game):
    """A game whose drawing is a text."""

    name, num_actions, max_plies, observation_shape = "nim", 2, 5, (1, 1, 5)
    dtype = np.dtype([("left", "i1")])

    def initial(self, batch):
        return np.full(batch, 5, "i1").view(self.dtype)

    def legal(self, states):
        return states["left"][:, None] >= [1, 2]

    def step(self, states, actions):
        return (states["left"] - actions.astype("i1") - 1).astype("i1").view(self.dtype)

    def outcome(self, states):
        return np.where(states["left"] == 0, -1, np.nan).astype(np.float32)

    def to_move(self, states):
        return states["left"] % 2

    def observe(self, states):
        return np.zeros((len(states), 1, 1, 5), np.float32)

    def render(self, state):
        return f"||  {state['left']}"


def test_a_game_with_a_text_only_is_shown_as_this_text():
    picture = alphazero.show(Nim(), "12", caption="two left")
    assert picture._repr_svg_() is None
    assert repr(picture) == "||  2\ntwo left"
    assert session.after(Nim(), "12")._repr_svg_() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tic_tac_toe", "11"), "move 2 of '11', '1', cannot be played"),
        (("tictactoe",), "did you mean 'tic_tac_toe'"),
        (("tic_tac_toe", np.zeros(3)), r"one state of tic_tac_toe, not an array \[3\] of float64"),
        (("tic_tac_toe", games.make("tic_tac_toe").initial(2)), r"not an array \[2\]"),
    ],
)
def test_a_position_that_there_is_not_is_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as refused:
        alphazero.show(*arguments)
    assert "\n" not in str(refused.value)


def test_weights_of_another_game_are_refused():
    with pytest.raises(ValueError, match="weights are 9 numbers, one per action"):
        alphazero.show("tic_tac_toe", weights=np.ones(7))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({9: 0.5}, "9 is no action of tic_tac_toe: they are the whole numbers from 0 to 8"),
        ({-1: 0.5}, "-1 is no action"),
        ({"5\n5": 0.5}, "is no action"),
        ({0.5: 0.5}, "0.5 is no action"),
        ({4: 1.5}, r"weights are in \[0, 1\]: that of action 4 is 1.5"),
        ({4: -0.1}, "that of action 4 is -0.1"),
        ({4: float("nan")}, "that of action 4 is nan"),
        ({4: float("inf")}, "that of action 4 is inf"),
        ({4: "green\n"}, "that of action 4 is 'green"),
        ([0, 0, 2, 0, 0, 0, 0, 0, 0], "that of action 2 is 2.0"),
        (np.full(9, np.nan), "that of action 0 is nan"),
    ],
)
def test_weights_that_cannot_be_shown_are_refused_in_one_line(weights, message):
    with pytest.raises(ValueError, match=message) as refused:
        alphazero.show("tic_tac_toe", weights=weights)
    assert "\n" not in str(refused.value)


def test_weights_of_one_cell_are_at_most_1_together():
    drawing = games.make("tic_tac_toe").drawing(games.make("tic_tac_toe").initial(1)[0])
    shared = Drawing(drawing.cells, {0: (1, 5), 1: (2, 5)})
    assert svg.cell_weights(shared, {0: 0.75, 1: 0.75}) == {5: 1.0}


def test_an_analysis_is_drawn_when_it_is_shown_and_not_before(monkeypatch):
    agent = alphazero.load_agent("tic_tac_toe", simulations=4)
    drawn = []
    original = type(agent.game).drawing

    def counted(game, state, last_action=None):
        drawn.append(last_action)
        return original(game, state, last_action)

    monkeypatch.setattr(type(agent.game), "drawing", counted)
    analysis = agent.analyse("15")
    assert drawn == []
    assert analysis._repr_svg_()
    assert drawn == [4]


def test_a_picture_stays_that_of_its_state():
    game = games.make("tic_tac_toe")
    states = game.initial(1)
    picture = alphazero.show(game, states)
    before = picture.svg()
    states[:] = game.step(states, np.array([4]))
    assert picture.svg() == before
