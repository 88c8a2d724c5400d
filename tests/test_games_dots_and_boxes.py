"""Dots and Boxes against OpenSpiel, a board of sets of lines, and exact solvers."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games import solvers
from games.solvers import minimax

POSITIONS = Path(__file__).parent / "benchmarks" / "dots_and_boxes_positions.py"
GAME = games.make("dots_and_boxes:rows=3,columns=3")


class Slow:
    """The rules on sets of cells of the grid, ``(row, column)``; the movers are X and O."""

    def __init__(self, rows, columns):
        self.grid = [(y, x) for y in range(2 * rows + 1) for x in range(2 * columns + 1)]
        self.lines = {(y, x) for y, x in self.grid if (y + x) % 2}
        self.boxes = {(y, x) for y, x in self.grid if y % 2 and x % 2}
        self.mover, self.drawn, self.owner = "X", set(), {}

    def legal(self):
        return {f"{'abcdefghijklmnopqrs'[x]}{y + 1}": (y, x) for y, x in self.lines - self.drawn}

    def play(self, line):
        self.drawn.add(line)
        around = {(y, x): {(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)} for y, x in self.boxes}
        new = {box for box in self.boxes - set(self.owner) if around[box] <= self.drawn}
        self.owner |= dict.fromkeys(new, self.mover)
        if not new:
            self.mover = "XO"[self.mover == "X"]

    def margin(self):
        owners = list(self.owner.values())
        return owners.count(self.mover) - owners.count("XO"[self.mover == "X"])

    def outcome(self):
        return np.nan if self.lines - self.drawn else np.sign(self.margin())

    def drawing(self):
        """The letters of the grid, as ``Game.render`` has them."""

        def cell(y, x):
            if (y, x) in self.lines:
                return ("|" if y % 2 else "-") if (y, x) in self.drawn else "."
            return self.owner.get((y, x), " ") if (y, x) in self.boxes else "+"

        return "".join(cell(*place) for place in self.grid)


def shown(game, state):
    """The letters of the grid, the top row first."""
    width = 2 * game.columns + 1
    lines = [line[2:].ljust(2 * width)[::2] for line in game.render(state).splitlines()[1:]]
    return "".join(line[:width] for line in lines)


def play(game, *texts):
    states = game.initial(1)
    for text in texts:
        states = game.step(states, np.array([game.text_to_action(text)]))
    return states


@given(st.integers(1, 4), st.integers(1, 4), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_any_game_goes_as_on_the_board_of_sets(rows, columns, random):
    game, slow = games.make(f"dots_and_boxes:rows={rows},columns={columns}"), Slow(rows, columns)
    states = game.initial(1)
    for _ in range(game.max_plies):
        expected = slow.legal()
        actions = np.flatnonzero(game.legal(states)[0])
        assert {game.action_to_text(action) for action in actions} == set(expected)
        np.testing.assert_equal(game.outcome(states)[0], np.float32(slow.outcome()))
        text = random.choice(sorted(expected))
        slow.play(expected[text])
        states = game.step(states, np.array([game.text_to_action(text)]))
        assert shown(game, states[0]) == slow.drawing()
        assert "XO"[game.to_move(states)[0]] == slow.mover
    assert not game.legal(states).any()
    assert game.outcome(states)[0] == slow.outcome()
    assert game.final_score(states)[0] == np.float32(slow.margin() / (rows * columns))
    owners = [slow.owner.get(cell) for cell in slow.grid]
    expected = [0 if owner is None else 1 if owner == slow.mover else -1 for owner in owners]
    assert game.final_ownership(states)[0].tolist() == expected


SIZES = [(3, 3), (2, 4), (5, 5), (1, 1)]


def compare_with_open_spiel(rows, columns, number):
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
    theirs = pyspiel.load_game(f"dots_and_boxes(num_rows={rows},num_cols={columns})")
    margins = pyspiel.load_game(
        f"dots_and_boxes(num_rows={rows},num_cols={columns},utility_margin=true)"
    )
    game = games.make(f"dots_and_boxes:rows={rows},columns={columns}")
    rng, twice = np.random.default_rng(number), 0
    for _ in range(number):
        states, state, margin = game.initial(1), theirs.new_initial_state(), None
        margin = margins.new_initial_state()
        while not state.is_terminal():
            assert np.isnan(game.outcome(states)[0])
            mover = int(game.to_move(states)[0])
            assert mover == state.current_player()
            legal = np.flatnonzero(game.legal(states)[0])
            assert legal.tolist() == state.legal_actions()
            action = int(rng.choice(legal))
            state.apply_action(action)
            margin.apply_action(action)
            states = game.step(states, np.array([action]))
            twice += mover == game.to_move(states)[0]
        side = 1 - 2 * int(game.to_move(states)[0])
        first = int(game.outcome(states)[0]) * side
        assert state.returns() == [first, -first]
        boxes = round(float(game.final_score(states)[0]) * rows * columns) * side
        assert margin.returns() == [boxes, -boxes]
        assert not game.legal(states).any()
    assert twice


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_random_games_are_the_same_in_open_spiel(rows, columns):
    compare_with_open_spiel(rows, columns, 200)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("rows", "columns"), SIZES[:3])
def test_10000_random_games_are_the_same_in_open_spiel(rows, columns):
    compare_with_open_spiel(rows, columns, 10_000)


def margins_of(rows, columns):
    """The mover's best margin over the boxes left, by the lines drawn: ``int8 [2 ** lines]``.

    Lines are bits of a number, those of the grid in reading order. A position needs those with
    more lines only, so all of one number of lines are computed at once, from the fullest.
    """
    slow = Slow(rows, columns)
    bit = {line: 1 << i for i, line in enumerate(sorted(slow.lines))}
    around = [
        sum(bit[y + down, x + right] for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)))
        for y, x in slow.boxes
    ]
    every = np.arange(2 ** len(bit), dtype=np.uint32)
    count = np.bitwise_count(every)
    best = np.zeros(len(every), np.int8)
    for drawn in range(len(bit) - 1, -1, -1):
        masks = every[count == drawn]
        most = np.full(len(masks), -128, np.int8)
        for line in bit.values():
            after = masks | np.uint32(line)
            touched = [box for box in around if box & line]
            gained = sum((after & box == box).astype(np.int8) for box in touched)
            value = np.where(gained > 0, gained + best[after], -best[after])
            most = np.maximum(most, np.where(masks & line, np.int8(-128), value))
        best[masks] = most
    return best, bit


@pytest.mark.parametrize(
    ("rows", "columns", "margin"),
    [
        (1, 1, -1), (1, 2, 0), (1, 3, -1), (2, 2, 2), (2, 3, -2),
        pytest.param(3, 3, -3, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_the_best_margin_from_the_start_is_the_known_one(rows, columns, margin):
    # 2 x 2 is won 3 to 1 by the player who begins (Berlekamp, Conway and Guy, Winning Ways).
    assert margins_of(rows, columns)[0][0] == margin


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 2), (1, 3), (2, 2)])
def test_all_values_of_small_boards_are_those_of_a_solver_that_counts_boxes(rows, columns):
    game = games.make(f"dots_and_boxes:rows={rows},columns={columns}")
    best, bit = margins_of(rows, columns)
    solved = minimax.solve_all(game)
    planes = game.observe(solved.states)
    for drawn, mine, theirs, value in zip(
        planes[:, 0], planes[:, 2], planes[:, 3], solved.value, strict=True
    ):
        mask = sum(bit[int(y), int(x)] for y, x in np.argwhere(drawn))
        assert value == np.sign(mine.sum() - theirs.sum() + best[mask])


def test_a_completed_box_gives_another_move_and_two_at_once_still_one():
    states = play(GAME, "b1", "a2", "c2")
    assert GAME.to_move(states)[0] == 1
    states = GAME.step(states, np.array([GAME.text_to_action("b3")]))
    assert GAME.to_move(states)[0] == 1
    assert GAME.observe(states)[0, 2].sum() == 1
    wide = games.make("dots_and_boxes:rows=1,columns=2")
    states = play(wide, "b1", "d1", "b3", "d3", "a2", "e2", "c2")
    assert wide.to_move(states)[0] == 0
    assert wide.outcome(states)[0] == 1
    assert wide.final_score(states)[0] == 1


def test_equal_boxes_are_a_draw():
    wide = games.make("dots_and_boxes:rows=1,columns=2")
    states = play(wide, "b1", "b3", "a2", "d3", "c2", "d1", "e2")
    assert wide.render(states[0]).splitlines()[2] == "2 | X | O |"
    assert wide.outcome(states)[0] == 0


def test_lines_are_named_by_letters_above_and_numbers_at_the_left():
    assert GAME.render(play(GAME, "b1", "a2", "c2", "b3")[0]).splitlines() == [
        "  a b c d e f g",
        "1 + - + . + . +",
        "2 | O |   .   .",
        "3 + - + . + . +",
        "4 .   .   .   .",
        "5 + . + . + . +",
        "6 .   .   .   .",
        "7 + . + . + . +",
    ]
    assert GAME.text_to_action(" B1 ") == 0
    large = games.make("dots_and_boxes:rows=9,columns=9")
    assert large.action_to_text(large.num_actions - 1) == "s18"
    for text in ("a1", "b2", "b8", "h1"):
        with pytest.raises(ValueError, match=f"'{text}' is not a move here"):
            GAME.text_to_action(text)


@pytest.mark.parametrize(("rows", "columns", "number"), [(3, 3, 8), (2, 3, 4), (1, 1, 8)])
def test_a_square_board_has_eight_symmetries_and_another_four(rows, columns, number):
    symmetries = games.make(f"dots_and_boxes:rows={rows},columns={columns}").symmetries()
    assert len({(*cells, *actions) for cells, actions in symmetries}) == number


def test_a_line_is_one_click_on_its_cell():
    drawing = GAME.drawing(GAME.initial(1)[0])
    assert drawing.clicks[0] == (1,)
    assert drawing.clicks[12] == (7,)
    assert GAME.drawing(play(GAME, "b1")[0], 0).last == (1,)


@pytest.mark.parametrize("name", ["rows", "columns"])
@pytest.mark.parametrize("value", [0, 10])
def test_a_board_of_another_size_is_refused(name, value):
    with pytest.raises(ValueError, match=f"dots_and_boxes: {name} must be 1 to 9, not {value}"):
        games.make(f"dots_and_boxes:{name}={value}")


@pytest.mark.parametrize(("rows", "columns", "number"), [(1, 2, 8), (2, 2, 60)])
def test_positions_by_sets_of_lines_have_the_results_of_an_exhaustive_search(rows, columns, number):
    script = [str(POSITIONS), f"--rows={rows}", f"--columns={columns}", f"--number={number}"]
    done = subprocess.run(
        [sys.executable, *script], capture_output=True, text=True, check=True, timeout=300
    )
    table = list(csv.reader(done.stdout.splitlines()))[1:]
    game = games.make(f"dots_and_boxes:rows={rows},columns={columns}")
    assert len(table) == number
    assert table == solvers.label(game, [row[0] for row in table])
