"""Searches that play all moves of their roots and of new positions, to see which wins at once."""

import numpy as np
import pytest
from reference_search import hashing, random_positions
from test_search_reference import generators, zero_temperature

import games
from alphazero.search import run, tree
from alphazero.search.budget import start
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.search.reuse import KeptTrees
from alphazero.types import Evaluation, Limits

WIN = 2
"""The cell at which X, with the cells 0 and 1, completes the first row."""


def all_but(action, actions):
    """Equal chances and values, but next to no chance for ``action`` of these ``actions``."""

    def evaluate(states):
        logits = np.zeros((len(states), actions), np.float32)
        logits[:, action] = -40
        return Evaluation(logits, np.zeros(len(states), np.float32), 0)

    return evaluate


without_a_prior = all_but(WIN, 9)


def winning(game, states):
    """``(row, action)`` of all moves that win at once, each played by itself."""
    moves = []
    for row in range(len(states)):
        before = states[row : row + 1]
        for action in np.flatnonzero(game.legal(before)[0]):
            after = game.step(before, np.array([action]))
            ours = game.to_move(after)[0] == game.to_move(before)[0]
            if game.outcome(after)[0] == (1 if ours else -1):
                moves.append((row, action))
    return moves


def searched(kind, look_ahead, evaluate=without_a_prior):
    """The search of the position in which O must stop X, who has the cells 0 and 1."""
    game = games.make("tic_tac_toe")
    states = game.initial(1)
    for cell in (0, 3, 1):
        states = game.step(states, np.array([cell]))
    search = kind(simulations=24, look_ahead=look_ahead).without_noise(24)
    return run(search(game, states, generators(1), zero_temperature(1)), evaluate)


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_a_winning_reply_without_a_prior_is_seen(kind):
    result = searched(kind, True)
    assert result.action[0] == WIN
    visited = result.visits[0] > 0
    visited[WIN] = False
    assert visited.any()
    assert (result.action_value[0][visited] == -1).all()


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_without_a_look_ahead_it_is_overlooked(kind):
    result = searched(kind, False)
    visited = result.visits[0] > 0
    assert (result.action_value[0][visited] > -1).any()


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_positions_that_are_won_at_once_are_not_evaluated(kind):
    game, evaluated = games.make("tic_tac_toe"), []

    def evaluate(states):
        evaluated.append(states.copy())
        return without_a_prior(states)

    searched(kind, True, evaluate)
    below = np.concatenate(evaluated[1:])
    for cell in range(9):
        able = below[game.legal(below)[:, cell]]
        mover, after = game.to_move(able), game.step(able, np.full(len(able), cell))
        wins = game.outcome(after) == np.where(game.to_move(after) == mover, 1, -1)
        assert not wins.any()


def one_column(column, height=3):
    """Connect Four: the first player has ``height`` stones above each other and is to move."""
    game = games.make("connect_four")
    states = game.initial(1)
    for stone in range(2 * height):
        states = game.step(
            states, np.array([column if stone % 2 == 0 else stone // 2 + column + 1])
        )
    return game, states


SEARCHES = [
    PUCT(look_ahead=True, simulations=100, dirichlet_fraction=0.0),
    Gumbel(look_ahead=True, simulations=100, max_considered_actions=2),
]
SEARCHES_BY_NAME = pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.kind)


@SEARCHES_BY_NAME
@pytest.mark.parametrize("limits", [Limits(simulations=20), Limits(seconds=0.2)])
def test_a_move_of_the_root_that_wins_at_once_is_played_whatever_its_prior(search, limits):
    game, states = one_column(0)
    steps = search.without_noise(20)(game, states, generators(1), zero_temperature(1), limits)
    result = run(steps, all_but(0, 7))
    assert result.action[0] == 0
    assert result.proven[0]
    assert result.value[0] == 1
    assert result.policy[0].tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_of_two_moves_that_win_at_once_the_one_with_the_higher_prior_is_played():
    game = games.make("connect_four")
    states = game.initial(1)
    for column in (2, 2, 3, 3, 4, 4):  # both ends of the row win
        states = game.step(states, np.array([column]))
    for column, other in ((1, 5), (5, 1)):
        search = PUCT(look_ahead=True).without_noise(20)
        steps = search(game, states, generators(1), zero_temperature(1))
        assert run(steps, all_but(other, 7)).action[0] == column


def test_a_kept_tree_that_is_won_at_once_goes_on_with_the_winning_move():
    """The tree ends at a position that was found to be won, so that it has no moves there."""
    game, states = one_column(0, height=2)
    search, trees = PUCT(look_ahead=True).without_noise(200), KeptTrees()
    lines = [(0, 1, 0, 1)]
    played = run(search(game, states, generators(1), zero_temperature(1)), all_but(0, 7))
    trees.store(lines, played.tree)
    moves = [*lines[0], 0, 6]  # three in a column, and no defence
    states = game.step(game.step(states, np.array([0])), np.array([6]))
    kept = trees.lookup([moves])
    assert kept[0] is not None
    steps = search(game, states, generators(1), zero_temperature(1), Limits(), kept)
    assert run(steps, all_but(0, 7)).action[0] == 0


@pytest.mark.parametrize("name", ["connect_four", "hex:size=4", "dots_and_boxes:rows=2,columns=2"])
def test_a_side_that_is_proven_to_win_wins(name):
    """Games whose evaluator gives next to no chance to any move that wins at once.

    With trees that go on: Gumbel, which begins each anew, may lose sight of a longer win.
    """
    game, search = games.make(name), SEARCHES[0]
    states, rngs, trees = game.initial(24), generators(24), KeptTrees()
    wins, warm = np.full(24, np.nan), np.ones(24, np.float32)

    def evaluate(positions):
        logits = np.zeros((len(positions), game.num_actions), np.float32)
        for row, action in winning(game, positions):
            logits[row, action] = -15
        return Evaluation(logits, np.zeros(len(positions), np.float32), 0)

    lines: list[tuple[int, ...]] = [()] * 24
    for _ in range(game.max_plies):
        going = np.flatnonzero(np.isnan(game.outcome(states)))
        if not len(going):
            break
        kept, drawn = trees.lookup([lines[i] for i in going]), [rngs[i] for i in going]
        steps = search(game, states[going], drawn, warm[going], Limits(), kept)
        result = run(steps, evaluate)
        trees.store([lines[i] for i in going], result.tree)
        signs = np.where(game.to_move(states[going]) == 0, 1, -1)
        first = result.proven & np.isnan(wins[going])
        wins[going[first]] = (result.value * signs)[first]
        states[going] = game.step(states[going], result.action)
        for row, action in zip(going, result.action, strict=True):
            lines[row] = (*lines[row], int(action))
    ended = game.outcome(states) * np.where(game.to_move(states) == 0, 1, -1)
    assert (~np.isnan(wins)).sum() > 5
    assert (ended == wins)[~np.isnan(wins)].all()


@pytest.mark.parametrize("kind", [PUCT, Gumbel])
def test_a_look_ahead_without_proofs_is_refused(kind):
    with pytest.raises(ValueError, match="look_ahead=true needs proofs=true"):
        kind(look_ahead=True, proofs=False)


def test_moves_are_played_in_parts_with_the_same_result(monkeypatch):
    game = games.make("connect_four")
    states = random_positions(game, 40, 3)
    search = Gumbel(look_ahead=True)
    whole = run(search(game, states, generators(40), zero_temperature(40)), hashing(game))
    monkeypatch.setattr(tree, "MOVES_AT_A_TIME", 7)
    parts = run(search(game, states, generators(40), zero_temperature(40)), hashing(game))
    assert whole.visits.tolist() == parts.visits.tolist()
    assert whole.policy.tolist() == parts.policy.tolist()


@pytest.mark.parametrize("name", ["dots_and_boxes:rows=2,columns=2", "othello:size=4", "go:size=3"])
def test_the_moves_that_win_at_once_are_those_of_playing_each_by_itself(name):
    """In dots and boxes the last box is often taken by who has just moved; in Go a pass wins."""
    game = games.make(name)
    states = random_positions(game, 300, 5)
    expected = winning(game, states)
    moves = tree._winning_moves(game, states, game.legal(states), game.to_move(states))
    assert len(expected) > 5
    assert list(zip(*moves, strict=True)) == expected


def test_a_search_of_ones_own_that_looks_ahead_without_proofs_is_refused():
    game = games.make("tic_tac_toe")
    empty, budget = tree.allocate(game, 1, 5, 9), start(Limits(simulations=4), 4)
    with pytest.raises(ValueError, match="look_ahead needs prove"):
        next(tree.grow(game, empty, lambda *_: 0, budget, look_ahead=True))
