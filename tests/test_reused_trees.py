"""Players that continue their trees from move to move, and the lines that they expect."""

import numpy as np
import pytest

import games
from alphazero.evaluators import uniform
from alphazero.judging import lock_step, players, session, variations
from alphazero.judging.decisions import search_player
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.types import Evaluation, Limits

SEARCH = PUCT(simulations=48).without_noise()


@pytest.fixture(scope="module")
def game():
    return games.make("connect_four")


def central(states):
    """An evaluation that prefers central columns: searches with it look ahead along few lines."""
    logits = np.repeat(-1.2 * np.abs(np.arange(7, dtype=np.float32) - 3)[None], len(states), axis=0)
    return Evaluation(logits, np.zeros(len(states), np.float32))


def player(game, reuse_tree, search=SEARCH, limits=Limits()):
    evaluate = central if game.name == "connect_four" else uniform(game)
    return search_player("p", search, evaluate, game, limits, reuse_tree)


def rngs(count):
    return [np.random.default_rng([0, index]) for index in range(count)]


def decide(player, game, *texts, limits=Limits()):
    """The decision in the positions after ``texts``, and the evaluations that it needed."""
    sessions = [session.after(game, text) for text in texts]
    states = np.concatenate([one.states for one in sessions])
    before = player.evaluations().needed
    lines = [tuple(one.actions) for one in sessions]
    decision = player(states, rngs(len(texts)), limits, lines)
    return decision, player.evaluations().needed - before


def test_a_player_goes_on_from_the_tree_of_its_last_move(game):
    keeping, fresh = player(game, True), player(game, False)
    assert decide(keeping, game, "44")[1] == decide(fresh, game, "44")[1] == 49
    kept, needed = decide(keeping, game, "4443")
    anew, all_needed = decide(fresh, game, "4443")
    assert all_needed == 49
    assert 0 < needed < 49
    # Its visits are the kept ones and those of the new simulations.
    assert kept.visits.sum() == anew.visits.sum() == 48
    # The same position again needs one simulation, the least that a search makes.
    again, one = decide(keeping, game, "4443")
    assert (one, again.visits.sum()) == (1, 49)


def test_each_position_of_a_batch_goes_on_from_its_own_tree(game):
    together, alone = player(game, True), [player(game, True) for _ in range(2)]
    decide(together, game, "44", "1")
    both, needed = decide(together, game, "123", "4431")  # the order has changed
    singles = []
    for one, first, second in zip(alone, ("1", "44"), ("123", "4431"), strict=True):
        decide(one, game, first)
        singles.append(decide(one, game, second))
    assert needed == sum(count for _, count in singles)
    for row, (single, _) in enumerate(singles):
        np.testing.assert_array_equal(both.visits[row], single.visits[0])
        assert both.action[row] == single.action[0]


def test_without_lines_every_search_begins_anew(game):
    keeping, states = player(game, True), game.initial(1)
    for _ in range(2):
        before = keeping.evaluations().needed
        keeping(states, rngs(1))
        assert keeping.evaluations().needed - before == 49


def test_gumbels_search_and_rollouts_begin_anew_with_lines(game):
    gumbel = player(game, True, Gumbel(simulations=16).without_noise())
    first, needed = decide(gumbel, game, "4")
    second, again = decide(gumbel, game, "4")
    assert needed == again > 0
    np.testing.assert_array_equal(first.visits, second.visits)
    mcts = players.make("mcts:simulations=30", game)
    with_lines, _ = decide(mcts, game, "4")
    np.testing.assert_array_equal(with_lines.visits, decide(mcts, game, "4")[0].visits)


def match(game, reuse_tree):
    """A match of a searching player with one that begins each search anew, and that player."""
    kept = player(game, reuse_tree)
    pair = (kept, player(game, False))
    openings = [(3, 3), (3, 3), (0, 1), (0, 1), (6, 5), (6, 5)]
    seeds = [[index] for index in range(6)]
    return lock_step.play_match(game, pair, openings, seeds, lambda done: None), kept


def test_matches_with_and_without_kept_trees_are_legal_games_of_the_same_form(game):
    for reuse_tree in (True, False):
        played, _ = match(game, reuse_tree)
        assert played.result.shape == (6,)
        for index, line in enumerate(played.lines):
            finished = session.after(game, [action + 1 for action in line])
            assert finished.result(index % 2) == played.result[index]
        assert match(game, reuse_tree)[0].lines == played.lines
        assert not played.adjudicated.any()


def test_kept_trees_save_evaluations_in_a_match(game):
    needed = {}
    for reuse_tree in (True, False):
        played, kept = match(game, reuse_tree)
        moves = sum(len(line[2:][index % 2 :: 2]) for index, line in enumerate(played.lines))
        needed[reuse_tree] = kept.evaluations().needed / moves
    assert needed[True] < 0.9 * needed[False]


def test_limits_of_a_call_bound_the_simulations(game):
    for search in (SEARCH, Gumbel(simulations=48).without_noise()):
        one = player(game, False, search)
        assert decide(one, game, "", limits=Limits(simulations=20))[0].visits.sum() == 20
        assert decide(one, game, "")[0].visits.sum() == 48
        both = Limits(simulations=20, seconds=1000.0)
        assert decide(one, game, "", limits=both)[0].visits.sum() == 20


def test_rollouts_take_limits_of_a_call(game):
    mcts = players.make("mcts", game)
    assert decide(mcts, game, "", limits=Limits(simulations=25))[0].visits.sum() == 25


def test_a_player_limited_by_time_alone_goes_on_until_it_is_over(game, monkeypatch):
    one = player(game, False, limits=Limits(seconds=3.0))
    assert one.simulations == 0
    reads = iter(range(10**6))
    monkeypatch.setattr("alphazero.search.budget.clock", lambda: next(reads) * 0.5)
    decision, _ = decide(one, game, "")
    # The clock goes on by half a second whenever it is read: at the start, then once per round.
    assert decision.visits.sum() == 6


@pytest.mark.parametrize("search", [SEARCH, Gumbel(simulations=48).without_noise()])
def test_the_moves_below_the_root_are_those_that_the_search_has_visited(game, search):
    decision, _ = decide(player(game, False, search), game, "44", "123")
    for index, before in enumerate(("44", "123")):
        states = session.after(game, before).states
        root = variations.replies(game, states, decision.tree, index=index)
        visited = {game.action_to_text(a): n for a, n in enumerate(decision.visits[index]) if n}
        assert {reply.move: reply.visits for reply in root} == visited
        for reply in root:
            action = game.text_to_action(reply.move)
            below = variations.replies(game, states, decision.tree, (action,), index)
            # A node's visits are its own evaluation and the visits of its moves.
            assert sum(other.visits for other in below) == reply.visits - 1
            assert -1 <= reply.value <= 1
    assert variations.replies(game, states, decision.tree, (0,) * 20) == []


@pytest.mark.parametrize("search", [SEARCH, Gumbel(simulations=48).without_noise()])
def test_the_expected_line_begins_with_the_move_and_goes_on_with_the_most_visited_ones(
    game, search
):
    decision, _ = decide(player(game, False, search), game, "44", "123")
    for index, before in enumerate(("44", "123")):
        action = int(decision.action[index])
        played = session.after(game, before)
        states = played.states
        line = variations.expected(game, states, decision.tree, action, index)
        assert line[0] == game.action_to_text(action)
        assert len(line) > 2
        for ply, move in enumerate(line):
            at = tuple(game.text_to_action(text) for text in line[:ply])
            below = variations.replies(game, states, decision.tree, at, index)
            visits = {reply.move: reply.visits for reply in below}
            assert ply == 0 or visits[move] == max(visits.values())
            played.move(move)
    assert variations.expected(game, game.initial(1), None, 3) == ("4",)


def test_a_win_at_once_is_all_that_is_expected():
    game = games.make("tic_tac_toe")
    decision, _ = decide(player(game, False), game, "1425")
    states = session.after(game, "1425").states
    assert variations.expected(game, states, decision.tree, int(decision.action[0])) == ("3",)
