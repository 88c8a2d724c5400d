"""The optional methods of the built-in games against slow definitions, read off their texts."""

import os
import subprocess
import sys
from itertools import product

import made_up_games
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from games.base import Game
from games.connect_four import ConnectFour
from games.tic_tac_toe import TicTacToe

SPECS = [
    "tic_tac_toe", "connect_four",
    "othello:size=4", "othello:size=6", "othello:size=8", "othello:size=10",
]  # fmt: skip


@st.composite
def lines(draw):
    """A built-in game and a random line of it: ``(game, states [P + 1])``."""
    game = games.make(draw(st.sampled_from(SPECS)))
    random = draw(st.randoms(use_true_random=False))
    length = random.randint(0, game.max_plies)
    states = [game.initial(1)]
    for _ in range(length):
        legal = np.flatnonzero(game.legal(states[-1])[0])
        if not len(legal):
            break
        states.append(game.step(states[-1], np.array([random.choice(legal)])))
    return game, np.concatenate(states)


@st.composite
def finished(draw):
    """A game with ownership and score, and one finished state ``[1]`` of it."""
    game = games.make(draw(st.sampled_from(SPECS[1:])))
    random = draw(st.randoms(use_true_random=False))
    states = game.initial(1)
    while len(legal := np.flatnonzero(game.legal(states)[0])):
        states = game.step(states, np.array([random.choice(legal)]))
    return game, states


def board(game, state):
    """The letters of the cells, row by row, from the text that a person reads."""
    rows = game.render(state).splitlines()
    if game.name.startswith("othello"):
        rows = [row[2:] for row in rows[1:]]
    elif game.name == "connect_four":
        rows = rows[:-1]
    return "".join(rows).replace(" ", "")


def sign_of_majority(text, mover):
    own, other = text.count("XO"[mover]), text.count("OX"[mover])
    return (own > other) - (own < other)


every_line = settings(max_examples=60, deadline=None)


@given(lines())
@every_line
def test_no_position_has_more_moves_than_max_legal(line):
    game, states = line
    assert game.legal(states).sum(axis=1).max() <= game.max_legal <= game.num_actions


def placements(size):
    return st.lists(st.sampled_from("XO."), min_size=size**2, max_size=size**2)


@given(st.sampled_from([4, 6, 8, 10]).flatmap(placements))
@settings(max_examples=300, deadline=None)
def test_no_placement_of_discs_has_more_moves_than_othellos_max_legal(cells):
    game = games.make(f"othello:size={int(len(cells) ** 0.5)}")
    states = np.zeros(1, game.dtype)
    for name, stone in (("mine", "X"), ("theirs", "O")):
        bits = game._bits[[cell == stone for cell in cells]]
        states[name] = np.bitwise_or.reduce(bits, axis=0)
    assert game.legal(states).sum() <= game.max_legal


@pytest.mark.slow
def test_eight_moves_are_the_most_of_all_placements_on_the_smallest_othello_board():
    game, most = games.make("othello:size=4"), 0
    bits = np.concatenate([game._bits, np.zeros(1, np.uint64)])
    lower = np.array(list(product([0, 1, 2], repeat=8)))
    for upper in lower:
        states = np.zeros(len(lower), game.dtype)
        cells = np.concatenate([np.tile(upper, (len(lower), 1)), lower], axis=1)
        for name, stone in (("mine", 1), ("theirs", 2)):
            states[name] = np.bitwise_or.reduce(np.where(cells == stone, bits[:16], 0), axis=1)
        most = max(most, int(game.legal(states).sum(axis=1).max()))
    assert most == game.max_legal == 8


def test_othellos_bounds_are_not_above_those_by_counting_discs():
    # The bounds by counting, worked out by trying every pair of numbers of discs.
    by_counting = {
        size: max(
            min(8 * mine, 8 * theirs, size**2 - mine - theirs)
            for mine in range(size**2)
            for theirs in range(size**2)
        )
        for size in (4, 6, 8, 10)
    }
    for size in (6, 10):
        assert by_counting[size] == games.make(f"othello:size={size}").max_legal
    assert all(games.make(f"othello:size={n}").max_legal <= by_counting[n] for n in (4, 8))


@given(lines(), lines())
@every_line
def test_identities_are_equal_exactly_where_the_board_and_the_player_to_move_are(one, two):
    if one[0].name != two[0].name:
        two = one
    game, states = one[0], np.concatenate([one[1], two[1]])
    identity = game.identity(states)
    assert identity.dtype == np.uint8
    assert len(identity) == len(states)
    movers = game.to_move(states)
    shown = [(game.render(state), int(mover)) for state, mover in zip(states, movers, strict=True)]
    by_key = dict(zip(map(bytes, identity), shown, strict=True))
    assert [by_key[bytes(key)] for key in identity] == shown
    assert len(by_key) == len(set(shown))


@given(lines())
@every_line
def test_a_game_that_is_cut_is_a_draw_except_in_othello_where_discs_are_counted(line):
    game, states = line
    going = np.isnan(game.outcome(states))
    movers = game.to_move(states)
    for state, mover, verdict in zip(
        states[going], movers[going], game.adjudicate(states[going]), strict=True
    ):
        counted = sign_of_majority(board(game, state), mover)
        assert verdict == (counted if game.name.startswith("othello") else 0)


@given(lines(), st.integers(0, 200))
@every_line
def test_the_result_is_the_outcome_or_at_max_plies_the_adjudicated_one(line, plies):
    game, states = line
    for state in states:
        one = np.array([state], game.dtype)
        outcome = game.outcome(one)[0]
        cut = np.isnan(outcome) and plies >= game.max_plies
        np.testing.assert_equal(
            game.result(one, plies)[0], game.adjudicate(one)[0] if cut else outcome
        )


def test_the_result_takes_a_number_of_plies_per_position():
    game = made_up_games.TugNearerEnd()
    states = np.array([(3, 0), (3, 1), (3, 1), (4, 1)], game.dtype)
    result = game.result(states, np.array([13, 14, 12, 3]))
    np.testing.assert_equal(result, np.array([1, -1, np.nan, -1], np.float32))


@given(finished())
@every_line
def test_a_cell_of_a_finished_board_belongs_to_the_player_whose_stone_is_on_it(end):
    game, states = end
    mover = int(game.to_move(states)[0])
    owner = {"XO"[mover]: 1, "OX"[mover]: -1, ".": 0}
    ownership = game.final_ownership(states)
    assert ownership.dtype == np.float32
    assert ownership.tolist() == [[owner[cell] for cell in board(game, states[0])]]


@given(finished())
@every_line
def test_the_score_of_a_finished_board_is_its_count(end):
    game, states = end
    text, mover = board(game, states[0]), int(game.to_move(states)[0])
    own, other = text.count("XO"[mover]), text.count("OX"[mover])
    if game.name == "connect_four":
        # A player has 21 stones; of those left after the quickest win 18 with the winning one.
        expected = 0 if game.outcome(states)[0] == 0 else -(21 - other + 1) / 18
    else:
        expected = (own - other) / game.size**2
    score = game.final_score(states)
    assert score.dtype == np.float32
    assert score[0] == pytest.approx(expected)


def test_a_game_without_ownership_and_score_says_so_for_every_batch():
    game = games.make("tic_tac_toe")
    for batch in (0, 1, 5):
        assert game.final_ownership(game.initial(batch)) is None
        assert game.final_score(game.initial(batch)) is None


def play(game, moves):
    states = game.initial(1)
    for move in moves:
        states = game.step(states, np.array([game.text_to_action(move)]))
    return states


@pytest.mark.parametrize(
    ("moves", "score"),
    [
        # X wins with its 4th stone of 21: 17 are left, and the winning one counts too.
        pytest.param("1213141", -1, id="the quickest win"),
        pytest.param("12234334544", -16 / 18, id="a win with the sixth stone"),
        pytest.param("121212212121343434434343565656656565777777", 0, id="a draw"),
    ],
)
def test_the_score_of_connect_four_counts_the_stones_that_the_winner_has_left(moves, score):
    game = games.make("connect_four")
    assert game.final_score(play(game, moves))[0] == pytest.approx(score)


def test_the_owner_in_connect_four_is_seen_from_the_loser_who_would_move_next():
    game = games.make("connect_four")
    ownership = game.final_ownership(play(game, "1213141"))[0].reshape(6, 7)
    assert ownership[:, 0].tolist() == [0, 0, -1, -1, -1, -1]
    assert ownership[5].tolist() == [-1, 1, 1, 1, 0, 0, 0]
    assert ownership.sum() == -4 + 3


def test_othello_scores_the_discs_on_the_board_and_leaves_empty_cells_to_neither():
    game = games.make("othello:size=4")
    states = np.zeros(2, game.dtype)
    states["player"] = [1, 0]
    states["mine"], states["theirs"] = [0, 0b11], [0b11, 0]
    assert not game.legal(states).any()
    assert game.final_score(states).tolist() == [-2 / 16, 2 / 16]
    assert game.final_ownership(states)[:, :3].tolist() == [[-1, -1, 0], [1, 1, 0]]


class WithoutDiagonals(TicTacToe):
    """The same game, but only rows and columns win."""

    def outcome(self, states):
        cells = states["cells"].reshape(-1, 3, 3)
        lost = (cells.sum(axis=1) == -3).any(axis=1) | (cells.sum(axis=2) == -3).any(axis=1)
        full = (states["cells"] != 0).all(axis=1)
        return np.where(lost, -1, np.where(full, 0, np.nan)).astype(np.float32)


class WithoutTheTopRight(ConnectFour):
    """The same game, but the last cell of the last column stays empty."""

    def legal(self, states):
        legal = super().legal(states)
        height = np.bitwise_count((states["mine"] | states["theirs"]) >> 42)
        legal[:, 6] &= height < 5
        return legal


def test_the_version_of_the_rules_differs_between_games_and_changed_rules():
    versions = {spec: games.make(spec).rules_version for spec in SPECS}
    assert len(set(versions.values())) == len(SPECS)
    assert WithoutDiagonals().rules_version != versions["tic_tac_toe"]
    assert WithoutTheTopRight().rules_version != versions["connect_four"]
    assert made_up_games.TugNearerEnd().rules_version != made_up_games.Tug().rules_version
    assert type("Shorter", (made_up_games.Tug,), {"max_plies": 15})().rules_version != (
        made_up_games.Tug().rules_version
    )


def test_the_version_of_the_rules_does_not_depend_on_what_is_only_shown():
    class Shown(TicTacToe):
        def observe(self, states):
            return 1 - super().observe(states)

        def render(self, state):
            return "drawn otherwise"

    assert Shown().rules_version == TicTacToe().rules_version


def test_the_version_of_the_rules_does_not_depend_on_the_order_of_bytes():
    class Wide(made_up_games.Climb):
        dtype = np.dtype([("height", "<i4"), ("plies", "<i4")])

    class WideOnAnotherMachine(made_up_games.Climb):
        dtype = np.dtype([("height", ">i4"), ("plies", ">i4")])

    assert Wide().rules_version == WideOnAnotherMachine().rules_version
    assert Wide().initial(1).dtype != WideOnAnotherMachine().initial(1).dtype


def test_the_version_of_the_rules_is_the_same_in_every_process():
    code = f"import games; print(*(games.make(spec).rules_version for spec in {SPECS}))"
    shown = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout.split()[0]
        for seed in ("1", "2")
    }  # fmt: skip
    assert shown == {games.make("tic_tac_toe").rules_version}


def test_the_versions_of_the_built_in_rules_have_not_changed():
    # Records and sessions of other machines name these; they change only with the rules.
    assert {spec: games.make(spec).rules_version for spec in SPECS} == {
        "tic_tac_toe": "7b7b0c20dc9c",
        "connect_four": "c9a492067a4f",
        "othello:size=4": "6e00106ad439",
        "othello:size=6": "272922e3ef8c",
        "othello:size=8": "a9137a6a2695",
        "othello:size=10": "9d9015b3f531",
    }


def test_an_author_may_state_the_version_and_the_most_moves_in_the_class_or_in_init():
    class Stated(TicTacToe):
        rules_version = "2"

        def __init__(self):
            self.max_legal = 7

    assert (Stated().rules_version, Stated().max_legal) == ("2", 7)
    assert Game.max_legal is not None
    assert TicTacToe().max_legal == TicTacToe.num_actions == 9
