"""Go against sets of stones with exact superko, OpenSpiel, pettingzoo and hand-made positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_go import Board

import games
from games.conformance import check
from games.conformance.choices import random_moves

slow = pytest.mark.slow
GAME = games.make("go:size=5,komi=0.5,history=50")


def exact(size, komi=7.5):
    """The game that remembers every position of a game of ``max_plies``."""
    return games.make(f"go:size={size},komi={komi},history={max(2 * size * size, 32)}")


def play(game, texts, states=None):
    states = game.initial(1) if states is None else states
    for text in texts.split():
        action = game.text_to_action(text)
        assert game.legal(states)[0, action], text
        states = game.step(states, np.array([action]))
    return states


def forbidden(game, states):
    """The points that the mover may not play on though they are empty, as texts."""
    plane = game.observe(states)[0, 6].ravel()
    return {game.action_to_text(action) for action in np.flatnonzero(plane)}


def rows(game, states):
    lines = game.render(states[0]).splitlines()[:-1]
    return ["".join(line.split()[1:]) for line in lines]


# The reference.


def same_position(game, states, board, plies):
    """One state says in every method what the reference says."""
    legal = board.legal()
    assert np.flatnonzero(game.legal(states)[0]).tolist() == legal
    over, sign = not legal, 1 if board.mover == "X" else -1
    margin = (board.margin() - game.komi) * sign
    owners = [sign * "O.X".index(owner) - sign for owner in board.owners()]
    assert "XO"[game.to_move(states)[0]] == board.mover
    np.testing.assert_equal(
        game.outcome(states)[0], np.float32(np.sign(margin) if over else np.nan)
    )
    assert game.adjudicate(states)[0] == np.sign(margin)
    assert game.final_ownership(states)[0].tolist() == owners
    largest = game.size**2 + abs(game.komi)
    assert game.final_score(states)[0] == np.float32(margin / largest)
    assert np.array_equal(game.observe(states)[0], planes(game, board, legal, plies))


def planes(game, board, legal, plies):
    """The observation from its description."""
    other, (one, two) = "XO"[board.mover == "X"], board.weak()
    own = [{p for p, stone in board.stones.items() if stone == mover}
           for mover in (board.mover, other)]  # fmt: skip
    over = not legal
    banned = {p for i, p in enumerate(board.points()) if p not in board.stones and i not in legal}
    sets = [part & every for every in (set(board.points()), one, two) for part in own]
    late = max(0.0, 1 - (game.max_plies - plies) / (2 * game.size))
    flat = [board.passes > 0, board.mover == "O", 0.0 if over else late, 1.0]
    cells = [[p in one for p in board.points()] for one in (*sets, set() if over else banned)]
    result = np.array([*cells, *([value] * game.size**2 for value in flat)], np.float32)
    return result.reshape(game.observation_shape)


def follow(game, board, choose):
    """Play a game on both boards and compare every position."""
    states = game.initial(1)
    for plies in range(game.max_plies + 1):
        same_position(game, states, board, plies)
        if not (legal := board.legal()) or plies == game.max_plies:
            return
        action = choose(legal)
        states, board = game.step(states, np.array([action])), board.play(action)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (2, 30),
        (3, 20),
        (4, 10),
        (5, 4),
        pytest.param(5, 10_000, marks=slow),
        pytest.param(9, 100, marks=slow),
        pytest.param(19, 2, marks=slow),
    ],
)
def test_random_games_are_the_same_with_sets_of_stones(size, number):
    rng = np.random.default_rng(size)
    for _ in range(number):
        # Passes are drawn rarely, so that games are long and full of captures.
        follow(exact(size), Board(size), lambda legal: int(rng.choice(legal[:-1] or legal)
               if rng.random() < 0.99 else legal[-1]))  # fmt: skip


@pytest.mark.parametrize("history", [1, 2, 3, 8])
def test_a_bounded_history_forgets_all_but_the_latest_positions(history):
    rng = np.random.default_rng(history)
    game = games.make(f"go:size=3,komi=0.5,history={history}")
    for _ in range(8):
        follow(game, Board(3, history), lambda legal: int(rng.choice(legal[:-1] or legal)))


@given(st.integers(2, 5), st.sampled_from([-3.5, 0.0, 0.5, 7.0]), st.data())
@settings(max_examples=20, deadline=None)
def test_any_game_goes_as_with_sets_of_stones(size, komi, data):
    follow(exact(size, komi), Board(size), lambda legal: data.draw(st.sampled_from(legal)))


# Other libraries.


def their_action(game, action):
    """OpenSpiel numbers points from the bottom row."""
    row, column = divmod(action, game.size)
    return action if row == game.size else game.size * (game.size - 1 - row) + column


def lines(game, number, seed):
    """Random games in lock step, as actions, with the result for Black and legal moves per ply."""
    rng = np.random.default_rng(seed)
    states, going = game.initial(number), np.arange(number)
    actions, allowed = [[] for _ in range(number)], [[] for _ in range(number)]
    results = np.zeros(number)
    for ply in range(game.max_plies + 1):
        legal, result = game.legal(states), game.result(states, ply)
        for row, moves in zip(going, legal, strict=True):
            allowed[row].append(np.flatnonzero(moves))
        results[going] = result * (1 - 2 * game.to_move(states))
        rest = np.isnan(result)
        if not rest.any():
            break
        states, legal, going = states[rest], legal[rest], going[rest]
        chosen = random_moves(game, states, legal, rng)
        for row, action in zip(going, chosen, strict=True):
            actions[row].append(int(action))
        states = game.step(states, chosen)
    return zip(actions, allowed, results, strict=True)


def same_in_open_spiel(game, rules, actions, allowed, result):
    """Their legal moves less those that lead to a board which has been there; the same result."""
    state, seen = rules.new_initial_state(), set()
    for action, legal in zip([*actions, None], allowed, strict=True):
        board = str(state).partition("\n")[2]
        if state.is_terminal():
            break
        ours = {their_action(game, int(move)) for move in legal}
        theirs = set(state.legal_actions())
        assert ours <= theirs
        seen.add(board)
        for repeated in theirs - ours:
            assert str(state.child(repeated)).partition("\n")[2] in seen
        passed = action == game.size**2
        state.apply_action(their_action(game, action))
        assert passed or str(state).partition("\n")[2] not in seen
    assert state.is_terminal()
    assert state.returns()[0] == result


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (5, 100),
        (9, 100),
        (19, 3),
        pytest.param(5, 10_000, marks=slow),
        pytest.param(9, 10_000, marks=slow),
        pytest.param(19, 1_000, marks=slow),
    ],
)
def test_random_games_are_the_same_in_open_spiel_but_for_its_rule_of_repetitions(size, number):
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel comes with the extra dev")
    game, rules = exact(size), pyspiel.load_game(f"go(board_size={size},komi=7.5)")
    assert rules.max_game_length() == game.max_plies
    for actions, allowed, result in lines(game, number, seed=size):
        same_in_open_spiel(game, rules, actions, allowed, result)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (5, 10),
        (9, 1),
        pytest.param(5, 10_000, marks=slow),
        pytest.param(9, 300, marks=slow),
    ],
)
def test_random_games_are_the_same_in_pettingzoo_but_for_superko(size, number):
    why = "pettingzoo's Go comes with the extra dev"
    pettingzoo = pytest.importorskip("pettingzoo.classic.go_v5", reason=why)
    environment = pettingzoo.raw_env(board_size=size, komi=7.5)
    game = exact(size)
    for actions, allowed, result in lines(game, number, seed=size):
        environment.reset()
        seen = set()
        for action, legal in zip(actions, allowed, strict=False):
            mask = environment.observe(environment.agent_selection)["action_mask"]
            theirs, ours = set(np.flatnonzero(mask).tolist()), set(legal.tolist())
            assert ours <= theirs
            position = environment._go
            seen.add(position.board.tobytes())
            for repeated in theirs - ours:
                point = divmod(repeated, size)
                assert position.play_move(point).board.tobytes() in seen
            environment.step(action)
        # Theirs has no limit of plies: the result of the board as it stands.
        assert np.sign(environment._go.score()) == result


@slow
def test_the_largest_board_keeps_the_contract():
    check(games.make("go:size=19,history=4"), games=20)


# Rules one by one.


def test_a_stone_without_liberty_is_suicide_and_not_allowed():
    # White's two liberties at A5 are gone when Black has B5 and A4.
    states = play(GAME, "B5 C1 A4 C2")
    states = play(GAME, "C3", states)
    assert forbidden(GAME, states) == {"A5"}
    assert "A5" not in forbidden(GAME, play(GAME, "C4", states))  # Black may fill it


def test_suicide_of_several_stones_is_not_allowed_either():
    states = play(GAME, "B5 A5 B4 D1 A3 E1 E2")
    assert rows(GAME, states)[:3] == ["OX...", ".X...", "X...."]
    assert forbidden(GAME, states) == {"A4"}


def test_taking_comes_before_suicide():
    # White's A4 takes nothing; Black's A4 takes A5.
    states = play(GAME, "B5 A5 B4 D1 A3 E1")
    states = play(GAME, "A4", states)
    assert rows(GAME, states)[:2] == [".X...", "XX..."]


def test_one_stone_takes_four_chains_at_once():
    around = "C5 C4 B4 B3 D4 D3 A3 C2 B2 pass E3 pass D2 pass C1 pass"
    states = play(GAME, around)
    assert rows(GAME, states) == ["..X..", ".XOX.", "XO.OX", ".XOX.", "..X.."]
    after = play(GAME, "C3", states)
    assert rows(GAME, after) == ["..X..", ".X.X.", "X.X.X", ".X.X.", "..X.."]


KO = "B5 C5 A4 D4 B3 C3 C4 B4"
"""White's B4 takes C4 in the middle of the board: a ko."""


def test_a_ko_may_not_be_taken_back_at_once_but_after_a_move_elsewhere():
    for history in (1, 16, 50):
        game = games.make(f"go:size=5,komi=0.5,history={history}")
        states = play(game, KO)
        assert rows(game, states)[1] == "XO.O."
        assert forbidden(game, states) == {"C4"}
        assert forbidden(game, play(game, "E1 A1", states)) == set()
        # Passing does not help: the position before is the same.
        assert forbidden(game, play(game, "pass", states)) == set()
        back = play(game, "C4", play(game, "E1 A1", states))
        assert rows(game, back)[1] == "X.XO."


def test_superko_forbids_to_send_two_stones_and_return_one():
    # Black's A1 and B1 are taken by C1, and Black's B1 would take C1: the position before A1 again.
    texts = "C2 A2 D1 B2 B1 pass A1 C1"
    for history, expected in ((1, set()), (2, {"B1"}), (50, {"B1"})):
        game = games.make(f"go:size=5,komi=0.5,history={history}")
        states = play(game, texts)
        assert rows(game, states)[3:] == ["OOX..", "..OX."]
        assert forbidden(game, states) - {"A1"} == expected


def test_two_passes_in_a_row_end_the_game_and_one_does_not():
    states = play(GAME, "pass C3 pass")
    assert np.isnan(GAME.outcome(states)[0])
    assert GAME.outcome(play(GAME, "pass", states))[0] == -1  # Black's view: White has the board
    assert not GAME.legal(play(GAME, "pass", states)).any()


@pytest.mark.parametrize(
    ("komi", "black"), [(0.0, 1), (24.0, 1), (24.5, 1), (25.0, 0), (25.5, -1), (-361.0, 1)]
)
def test_komi_decides_outcome_and_score_alike(komi, black):
    game = games.make(f"go:size=5,komi={komi}")
    states = play(game, "C3 pass pass")
    assert game.to_move(states)[0] == 1
    assert game.outcome(states)[0] == -black
    score = np.float32(-(25 - komi) / (25 + abs(komi)))
    np.testing.assert_array_equal(game.final_score(states), [score])
    np.testing.assert_array_equal(game.final_ownership(states), np.full((1, 25), -1.0))


def test_an_empty_board_belongs_to_neither_and_komi_decides():
    states = play(GAME, "pass pass")
    assert not np.any(GAME.final_ownership(states))
    assert GAME.outcome(states)[0] == -1
    even = games.make("go:size=5,komi=0")
    assert even.outcome(play(even, "pass pass"))[0] == 0


def test_a_game_at_max_plies_gets_the_area_as_it_stands():
    states = play(GAME, "C3 A1")
    assert GAME.result(states, GAME.max_plies)[0] == GAME.adjudicate(states)[0] == -1
    assert GAME.adjudicate(play(GAME, "C2", states))[0] == -1
    even = games.make("go:size=5,komi=0")
    assert even.adjudicate(play(even, "C3 A1"))[0] == 0


# Notation, symmetries, parameters.


def test_points_are_named_from_the_bottom_left_without_an_i():
    game = games.make("go:size=19")
    texts = [game.action_to_text(action) for action in (0, 7, 8, 18, 342, 360, 361)]
    assert texts == ["A19", "H19", "J19", "T19", "A1", "T1", "pass"]
    assert game.text_to_action(" t1 ") == 360
    assert game.text_to_action("PASS") == 361
    for text in ("I5", "U1", "A20", "A0", "", "resign"):
        with pytest.raises(ValueError, match="is not a move here"):
            game.text_to_action(text)


def test_the_drawing_has_points_and_marks_the_last_move():
    states = play(GAME, "A1 E5")
    drawing = GAME.drawing(states[0], GAME.text_to_action("E5"))
    assert {cell.shape for cell in drawing.cells} == {"point"}
    assert (drawing.cells[20].player, drawing.cells[4].player) == (0, 1)
    assert (drawing.last, drawing.named) == ((4,), {25: "pass"})
    assert GAME.render(states[0]).splitlines()[0] == "5 . . . . O"
    assert GAME.render(states[0]).splitlines()[-1] == "  A B C D E"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("size=1", "go: size must be 2 to 19, not 1"),
        ("size=20", "go: size must be 2 to 19, not 20"),
        ("komi=nan", "go: komi must be -361 to 361, not nan"),
        ("komi=inf", "go: komi must be -361 to 361, not inf"),
        ("komi=400", "go: komi must be -361 to 361, not 400.0"),
        ("history=0", "go: history must be 1 to 2048, not 0"),
        ("history=2049", "go: history must be 1 to 2048, not 2049"),
    ],
)
def test_bad_parameters_are_explained_in_one_line(settings, line):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the text is compared below
        games.make(f"go:{settings}")
    assert str(refused.value) == line


# Identity.


def distinct(game, *texts):
    return len({game.identity(play(game, text)).tobytes() for text in texts})


def test_an_opening_is_one_position_whatever_the_order_of_its_moves():
    game = games.make("go:size=9")
    assert distinct(game, "C3 G7 C7 G3", "C7 G3 C3 G7", "C3 G3 C7 G7") == 1
    assert distinct(game, "C3 G7", "C3 pass", "C3 C7") == 3


def test_positions_before_a_capture_count_and_so_do_those_behind_small_eyes():
    game = games.make("go:size=9")
    # The same stones, once after a capture of A1, once without one.
    assert distinct(game, "B1 A1 A2 E5", "A2 A1 B1 E5") == 2
    # Black's A1 is an eye: White may be taken there.
    assert distinct(game, "A2 E5 B1 E6", "B1 E6 A2 E5") == 2


def test_earlier_positions_count_where_a_region_can_be_filled_before_they_are_forgotten():
    # Beside two stones of each colour 12 points are empty, all in one region.
    orders = "B1 D4 D1 A4", "D1 A4 B1 D4"
    assert distinct(games.make("go:size=4,history=12"), *orders) == 1
    assert distinct(games.make("go:size=4,history=13"), *orders) == 2


@pytest.mark.parametrize("first", ["", "pass "])  # black divides the board, then white does
@pytest.mark.parametrize(("history", "number"), [(8, 1), (9, 2)])
def test_earlier_positions_count_where_a_colour_divides_off_a_small_region(first, history, number):
    # Eight points are empty on either side of the wall; the other colour's stones divide nothing.
    game = games.make(f"go:size=5,history={history}")
    orders = "C1 A1 C2 B3 C3 E5 C4 D2 C5", "C2 A1 C1 B3 C3 E5 C4 D2 C5"
    assert distinct(game, *(first + order for order in orders)) == number


@pytest.mark.parametrize(
    ("black", "number"),
    [("E5 E6 E4 D5 F5", 2), ("E5 E6 E4 D5 F6", 1), ("A1 A2 B1", 2), ("A1 A3 B1", 1)],
)
def test_earlier_positions_count_where_a_stone_has_its_own_colour_on_all_sides(black, number):
    white = ("J9", "J7", "H5", "J3", "J1")
    points = black.split()
    orders = (
        " ".join(f"{b} {w}" for b, w in zip(mine, white, strict=False))
        for mine in (points, points[::-1])
    )
    assert distinct(games.make("go:size=9"), *orders) == number


def test_finished_positions_with_equal_boards_are_one_whatever_led_to_them():
    game = games.make("go:size=3")
    assert distinct(game, "B2 A1 pass pass", "B2 pass pass") == 2
    longer = "A1 B2 pass C3 pass pass"
    assert distinct(game, longer, "A1 C3 pass B2 pass pass") == 1


def futures(game, ones, others, depth):
    """Whether equal moves have equal legal moves and observations, all lines of ``depth`` plies."""
    for _ in range(depth + 1):
        legal = game.legal(ones)
        assert np.array_equal(legal, game.legal(others))
        assert np.array_equal(game.observe(ones), game.observe(others))
        rows, actions = np.nonzero(legal)
        ones, others = game.step(ones[rows], actions), game.step(others[rows], actions)
        # Lines of equal pairs are followed once.
        pairs = np.concatenate([ones.view(f"V{ones.itemsize}"), others.view(f"V{ones.itemsize}")])
        both = pairs.reshape(2, -1).T.copy().view(f"V{2 * ones.itemsize}")[:, 0]
        first = np.unique(both, return_index=True)[1]
        ones, others = ones[first], others[first]


def twins(game, number, seed):
    """Pairs of unfinished states of random games with equal identity and different bytes."""
    rng, states, known, pairs = np.random.default_rng(seed), game.initial(number), {}, []
    for _ in range(12):
        legal = game.legal(states)
        states = states[legal.any(axis=1)]
        actions = random_moves(game, states, game.legal(states), rng)
        states = game.step(states, actions)
        for state, key in zip(states, game.identity(states), strict=True):
            other = known.setdefault(key.tobytes(), state)
            if other.tobytes() != state.tobytes() and state["passes"] < 2:
                pairs.append((other, state))
    return pairs


@pytest.mark.parametrize(
    ("size", "history", "depth", "number"),
    [(3, 2, 2, 20), (3, 4, 4, 20), pytest.param(3, 2, 6, 40, marks=slow)],
)
def test_positions_of_equal_identity_have_equal_futures(size, history, depth, number):
    game = games.make(f"go:size={size},history={history}")
    pairs = twins(game, 3000, seed=0)[:number]
    assert len(pairs) == number
    ones, others = (
        np.frombuffer(b"".join(state.tobytes() for state in part), game.dtype)
        for part in zip(*pairs, strict=True)
    )
    futures(game, ones, others, depth)


# Values of tiny boards, found by search.


def surely_wins(game, states, prover, depth, width):
    """Whether ``prover`` (0 black) is shown to win within ``depth`` plies, with exact superko.

    Of the prover's moves ``width`` are tried, those that leave most area and fewest replies; of the
    other player's all. So True is a proof, and False says nothing.
    """
    if depth == 0:
        return False
    actions = np.flatnonzero(game.legal(states)[0])
    after = game.step(np.repeat(states, len(actions)), actions)
    won = game.outcome(after) * np.where(game.to_move(after) == prover, 1, -1)
    replies = game.legal(after).sum(axis=1)
    if game.to_move(states)[0] != prover:
        return not (won == -1).any() and all(
            won[k] == 1 or surely_wins(game, after[k : k + 1], prover, depth - 1, width)
            for k in np.argsort(-replies)
        )
    weak = (after["cells"] == (2, -2)[prover]).sum(axis=1)  # own stones that can be taken
    area = game.final_score(after) * np.where(game.to_move(after) == prover, 1, -1)
    order = np.lexsort((replies, -area, weak > 0))
    return bool((won == 1).any()) or any(
        surely_wins(game, after[k : k + 1], prover, depth - 1, width)
        for k in order[:width]
        if np.isnan(won[k])
    )


@pytest.mark.parametrize(
    ("size", "komi", "prover", "first", "depth", "width"),
    [
        (2, 0.5, 0, "", 12, 5),  # Black gets 1 point or more
        (2, 1.5, 1, "", 12, 5),  # and not 2
        (3, 8.5, 0, "B2", 17, 2),  # Black gets the whole board, from the centre
    ],
)
def test_values_of_tiny_boards_with_exact_superko_are_proven(
    size, komi, prover, first, depth, width
):
    game = games.make(f"go:size={size},komi={komi},history=200")
    assert surely_wins(game, play(game, first), prover, depth, width)
