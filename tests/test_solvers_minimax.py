"""Exhaustive and depth-limited minimax, and the exact scores offered for solved games."""

from functools import cache

import numpy as np
import pytest
from made_up_games import CountedTug, DoubleNim, Tug, TugNearerEnd

import games
from games import solvers
from games.base import Game
from games.solvers import connect_four, minimax

TIC_TAC_TOE = games.make("tic_tac_toe")
CONNECT_FOUR = games.make("connect_four")
LINES = ["012", "345", "678", "036", "147", "258", "048", "246"]


@cache
def by_recursion(cells, mover="X"):
    """A tic-tac-toe board's value for ``mover``, straight from the definition."""
    other = "O" if mover == "X" else "X"
    if any(all(cells[int(c)] == other for c in line) for line in LINES):
        return -1
    if "." not in cells:
        return 0
    free = [c for c in range(9) if cells[c] == "."]
    return max(-by_recursion(cells[:c] + mover + cells[c + 1 :], other) for c in free)


class Countdown(Game):
    """Take 1 or 2 of ``n`` counters; the player who takes the last one wins.

    After taking 2 a player moves again, so the players seldom alternate for long.
    """

    num_actions = 2
    observation_shape = (1, 1, 1)
    dtype = np.dtype([("left", "i1"), ("mover", "i1"), ("last", "i1")])

    def __init__(self, n):
        self.name, self.n, self.max_plies = f"countdown:n={n}", n, n

    def initial(self, batch):
        return np.array([(self.n, 0, 0)] * batch, self.dtype)

    def legal(self, states):
        return states["left"][:, None] >= np.array([1, 2])

    def step(self, states, actions):
        after = states.copy()
        after["left"] -= (actions + 1).astype(np.int8)
        after["last"] = states["mover"]
        after["mover"] = np.where(actions == 1, states["mover"], 1 - states["mover"])
        return after

    def outcome(self, states):
        won = np.where(states["last"] == states["mover"], 1, -1)
        return np.where(states["left"] > 0, np.nan, won).astype(np.float32)

    def to_move(self, states):
        return states["mover"]

    def observe(self, states):
        return states["left"].astype(np.float32).reshape(-1, 1, 1, 1)

    def render(self, state):
        return str(state)

    def wins(self, left):
        """Whether the mover wins, by hand: 2 keeps the move, 1 gives it away."""
        return left == 1 or left == 2 or (self.wins(left - 2) or not self.wins(left - 1))


def test_tic_tac_toe_has_4520_unfinished_positions_each_with_its_exact_value():
    solution = minimax.solve_all(TIC_TAC_TOE)
    assert len({state.tobytes() for state in solution.states}) == len(solution.states) == 4520
    assert solution.value[0] == 0
    for state, value in zip(solution.states, solution.value, strict=True):
        mine = "XO"[np.count_nonzero(state["cells"]) % 2]
        drawn = {0: ".", 1: mine, -1: "O" if mine == "X" else "X"}
        assert value == by_recursion("".join(drawn[int(c)] for c in state["cells"]), mine)


def test_the_value_of_a_position_is_its_best_move_and_illegal_moves_are_nan():
    solution = minimax.solve_all(TIC_TAC_TOE)
    np.testing.assert_array_equal(np.nanmax(solution.move_values, axis=1), solution.value)
    np.testing.assert_array_equal(
        np.isnan(solution.move_values), ~TIC_TAC_TOE.legal(solution.states)
    )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_a_player_who_moves_twice_keeps_the_sign_of_the_value(n):
    game = Countdown(n)
    solution = minimax.solve_all(game)
    expected = [1 if game.wins(int(left)) else -1 for left in solution.states["left"]]
    assert solution.value.tolist() == expected
    assert len({state.tobytes() for state in solution.states}) == len(solution.states)
    values, _ = minimax.search(game, solution.states, n)
    assert np.sign(values).tolist() == expected


def by_recursion_with_plies(game, state, plies):
    """The value for the mover of a game in which ``plies`` moves have been played."""
    result = game.result(state, plies)[0]
    if not np.isnan(result):
        return result
    return max(
        -by_recursion_with_plies(game, game.step(state, np.array([action])), plies + 1)
        for action in np.flatnonzero(game.legal(state)[0])
    )


@pytest.mark.parametrize("kind", [Tug, TugNearerEnd, CountedTug])
def test_a_game_without_end_is_solved_as_the_game_that_is_adjudicated_at_max_plies(kind):
    game = kind()
    solution = minimax.solve_all(game)
    # Each of the three inner squares with one player: the parity of the plies fixes the other.
    first = {(2, 0): 0, (1, 1): 1, (3, 1): 1}
    keys = [(int(state["at"]), int(state["player"])) for state in solution.states]
    assert keys == sorted(first, key=lambda key: (first[key], key))
    for key, state, value in zip(keys, solution.states, solution.value, strict=True):
        expected = by_recursion_with_plies(game, np.array([state], game.dtype), first[key])
        assert value == expected


def test_a_long_game_of_few_positions_is_solved_by_its_last_plies_too():
    # The end is 1,001 plies away, yet only the token's place after them decides.
    game = type("Long", (TugNearerEnd,), {"max_plies": 1001})()
    assert minimax.solve_all(game).value[0] == 1
    assert minimax.solve_all(type("Longer", (TugNearerEnd,), {"max_plies": 1002})()).value[0] == 0


@pytest.mark.parametrize("depth", [5, 12, 13, 14, 40])
def test_a_search_deeper_than_max_plies_ends_with_the_adjudicated_result(depth):
    game, state = TugNearerEnd(), TugNearerEnd().initial(1)

    def expected(state, plies):
        outcome = game.outcome(state)[0]
        if not np.isnan(outcome):
            return outcome * (1 - 0.1 * plies / (depth + 1))
        if plies == game.max_plies:
            return game.adjudicate(state)[0] * (1 - 0.1 * plies / (depth + 1))
        if plies == depth:
            return 0
        after = [game.step(state, np.array([action])) for action in (0, 1)]
        return max(-expected(child, plies + 1) for child in after)

    values, move_values = minimax.search(game, state, depth)
    assert values[0] == pytest.approx(expected(state, 0), abs=1e-6)
    assert (values[0] > minimax.UNSURE) == (depth >= game.max_plies)
    for action in (0, 1):
        child = game.step(state, np.array([action]))
        assert move_values[0, action] == pytest.approx(-expected(child, 1), abs=1e-6)


def test_positions_of_equal_identity_are_solved_once():
    states = minimax.solve_all(CountedTug()).states
    assert len(states) == 3
    assert states["plies"].tolist() == [0, 1, 1]


def test_moves_beyond_max_plies_are_refused_and_games_of_that_length_are_over():
    game = Tug()
    assert len(solvers.positions(game, ["1" * 13])) == 1
    with pytest.raises(solvers.NotAPosition, match=r"move 14 of '1{14}', '1', cannot be played"):
        solvers.positions(game, ["1" * 14])
    assert len(solvers.unfinished(game, ["1" * 12])) == 1
    with pytest.raises(solvers.NotAPosition, match=r"the game is over after '1{13}'"):
        solvers.unfinished(game, ["1" * 12, "1" * 13])


def test_a_game_too_large_to_solve_is_refused():
    with pytest.raises(ValueError, match=r"connect_four is too large to solve: .* more than 100"):
        minimax.solve_all(CONNECT_FOUR, limit=100)


def test_a_search_to_the_end_of_tic_tac_toe_agrees_with_the_solution():
    solution = minimax.solve_all(TIC_TAC_TOE)
    late = np.count_nonzero(solution.states["cells"], axis=1) >= 3
    values, move_values = minimax.search(TIC_TAC_TOE, solution.states[late], 6)
    np.testing.assert_array_equal(np.sign(values), solution.value[late])
    np.testing.assert_array_equal(np.sign(move_values), solution.move_values[late])


def by_recursion_to_depth(game, state, depth, plies, total):
    """The documented value of one state, one state at a time."""
    outcome = game.outcome(state)[0]
    if not np.isnan(outcome):
        return outcome * (1 - 0.1 * plies / (total + 1))
    if depth == 0:
        return minimax.UNSURE * connect_four.heuristic(state)[0]
    return max(
        -by_recursion_to_depth(game, game.step(state, np.array([a])), depth - 1, plies + 1, total)
        for a in np.flatnonzero(game.legal(state)[0])
    )


@pytest.mark.parametrize("moves", ["", "112233", "44444415626262", "1212121"])
def test_a_limited_search_agrees_with_plain_recursion(moves):
    state = solvers.position(CONNECT_FOUR, moves)
    values, _ = minimax.search(CONNECT_FOUR, state, 3, connect_four.heuristic)
    expected = by_recursion_to_depth(CONNECT_FOUR, state, 3, 0, 3)
    assert values[0] == pytest.approx(expected, abs=1e-6)


def test_chunks_and_batch_mates_change_nothing(monkeypatch):
    rows = ["", "1", "44", "4455", "112233", "1122334"]
    states = np.concatenate([solvers.position(CONNECT_FOUR, row) for row in rows])
    whole = minimax.search(CONNECT_FOUR, states, 3, connect_four.heuristic)
    monkeypatch.setattr(minimax, "_WIDTH", 4)
    parts = minimax.search(CONNECT_FOUR, states, 3, connect_four.heuristic)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])


def test_the_faster_of_two_wins_is_worth_more_and_a_finished_game_keeps_its_outcome():
    # The mover wins at once in column 4; in 1 to 3 it only keeps three in a row and wins later.
    states = solvers.position(CONNECT_FOUR, "112233")
    values, move_values = minimax.search(CONNECT_FOUR, states, 3)
    assert np.nanargmax(move_values[0]) == 3
    assert values[0] == pytest.approx(1 - 0.1 / 4)
    finished = solvers.position(CONNECT_FOUR, "1122334")
    values, move_values = minimax.search(CONNECT_FOUR, finished, 2)
    assert values.tolist() == [-1]
    assert np.isnan(move_values).all()


def test_no_states_and_no_depth():
    values, move_values = minimax.search(CONNECT_FOUR, CONNECT_FOUR.initial(0), 2)
    assert values.shape == (0,)
    assert move_values.shape == (0, 7)
    with pytest.raises(ValueError, match="depth must be at least 1"):
        minimax.search(CONNECT_FOUR, CONNECT_FOUR.initial(1), 0)


def test_scores_of_tic_tac_toe_are_results():
    states = np.concatenate([solvers.position(TIC_TAC_TOE, m) for m in ("", "1245", "12")])
    best, scores = solvers.scores(TIC_TAC_TOE, states)
    # X has 1 and 4, O has 2 and 5: X takes 7 and wins. After 1 and 2 X wins too.
    assert best.tolist() == [0, 1, 1]
    assert scores[1].tolist()[6] == 1
    assert np.isnan(scores[1][[0, 1, 3, 4]]).all()


def test_scores_of_connect_four_are_stones_left():
    # Three of X's on row 1 in columns 1 to 3: its 9th stone, at 4, would leave 12 and itself.
    state = solvers.position(CONNECT_FOUR, "1122335566775566")
    best, scores = solvers.scores(CONNECT_FOUR, state)
    assert best.tolist() == [13]
    assert scores[0, 3] == 13


def test_any_game_with_few_positions_is_solved():
    # The game by induction from its end, and by looking ahead from its start.
    for game in (DoubleNim(), Tug()):
        start = game.initial(1)
        best, scores = solvers.scores(game, start)
        value, move_values = minimax.search(game, start, game.max_plies)
        assert best[0] == np.sign(value[0])
        assert np.array_equal(scores, np.sign(move_values), equal_nan=True)


def test_a_game_whose_solution_would_not_fit_into_memory_is_refused(monkeypatch):
    monkeypatch.setattr(minimax, "MOST_VALUES", 900)
    with pytest.raises(
        ValueError, match=r"tic_tac_toe is too large to solve: .* more than 100 pos"
    ):
        minimax.solve_all(TIC_TAC_TOE)


def test_games_without_a_solver_and_finished_positions_are_refused():
    othello = games.make("othello:size=6")
    with pytest.raises(ValueError, match=r"othello:size=6 is too large to solve: .* 300,000 pos"):
        solvers.scores(othello, othello.initial(1))
    finished = solvers.position(TIC_TAC_TOE, "14253")
    with pytest.raises(ValueError, match="finished"):
        solvers.scores(TIC_TAC_TOE, finished)


@pytest.mark.parametrize("moves", ["8", "0", "x", "1111111", "4 4", "11223341"])
def test_illegal_moves_are_named(moves):
    with pytest.raises(ValueError, match="cannot be played"):
        solvers.position(CONNECT_FOUR, moves)


def test_labels_are_rows_of_a_position_file():
    (row,) = solvers.label(CONNECT_FOUR, ["4444441562626237"])
    moves, best, *scores = row
    assert moves == "4444441562626237"
    assert [score == "" for score in scores] == [False, False, False, True, False, False, False]
    assert int(best) == max(int(score) for score in scores if score)
    assert solvers.label(TIC_TAC_TOE, ["12"])[0][2] == ""
    assert solvers.label(TIC_TAC_TOE, []) == []


def test_games_of_all_lengths_are_played_together():
    texts = ["", "44", "1122335566775566", "4"]
    together = solvers.positions(CONNECT_FOUR, texts)
    np.testing.assert_array_equal(
        together, np.concatenate([solvers.position(CONNECT_FOUR, text) for text in texts])
    )
    with pytest.raises(solvers.NotAPosition, match=r"move 3 of '448', '8', cannot") as refused:
        solvers.positions(CONNECT_FOUR, ["4", "448", "444"])
    assert refused.value.row == 1
