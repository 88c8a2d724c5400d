"""Go against sets of stones with exact superko, OpenSpiel, pettingzoo and hand-made positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_go import Board

import games
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
    np.testing.assert_equal(game.outcome(states)[0], np.float32(np.sign(margin) if over else np.nan))
    assert game.adjudicate(states)[0] == np.sign(margin)
    assert game.final_ownership(states)[0].tolist() == owners
    largest = game.size**2 + abs(game.komi)
    assert game.final_score(states)[0] == np.float32(margin / largest)
    assert np.array_equal(game.observe(states)[0], planes(game, board, plies))


def planes(game, board, plies):
    """The observation from its description."""
    other, (one, two) = "XO"[board.mover == "X"], board.weak()
    own = [{p for p, stone in board.stones.items() if stone == mover}
           for mover in (board.mover, other)]  # fmt: skip
    legal, over = board.legal(), board.passes == 2
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
        (2, 100),
        (3, 60),
        (4, 30),
        (5, 10),
        (9, 1),
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
    go_base = pytest.importorskip(
        "pettingzoo.classic.go.go_base", reason="pettingzoo's Go comes with the extra dev"
    )
    pettingzoo = pytest.importorskip("pettingzoo.classic.go_v5")
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
    assert go_base.N == size


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


def test_one_stone_takes_several_chains_at_once():
    texts = "C4 C3 D3 A1 C2 A2 B3 A3"  # Black around White's C3
    states = play(GAME, texts)
    assert rows(GAME, states)[2] == "OX.X."
    four = play(GAME, "C4 C5 A3 B4 B5 A2 D5 D4 D3 E3 A5 E4 C3 E2 B3 E1 A4")
    assert rows(GAME, four)[:2] == ["XX.X.", "X.X.O"] or rows(GAME, four)[1][0] == "X"


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


def test_superko_forbids_what_the_simple_ko_rule_allows():
    # Sending two, returning one, in the corner: B1 A1 are taken by C1, then B1 takes C1 back.
    texts = "B2 A2 C2 D2 D1 E1 pass B1 A1"
    assert texts
    simple, superko = (games.make(f"go:size=5,komi=0.5,history={n}") for n in (1, 50))
    found = 0
    rng = np.random.default_rng(0)
    states = superko.initial(400)
    others = simple.initial(400)
    for _ in range(50):
        legal, looser = superko.legal(states), simple.legal(others)
        assert not (legal & ~looser).any()
        found += int((looser & ~legal).sum())
        going = legal.any(axis=1)
        states, others, legal = states[going], others[going], legal[going]
        actions = random_moves(superko, states, legal, rng)
        states, others = superko.step(states, actions), simple.step(others, actions)
    assert found > 10
