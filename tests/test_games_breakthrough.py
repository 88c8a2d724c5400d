"""Breakthrough against published perft numbers, two other programs and a board of single cells."""

import re
import shutil
import subprocess
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games.solvers import minimax

GAME = games.make("breakthrough:rows=8,columns=8")
PERFT = [22, 484, 11_132, 256_036]
"""Move sequences of 1, 2, 3, 4 plies from the start."""
FAIRY = shutil.which("fairy-stockfish") or shutil.which("/usr/games/fairy-stockfish")


SMALL = [(4, 2), (5, 2), pytest.param(4, 3, marks=pytest.mark.slow)]


class Slow:
    """The rules on a dictionary of squares as the first player sees them, one piece at a time."""

    def __init__(self, rows, columns):
        self.rows, self.columns, self.mover = rows, columns, "X"
        self.board = {(row, column): "." for row in range(rows) for column in range(columns)}
        for row, column in self.board:
            if row < 2:
                self.board[row, column] = "X"
            elif row >= rows - 2:
                self.board[row, column] = "O"

    def winner(self):
        pieces = list(self.board.values())
        for player, other, last in (("X", "O", self.rows - 1), ("O", "X", 0)):
            reached = [self.board[last, column] for column in range(self.columns)]
            if player in reached or other not in pieces:
                return player
        return None

    def moves(self):
        if self.winner():
            return
        ahead = 1 if self.mover == "X" else -1
        for (row, column), piece in self.board.items():
            if piece != self.mover:
                continue
            for aside in (-1, 0, 1):
                target = row + ahead, column + aside
                there = self.board.get(target, self.mover)
                if there == "." or (aside and there != self.mover):
                    yield (row, column), target

    def legal(self):
        return {self.text(*move): move for move in self.moves()}

    def text(self, origin, target):
        return "".join(f"{'abcdefgh'[column]}{row + 1}" for row, column in (origin, target))

    def play(self, move):
        after = Slow(self.rows, self.columns)
        after.board = self.board | {move[0]: ".", move[1]: self.mover}
        after.mover = "XO"[self.mover == "X"]
        return after

    def drawing(self):
        rows = [
            [self.board[row, column] for column in range(self.columns)]
            for row in reversed(range(self.rows))
        ]
        return "".join(cell for row in rows for cell in row)


def shown(game, state):
    """The letters of the cells, the top row first."""
    return "".join(line[1:].replace(" ", "") for line in game.render(state).splitlines()[1:])


def moves(game, state):
    legal = game.legal(np.array([state], game.dtype))[0]
    return {game.move_to_text(state, action): action for action in np.flatnonzero(legal)}


def play(game, *texts):
    states = game.initial(1)
    for text in texts:
        states = game.step(states, np.array([game.text_to_move(states[0], text)]))
    return states


def test_perft_is_the_published_one():
    states = GAME.initial(1)
    for expected in PERFT:
        rows, actions = np.nonzero(GAME.legal(states))
        assert len(rows) == expected
        states = GAME.step(states[rows], actions)


@given(st.integers(4, 8), st.integers(2, 8), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_any_game_goes_as_on_the_board_of_single_cells(rows, columns, random):
    game, slow = games.make(f"breakthrough:rows={rows},columns={columns}"), Slow(rows, columns)
    states = game.initial(1)
    for _ in range(game.max_plies + 1):
        expected, legal = slow.legal(), moves(game, states[0])
        assert set(legal) == set(expected)
        assert len(legal) <= game.max_legal
        assert shown(game, states[0]) == slow.drawing()
        assert "XO"[game.to_move(states)[0]] == slow.mover
        winner = slow.winner()
        result = np.nan if winner is None else 1 if winner == slow.mover else -1
        np.testing.assert_equal(game.outcome(states)[0], np.float32(result))
        if winner:
            return
        text = random.choice(sorted(expected))
        states, slow = game.step(states, np.array([legal[text]])), slow.play(expected[text])
    raise AssertionError("no end")


def compare_with_open_spiel(rows, columns, number, seed):
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
    theirs = pyspiel.load_game(f"breakthrough(rows={rows},columns={columns})")
    game = games.make(f"breakthrough:rows={rows},columns={columns}")
    rng = np.random.default_rng(seed)
    flip = {str(rank): str(rows + 1 - rank) for rank in range(1, rows + 1)}

    texts = {}

    def text_of(state, action):
        """Their action in our notation: with them the player who begins is at the top."""
        if action not in texts:
            text = state.action_to_string(action).rstrip("*")
            texts[action] = "".join(flip.get(letter, letter) for letter in text)
        return texts[action]

    for _ in range(number):
        states, state = game.initial(1), theirs.new_initial_state()
        while not state.is_terminal():
            mover = state.current_player()
            assert np.isnan(game.outcome(states)[0])
            assert game.to_move(states)[0] == mover
            expected = {text_of(state, action): action for action in state.legal_actions()}
            legal = moves(game, states[0])
            assert legal.keys() == expected.keys()
            text = sorted(legal)[rng.integers(len(legal))]
            state.apply_action(expected[text])
            states = game.step(states, np.array([legal[text]]))
        first = int(game.outcome(states)[0]) * (1 - 2 * int(game.to_move(states)[0]))
        assert state.returns() == [first, -first]
        assert not game.legal(states).any()


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (6, 5), (7, 2)])
def test_random_games_are_the_same_in_open_spiel(rows, columns):
    compare_with_open_spiel(rows, columns, 70, seed=rows)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (6, 6)])
def test_10000_random_games_are_the_same_in_open_spiel(rows, columns):
    compare_with_open_spiel(rows, columns, 10_000, seed=rows)


def ask_fairy_stockfish(commands):
    if FAIRY is None:
        pytest.skip("Fairy-Stockfish is not installed (Debian's fairy-stockfish)")
    lines = ["setoption name UCI_Variant value breakthrough", *commands, "quit"]
    run = subprocess.run(
        [FAIRY], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=120
    )
    # An unknown variant is ignored silently: the line below shows that this one is known.
    assert "info string variant breakthrough" in run.stdout
    return run.stdout


def test_fairy_stockfish_counts_as_many_sequences_of_moves():
    for depth, expected in enumerate(PERFT, 1):
        printed = ask_fairy_stockfish(["position startpos", f"go perft {depth}"])
        assert f"Nodes searched: {expected}\n" in printed


def compare_with_fairy_stockfish(number, seed):
    rng, commands, expected = np.random.default_rng(seed), [], []
    for _ in range(number):
        states, line = GAME.initial(1), []
        while legal := moves(GAME, states[0]):
            commands += [f"position startpos moves {' '.join(line)}", "go perft 1"]
            expected.append(sorted(legal))
            text = sorted(legal)[rng.integers(len(legal))]
            line.append(text)
            states = GAME.step(states, np.array([legal[text]]))
    answers = ask_fairy_stockfish(commands).split("Nodes searched:")[:-1]
    assert [sorted(re.findall(r"^(\w+): 1$", text, re.MULTILINE)) for text in answers] == expected


def test_fairy_stockfish_has_the_same_moves_in_every_position_of_random_games():
    compare_with_fairy_stockfish(20, seed=100)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fairy_stockfish_has_the_same_moves_in_every_position_of_1000_random_games():
    for seed in range(20):
        compare_with_fairy_stockfish(50, seed)


@pytest.mark.parametrize(("rows", "columns"), SMALL)
def test_all_values_of_small_boards_are_those_of_a_slow_search(rows, columns):
    start = Slow(rows, columns)
    known = {}

    def value(slow):
        key = slow.drawing(), slow.mover
        if key not in known:
            winner = slow.winner()
            replies = [-value(slow.play(move)) for move in slow.moves()]
            known[key] = (1 if winner == slow.mover else -1) if winner else max(replies)
        return known[key]

    value(start)
    game = games.make(f"breakthrough:rows={rows},columns={columns}")
    solved = minimax.solve_all(game)
    assert len(solved.states) > 20
    movers = game.to_move(solved.states)
    for state, mover, result in zip(solved.states, movers, solved.value, strict=True):
        assert known[shown(game, state), "XO"[mover]] == result


@pytest.mark.parametrize(("rows", "columns"), SMALL)
def test_no_game_is_longer_than_max_plies(rows, columns):
    @cache
    def longest(board, mover):
        slow = Slow(rows, columns)
        slow.board, slow.mover = dict(board), mover
        after = [slow.play(move) for move in slow.moves()]
        return max((1 + longest(tuple(a.board.items()), a.mover) for a in after), default=0)

    start = Slow(rows, columns)
    most = longest(tuple(start.board.items()), "X")
    assert most <= games.make(f"breakthrough:rows={rows},columns={columns}").max_plies <= most + 4


@given(st.integers(4, 8), st.integers(2, 8), st.data())
@settings(max_examples=100, deadline=None)
def test_no_placement_of_a_players_pieces_has_more_moves_than_max_legal(rows, columns, data):
    game = games.make(f"breakthrough:rows={rows},columns={columns}")
    cells = st.tuples(st.integers(0, rows - 2), st.integers(0, columns - 1))
    pieces = data.draw(st.sets(cells, max_size=2 * columns))
    states = np.zeros(1, game.dtype)
    states["mine"] = sum(1 << (8 * row + column) for row, column in pieces)
    assert game.legal(states).sum() <= game.max_legal


def test_a_piece_ahead_blocks_and_is_not_taken_but_diagonally_it_is():
    states = play(GAME, "d2d3", "d7d6", "d3d4", "d6d5")
    assert "d4d5" not in moves(GAME, states[0])
    states = play(GAME, "d2d3", "e7e6", "d3d4", "e6e5")
    legal = moves(GAME, states[0])
    assert {"d4d5", "d4e5", "d4c5"} <= set(legal)
    after = GAME.step(states, np.array([legal["d4e5"]]))
    assert shown(GAME, after[0]).count("O") == 15


def test_a_piece_in_the_last_row_wins_for_either_player():
    line = ["a2b3", "h7h6", "b3c4", "h6h5", "c4d5", "h5h4", "d5e6", "h4g3", "e6d7", "g3f2"]
    before = play(GAME, *line)
    for text in ("d7e8", "d7c8"):
        after = GAME.step(before, np.array([GAME.text_to_move(before[0], text)]))
        assert GAME.outcome(after).tolist() == [-1]
        assert GAME.to_move(after).tolist() == [1]
        assert not GAME.legal(after).any()
    assert GAME.outcome(play(GAME, *line, "b1b2", "f2e1")).tolist() == [-1]


def test_taking_the_last_piece_wins():
    states = np.zeros(1, GAME.dtype)
    states["mine"], states["theirs"] = 1 << 27, 1 << 36  # d4 and e5
    after = GAME.step(states, np.array([GAME.text_to_move(states[0], "d4e5")]))
    assert GAME.outcome(after).tolist() == [-1]
    after = GAME.step(states, np.array([GAME.text_to_move(states[0], "d4d5")]))
    assert np.isnan(GAME.outcome(after)[0])


def test_the_second_player_sees_its_own_pieces_in_the_lower_rows():
    states = play(GAME, "a2a3")
    mine, theirs = GAME.observe(states)[0]
    assert mine[6:].all()
    assert mine[:6].sum() == 0
    # White's piece on a3 is in the third row from Black's far side, still in the first column.
    assert theirs[2, 0] == 1
    assert theirs[1, 0] == 0


def test_actions_are_numbered_from_the_movers_side_and_written_from_whites():
    start, after = GAME.initial(1), play(GAME, "a2a3")
    action = GAME.text_to_action("a2a3")
    assert GAME.move_to_text(start[0], action) == "a2a3"
    assert GAME.move_to_text(after[0], action) == "a7a6"
    assert GAME.text_to_move(after[0], "a7a6") == action
    small = games.make("breakthrough:rows=5,columns=3")
    black = small.step(small.initial(1), np.array([small.text_to_action("a2b3")]))
    assert small.text_to_move(black[0], "a4b3") == small.text_to_action("a2b3")


@pytest.mark.parametrize("text", ["b2c3", " B2C3 ", "b2-c3", "b2xc3", "b2c3*"])
def test_moves_are_read_as_players_and_programs_write_them(text):
    assert GAME.text_to_action(text) == GAME.text_to_action("b2c3")
    assert GAME.text_to_move(GAME.initial(1)[0], text) == GAME.text_to_action("b2c3")


@pytest.mark.parametrize("text", ["a2a4", "a2", "a2xx3", "h2i3", "a2a3", "", "b2c3" * 1000])
def test_what_is_no_move_is_explained_with_moves_of_the_player(text):
    with pytest.raises(ValueError, match="is not a move here; the nearest are ") as raised:
        GAME.text_to_move(play(GAME, "a2a3")[0], text)
    assert len(str(raised.value)) < 250
    named = str(raised.value).partition("nearest are ")[2].split(", ")
    for move in named:
        assert int(move[1]) == int(move[3]) + 1


@pytest.mark.parametrize("line", [[], ["a2b3"], ["a2b3", "h7g6"]])
def test_a_move_is_two_clicks_from_and_to_the_squares_of_its_notation(line):
    states = play(GAME, *line)
    drawing = GAME.drawing(states[0])
    for text, action in moves(GAME, states[0]).items():
        cells = [8 * (8 - int(text[i + 1])) + "abcdefgh".index(text[i]) for i in (0, 2)]
        assert drawing.clicks[action] == tuple(cells)
        assert drawing.cells[cells[0]].player == GAME.to_move(states)[0]
        after = GAME.step(states, np.array([action]))
        assert GAME.drawing(after[0], action).last == tuple(cells)


def test_the_drawing_has_whites_first_row_at_the_bottom():
    small = games.make("breakthrough:rows=5,columns=3")
    assert small.render(play(small, "a2b3")[0]).splitlines() == [
        "  a b c",
        "5 O O O",
        "4 O O O",
        "3 . X .",
        "2 . X X",
        "1 X X X",
    ]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("breakthrough:rows=3", "breakthrough: rows must be 4 to 8, not 3"),
        ("breakthrough:columns=9", "breakthrough: columns must be 2 to 8, not 9"),
    ],
)
def test_a_board_of_another_size_is_refused(spec, line):
    with pytest.raises(ValueError, match=line):
        games.make(spec)
