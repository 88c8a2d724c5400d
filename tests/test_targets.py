"""Targets of whole games: values by hand, slow loops, and games in which a player moves twice."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_games import DoubleNim
from made_up_rows import made_up_rows, random_record, uniform_policy

import games
from alphazero import config, records, targets
from alphazero.config import ReplaySettings
from alphazero.targets import TARGETS, VALUE_TARGETS, Episode
from alphazero.types import Ending

GAME = games.make("connect_four")
OTHELLO = games.make("othello:size=6")
NIM = DoubleNim()


class Settled(DoubleNim):
    """Double nim with a cell and a margin: the winner owns the cell and has the margin 0.25."""

    def final_ownership(self, states):
        return self.outcome(states)[:, None]

    def final_score(self, states):
        return self.outcome(states) * np.float32(0.25)


def episode_of(value, mover, outcome_for_0=1.0, surprise=0.0, ending=Ending.RULES) -> Episode:
    """Positions of double nim with these values and movers, ended where player 0 would move."""
    mover = np.array(mover, np.int8)
    states = np.array([(9, player, 0) for player in mover], NIM.dtype)
    rows = made_up_rows(
        NIM, states, uniform_policy(NIM, states), value=value, surprise=surprise,
        outcome=np.where(mover == 0, outcome_for_0, -outcome_for_0),
    )  # fmt: skip
    final = np.array([(0, 0, 0 if outcome_for_0 > 0 else 1)], NIM.dtype)
    return Episode(rows, mover, final, ending)


def chosen(**changes) -> ReplaySettings:
    return ReplaySettings(**changes)


def test_the_mixture_of_outcome_and_search_value_as_computed_by_hand():
    played = episode_of([0.5, -0.25, -1, 0], [0, 0, 0, 0])
    played.rows["outcome"] = [1, 0, -1, 1]
    wdl = targets.mixture(NIM, played, chosen(value_mixing=0.2))
    expected = [[0.9, 0.1, 0], [0, 0.95, 0.05], [0, 0, 1], [0.8, 0.2, 0]]
    assert wdl.dtype == np.float32
    assert np.allclose(wdl, expected, atol=1e-7)
    # The expectation is (1 - m) * outcome + m * value.
    mean = 0.8 * played.rows["outcome"] + 0.2 * played.rows["value"].astype(np.float32)
    assert np.allclose(wdl[:, 0] - wdl[:, 2], mean)


@pytest.mark.parametrize(("mixing", "expected"), [(0, [0, 0, 1]), (1, [0.5, 0.5, 0])])
def test_the_mixture_is_the_outcome_alone_or_the_search_value_alone(mixing, expected):
    played = episode_of([0.5], [0], outcome_for_0=-1)
    assert targets.mixture(NIM, played, chosen(value_mixing=mixing)).tolist() == [expected]


def test_the_short_term_value_of_the_docstrings_example():
    played = episode_of([0.2, -0.4, 0.6], [0, 1, 0])
    halved = chosen(short_term_plies=2)  # the weights fall by a half per ply
    assert targets.short_term(NIM, played, halved) == pytest.approx([0.4, -0.6, 0.8], abs=1e-3)
    wdl = targets.short_term_wdl(NIM, played, halved)
    assert wdl == pytest.approx(np.array([[0.4, 0.6, 0], [0, 0.4, 0.6], [0.8, 0.2, 0]]), abs=1e-3)


def slow_short_term(value, mover, outcome, plies):
    """The sums of the definition, position by position."""
    decay, count = 1 - 1 / plies, len(value)
    averages = []
    for t in range(count):
        total = decay ** (count - t) * outcome[t]
        for k in range(count - t):
            sign = 1 if mover[t + k] == mover[t] else -1
            total += (1 - decay) * decay**k * sign * float(value[t + k])
        averages.append(total)
    return averages


movers = st.lists(st.integers(0, 1), min_size=1, max_size=20)


@settings(max_examples=150, deadline=None)
@given(
    mover=movers, seed=st.integers(0, 999), plies=st.floats(1, 60), z=st.sampled_from([-1, 0, 1])
)
def test_the_short_term_value_equals_the_sums_of_its_definition(mover, seed, plies, z):
    value = np.random.default_rng(seed).uniform(-1, 1, len(mover)).astype(np.float16)
    played = episode_of(value, mover, outcome_for_0=z)
    expected = slow_short_term(value, mover, played.rows["outcome"], plies)
    average = targets.short_term(NIM, played, chosen(short_term_plies=plies))
    assert average == pytest.approx(expected, abs=1e-5)
    assert average.dtype == np.float32


def test_a_short_term_of_one_ply_is_the_search_value():
    played = episode_of([0.25, -0.5, 0.75], [0, 1, 1])
    assert targets.short_term(NIM, played, chosen(short_term_plies=1)).tolist() == [
        0.25,
        -0.5,
        0.75,
    ]


@settings(max_examples=100, deadline=None)
@given(mover=movers, seed=st.integers(0, 999))
def test_the_reply_is_the_policy_of_the_next_position_of_the_opponent(mover, seed):
    played = episode_of([0.0] * len(mover), mover)
    policy = np.random.default_rng(seed).dirichlet(np.ones(3), len(mover)).astype(np.float16)
    played.rows["policy_weight"] = policy
    reply = targets.reply(NIM, played, chosen())
    for t in range(len(mover)):
        later = [k for k in range(t + 1, len(mover)) if mover[k] != mover[t]]
        if later:
            assert np.array_equal(reply[t], policy[later[0]])
        else:
            assert np.isnan(reply[t]).all()


def test_ownership_and_score_are_turned_to_each_mover_where_a_player_moves_twice():
    # Player 0 has won and would move next: the outcome in the final position is +1.
    played = episode_of([0.0] * 4, [0, 1, 1, 0])
    game = Settled()
    assert targets.ownership(game, played, chosen()).tolist() == [[1], [-1], [-1], [1]]
    assert targets.score(game, played, chosen()).tolist() == [0.25, -0.25, -0.25, 0.25]
    lost = episode_of([0.0] * 2, [0, 1], outcome_for_0=-1)
    assert targets.ownership(game, lost, chosen()).tolist() == [[-1], [1]]


@pytest.mark.parametrize("ending", [Ending.PROVEN, Ending.RESIGNED, Ending.LENGTH])
def test_ownership_and_score_are_masked_where_the_game_was_not_played_out(ending):
    played = episode_of([0.0] * 3, [0, 1, 0], ending=ending)
    assert np.isnan(targets.ownership(Settled(), played, chosen())).all()
    assert np.isnan(targets.score(Settled(), played, chosen())).all()


def test_ownership_and_score_are_masked_in_a_game_without_them():
    played = episode_of([0.0] * 3, [0, 1, 0])
    assert targets.ownership(NIM, played, chosen()).shape == (3, 1)
    assert np.isnan(targets.ownership(NIM, played, chosen())).all()
    assert np.isnan(targets.score(NIM, played, chosen())).all()


def test_moves_left_are_a_share_of_the_longest_game_and_masked_where_it_ended_early():
    values = [0.0] * 4
    for ending in (Ending.RULES, Ending.LENGTH):
        left = targets.moves_left(NIM, episode_of(values, [0, 1, 0, 1], ending=ending), chosen())
        assert left == pytest.approx([0.1, 0.075, 0.05, 0.025])  # of 40 plies
    for ending in (Ending.PROVEN, Ending.RESIGNED):
        played = episode_of(values, [0, 1, 0, 1], ending=ending)
        assert np.isnan(targets.moves_left(NIM, played, chosen())).all()


def test_surprise_weights_of_the_docstrings_example():
    surprise = np.array([0, 0.1, 0.3])
    assert targets.surprise_weights(surprise, 0.5) == pytest.approx([0.5, 0.875, 1.625])
    assert targets.surprise_weights(surprise, 0).tolist() == [1, 1, 1]
    assert targets.surprise_weights(np.zeros(3), 0.5).tolist() == [1, 1, 1]


@given(
    surprise=st.lists(st.floats(0, 60, width=16), min_size=1, max_size=40), share=st.floats(0, 1)
)
def test_surprise_weights_have_the_mean_one_and_are_never_negative(surprise, share):
    weights = targets.surprise_weights(np.array(surprise, np.float16), share)
    assert weights.mean(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert (weights >= 1 - share - 1e-6).all()


@pytest.mark.parametrize("game", [GAME, OTHELLO, NIM], ids=repr)
def test_targets_of_recorded_games_have_their_shapes_and_point_of_view(game):
    record = random_record(game, 4, opening=2)
    played = targets.episode(game, record)
    assert np.array_equal(played.mover, game.to_move(records.states_of(record.rows)))
    assert not game.legal(played.final).any()
    same = played.mover == game.to_move(played.final)
    outcome = game.outcome(played.final)
    assert np.array_equal(record.rows["outcome"], np.where(same, outcome, -outcome))
    for target in TARGETS.values():
        computed = target.compute(game, played, chosen())
        assert computed.shape == (len(record), *target.shape(game))
        assert computed.dtype == np.float32
    for compute in VALUE_TARGETS.values():
        wdl = compute(game, played, chosen())
        assert wdl.shape == (len(record), 3)
        assert wdl.dtype == np.float32
        assert np.allclose(wdl.sum(1), 1, atol=1e-6)
        assert (wdl >= 0).all()


def test_stored_rows_hold_the_record_and_the_targets_in_use():
    record = random_record(OTHELLO, 1)
    use = chosen(value_target="short_term", policy_surprise=0.5)
    rows = targets.rows_to_store(OTHELLO, record, use, ("reply", "moves_left"))
    for name in records.row(OTHELLO).names or ():
        assert np.array_equal(rows[name], record.rows[name]), name
    played = targets.episode(OTHELLO, record)
    assert np.array_equal(rows["wdl"], targets.short_term_wdl(OTHELLO, played, use))
    assert np.array_equal(rows["weight"], targets.surprise_weights(record.rows["surprise"], 0.5))
    auxiliary = targets.auxiliary(OTHELLO, rows)
    assert list(auxiliary) == ["reply", "moves_left"]
    assert np.array_equal(auxiliary["moves_left"], targets.moves_left(OTHELLO, played, use))
    reply = targets.reply(OTHELLO, played, use)
    reply /= reply.sum(1, keepdims=True)
    assert np.allclose(auxiliary["reply"], reply, atol=1e-6, equal_nan=True)
    assert np.isnan(auxiliary["reply"]).all(1).sum() == np.isnan(reply).all(1).sum() >= 1


def test_without_heads_a_stored_row_has_the_value_target_alone():
    row = targets.columns(GAME, chosen())
    assert row.names == (*(records.row(GAME).names or ()), "wdl")
    assert row.itemsize == records.row(GAME).itemsize + 12


def test_a_value_target_that_does_not_exist_is_refused_with_the_names_that_do():
    with pytest.raises(
        ValueError, match=r"got 'mixtur', should be mixture or short_term"
    ) as caught:
        config.load("connect_four_quick", ["replay.value_target=mixtur"])
    assert "replay.value_target" in str(caught.value)
    assert config.load("connect_four_quick", ["replay.value_target=short_term"])


def test_records_and_targets_do_not_import_torch():
    modules = "alphazero.records, alphazero.targets, alphazero.wire, alphazero.rebuilding"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False"]


def with_fast(mover, seed, untrained):
    """An episode with random values and policies; the chosen positions are not trained on."""
    rng, fast = np.random.default_rng(seed), np.array(untrained, bool)
    played = episode_of(rng.uniform(-1, 1, len(mover)), mover, surprise=rng.random(len(mover)))
    played.rows["policy_weight"] = rng.dirichlet(np.ones(3), len(mover))
    played.rows["surprise"][fast], played.rows["policy_weight"][fast] = -1, 0
    return played


def test_a_fast_reply_is_no_target():
    played = with_fast([0, 1, 0, 1, 1, 0], 3, [0, 1, 0, 0, 1, 1])
    reply = targets.reply(NIM, played, chosen())
    missing = np.isnan(reply).any(1)
    # The replies are at 1 (fast), 2, 3, 5 (fast), 5 (fast); the last position has none.
    assert missing.tolist() == [True, False, False, True, True, True]
    assert np.isnan(reply[missing]).all()
    assert np.array_equal(reply[1], played.rows["policy_weight"][2].astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(game_id=st.integers(0, 10**6), untrained=st.floats(0.01, 0.95))
def test_stored_rows_are_the_trained_ones_with_the_targets_of_the_whole_game(game_id, untrained):
    heads = [name for name in TARGETS if TARGETS[name].axis is None and not TARGETS[name].needs]
    settings = chosen(value_target="short_term")
    record = random_record(GAME, game_id, untrained=untrained)
    whole = random_record(GAME, game_id)
    trained = record.rows["surprise"] >= 0
    rows = targets.rows_to_store(GAME, record, settings, heads)
    every = targets.rows_to_store(GAME, whole, settings, heads)
    assert rows.tobytes() == every[trained].tobytes()


def test_weights_by_surprise_are_one_on_average_over_the_trained_positions():
    record = random_record(GAME, 4, untrained=0.5)
    rows = targets.rows_to_store(GAME, record, chosen(policy_surprise=0.5))
    surprise = rows["surprise"].astype(float)
    assert 3 < len(rows) < len(record)
    assert rows["weight"] == pytest.approx(0.5 + 0.5 * surprise / surprise.mean(), rel=1e-5)
    nothing = random_record(GAME, 4, untrained=1)
    assert len(targets.rows_to_store(GAME, nothing, chosen(policy_surprise=0.5))) == 0
