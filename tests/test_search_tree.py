"""Properties of every search tree, with both algorithms."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import DoubleNim, OneMove
from reference_search import hashing, random_positions

import games
from alphazero.evaluators import uniform
from alphazero.search import run, strongest_moves
from alphazero.search import tree as tree_module
from alphazero.search.gumbel import Gumbel
from alphazero.search.kernels import EXPANDED, FINISHED
from alphazero.search.puct import PUCT
from alphazero.search.tree import Tree, init_trees
from alphazero.types import Evaluation

BOTH = pytest.mark.parametrize("kind", [PUCT, Gumbel])


def generators(number):
    return [np.random.default_rng(seed) for seed in range(number)]


def grown(game, states, search, evaluate, seed=0, temperature=1) -> Tree:
    """The trees that ``search`` grew."""
    rngs = [np.random.default_rng([seed, i]) for i in range(len(states))]
    temperatures = np.full(len(states), temperature, np.float32)
    tree = run(search(game, states, rngs, temperatures), evaluate).tree
    assert tree is not None
    return tree


def edges_of(tree, b, node):
    """The edges of one node; in the order of their actions, unless it is a root."""
    first, count = tree.nodes[b, node]["first"], tree.nodes[b, node]["count"]
    return tree.edges[first : first + count]


def assert_sound(game, tree, simulations=None):
    """Everything that holds in trees after a search, with their number of simulations if given."""
    for b in range(len(tree.size)):
        nodes = tree.nodes[b, : tree.size[b]]
        if nodes["status"][0] == EXPANDED and simulations is not None:
            assert nodes["visits"][0] == 1 + simulations
        assert nodes["parent"][0] == -1
        assert not nodes["pending"].any()
        assert (np.abs(nodes["value_sum"]) <= nodes["visits"]).all()
        outcomes = game.outcome(tree.states[b, : tree.size[b]])
        for node in range(len(nodes)):
            assert_node_sound(game, tree, b, node, outcomes[node])
        for child in range(1, len(nodes)):
            parent, number = nodes[child]["parent"], nodes[child]["edge"]
            edge, above = tree.edges[number], nodes[parent]
            assert parent < child
            assert above["first"] <= number < above["first"] + above["count"]
            assert edge["child"] == child
            assert edge["visits"] == nodes[child]["visits"]
            same = nodes[child]["to_move"] == above["to_move"]
            sign = 1 if same else -1
            assert edge["value_sum"] == sign * nodes[child]["value_sum"]


def assert_node_sound(game, tree, b, node, outcome):
    here, edges, state = tree.nodes[b, node], edges_of(tree, b, node), tree.states[b, [node]]
    assert here["to_move"] == game.to_move(state)[0]
    assert here["lower"] <= here["upper"]
    if here["status"] == FINISHED:
        assert here["lower"] == here["upper"] == here["value"]
        assert here["value_sum"] == here["value"] * here["visits"]
    if not np.isnan(outcome):
        assert here["status"] == FINISHED
        assert here["value"] == outcome
        return
    assert here["status"] == EXPANDED or here["lower"] == here["upper"]
    # Only a root's edges are in random order.
    actions = edges["action"] if node else np.sort(edges["action"])
    assert actions.tolist() == np.flatnonzero(game.legal(state)[0]).tolist()
    if here["status"] == FINISHED:
        return  # later visits ended here
    refuted = edges["prior"] < 0
    assert edges["visits"][refuted].all()
    assert np.abs(edges["prior"]).sum() == pytest.approx(1, abs=1e-5)
    assert not edges["pending"].any()
    assert here["visits"] == 1 + edges["visits"].sum()
    assert ((edges["child"] >= 0) == (edges["visits"] > 0)).all()
    seen = edges["prior"][(edges["visits"] > 0) & ~refuted].sum()
    assert here["prior_mass"] == pytest.approx(seen, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["tic_tac_toe", "connect_four", "othello:size=4", "double_nim"]),
    kind=st.sampled_from([PUCT, Gumbel]),
    simulations=st.integers(2, 60),
    leaves=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_every_tree_is_sound_and_did_all_its_simulations(name, kind, simulations, leaves, seed):
    game = DoubleNim() if name == "double_nim" else games.make(name)
    states = game.initial(3) if name == "double_nim" else random_positions(game, 3, seed)
    search = kind(simulations=simulations, leaves=leaves)
    assert_sound(game, grown(game, states, search, hashing(game), seed), simulations)


def test_a_tree_takes_the_memory_that_its_docstring_states():
    game = games.make("connect_four")
    tree = grown(game, game.initial(1), PUCT(simulations=9), uniform(game))
    # Every position of so small a tree still has all 7 columns open.
    assert tree.size.tolist() == [10]
    assert tree.used.tolist() == [10 * 7]
    assert tree.used_bytes == 10 * (40 + 16) + 70 * 24
    assert tree.nodes.nbytes + tree.edges.nbytes + tree.states.nbytes == tree.used_bytes
    assert np.shares_memory(tree.raw, tree.states)


@BOTH
def test_edges_are_those_of_legal_moves_and_no_others_exist(kind):
    game = games.make("othello:size=6")
    states = random_positions(game, 20, 8)
    tree = grown(game, states, kind(simulations=50), hashing(game))
    counts = [tree.nodes["count"][b, : tree.size[b]] for b in range(20)]
    assert tree.used[0] == np.concatenate(counts).sum()
    assert len(tree.edges) <= 2 * max(tree.used[0], game.legal(states).sum() * 51)


@BOTH
def test_room_for_edges_grows_where_positions_have_more_moves_than_the_first_one(kind):
    # Othello begins with 4 legal moves; some plies later there are about 8.
    game = games.make("othello:size=6")
    tree = grown(game, game.initial(2), kind(simulations=300), hashing(game))
    assert tree.used[0] > 2 * 4 * 301
    assert len(tree.edges) >= tree.used[0]
    assert_sound(game, tree, 300)


class Masked(OneMove):
    """A game whose legal moves are given."""

    def __init__(self, mask):
        super().__init__([0] * mask.shape[1])
        self.mask = mask

    def legal(self, states):
        return self.mask.copy()


@settings(max_examples=60, deadline=None)
@given(
    actions=st.integers(1, 300),
    rows=st.integers(1, 5),
    density=st.sampled_from([0.01, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_the_edges_of_a_root_are_its_legal_moves_with_their_softmax(actions, rows, density, seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((rows, actions)) < density
    mask[np.arange(rows), rng.integers(actions, size=rows)] = True
    logits = rng.normal(size=(rows, actions)).astype(np.float32)
    game = Masked(mask)
    evaluation = Evaluation(logits, np.zeros(rows, np.float32))
    tree = init_trees(game, game.initial(rows), evaluation, 1)
    assert tree.used[0] == mask.sum()
    for b in range(rows):
        edges, legal = edges_of(tree, b, 0), np.flatnonzero(mask[b])
        weights = np.exp(logits[b, legal].astype(float))
        assert edges["action"].tolist() == legal.tolist()
        np.testing.assert_allclose(edges["prior"], weights / weights.sum(), rtol=1e-5)
        assert tree.prior[b, legal].tolist() == edges["prior"].tolist()
        assert not tree.prior[b, ~mask[b]].any()


@BOTH
@pytest.mark.parametrize("leaves", [1, 4, 64])
@pytest.mark.parametrize("actions", [1, 2, 5])
def test_simulations_that_meet_only_finished_games_are_all_made(kind, leaves, actions):
    game = OneMove([-1] * (actions - 1) + [1])
    search = kind(simulations=12, leaves=leaves, proofs=False)
    sizes = []

    def evaluate(states):
        sizes.append(len(states))
        return uniform(game)(states)

    result = run(search(game, game.initial(2), generators(2), np.zeros(2, np.float32)), evaluate)
    assert result.visits.sum(axis=1).tolist() == [12, 12]
    assert result.action.tolist() == [actions - 1] * 2
    assert sizes == [2], "only the roots are unfinished here"


@BOTH
def test_the_smallest_search_of_one_position_works(kind):
    game = games.make("tic_tac_toe")
    search = kind(simulations=1 if kind is PUCT else 2, leaves=7)
    steps = search(game, game.initial(1), generators(1), np.ones(1, np.float32))
    result = run(steps, hashing(game))
    assert result.visits.sum() == search.simulations
    assert result.action.shape == (1,)
    assert result.action_value.shape == result.policy.shape == (1, 9)
    assert result.policy.sum() == pytest.approx(1)
    assert (np.isnan(result.action_value) == (result.visits == 0)).all()


@BOTH
def test_a_forced_move_gets_the_whole_policy(kind):
    game = DoubleNim()
    search = kind(simulations=5, proofs=False)
    for leaves in (1, 4):
        steps = search.without_noise(leaves=leaves)(
            game, game.piles(1), generators(1), np.ones(1, np.float32)
        )
        result = run(steps, uniform(game))
        assert result.policy.tolist() == [[1, 0, 0]]
        assert result.visits.tolist() == [[5, 0, 0]]
        assert result.action_value[0, 0] == 1


@BOTH
@pytest.mark.parametrize("leaves", [1, 4])
def test_at_most_the_set_number_of_leaves_is_evaluated_at_once(kind, leaves):
    game = games.make("connect_four")
    sizes = []

    def evaluate(states):
        sizes.append(len(states))
        return hashing(game)(states)

    search = kind(simulations=30, leaves=leaves)
    run(search(game, game.initial(5), generators(5), np.zeros(5, np.float32)), evaluate)
    assert sizes[0] == 5
    assert max(sizes) == 5 * leaves
    assert sum(sizes) == 5 * 31


@BOTH
def test_the_version_of_a_result_is_the_oldest_among_its_evaluations(kind):
    game = games.make("connect_four")
    for versions, oldest in (([9, 7, 8, 9, 9], 7), ([3, 4, 4, 5, 6], 3), ([5, 5, 5, 5, 2], 2)):
        answers = iter(versions)
        steps = kind(simulations=4)(game, game.initial(2), generators(2), np.zeros(2, np.float32))
        result = run(steps, lambda s, v=answers: uniform(game)(s)._replace(version=next(v)))
        assert result.version == oldest


@BOTH
@pytest.mark.parametrize(
    ("shape", "values"), [((2, 6), (2,)), ((3, 7), (2,)), ((2, 7), (2, 1)), ((7,), (2,))]
)
def test_an_evaluation_of_the_wrong_shape_is_refused_in_one_line(kind, shape, values):
    game = games.make("connect_four")
    steps = kind()(game, game.initial(2), generators(2), np.zeros(2, np.float32))
    next(steps)
    wrong = Evaluation(np.zeros(shape, np.float32), np.zeros(values, np.float32))
    with pytest.raises(ValueError, match=r"^evaluation of 2 positions .* expected .*$") as error:
        steps.send(wrong)
    assert "(2, 7)" in str(error.value)
    assert "\n" not in str(error.value)


@BOTH
@pytest.mark.parametrize("flaw", [np.nan, np.inf])
@pytest.mark.parametrize("places", [[0], [3], [6], list(range(7))], ids=str)
@pytest.mark.parametrize("call", [0, 1, 5])
def test_logits_that_are_not_finite_are_refused_in_every_evaluation(kind, flaw, places, call):
    game, calls = games.make("connect_four"), iter(range(100))
    steps = kind()(game, game.initial(2), generators(2), np.ones(2, np.float32))

    def evaluate(states):
        answer = hashing(game)(states)
        if next(calls) == call:
            answer.logits[-1, places] = flaw
        return answer

    with pytest.raises(ValueError, match=r"^evaluation of 2 positions holds values .* not finite$"):
        run(steps, evaluate)


@BOTH
def test_a_value_that_is_not_finite_is_refused(kind):
    game = games.make("connect_four")
    steps = kind()(game, game.initial(2), generators(2), np.ones(2, np.float32))
    next(steps)
    with pytest.raises(ValueError, match="not finite"):
        steps.send(Evaluation(np.zeros((2, 7), np.float32), np.array([0, np.nan], np.float32)))


# (parent, action, visits, 64 * value_sum) of each node: Connect Four after 4 4 3, 24 simulations.
# fmt: off
GOLDEN_PUCT = [
    (-1, -1, 25, -359), (0, 1, 13, 163), (0, 3, 10, 175), (1, 2, 11, -154), (3, 0, 5, 163),
    (4, 2, 4, -192), (5, 6, 1, 63), (5, 4, 2, 67), (7, 2, 1, -64), (3, 1, 5, 16), (9, 3, 4, -6),
    (10, 0, 1, -6), (10, 4, 2, 24), (12, 2, 1, -62), (2, 6, 7, -123), (2, 1, 2, 1),
    (15, 4, 1, 0), (14, 4, 3, 57), (14, 5, 1, 37), (17, 5, 2, -87), (14, 6, 1, 50),
    (0, 5, 1, 45), (1, 5, 1, -51), (19, 1, 1, 28), (14, 0, 1, 39),
]
GOLDEN_GUMBEL = [
    (-1, -1, 25, -108), (0, 1, 9, 22), (0, 3, 9, 94), (0, 5, 3, 48), (0, 0, 3, -32),
    (1, 2, 5, -9), (4, 0, 1, 44), (2, 6, 1, 60), (3, 6, 1, -28), (5, 0, 2, 33), (4, 6, 1, -31),
    (2, 1, 7, -101), (3, 5, 1, 25), (9, 2, 1, -62), (11, 4, 3, 56), (5, 1, 1, 10),
    (11, 2, 1, 40), (5, 2, 1, -9), (14, 6, 2, -56), (1, 5, 3, -55), (18, 3, 1, 30),
    (19, 0, 1, 30), (11, 3, 2, 6), (22, 2, 1, -63), (19, 3, 1, -26),
]
# fmt: on


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (PUCT(simulations=24, dirichlet_fraction=0.0, proofs=False), GOLDEN_PUCT),
        (Gumbel(simulations=24, max_considered_actions=4, proofs=False), GOLDEN_GUMBEL),
    ],
    ids=["puct", "gumbel"],
)
def test_the_golden_tree_has_not_changed(search, expected):
    game = games.make("connect_four")
    state = game.initial(1)
    for column in (4, 4, 3):
        state = game.step(state, np.array([column - 1]))
    tree = grown(game, state, search, hashing(game), temperature=0)
    nodes = tree.nodes[0]
    actions = [-1, *tree.edges["action"][nodes["edge"][1:]]]
    fields = nodes["parent"], np.array(actions), nodes["visits"], 64 * nodes["value_sum"]
    assert list(zip(*(field.tolist() for field in fields), strict=True)) == expected


BOUNDS_CHECKED = """
import numpy as np, games
from alphazero.evaluators import uniform
from alphazero.search import run, strongest_moves
from alphazero.search import tree as tree_module
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Kept, Limits
game = games.make("tic_tac_toe")
forced = PUCT(simulations=150, leaves=4, forced_playouts=2.0)
for search in (forced, PUCT(simulations=150, leaves=4), Gumbel(simulations=150, leaves=4)):
    states, warm = game.initial(2), np.ones(2, np.float32)
    result = run(search(game, states, [np.random.default_rng(1)] * 2, warm), uniform(game))
    assert result.visits.sum() == 300
search, rngs, cold = forced, [np.random.default_rng(1)] * 2, np.zeros(2)
first = run(search(game, states, rngs, cold, Limits(90, 1e6)), uniform(game))
kept = [Kept(first.tree, i, [int(first.action[i])]) for i in range(2)]
after = game.step(states, first.action)
second = run(search(game, after, rngs, cold, Limits(400, 1e6), kept), uniform(game))
assert second.proven.all() or second.visits.sum(axis=1).max() >= 400
print("inside the bounds")
"""


@pytest.mark.slow
def test_no_kernel_reads_outside_its_arrays(pytestconfig):
    # Numba's cache does not distinguish code with bounds checks: this test uses a separate one.
    cache = str(pytestconfig.cache.mkdir("numba_boundscheck"))
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", BOUNDS_CHECKED], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "inside the bounds\n", done.stderr


def test_more_edges_than_nodes_can_number_are_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(tree_module, "MOST_EDGES", 100)
    game = games.make("connect_four")
    with pytest.raises(ValueError, match="need more than 100 edges"):
        strongest_moves(
            PUCT(simulations=50), game, game.initial(1), [np.random.default_rng(0)], uniform(game)
        )
