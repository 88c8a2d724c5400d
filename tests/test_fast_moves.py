"""Playout cap randomization: which moves are fast, their searches, and what is recorded of them."""

import dataclasses
from itertools import count

import numpy as np
import pytest
from made_up_rows import same
from test_selfplay import hashed, play, to_the_end

import games
from alphazero import config, wire
from alphazero.records import unpack_policy
from alphazero.search import run
from alphazero.search.conclusion import merge
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.selfplay import GameGroup
from alphazero.types import UNTRAINED, is_trained

GAME = games.make("connect_four")
FAST = {"fast_fraction": 0.6, "fast_simulations": 3}
SEARCHES = [PUCT(simulations=9), Gumbel(simulations=9)]


class Noted:
    """PUCT that writes down its searches: simulations, whether it has noise, temperatures."""

    def __init__(self, calls, inner):
        self.calls, self.inner = calls, inner
        self.simulations = inner.simulations

    def __call__(self, game, states, rngs, temperature):
        noisy = self.inner.dirichlet_fraction > 0
        self.calls.append((self.simulations, noisy, states.copy(), temperature.copy()))
        return (yield from self.inner(game, states, rngs, temperature))

    def without_noise(self, simulations=None, leaves=1):
        return Noted(self.calls, self.inner.without_noise(simulations, leaves))


def test_fast_moves_have_few_simulations_no_noise_and_no_temperature():
    calls = []
    play(GAME, to_the_end(games=8, **FAST), search=Noted(calls, PUCT(simulations=9)))
    kinds = {(simulations, noisy) for simulations, noisy, _, _ in calls}
    assert kinds == {(3, False), (9, True)}
    for simulations, _, _, temperature in calls:
        assert (temperature == (0 if simulations == 3 else 1)).all()
    fast = sum(len(states) for simulations, _, states, _ in calls if simulations == 3)
    every = sum(len(states) for _, _, states, _ in calls)
    assert every == 8 * 40  # each game once per ply
    assert abs(fast / every - 0.6) < 0.1  # four standard deviations


def test_fast_moves_evaluate_as_many_leaves_at_once_as_the_others():
    for search in (PUCT(simulations=9, leaves=3), Gumbel(simulations=9, leaves=3)):
        group = GameGroup(GAME, search, to_the_end(games=2, **FAST), 0, count())
        assert (group._fast_search.simulations, group._fast_search.leaves) == (3, 3)


def test_fast_moves_have_the_lower_of_two_temperatures():
    calls = []
    chosen = to_the_end(
        games=4, temperature=0.8, temperature_plies=2, final_temperature=0.2, fast_temperature=0.5,
        **FAST,
    )  # fmt: skip
    play(GAME, chosen, search=Noted(calls, PUCT(simulations=9)), moves=6)
    for simulations, _, states, temperature in calls:
        plies = np.count_nonzero(GAME.observe(states)[:, :2], axis=(1, 2, 3))
        early = 0.5 if simulations == 3 else 0.8
        assert temperature == pytest.approx(np.where(plies < 2, early, 0.2))


def test_the_positions_of_fast_moves_are_recorded_with_a_value_and_without_a_policy():
    calls = []
    records = play(GAME, to_the_end(games=8, **FAST), search=Noted(calls, PUCT(simulations=9)))
    searched = {simulations: set() for simulations in (3, 9)}
    for simulations, _, states, _ in calls:
        searched[simulations] |= {state.tobytes() for state in states}
    assert len(records) > 8
    for record in records:
        rows, trained = record.rows, is_trained(record.rows["surprise"])
        assert len(record) == len(record.actions)
        assert record.positions == trained.sum()
        assert (rows["surprise"][~trained] == UNTRAINED).all()
        assert not rows["policy_weight"][~trained].any()
        legal, policy = unpack_policy(GAME, rows["policy_action"], rows["policy_weight"])
        assert np.array_equal(legal, GAME.legal(rows["state"].copy()))
        assert policy.sum(axis=1) == pytest.approx(trained.astype(float), abs=2e-3)
        assert rows["value"][~trained].any() or trained.all()
        for row, full in zip(rows, trained, strict=True):
            assert row["state"].tobytes() in searched[9 if full else 3]
        assert same(wire.decode(GAME, wire.encode(GAME, record)), record)


@pytest.mark.parametrize("search", SEARCHES)
def test_a_game_with_fast_moves_does_not_depend_on_the_games_beside_it(search):
    chosen = to_the_end(games=8, random_opening_plies=2, **FAST)
    many = play(GAME, chosen, search=search)
    for record in many[:4]:
        alone = dataclasses.replace(chosen, games=1)
        assert same(play(GAME, alone, ids=count(record.game_id), search=search)[0], record)


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("search", SEARCHES)
def test_a_restored_group_with_fast_moves_continues_bit_for_bit(search, reuse):
    chosen = to_the_end(games=3, random_opening_plies=2, reuse_tree=reuse, **FAST)
    first, second = (GameGroup(GAME, search, chosen, 7, count(5, 3)) for _ in range(2))
    for _ in range(25):
        run(first.move(), hashed(GAME))
    second.restore(first.state())
    assert second.state() == first.state()
    ended = 0
    for _ in range(40):
        one, two = run(first.move(), hashed(GAME)), run(second.move(), hashed(GAME))
        assert len(one) == len(two)
        assert all(map(same, one, two))
        ended += len(one)
    assert ended > 3


def test_trees_go_on_between_fast_moves_and_others():
    chosen = to_the_end(games=6, reuse_tree=True, **FAST)
    group = GameGroup(GAME, PUCT(simulations=9), chosen, 0, count())
    kept = []
    for _ in range(30):
        run(group.move(), hashed(GAME))
        for i, entry in enumerate(group._kept):
            if entry is None:
                continue  # a game has just begun
            before = entry.tree.states[entry.index, :1]
            after = GAME.step(before, np.array(entry.actions))
            assert after.tobytes() == group._current[i : i + 1].tobytes()
            kept.append(int(entry.tree.nodes["visits"][entry.index, 0]))
    assert min(kept) < 10 <= max(kept)


def test_without_fast_moves_nothing_is_drawn_for_them():
    plain = play(GAME, to_the_end(games=3))
    other = play(GAME, to_the_end(games=3, fast_simulations=2, fast_temperature=0.7))
    assert all(map(same, plain, other))
    assert all(record.positions == len(record) for record in plain)


def test_results_of_parts_are_merged_row_by_row():
    rngs = [np.random.default_rng(i) for i in range(6)]
    states = GAME.initial(6)

    def searched(rows):
        chosen = [rngs[i] for i in rows]
        steps = PUCT(simulations=9)(GAME, states[rows], chosen, np.ones(len(rows), np.float32))
        return run(steps, hashed(GAME, version=int(rows[0])))

    parts = [np.array([1, 4, 5]), np.array([0, 2, 3])]
    results = [searched(rows) for rows in parts]
    merged = merge(results, parts)
    assert merged.version == 0
    assert merged.tree is None
    for name in ("action", "policy", "value", "visits", "action_value", "proven", "prior"):
        for rows, result in zip(parts, results, strict=True):
            assert np.array_equal(getattr(merged, name)[rows], getattr(result, name), True)
    unknown = [dataclasses.replace(result, proven=None) for result in results]
    assert merge(unknown, parts).proven is None
    assert merge(results[:1], parts[:1]) is results[0]


def test_fast_moves_with_as_many_simulations_as_the_others_are_a_contradiction():
    overrides = ["search={kind: puct, simulations: 20}", "selfplay.fast_simulations=20"]
    config.load("connect_four_quick", overrides)
    with pytest.raises(ValueError, match="search: 20 simulations, should be more than selfplay"):
        config.load("connect_four_quick", [*overrides, "selfplay.fast_fraction=0.75"])
