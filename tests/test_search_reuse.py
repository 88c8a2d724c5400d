"""Trees that go on after a move, against object trees that go on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import DoubleNim, OneMove
from reference_search import hashing, puct, random_positions
from test_search_tree import assert_sound, edges_of

import games
from alphazero.evaluators import uniform
from alphazero.search import run, strongest_moves
from alphazero.search.kernels import FINISHED
from alphazero.search.puct import PUCT
from alphazero.search.reuse import KeptTrees, begin
from alphazero.types import Kept, Limits

GAMES = ["tic_tac_toe", "connect_four", "othello:size=6", "double_nim"]


def make(name):
    return DoubleNim() if name == "double_nim" else games.make(name)


def starts(game, number, seed):
    if isinstance(game, DoubleNim):
        return game.piles(*np.random.default_rng(seed).integers(8, 30, size=number))
    return random_positions(game, number, seed)


def generators(number, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(number)]


def cold(number):
    return np.zeros(number, np.float32)


def assert_same_nodes(tree, b, node, expected):
    """Every node and edge below ``node`` of tree ``b`` is the one of the object tree."""
    here, edges = tree.nodes[b, node], edges_of(tree, b, node)
    assert tree.states[b, node].tobytes() == expected.state.tobytes()
    assert here["visits"] == expected.visits
    assert here["value_sum"] == expected.value_sum
    assert here["to_move"] == expected.mover
    assert here["pending"] == 0
    assert (here["status"] == FINISHED) == (expected.proven is not None)
    if expected.edges:
        assert here["prior_mass"] == pytest.approx(expected.seen, abs=1e-6)
    assert edges["action"].tolist() == list(expected.edges)
    for edge, other in zip(edges, expected.edges.values(), strict=True):
        assert edge["visits"] == other.visits
        assert edge["value_sum"] == other.value_sum
        assert max(edge["prior"], 0) == pytest.approx(other.prior, abs=1e-6)
        assert edge["pending"] == 0
        assert (edge["child"] < 0) == (other.child is None)
        if other.child is not None:
            assert tree.nodes[b, edge["child"]]["parent"] == node
            assert tree.edges[tree.nodes[b, edge["child"]]["edge"]] == edge
            assert_same_nodes(tree, b, edge["child"], other.child)


@pytest.mark.parametrize("noise", [False, True], ids=["plain", "noise"])
@pytest.mark.parametrize("leaves", [1, 4, 8])
@pytest.mark.parametrize("proofs", [True, False], ids=["proofs", "no_proofs"])
@pytest.mark.parametrize("name", GAMES)
def test_a_tree_that_goes_on_is_the_object_tree_that_goes_on(name, proofs, leaves, noise):
    game, number = make(name), 12
    search = PUCT(simulations=40, leaves=leaves, proofs=proofs)
    search = search if noise else search.without_noise(leaves=leaves)
    evaluate, states = hashing(game), starts(game, number, leaves)
    kept = [None] * number
    nodes = [None] * number
    rng = np.random.default_rng(leaves)
    for turn in range(6):
        if turn:
            copied = begin(game, states, kept, 40)
            tree = run(copied, evaluate)
            for i, node in enumerate(nodes):
                if node is not None and node.edges:
                    # Noise is in the old root only: below it, the object tree has none, either.
                    assert_same_nodes(tree, i, 0, node)
        rngs = generators(len(states), turn)
        result = run(search(game, states, rngs, cold(len(states)), kept=kept), evaluate)
        rngs = generators(len(states), turn)
        expected = [
            puct(game, states[i : i + 1], search, evaluate, rngs[i], nodes[i])
            for i in range(len(states))
        ]
        assert result.visits.tolist() == [reference.visits for reference in expected]
        assert result.value.tolist() == [reference.value for reference in expected]
        assert result.action.tolist() == [reference.action for reference in expected]
        assert result.proven.tolist() == [reference.proven for reference in expected]
        legal = game.legal(states)
        # Sometimes another legal move: it may lead to a node without a search, or to none at all.
        others = (rng.random(legal.shape) * legal).argmax(axis=1)
        actions = np.where(rng.random(len(states)) < 0.3, others, result.action)
        after = game.step(states, actions)
        going = np.flatnonzero(np.isnan(game.outcome(after)))
        if not len(going):
            break
        kept = [Kept(result.tree, i, [int(actions[i])]) for i in going.tolist()]
        nodes = [expected[i].root.edges[int(actions[i])].child for i in going.tolist()]
        states = after[going]
    assert turn, "some games go on"


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(GAMES),
    simulations=st.integers(1, 60),
    leaves=st.integers(1, 5),
    plies=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_every_kept_tree_is_sound_after_any_number_of_moves(name, simulations, leaves, plies, seed):
    game = make(name)
    states, evaluate = starts(game, 3, seed), hashing(game)
    search = PUCT(simulations=simulations, leaves=leaves)
    first = run(search(game, states, generators(3, seed), cold(3)), evaluate)
    lines, after = [[], [], []], states
    for _ in range(plies):
        legal = game.legal(after)
        if not legal.any(axis=1).all():
            return
        actions = (np.random.default_rng(seed).random(legal.shape) * legal).argmax(axis=1)
        after = game.step(after, actions)
        lines = [[*line, int(action)] for line, action in zip(lines, actions, strict=True)]
    if not np.isnan(game.outcome(after)).all():
        return
    kept = [Kept(first.tree, i, line) for i, line in enumerate(lines)]
    result = run(search(game, after, generators(3, seed), cold(3), kept=kept), evaluate)
    for b in range(3):
        made = result.visits[b].sum()
        assert made >= simulations or result.proven[b]
    assert_sound(game, result.tree)


def test_positions_in_the_kept_tree_are_not_evaluated_again():
    game, sizes = games.make("connect_four"), []
    search = PUCT(simulations=100).without_noise()

    def evaluate(states):
        sizes.append(len(states))
        return hashing(game)(states)

    first = strongest_moves(search, game, game.initial(2), generators(2), evaluate)
    before, action = sum(sizes), first.action
    assert before == 2 * 101
    visits = first.visits[np.arange(2), action]
    kept = [Kept(first.tree, i, [int(action[i])]) for i in range(2)]
    states = game.step(game.initial(2), action)
    second = strongest_moves(search, game, states, generators(2), evaluate, kept=kept)
    assert second.visits.sum(axis=1).tolist() == [100, 100]
    assert sum(sizes) - before == sum(100 - (visits - 1))


def test_only_positions_without_a_tree_are_sent_to_the_evaluator_at_first():
    game = games.make("connect_four")
    search = PUCT(simulations=50).without_noise()
    first = strongest_moves(search, game, game.initial(1), generators(1), hashing(game))
    action = int(first.action[0])
    states = game.step(game.initial(3), np.array([action, action, (action + 1) % 7]))
    kept = [None, Kept(first.tree, 0, [action]), Kept(first.tree, 0, [action, 0, 0, 0, 0, 0, 0])]
    requested = next(search(game, states, generators(3), cold(3), kept=kept))
    assert requested.tolist() == states[[0, 2]].tolist()


def test_a_root_with_all_its_visits_gets_one_more_simulation_unless_it_is_proven():
    game = games.make("connect_four")
    large, small = PUCT(simulations=300).without_noise(), PUCT(simulations=5).without_noise()
    first = strongest_moves(large, game, game.initial(1), generators(1), hashing(game))
    action = int(first.action[0])
    before = int(first.visits[0, action]) - 1
    assert before > 5
    states = game.step(game.initial(1), first.action)
    kept = [Kept(first.tree, 0, [action])]
    second = strongest_moves(small, game, states, generators(1), hashing(game), kept=kept)
    assert second.visits.sum() == before + 1

    lost = OneMove([-1, -1])
    first = strongest_moves(small, lost, lost.initial(1), generators(1), uniform(lost))
    assert first.proven.all()
    again = [Kept(first.tree, 0, [])]
    second = strongest_moves(small, lost, lost.initial(1), generators(1), uniform(lost), kept=again)
    assert second.proven.all()
    assert (second.visits == first.visits).all()
    assert (second.prior == first.prior).all(), "refuted moves keep the network's probability"


@pytest.mark.parametrize("name", GAMES)
def test_a_position_that_is_searched_in_two_halves_has_the_tree_of_one_search(name):
    game, search = make(name), PUCT(simulations=60).without_noise()
    states, evaluate = starts(game, 8, 5), hashing(game)
    whole = strongest_moves(search, game, states, generators(8), evaluate)
    half = strongest_moves(search, game, states, generators(8), evaluate, Limits(simulations=25))
    kept = [Kept(half.tree, i, ()) for i in range(8)]
    both = strongest_moves(search, game, states, generators(8), evaluate, kept=kept)
    assert both.visits.tolist() == whole.visits.tolist()
    assert both.value.tolist() == whole.value.tolist()
    assert_sound(game, both.tree)


def test_noise_is_mixed_into_priors_without_noise_however_often_a_root_is_searched():
    game = games.make("connect_four")
    search, states = PUCT(simulations=30, dirichlet_fraction=0.5), game.initial(1)
    evaluate = hashing(game)
    result = run(search(game, states, generators(1, 1), cold(1)), evaluate)
    clean, order = result.prior.copy(), edges_of(result.tree, 0, 0)["action"].copy()
    for turn in range(2, 5):
        kept = [Kept(result.tree, 0, [])]
        result = run(search(game, states, generators(1, turn), cold(1), kept=kept), evaluate)
        root = edges_of(result.tree, 0, 0)
        # Noise is drawn for the edges in the order that they had: that of the search before.
        places = {int(action): place for place, action in enumerate(order)}
        noise = generators(1, turn)[0].dirichlet([10 / 7] * 7)
        noise = noise[[places[int(action)] for action in root["action"]]]
        expected = 0.5 * clean[0, root["action"]] + 0.5 * noise
        np.testing.assert_allclose(np.abs(root["prior"]), expected, atol=1e-6)
        order = root["action"].copy()
        assert (result.prior == clean).all()


def test_the_version_of_a_result_is_that_of_the_oldest_evaluation_in_the_kept_tree():
    game = games.make("connect_four")
    search = PUCT(simulations=20).without_noise()

    def version(number):
        return lambda states: uniform(game)(states)._replace(version=number)

    first = strongest_moves(search, game, game.initial(1), generators(1), version(3))
    states = game.step(game.initial(1), first.action)
    kept = [Kept(first.tree, 0, first.action.tolist())]
    second = strongest_moves(search, game, states, generators(1), version(8), kept=kept)
    assert (first.version, second.version) == (3, 3)
    assert strongest_moves(search, game, states, generators(1), version(8)).version == 8


def test_the_version_of_a_dropped_tree_does_not_live_on_in_those_beside_it():
    game, search = games.make("connect_four"), PUCT(simulations=20).without_noise()

    def version(number):
        return lambda states: uniform(game)(states)._replace(version=number)

    # Two games in turns begin anew, as in a group of self-play.
    states, kept = game.initial(2), None
    for number in range(6):
        result = strongest_moves(search, game, states, generators(2), version(number), kept=kept)
        assert result.version == max(0, number - 1)
        states, new = game.step(states, result.action), number % 2
        states[new] = game.initial(1)[0]
        kept = [Kept(result.tree, i, [int(result.action[i])]) for i in range(2)]
        kept[new] = None


def test_a_tree_of_another_position_is_refused_in_one_line():
    game = games.make("connect_four")
    search = PUCT(simulations=20).without_noise()
    first = strongest_moves(search, game, game.initial(1), generators(1), uniform(game))
    for kept, problem in (
        ([Kept(first.tree, 0, [3])], "another position"),
        ([Kept(first.tree, 0, []), None], "2 kept trees for 1 positions"),
    ):
        with pytest.raises(ValueError, match=problem) as error:
            strongest_moves(search, game, game.initial(1), generators(1), uniform(game), kept=kept)
        assert "\n" not in str(error.value)


def small_tree():
    game = games.make("tic_tac_toe")
    search = PUCT(simulations=5).without_noise()
    return strongest_moves(search, game, game.initial(3), generators(3), uniform(game)).tree


def test_the_longest_line_that_a_game_began_with_is_looked_up():
    kept, short, long = KeptTrees(generations=9), small_tree(), small_tree()
    kept.store([[], [4], [4, 0]], short)
    kept.store([[4, 0, 1], [4, 0, 2], [5]], long)
    places = kept.lookup([[4, 0, 1, 7], [4, 0, 3], [4], [6, 1], [5, 5, 5]])
    shown = [(place.tree is long, place.index, list(place.actions)) for place in places]
    assert shown == [
        (True, 0, [7]), (False, 2, [3]), (False, 1, []), (False, 0, [6, 1]), (True, 2, [5, 5]),
    ]  # fmt: skip
    assert KeptTrees().lookup([[1, 2]]) == [None]


def test_trees_that_are_not_used_are_dropped_and_batches_in_turns_keep_theirs():
    kept, one, two = KeptTrees(), small_tree(), small_tree()
    kept.store([[1], [2], [3]], one)
    kept.store([[4], [5], [6]], two)
    assert kept.lookup([[1, 0]])[0].tree is one
    kept.store([[1, 0, 8], [2, 0, 8], [3, 0, 8]], small_tree())
    assert kept.lookup([[1, 7], [4, 0]]) == [None, Kept(two, 0, (0,))]
    kept.store([[1, 0, 8]], None)
    kept.store([[1, 0, 8]], None)
    assert kept.lookup([[4, 0], [1, 0, 8, 2]]) == [None, None]
