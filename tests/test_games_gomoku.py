"""Gomoku and m,n,k games against OpenSpiel, a set-based board, tic-tac-toe and exact solvers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games.solvers.minimax import solve_all

SLOW = pytest.mark.slow


class Board:
    """The rules on sets of cells: a line is a set of cells in a row, all of one player."""

    def __init__(self, rows, columns, length, exact):
        self.length, self.exact = length, exact
        self.cells = [(row, column) for row in range(rows) for column in range(columns)]
        self.stones = (set(), set())

    def empty(self):
        taken = self.stones[0] | self.stones[1]
        return [cell for cell in self.cells if cell not in taken]

    def lines(self, player):
        """The longest lines of a player's stones, each as a set of cells."""
        stones = self.stones[player]
        for (row, column), (down, right) in product(stones, [(0, 1), (1, 0), (1, 1), (1, -1)]):
            if (row - down, column - right) in stones:
                continue
            steps = 1
            while (row + steps * down, column + steps * right) in stones:
                steps += 1
            yield {(row + step * down, column + step * right) for step in range(steps)}

    def winning(self, player):
        """The stones of all lines that win."""
        good = {self.length} if self.exact else set(range(self.length, 20))
        return set().union(*(line for line in self.lines(player) if len(line) in good))


def make(rows, columns, length, exact):
    return games.make(f"gomoku:size={rows}x{columns},length={length},exact={str(exact).lower()}")


def same(game, states, board, mover):
    """Everything that the game says of one state is what the board says; whether it goes on."""
    won, empty = board.winning(1 - mover), board.empty()
    outcome = -1 if won else np.nan if empty else 0
    np.testing.assert_array_equal(game.outcome(states), [outcome])
    assert game.to_move(states)[0] == mover
    legal = [board.cells[action] for action in np.flatnonzero(game.legal(states)[0])]
    assert legal == ([] if won else empty)
    planes = game.observe(states)[0]
    for plane, player in zip(planes, (mover, 1 - mover), strict=True):
        assert {(int(row), int(column)) for row, column in np.argwhere(plane)} == (
            board.stones[player]
        )
    assert {board.cells[cell] for cell in game.drawing(states[0]).line} == won
    return not won and bool(empty)


@given(
    st.integers(3, 7), st.integers(3, 9), st.integers(3, 5), st.booleans(),
    st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_game_goes_as_on_the_set_based_board(rows, columns, length, exact, random):
    length = min(length, max(rows, columns))
    game, board = make(rows, columns, length, exact), Board(rows, columns, length, exact)
    states, mover = game.initial(1), 0
    # One player keeps to a part of the board, so that long lines come about.
    narrow = random.randrange(rows)
    while same(game, states, board, mover):
        empty = board.empty()
        inside = [cell for cell in empty if abs(cell[0] - narrow) < 2 and mover == 0]
        cell = random.choice(inside or empty)
        board.stones[mover].add(cell)
        states = game.step(states, np.array([board.cells.index(cell)]))
        mover = 1 - mover


@given(st.sampled_from([9, 15, 19]), st.booleans(), st.data())
@settings(max_examples=40, deadline=None)
def test_a_line_wins_exactly_where_its_length_says_so_wherever_it_lies(size, exact, data):
    # X fills a line of four to nine cells, the cell in the middle last; O plays far from lines.
    run = data.draw(st.integers(4, 9))
    down, right = data.draw(st.sampled_from([(0, 1), (1, 0), (1, 1), (1, -1)]))
    last = size - 1 - (run - 1)
    row = data.draw(st.integers(0, last if down else size - 1))
    column = data.draw(st.integers(0, last if right else size - 1)) + (run - 1) * (right < 0)
    line = [(row + i * down, column + i * right) for i in range(run)]
    line.append(line.pop(run // 2))
    game, board = make(size, size, 5, exact), Board(size, size, 5, exact)
    spare = [(y, x) for y in range(size) for x in range(size) if (x + 2 * y) % 5 == 0]
    others = iter([cell for cell in spare if cell not in line])
    states, mover = game.initial(1), 0
    for cell in [cell for pair in zip(line, others) for cell in pair][:-1]:  # noqa: B905
        assert same(game, states, board, mover)
        board.stones[mover].add(cell)
        states = game.step(states, np.array([cell[0] * size + cell[1]]))
        mover = 1 - mover
        if board.winning(0):
            break
    same(game, states, board, mover)
    assert (game.outcome(states)[0] == -1) == (run == 5 if exact else run >= 5)


def play(game, *texts):
    states = game.initial(1)
    for text in texts:
        action = game.text_to_action(text)
        assert game.legal(states)[0, action], text
        states = game.step(states, np.array([action]))
    return states


def test_a_line_does_not_go_on_behind_an_edge():
    game = make(5, 5, 3, False)
    # Cells whose numbers are 1, 6 and 4 apart, as in a row and on both diagonals.
    for wrapped, numbers in [
        (["d2", "e2", "a1"], [18, 19, 20]),
        (["d4", "e3", "a1"], [8, 14, 20]),
        (["b3", "a2", "e2"], [11, 15, 19]),
    ]:
        assert [game.text_to_action(cell) for cell in wrapped] == numbers
        states = play(game, wrapped[0], "a5", wrapped[1], "c5", wrapped[2])
        assert np.isnan(game.outcome(states))[0], wrapped
    assert game.outcome(play(game, "c1", "a5", "d1", "c5", "e1"))[0] == -1


def test_an_overline_does_not_win_where_lines_are_exact():
    moves = ["a1", "a9", "b1", "c9", "c1", "e9", "e1", "g9", "f1", "i9", "d1"]  # six in a row
    free, exact = make(9, 9, 5, False), make(9, 9, 5, True)
    assert free.outcome(play(free, *moves))[0] == -1
    assert np.isnan(exact.outcome(play(exact, *moves)))[0]
    assert exact.legal(play(exact, *moves)).any()


def test_a_stone_that_makes_an_overline_and_a_line_of_five_wins():
    row = ["a1", "b1", "c1", "e1", "f1"]
    column = ["d2", "d3", "d4", "d5"]
    others = ["a9", "c9", "e9", "g9", "i9", "a7", "c7", "e7", "g7"]
    moves = [move for pair in zip(row + column, others, strict=True) for move in pair]
    game = make(9, 9, 5, True)
    states = play(game, *moves, "d1")
    assert game.outcome(states)[0] == -1
    names = [game.action_to_text(cell) for cell in game.drawing(states[0]).line]
    assert names == ["d5", "d4", "d3", "d2", "d1"]


def test_a_full_board_without_a_line_is_a_draw():
    game = games.make("gomoku:size=3,length=3")
    states = play(game, "a1", "b1", "c1", "b2", "a2", "c2", "b3", "a3", "c3")
    assert game.outcome(states)[0] == 0
    assert not game.legal(states).any()
    assert game.drawing(states[0]).line == ()


def random_games(game, number, seed):
    """``number`` games, ply by ply: ``(rows that go on, their states, their actions)``."""
    rng, rows, states = np.random.default_rng(seed), np.arange(number), game.initial(number)
    while len(rows):
        legal = game.legal(states)
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        yield rows, states, actions
        states = game.step(states, actions)
        going = np.isnan(game.outcome(states))
        rows, states = rows[going], states[going]


def test_three_in_a_row_on_three_by_three_is_tic_tac_toe_move_for_move():
    game, plain = games.make("gomoku:size=3,length=3"), games.make("tic_tac_toe")
    theirs = plain.initial(2000)
    for rows, states, actions in random_games(game, 2000, seed=3):
        assert np.array_equal(game.legal(states), plain.legal(theirs[rows]))
        assert np.array_equal(game.observe(states), plain.observe(theirs[rows]))
        assert np.array_equal(game.to_move(states), plain.to_move(theirs[rows]))
        theirs[rows] = plain.step(theirs[rows], actions)
        outcome = game.outcome(game.step(states, actions))
        np.testing.assert_array_equal(outcome, plain.outcome(theirs[rows]))


NUMBERS = [pytest.param(20, id="20"), pytest.param(10_000, id="10000", marks=SLOW)]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("spec", "theirs"),
    [
        ("gomoku:size=9,length=5", "gomoku(size=9,connect=5)"),
        ("gomoku:size=15,length=5", "gomoku(size=15,connect=5)"),
        ("gomoku:size=7,length=4", "mnk(m=7,n=7,k=4)"),
        ("gomoku:size=3x4,length=3", "mnk(m=4,n=3,k=3)"),
        ("gomoku:size=6x5,length=4", "mnk(m=5,n=6,k=4)"),
    ],
)
def test_random_games_are_the_same_in_open_spiel(spec, theirs, number):
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
    game, rules = games.make(spec), pyspiel.load_game(theirs)
    others = [rules.new_initial_state() for _ in range(number)]
    for rows, states, actions in random_games(game, number, seed=number):
        legal, mover = game.legal(states), game.to_move(states)
        for i, row in enumerate(rows):
            assert not others[row].is_terminal()
            assert others[row].current_player() == mover[i]
            assert others[row].legal_actions() == np.flatnonzero(legal[i]).tolist()
            others[row].apply_action(int(actions[i]))
        outcome = game.outcome(game.step(states, actions))
        for i, row in enumerate(rows):
            assert others[row].is_terminal() == (not np.isnan(outcome[i]))
            if others[row].is_terminal():
                result = float(outcome[i]) * (2 * mover[i] - 1)
                assert others[row].returns() == [result, -result]


@pytest.mark.parametrize(("size", "value"), [("3", 0), ("3x4", 1), ("4x3", 1)])
def test_exact_values_of_three_in_a_row_are_the_known_ones(size, value):
    solution = solve_all(games.make(f"gomoku:size={size},length=3"))
    assert solution.value[0] == value


@pytest.mark.slow
def test_openings_of_three_in_a_row_on_three_by_four_are_those_of_a_search_of_sets():
    known, lines = {}, [
        sum(1 << (4 * (row + i * down) + column + i * right) for i in range(3))
        for row, column in product(range(3), range(4))
        for down, right in [(0, 1), (1, 0), (1, 1), (1, -1)]
        if row + 2 * down < 3 and 0 <= column + 2 * right < 4
    ]  # fmt: skip

    def value(mine, theirs):
        """The result for the mover; cells are bits."""
        if any(theirs & line == line for line in lines):
            return -1
        if (mine, theirs) not in known:
            free = [1 << cell for cell in range(12) if not (mine | theirs) >> cell & 1]
            known[mine, theirs] = max((-value(theirs, mine | cell) for cell in free), default=0)
        return known[mine, theirs]

    solution = solve_all(games.make("gomoku:size=3x4,length=3"))
    expected = [-value(0, 1 << cell) for cell in range(12)]
    assert solution.move_values[0].tolist() == expected


@SLOW
def test_the_first_player_cannot_force_four_in_a_row_on_four_by_four():
    game = games.make("gomoku:size=4,length=4")
    images = np.stack([cells for cells, _ in game.symmetries()])
    known, refuted = {}, np.ones((2, 16))

    def first_wins(state):
        key = min(image.tobytes() for image in state["cells"][images])
        if key not in known:
            mover, (moves,) = int(state["player"]), np.nonzero(game.legal(state[None])[0])
            after = game.advance(np.repeat(state[None], len(moves)), moves)
            known[key] = mover == 1
            if (after.outcome == -1).any():
                known[key] = mover == 0
                return known[key]
            for place in np.argsort(-refuted[mover, moves]):
                drawn = after.outcome[place] == 0
                if (not drawn and first_wins(after.states[place])) == (mover == 0):
                    refuted[mover, moves[place]] += 1
                    known[key] = mover == 0
                    break
        return known[key]

    # Nor can the second player win: an additional stone never harms its owner. So it is a draw.
    assert not first_wins(game.initial(1)[0])


@pytest.mark.parametrize(("size", "number"), [("9", 8), ("3x4", 4), ("19", 8)])
def test_squares_have_eight_symmetries_and_rectangles_four(size, number):
    game = games.make(f"gomoku:size={size},length=3")
    rng, states = np.random.default_rng(number), game.initial(50)
    assert len({tuple(cells) for cells, _ in game.symmetries()}) == number
    for _ in range(12):
        legal = game.legal(states)
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        after = game.step(states, actions)
        for cells, gathered in game.symmetries():
            turned = states.copy()
            turned["cells"] = states["cells"][:, cells]
            expected = after.copy()
            expected["cells"] = after["cells"][:, cells]
            assert np.array_equal(game.step(turned, np.argsort(gathered)[actions]), expected)
        states = after[np.isnan(game.outcome(after))]
        if not len(states):
            break


def test_cells_are_named_from_the_bottom_left():
    game = games.make("gomoku:size=15")
    assert game.text_to_action("a1") == 14 * 15
    assert game.text_to_action(" H8 ") == 7 * 15 + 7, "the point in the middle"
    assert game.action_to_text(14) == "o15"
    assert games.make("gomoku:size=19").action_to_text(18) == "s19"
    with pytest.raises(ValueError, match="'p1' is not a move here; the nearest are "):
        game.text_to_action("p1")


def test_the_drawing_has_points_numbers_at_the_left_and_letters_below():
    game = games.make("gomoku:size=3x4,length=3")
    states = play(game, "a1", "b2", "d3")
    drawing = game.drawing(states[0], game.text_to_action("d3"))
    assert drawing.last == (3,)
    assert {cell.shape for cell in drawing.cells} == {"point"}
    assert drawing.as_text().splitlines() == [
        "3 . . . X",
        "2 . O . .",
        "1 X . . .",
        "  a b c d",
    ]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("gomoku:size=2", "gomoku: size must be 3 to 19, or ROWSxCOLUMNS of these as 6x7, not '2'"),
        ("gomoku:size=20", "gomoku: size must be 3 to 19"),
        ("gomoku:size=-5", "gomoku: size must be 3 to 19"),
        ("gomoku:size=6x", "gomoku: size must be 3 to 19"),
        ("gomoku:size=6x7x8", "gomoku: size must be 3 to 19"),
        ("gomoku:size=x7", "gomoku: size must be 3 to 19"),
        ("gomoku:size=", "gomoku: size must be 3 to 19"),
        ("gomoku:size=nine", "gomoku: size must be 3 to 19"),
        ("gomoku:size=9,length=10", "gomoku: length must be 3 to 9, the longer side, not 10"),
        ("gomoku:length=2", "gomoku: length must be 3 to 15, the longer side, not 2"),
        ("gomoku:exact=perhaps", "gomoku: exact must be of type bool, not 'perhaps'"),
    ],
)
def test_a_bad_parameter_is_explained_in_one_line(spec, line):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - the text is compared below
        games.make(spec)
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_a_square_has_one_name():
    assert games.make("gomoku:size=9x9").name == "gomoku:size=9,length=5,exact=false"
    assert games.make("gomoku:size=6x7,length=4").name == "gomoku:size=6x7,length=4,exact=false"
