"""Self-play against a plain loop, its randomness, and its resuming."""

from itertools import count

import numpy as np
import pytest
from made_up_games import DoubleNim, double_nim_values
from made_up_rows import same

import games
from alphazero import wire
from alphazero.config import SelfPlaySettings
from alphazero.evaluators import uniform
from alphazero.records import states_of, unpack_policy
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.selfplay import GameGroup, random_opening
from alphazero.types import Evaluation
from games import solvers

GAMES = ["tic_tac_toe", "connect_four", "othello:size=4"]


def hashed(game, version=0):
    """An evaluator whose output is a fixed function of the state's bytes."""

    def evaluate(states):
        rows = [np.random.default_rng(list(state.tobytes())) for state in states]
        logits = np.array([rng.normal(size=game.num_actions) for rng in rows], np.float32)
        value = np.array([rng.uniform(-0.9, 0.9) for rng in rows], np.float32)
        return Evaluation(logits, value, version)

    return evaluate


def to_the_end(**changes):
    """Settings that play games to their end unless ``changes`` say otherwise."""
    return SelfPlaySettings(**{"stop_when_proven": False} | changes)


def play(game, settings, seed=0, ids=None, moves=40, search=None, evaluate=None):
    group = GameGroup(game, search or PUCT(simulations=4), settings, seed, ids or count())
    evaluate = evaluate or hashed(game)
    return [record for _ in range(moves) for record in run(group.move(), evaluate)]


@pytest.mark.parametrize("name", GAMES)
def test_replaying_a_records_actions_gives_its_states_and_outcome(name):
    game = games.make(name)
    records = play(game, to_the_end(games=4, random_opening_plies=3), moves=60)
    assert len(records) >= 8
    for record in records:
        state, states = game.initial(1), []
        for action in record.actions:
            assert game.legal(state)[0, action]
            states.append(state[0])
            state = game.step(state, np.array([action]))
        result = game.outcome(state)[0]
        assert not np.isnan(result)
        recorded = np.array(states[-len(record) :], game.dtype)
        assert np.array_equal(states_of(record.rows), recorded)
        sign = np.where(game.to_move(recorded) == game.to_move(state), 1, -1)
        assert np.array_equal(record.rows["outcome"], sign * result)


def test_a_record_holds_one_policy_and_value_for_each_position_and_survives_the_wire():
    game = games.make("connect_four")
    record = play(game, to_the_end(games=2))[0]
    rows = record.rows
    legal, policy = unpack_policy(game, rows["policy_action"], rows["policy_weight"])
    assert np.array_equal(legal, game.legal(states_of(rows)))
    assert np.allclose(policy.sum(axis=1), 1, atol=2e-3)
    assert np.abs(rows["value"].astype(np.float64)).max() <= 1
    assert same(wire.decode(game, wire.encode(game, record)), record)


def test_a_game_depends_on_its_seed_and_id_but_not_on_the_games_beside_it():
    game = games.make("connect_four")
    many = play(game, to_the_end(games=8, random_opening_plies=4))
    for record in many[:5]:
        single = play(game, to_the_end(games=1, random_opening_plies=4), ids=count(record.game_id))
        assert same(single[0], record)
    other = play(game, to_the_end(games=8, random_opening_plies=4), seed=1)
    assert not same({r.game_id: r for r in other}[many[0].game_id], many[0])


@pytest.mark.parametrize("search", [PUCT(simulations=6), Gumbel(simulations=6)])
def test_a_restored_group_continues_bit_for_bit(search):
    game, evaluate = games.make("connect_four"), hashed(games.make("connect_four"))
    settings = SelfPlaySettings(games=3, random_opening_plies=2, resign_value=0.8)
    first = GameGroup(game, search, settings, 7, count(5, 3))
    for _ in range(25):
        run(first.move(), evaluate)
    second = GameGroup(game, search, settings, 7, count(5, 3))
    second.restore(first.state())
    for _ in range(40):
        one, two = run(first.move(), evaluate), run(second.move(), evaluate)
        assert len(one) == len(two)
        assert all(map(same, one, two))


def test_a_state_of_other_settings_is_refused_in_one_line():
    game = games.make("tic_tac_toe")
    small, large = (GameGroup(game, PUCT(), to_the_end(games=size), 0, count()) for size in (2, 3))
    with pytest.raises(ValueError, match="resume with the game and selfplay settings"):
        large.restore(small.state())


def test_random_openings_have_every_length_up_to_the_limit_and_are_not_recorded():
    game = games.make("connect_four")
    records = play(game, to_the_end(games=32, random_opening_plies=3), moves=30)
    lengths = {len(record.actions) - len(record) for record in records}
    assert lengths == {0, 1, 2, 3}


def test_an_opening_never_finishes_the_game():
    game = games.make("tic_tac_toe")
    rng = np.random.default_rng(0)
    for _ in range(200):
        state = game.initial(1)
        for action in random_opening(game, 8, rng):
            state = game.step(state, np.array([action]))
        assert np.isnan(game.outcome(state)[0])


def test_a_records_version_is_the_oldest_in_its_game():
    game = games.make("tic_tac_toe")
    group = GameGroup(game, PUCT(simulations=2), to_the_end(games=1), 0, count())
    records, version = [], 3
    while not records:
        records = run(group.move(), hashed(game, version))
        version += 1
    assert records[0].version == 3


def test_a_player_whose_value_stays_low_resigns_and_loses():
    game = games.make("connect_four")

    def second_player_is_lost(states):
        value = np.where(game.to_move(states) == 1, -0.99, 0.99).astype(np.float32)
        return Evaluation(np.zeros((len(states), 7), np.float32), value)

    settings = to_the_end(games=4, resign_value=0.9, resign_disabled_fraction=0.0)
    records = play(game, settings, evaluate=second_player_is_lost, moves=4)
    assert len(records) == 4
    for record in records:
        assert len(record) == 4  # its second own move is the game's fourth ply
        assert record.rows["outcome"].tolist() == [1, -1, 1, -1]


def test_games_with_resignation_disabled_are_played_to_the_end():
    game = games.make("connect_four")

    def mover_is_lost(states):
        return Evaluation(
            np.zeros((len(states), 7), np.float32), np.full(len(states), -0.99, np.float32)
        )

    settings = to_the_end(games=4, resign_value=0.5, resign_disabled_fraction=1.0)
    records = play(game, settings, evaluate=mover_is_lost, moves=42)
    assert len(records) >= 4
    for record in records:
        state = game.initial(1)
        for action in record.actions:
            state = game.step(state, np.array([action]))
        assert not np.isnan(game.outcome(state)[0])


def test_the_temperature_falls_after_the_given_ply():
    game, temperatures = games.make("connect_four"), []

    class Recording:
        simulations = 2

        def __call__(self, game, states, rngs, temperature):
            temperatures.append(temperature.copy())
            return (yield from PUCT(simulations=2)(game, states, rngs, temperature))

    settings = to_the_end(games=1, temperature=0.7, temperature_plies=3, final_temperature=0.1)
    play(game, settings, search=Recording(), moves=5)
    assert np.allclose(np.concatenate(temperatures), [0.7, 0.7, 0.7, 0.1, 0.1])


@pytest.mark.parametrize("search", [PUCT(simulations=40), Gumbel(simulations=40)])
def test_a_game_whose_result_is_proven_ends_with_the_solvers_result(search):
    game = games.make("tic_tac_toe")
    chosen = to_the_end(games=16, stop_when_proven=True)
    records = play(game, chosen, moves=40, search=search)
    last = np.concatenate([record.rows["state"][-1:] for record in records])
    best, _ = solvers.scores(game, last)
    assert [record.rows["outcome"][-1] for record in records] == best.tolist()
    lengths = [len(record) for record in records]
    played_out = [
        len(record) for record in play(game, to_the_end(games=16), moves=40, search=search)
    ]
    assert np.mean(lengths) < np.mean(played_out) - 0.5
    for record in records:
        movers = game.to_move(states_of(record.rows))
        assert (record.rows["outcome"] == np.where(movers == movers[-1], 1, -1) * record.rows["outcome"][-1]).all()


def test_a_proven_result_has_the_right_sign_where_a_player_moves_twice():
    game = DoubleNim()
    chosen = to_the_end(games=16, random_opening_plies=4, stop_when_proven=True)
    records = play(game, chosen, moves=40, search=PUCT(simulations=400), evaluate=uniform(game))
    assert len(records) > 20
    for record in records:
        for state, outcome in zip(record.rows["state"][-1:], record.rows["outcome"][-1:], strict=True):
            assert outcome == max(double_nim_values(int(state["stones"])))
