"""Othello against published perft numbers, another library, a plain board, hand-made positions."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games

GAME = games.make("othello:size=8")

# Move sequences of 1, 2, 3, ... plies from the start. A pass counts as a ply, and a game that ended
# earlier (228 do after nine plies) counts as one sequence.
PERFT = [4, 12, 56, 244, 1396, 8200, 55_092, 390_216, 3_005_288, 24_571_284]


class Mailbox:
    """The rules on a dictionary of cells, one disc at a time: slow and plain."""

    def __init__(self, size):
        self.size, self.mover = size, "X"
        low, high = size // 2 - 1, size // 2
        self.board = {(row, column): "." for row in range(size) for column in range(size)}
        self.board |= {(low, low): "O", (high, high): "O", (low, high): "X", (high, low): "X"}

    def turned(self, cell, mover):
        other, discs = "XO"[mover == "X"], []
        if self.board[cell] != ".":
            return discs
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                line, (row, column) = [], cell
                while self.board.get((row := row + down, column := column + right)) == other:
                    line.append((row, column))
                if self.board.get((row, column)) == mover:
                    discs += line
        return discs

    def cells(self, mover):
        return [cell for cell in self.board if self.turned(cell, mover)]

    def legal(self):
        own = [row * self.size + column for row, column in self.cells(self.mover)]
        other = "XO"[self.mover == "X"]
        return own or ([self.size**2] if self.cells(other) else [])

    def play(self, action):
        after = Mailbox(self.size)
        after.board, after.mover = dict(self.board), "XO"[self.mover == "X"]
        if action < self.size**2:
            cell = divmod(action, self.size)
            for disc in [cell, *self.turned(cell, self.mover)]:
                after.board[disc] = self.mover
        return after

    def outcome(self):
        """For the mover; None while the game goes on."""
        discs = list(self.board.values())
        margin = discs.count(self.mover) - discs.count("XO"[self.mover == "X"])
        return None if self.legal() else (margin > 0) - (margin < 0)

    def perft(self, depth):
        if depth == 0:
            return 1
        return sum(self.play(action).perft(depth - 1) for action in self.legal())


def perft(game, depth):
    states, ended, counts = game.initial(1), 0, []
    for ply in range(1, depth + 1):
        legal = game.legal(states)
        ended += int(np.count_nonzero(~legal.any(axis=1)))
        counts.append(int(np.count_nonzero(legal)) + ended)
        if ply < depth:
            rows, actions = np.nonzero(legal)
            states = game.step(states[rows], actions)
    return counts


def position(rows, player=0):
    """A state from rows of X (black), O (white) and dots."""
    states = np.zeros(1, GAME.dtype)
    size = len(rows)
    names = ("mine", "theirs") if player == 0 else ("theirs", "mine")
    for stone, name in zip("XO", names, strict=True):
        cells = [8 * r + c for r in range(size) for c in range(size) if rows[r][c] == stone]
        states[name] = sum(1 << cell for cell in cells)
    states["player"] = player
    return states


def moves(game, states):
    return [game.action_to_text(action) for action in np.flatnonzero(game.legal(states)[0])]


def play(game, states, *texts):
    for text in texts:
        states = game.step(states, np.array([game.text_to_action(text)]))
    return states


@pytest.mark.parametrize(
    "depth", [pytest.param(8, id="8"), pytest.param(10, id="10", marks=pytest.mark.slow)]
)
def test_perft_is_the_published_one(depth):
    assert perft(GAME, depth) == PERFT[:depth]


@pytest.mark.parametrize(("size", "depth"), [(4, 6), (6, 5), (10, 3)])
def test_perft_of_small_boards_is_the_mailbox_boards(size, depth):
    expected = [Mailbox(size).perft(plies) for plies in range(1, depth + 1)]
    assert perft(games.make(f"othello:size={size}"), depth) == expected


@given(st.sampled_from([4, 6, 8, 10]), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_any_game_goes_as_on_the_mailbox_board(size, random):
    game, mailbox = games.make(f"othello:size={size}"), Mailbox(size)
    states = game.initial(1)
    for _ in range(game.max_plies + 1):
        legal = mailbox.legal()
        assert np.flatnonzero(game.legal(states)[0]).tolist() == legal
        drawing = "\n".join(line[2:] for line in game.render(states[0]).splitlines()[1:])
        assert drawing.replace(" ", "").replace("\n", "") == "".join(mailbox.board.values())
        assert "XO"[game.to_move(states)[0]] == mailbox.mover
        expected = mailbox.outcome()
        np.testing.assert_equal(
            game.outcome(states)[0], np.float32(np.nan if expected is None else expected)
        )
        if not legal:
            return
        action = random.choice(legal)
        states, mailbox = game.step(states, np.array([action])), mailbox.play(action)
    raise AssertionError("no end")


def compare_with_rust_reversi(number, seed):
    library = pytest.importorskip("rust_reversi", reason="rust-reversi comes with the extra dev")
    rng = np.random.default_rng(seed)
    for _ in range(number):
        states, board = GAME.initial(1), library.Board()
        while not board.is_game_over():
            assert np.isnan(GAME.outcome(states)[0])
            legal = np.flatnonzero(GAME.legal(states)[0]).tolist()
            assert legal == ([64] if board.is_pass() else board.get_legal_moves_vec())
            assert (board.get_turn() == library.Turn.BLACK) == (GAME.to_move(states)[0] == 0)
            action = legal[rng.integers(len(legal))]
            board.do_pass() if action == 64 else board.do_move(action)
            states = GAME.step(states, np.array([action]))
        assert not GAME.legal(states).any()
        discs = board.black_piece_num() - board.white_piece_num()
        black = 1 - 2 * int(GAME.to_move(states)[0])
        assert round(float(GAME.final_score(states)[0]) * 64) * black == discs
        assert GAME.outcome(states)[0] * black == np.sign(discs)


def test_random_games_are_the_same_in_rust_reversi():
    compare_with_rust_reversi(200, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_10000_random_games_are_the_same_in_rust_reversi():
    compare_with_rust_reversi(10_000, seed=2)


def test_the_smallest_board_is_won_by_eight_discs_by_the_player_who_moves_second():
    @cache
    def margin(key):
        """The best margin for the mover of the state with these bytes, over all games from it."""
        states = np.frombuffer(key, SMALL.dtype)
        actions = np.flatnonzero(SMALL.legal(states)[0])
        if not len(actions):
            return round(float(SMALL.final_score(states)[0]) * 16)
        return max(-margin(SMALL.step(states, np.array([a])).tobytes()) for a in actions)

    assert margin(SMALL.initial(1).tobytes()) == -8


def test_black_begins_with_d3_c4_f5_or_e6():
    assert GAME.to_move(GAME.initial(1))[0] == 0
    assert moves(GAME, GAME.initial(1)) == ["d3", "c4", "f5", "e6"]


SMALL = games.make("othello:size=4")


def test_a_pass_is_the_only_move_of_a_player_without_one():
    states = position(["XO..", "....", "....", "...."], player=1)
    assert moves(SMALL, states) == ["pass"]


def test_a_pass_hands_the_move_over_without_changing_the_board():
    states = position(["XO..", "....", "....", "...."], player=1)
    after = play(SMALL, states, "pass")
    assert after == position(["XO..", "....", "....", "...."], player=0)
    assert moves(SMALL, after) == ["c1"]


def test_the_game_ends_when_neither_side_can_move_though_cells_are_empty():
    states = position(["XX..", "....", "....", "...."], player=1)
    assert moves(SMALL, states) == []
    assert SMALL.outcome(states)[0] == -1
    assert SMALL.outcome(position(["XX..", "....", "....", "...."], player=0))[0] == 1


def test_equal_discs_are_a_draw():
    full = ["XXXX", "XXXX", "OOOO", "OOOO"]
    assert SMALL.outcome(position(full))[0] == 0
    assert SMALL.outcome(position(full, player=1))[0] == 0


def test_a_move_turns_discs_in_all_eight_directions_at_once():
    before = [
        "X..X..X.",
        ".O.O.O..",
        "..OOO...",
        "XOO.OOOX",
        "..OOO...",
        ".O.O.O..",
        "X..O..X.",
        "...X....",
    ]
    after = play(GAME, position(before), "d4")
    expected = [row.replace("O", "X") for row in before]
    expected[3] = "XXXXXXXX"
    assert after == position(expected, player=1)


@pytest.mark.parametrize(
    ("discs", "behind"),
    [
        ({"g1": "X", "h1": "O"}, "a2"),
        ({"b2": "X", "a2": "O"}, "h1"),
        ({"b1": "X", "a2": "O"}, "h2"),
        ({"g3": "X", "h2": "O"}, "a2"),
        ({"g1": "X", "h2": "O"}, "a4"),
        ({"b4": "X", "a3": "O"}, "h1"),
    ],
)
def test_a_line_does_not_run_over_the_edge_into_the_next_row(discs, behind):
    # ``behind`` is where the line would go on in memory.
    states = np.zeros(1, GAME.dtype)
    for cell, disc in discs.items():
        states["mine" if disc == "X" else "theirs"] |= np.uint64(1 << GAME.text_to_action(cell))
    assert set(moves(GAME, states)) <= {"pass"}
    states["mine"] |= np.uint64(1 << GAME.text_to_action(behind))
    assert GAME.observe(play(GAME, states, "e8"))[0, 0].sum() == 1


@pytest.mark.parametrize("size", [4, 6, 8, 10])
def test_all_eight_symmetries_commute_with_the_rules(size):
    game = games.make(f"othello:size={size}")
    rng, states = np.random.default_rng(size), game.initial(100)

    def image(states, cells):
        turned = np.zeros(len(states), game.dtype)
        turned["player"] = states["player"]
        discs = game.observe(states).reshape(len(states), 2, -1)[:, :, cells] > 0
        for name, there in zip(("mine", "theirs"), discs.transpose(1, 0, 2), strict=True):
            for cell, bit in enumerate(game._bits):
                turned[name][there[:, cell]] |= bit
        return turned

    assert len(game.symmetries()) == 8
    for _ in range(size * size - 6):
        legal = game.legal(states)
        states, legal = states[legal.any(axis=1)], legal[legal.any(axis=1)]
        actions = np.where(legal, rng.random(legal.shape), -1.0).argmax(axis=1)
        after = game.step(states, actions)
        for cells, gathered in game.symmetries():
            turned = image(states, cells)
            assert np.array_equal(game.legal(turned), legal[:, gathered])
            turned_actions = np.argsort(gathered)[actions]
            assert np.array_equal(game.step(turned, turned_actions), image(after, cells))
        states = after


def test_cells_are_named_from_the_top_left_and_the_last_action_is_pass():
    assert GAME.action_to_text(0) == "a1"
    assert GAME.action_to_text(7) == "h1"
    assert GAME.action_to_text(63) == "h8"
    assert GAME.action_to_text(64) == "pass"
    assert GAME.text_to_action(" D3 ") == GAME.text_to_action("d3") == 19
    with pytest.raises(ValueError, match="'i9' is not a move here; the nearest are "):
        GAME.text_to_action("i9")


def test_the_mover_sees_its_own_discs_first():
    planes = GAME.observe(play(GAME, GAME.initial(1), "d3"))[0]
    assert planes[0].sum() == 1
    assert planes[1].sum() == 4
    assert planes[0, 4, 4] == planes[1, 2, 3] == 1


def test_the_drawing_has_letters_above_and_numbers_at_the_left():
    assert SMALL.render(SMALL.initial(1)[0]).splitlines() == [
        "  a b c d",
        "1 . . . .",
        "2 . O X .",
        "3 . X O .",
        "4 . . . .",
    ]
