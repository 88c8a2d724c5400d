"""Hex against OpenSpiel, a set-based board, an exact search and published openings."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games.solvers.minimax import solve_all

SLOW = pytest.mark.slow


class Board:
    """The rules on sets of points of the plane: two hexagons touch if their middles are 1 apart."""

    def __init__(self, size, stones=({}, {})):
        self.size, self.stones = size, tuple(frozenset(side) for side in stones)

    def empty(self):
        taken, cells = self.stones[0] | self.stones[1], product(range(self.size), repeat=2)
        return [cell for cell in cells if cell not in taken]

    def chains(self, player):
        """Sets of stones that touch, each with the number of its owner's edges it reaches."""
        left = set(self.stones[player])
        while left:
            chain, front = set(), {left.pop()}
            while front:
                chain |= front
                front = {(y + down, x + right) for y, x in front for down, right in AROUND} & left
                left -= front
            lines = {cell[player] for cell in chain}
            yield chain, (0 in lines) + (self.size - 1 in lines)

    def winner(self):
        won = [p for p in (0, 1) if any(edges == 2 for _, edges in self.chains(p))]
        assert len(won) < 2, "two chains that cross"
        return won[0] if won else None

    def play(self, player, cell):
        stones = list(self.stones)
        stones[player] = stones[player] | {cell}
        return Board(self.size, stones)


def touch(one, two):
    (down, right), (row, column) = one, two
    x, y = (right + down / 2) - (column + row / 2), (down - row) * 3**0.5 / 2
    return abs(x * x + y * y - 1) < 1e-9


AROUND = [step for step in product((-1, 0, 1), repeat=2) if touch((0, 0), step)]


def seen(cells, player):
    """Cells of the board as their owner sees them, or back: mirrored for the second player."""
    return {cell[::-1] if player else cell for cell in cells}


def plane(cells, size):
    board = np.zeros((size, size), np.float32)
    for cell in cells:
        board[cell] = 1
    return board


def same(game, states, board, mover, may_swap):
    """Everything that the game says of one state is what the board says."""
    size, winner = board.size, board.winner()
    assert game.to_move(states)[0] == mover
    np.testing.assert_array_equal(game.outcome(states), [np.nan if winner is None else -1])
    assert winner in (None, 1 - mover)
    legal = [] if winner is not None else seen(board.empty(), mover)
    expected = np.append(plane(legal, size).ravel(), [may_swap] * game.swap)
    np.testing.assert_array_equal(game.legal(states)[0], expected)
    sides = (mover, 1 - mover)
    planes = [plane(seen(board.stones[side], mover), size) for side in sides]
    for side in sides:
        edged = [chain for chain, edges in board.chains(side) if edges]
        planes.append(plane(seen(set().union(*edged), mover), size))
    planes += [np.full((size, size), may_swap, np.float32)] * game.swap
    np.testing.assert_array_equal(game.observe(states)[0], planes)


@given(st.sampled_from([*range(3, 10), 19]), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None)
def test_any_game_goes_as_on_the_set_based_board(size, swap, random):
    game, board = games.make(f"hex:size={size},swap={str(swap).lower()}"), Board(size)
    states, mover, moves = game.initial(1), 0, 0
    while board.winner() is None:
        if size < 8 or random.random() < 0.2:
            same(game, states, board, mover, may_swap=swap and moves == 1)
        if swap and moves == 1 and random.random() < 0.5:
            (stone,) = board.stones[0]
            board, action = Board(size, [{}, {stone[::-1]}]), size * size
        else:
            row, column = random.choice(board.empty())
            board = board.play(mover, (row, column))
            action = column * size + row if mover else row * size + column
        states = game.step(states, np.array([action]))
        mover, moves = 1 - mover, moves + 1
    same(game, states, board, mover, may_swap=False)
    assert moves <= game.max_plies
    chain = next(chain for chain, edges in board.chains(1 - mover) if edges == 2)
    line = game.drawing(states[0]).line
    assert {divmod(cell, size) for cell in line} == chain


@pytest.mark.parametrize("size", [3, 7, 11, 19])
def test_no_game_is_a_draw_and_the_last_move_wins(size):
    game, rng = games.make(f"hex:size={size}"), np.random.default_rng(size)
    states, ended = game.initial(300), 0
    for _ in range(game.max_plies):
        actions = (rng.random((len(states), game.num_actions)) * game.legal(states)).argmax(axis=1)
        after = game.advance(states, actions)
        over = ~np.isnan(after.outcome)
        assert (after.outcome[over] == -1).all()
        ended, states = ended + over.sum(), after.states[~over]
    assert ended == 300


def test_every_full_board_of_three_by_three_has_one_winner():
    cells = set(product(range(3), range(3)))
    for first in combinations(sorted(cells), 5):
        assert Board(3, [first, cells - set(first)]).winner() is not None


def random_games(game, number, seed):
    """``number`` games, ply by ply: ``(rows that go on, their states, their actions)``."""
    rng, rows, states = np.random.default_rng(seed), np.arange(number), game.initial(number)
    while len(rows):
        legal = game.legal(states)
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        if game.swap and (legal[:, -1]).any():  # rare otherwise
            actions = np.where(rng.random(len(rows)) < 0.3, game.size**2, actions)
        yield rows, states, actions
        states = game.step(states, actions)
        going = np.isnan(game.outcome(states))
        assert not going.all() or len(rows)
        rows, states = rows[going], states[going]


@pytest.mark.parametrize(
    ("size", "swap", "number"),
    [(3, True, 200), (5, False, 100), (11, True, 20),
     pytest.param(5, True, 10_000, marks=SLOW), pytest.param(11, True, 10_000, marks=SLOW)],
)  # fmt: skip
def test_random_games_are_the_same_in_open_spiel(size, swap, number):
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
    game = games.make(f"hex:size={size},swap={str(swap).lower()}")
    rules = pyspiel.load_game(f"hex(board_size={size},swap={swap})")
    theirs = [rules.new_initial_state() for _ in range(number)]
    for rows, states, actions in random_games(game, number, seed=size):
        legal = game.legal(states)
        for row, state, ours, action in zip(rows, states, legal, actions, strict=True):
            their, player = theirs[row], int(game.to_move(state[None])[0])
            assert not their.is_terminal()
            assert their.current_player() == player
            # Their numbers are the cells of the board; ours are the mover's.
            board = ours[: size * size].reshape(size, size)
            cells = np.append((board.T if player else board).ravel(), ours[size * size :])
            assert their.legal_actions() == np.flatnonzero(cells).tolist()
            their.apply_action(their.string_to_action(game.move_to_text(state, int(action))))
        after = game.step(states, actions)
        for row, outcome, player in zip(
            rows, game.outcome(after), game.to_move(after), strict=True
        ):
            assert theirs[row].is_terminal() == (outcome == -1)
            if outcome == -1:
                assert theirs[row].returns() == [1 - 2 * (1 - player), 1 - 2 * player]


# Which first moves win, row by row, of the first player, who joins top and bottom. 3 x 3: by the
# exhaustive search of set-based boards below. 4 x 4: published solutions, as in a table of the
# openings of 4 x 4 to 9 x 9 (a public repository's), recomputed here.
OPENINGS = {3: "001 111 100", 4: "0001 0010 0100 1000"}


def winning_openings(size):
    return [text == "1" for text in OPENINGS[size].replace(" ", "")]


def test_the_openings_of_three_by_three_are_those_of_an_exhaustive_search():
    known = {}

    def wins(board, mover):
        if board.winner() is not None:
            return False
        if board.stones not in known:
            after = (board.play(mover, cell) for cell in board.empty())
            known[board.stones] = any(not wins(child, 1 - mover) for child in after)
        return known[board.stones]

    first = [not wins(Board(3).play(0, cell), 1) for cell in Board(3).empty()]
    assert first == winning_openings(3)
    solution = solve_all(games.make("hex:size=3,swap=false"))
    assert (solution.move_values[0] == 1).tolist() == first
    assert solution.value[0] == 1


def test_with_the_swap_rule_the_second_player_wins():
    solution = solve_all(games.make("hex:size=3,swap=true"))
    assert solution.value[0] == -1
    # It is used against the openings that win, and only these.
    for cell, wins in enumerate(winning_openings(3)):
        after = games.make("hex:size=3").step(solution.states[:1], np.array([cell]))
        (place,) = np.flatnonzero(solution.states == after)
        assert (solution.move_values[place, 9] == 1) == wins


@SLOW
def test_the_openings_of_four_by_four_are_the_published_ones():
    game = games.make("hex:size=4,swap=false")
    known, refuted = {}, np.ones((2, 16))

    def wins(state):
        """Whether the player to move wins; moves that refuted much elsewhere come first."""
        key = state.tobytes()
        if key not in known:
            mover, (moves,) = int(state["player"]), np.nonzero(game.legal(state[None])[0])
            after = game.advance(np.repeat(state[None], len(moves)), moves)
            known[key] = bool((after.outcome == -1).any())
            for place in () if known[key] else np.argsort(-refuted[mover, moves]):
                if not wins(after.states[place]):
                    refuted[mover, moves[place]] += 1
                    known[key] = True
                    break
        return known[key]

    start = np.repeat(game.initial(1), 16)
    openings = [not wins(state) for state in game.step(start, np.arange(16))]
    assert openings == winning_openings(4)


SMALL = games.make("hex:size=3")


def play(game, *texts):
    states = game.initial(1)
    for text in texts:
        action = game.text_to_move(states[0], text)
        assert game.legal(states)[0, action], text
        states = game.step(states, np.array([action]))
    return states


def rows(game, states):
    """The lines of the drawing between the letters and the text below, without numbers."""
    return [line.split()[1:] for line in game.render(states[0]).splitlines()[1:-1]]


def test_the_first_player_joins_top_and_bottom_and_the_second_left_and_right():
    assert np.isnan(SMALL.outcome(play(SMALL, "b1", "a1", "b2", "a2"))[0])
    assert SMALL.outcome(play(SMALL, "b1", "a1", "b2", "a2", "b3"))[0] == -1
    assert SMALL.outcome(play(SMALL, "a1", "a2", "b1", "b2", "c1", "c2"))[0] == -1
    # A whole row of the first player, a whole column of the second: neither wins.
    assert np.isnan(SMALL.outcome(play(SMALL, "a1", "a2", "b1", "a3", "c1"))[0])


def test_the_short_diagonal_is_a_chain_and_the_long_one_is_none():
    assert SMALL.outcome(play(SMALL, "c1", "a1", "b2", "a2", "a3"))[0] == -1
    assert np.isnan(SMALL.outcome(play(SMALL, "a1", "b1", "b2", "c2", "c3"))[0])


def test_a_swap_moves_the_stone_over_the_long_diagonal_and_changes_its_colour():
    states = play(SMALL, "b1", "swap")
    assert rows(SMALL, states) == [[".", ".", "."], ["O", ".", "."], [".", ".", "."]]
    assert SMALL.to_move(states)[0] == 0
    # In the mover's numbering the stone stays where it was.
    np.testing.assert_array_equal(
        SMALL.observe(states)[0, 1], SMALL.observe(play(SMALL, "b1"))[0, 1]
    )


def test_only_the_second_move_of_the_game_may_be_a_swap():
    assert [SMALL.legal(play(SMALL, *moves))[0, 9] for moves in (
        [], ["b1"], ["b1", "swap"], ["b1", "c1"], ["b1", "swap", "b1"], ["b1", "c1", "a1"]
    )] == [False, True, False, False, False, False]  # fmt: skip
    assert games.make("hex:size=3,swap=false").num_actions == 9


def test_both_players_see_the_same_board_where_they_stand_alike():
    # The second player's board is the first one's, mirrored, with the colours exchanged.
    game = games.make("hex:size=5,swap=false")
    first = play(game, "b1", "c4", "e3", "d2")
    second = play(game, "c3", "a2", "d3", "c5", "b4")  # as above after its first move
    planes, mirrored = game.observe(first)[0], game.observe(second)[0]
    assert mirrored[0].sum() == 2
    assert np.array_equal(planes[0], mirrored[0])


def test_the_edge_planes_show_chains_that_reach_an_edge():
    game = games.make("hex:size=5,swap=false")
    planes = game.observe(play(game, "c2", "d4", "e3", "b4", "c1", "c4"))[0]
    assert np.argwhere(planes[0]).tolist() == [[0, 2], [1, 2], [2, 4]]
    assert np.argwhere(planes[2]).tolist() == [[0, 2], [1, 2]], "e3 is at the other player's edge"
    assert np.argwhere(planes[1]).tolist() == [[3, 1], [3, 2], [3, 3]]
    assert not planes[3].any(), "a chain that reaches neither edge of its owner"


def test_cells_are_named_as_on_the_board_for_both_players():
    game = games.make("hex:size=19")
    assert game.action_to_text(0) == "a1"
    assert game.action_to_text(18) == "s1"
    assert game.action_to_text(19 * 18) == "a19"
    assert game.action_to_text(361) == "swap"
    first, second = game.initial(1), play(game, "k10")
    assert game.move_to_text(first[0], 1) == "b1"
    assert game.move_to_text(second[0], 1) == "a2"
    assert game.text_to_move(second[0], " A2 ") == 1
    assert game.move_to_text(second[0], 361) == "swap"
    for state in (first[0], second[0]):
        texts = [game.move_to_text(state, action) for action in range(game.num_actions)]
        assert [game.text_to_move(state, text) for text in texts] == list(range(game.num_actions))
    with pytest.raises(ValueError, match="'t1' is not a move here; the nearest are "):
        game.text_to_move(first[0], "t1")


def test_the_drawing_is_a_rhombus_of_hexagons_that_touch_where_the_rules_say():
    game = games.make("hex:size=4")
    cells = game.drawing(game.initial(1)[0]).cells
    for one, two in combinations(range(16), 2):
        apart = np.hypot(cells[one].x - cells[two].x, cells[one].y - cells[two].y)
        assert (apart < 1.01) == touch(divmod(one, 4), divmod(two, 4))
    assert {cell.shape for cell in cells} == {"hexagon"}
    assert game.render(play(game, "b1", "swap", "d1")[0]).splitlines() == [
        " a b c d",
        "1 . . . X",
        " 2 O . . .",
        "  3 . . . .",
        "   4 . . . .",
        "X (first) joins top and bottom, O (second) left and right",
    ]


@pytest.mark.parametrize("size", [3, 5])
def test_the_edges_of_the_drawing_run_along_the_cells_that_their_player_joins(size):
    game = games.make(f"hex:size={size}")
    drawing = game.drawing(game.initial(1)[0])
    rows, columns = np.divmod(np.arange(size**2), size)
    joined = [(0, rows == 0), (0, rows == size - 1), (1, columns == 0), (1, columns == size - 1)]
    assert [edge.player for edge in drawing.edges] == [player for player, _ in joined]
    for edge, (_, cells) in zip(drawing.edges, joined, strict=True):
        # A corner of a hexagon is 1 / sqrt(3) from its middle; the corners that are met by every
        # cell of the side and all of the line are on the board's outline.
        met = [
            [np.hypot(x - cell.x, y - cell.y) < 0.58 for x, y in edge.points]
            for cell in drawing.cells
        ]
        inside = np.array(met)[cells]
        assert (inside.sum(axis=1) >= 2).all()
        assert inside.any(axis=0).all()
        assert (np.sum(met, axis=0) <= 2).all()  # three cells meet in the corners inside


def test_clicks_and_marks_are_on_the_cell_where_the_stone_stands():
    states = play(SMALL, "c2")
    drawing = SMALL.drawing(states[0], SMALL.text_to_action("c2"))
    assert drawing.last == (5,)
    action = SMALL.text_to_move(states[0], "b1")
    assert drawing.clicks[action] == (1,)
    after = SMALL.step(states, np.array([action]))
    assert SMALL.drawing(after[0], action).last == (1,)
    swapped = SMALL.step(states, np.array([9]))
    assert SMALL.drawing(swapped[0], 9).last == (7,)
    assert drawing.named == {9: "swap"}


@pytest.mark.parametrize("size", [2, 20, -1])
def test_a_board_that_is_too_small_or_too_large_is_refused(size):
    with pytest.raises(ValueError, match=f"hex: size must be 3 to 19, not {size}"):
        games.make(f"hex:size={size}")
