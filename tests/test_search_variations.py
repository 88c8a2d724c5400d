"""The principal variation and the moves below the root, against the tree of objects."""

import numpy as np
import pytest
from made_up_games import DoubleNim, OneMove
from reference_search import hashing, puct, random_positions

import games
from alphazero.evaluators import uniform
from alphazero.search import strongest_moves
from alphazero.search.puct import PUCT
from alphazero.search.variations import below, principal_variation

GAMES = ["connect_four", "othello:size=6", "double_nim"]


def searched(name, simulations=150, proofs=False):
    game = DoubleNim() if name == "double_nim" else games.make(name)
    states = game.piles(9, 20, 25) if name == "double_nim" else random_positions(game, 3, 4)
    search, evaluate = PUCT(simulations=simulations, proofs=proofs).without_noise(), hashing(game)
    rngs = [np.random.default_rng(i) for i in range(3)]
    result = strongest_moves(search, game, states, rngs, evaluate)
    rngs = [np.random.default_rng(i) for i in range(3)]
    objects = [puct(game, states[[i]], search, evaluate, rng) for i, rng in enumerate(rngs)]
    return result, [reference.root for reference in objects]


@pytest.mark.parametrize("name", GAMES)
def test_every_node_below_the_root_is_that_of_the_object_tree(name):
    result, roots = searched(name)

    def compare(index, line, node):
        edges = below(result.tree, index, line)
        assert {edge.action for edge in edges} == set(node.edges)
        visits = [edge.visits for edge in edges]
        assert visits == sorted(visits, reverse=True)
        for edge in edges:
            other = node.edges[edge.action]
            assert edge.visits == other.visits
            assert edge.prior == pytest.approx(float(other.prior), abs=1e-6)
            if other.visits:
                assert edge.value == other.mean
            else:
                assert np.isnan(edge.value)
            if other.child is not None and other.child.edges and len(line) < 3:
                compare(index, [*line, edge.action], other.child)
        assert [edge.best for edge in edges] == [True] + [False] * (len(edges) - 1)

    for index, root in enumerate(roots):
        compare(index, [], root)


@pytest.mark.parametrize("name", GAMES)
def test_the_principal_variation_follows_the_most_visited_moves(name):
    result, roots = searched(name)
    for index, node in enumerate(roots):
        variation = principal_variation(result.tree, index)
        assert variation[0].action == result.action[index]
        assert variation[0].visits == 150 if len(variation) == 1 else len(variation) >= 3
        for edge in variation:
            assert edge.visits == max(other.visits for other in node.edges.values())
            assert node.edges[edge.action].visits == edge.visits
            node = node.edges[edge.action].child
        assert not any(other.visits for other in node.edges.values())
        first = variation[0].action
        assert principal_variation(result.tree, index, [first]) == variation[1:]


def test_a_proven_move_precedes_one_with_more_visits():
    # The first move looks best, but loses; the others are worse on paper and win.
    game = OneMove([-1, 1, -1])

    def misled(states):
        return uniform(game)(states)._replace(logits=np.array([[9, 0, 0]], np.float32))

    search = PUCT(simulations=30).without_noise()
    result = strongest_moves(search, game, game.initial(1), [np.random.default_rng(0)], misled)
    moves = below(result.tree, 0)
    assert moves[0][:1] + moves[0][4:] == (1, 1, 1, True)
    lost = next(edge for edge in moves if edge.action == 0)
    assert (lost.value, lost.lower, lost.upper, lost.best) == (-1, -1, -1, False)
    assert [edge.action for edge in principal_variation(result.tree, 0)] == [1]


def test_a_line_that_leaves_the_tree_has_no_moves():
    result, _ = searched("connect_four", simulations=5)
    assert below(result.tree, 0, [0, 0, 0, 0, 0, 0]) == []
    assert below(result.tree, 0, [77]) == []
    assert principal_variation(result.tree, 0, [77]) == []
