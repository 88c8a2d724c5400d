"""Self-play against a plain loop, its randomness, and its resuming."""

import dataclasses
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_games import DoubleNim, LargeTug, double_nim_values
from made_up_rows import same

import games
from alphazero import config, selfplay, wire
from alphazero.config import SelfPlaySettings
from alphazero.evaluators import uniform
from alphazero.nn import state as training_state
from alphazero.packing import count_game
from alphazero.records import legal_actions, states_of, unpack_policy
from alphazero.search import run
from alphazero.search.gumbel import Gumbel
from alphazero.search.puct import PUCT
from alphazero.selfplay import GameGroup, random_opening
from alphazero.types import Ending, Evaluation
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


@pytest.mark.parametrize("name", [*GAMES, "dots_and_boxes:rows=1,columns=3"])
def test_the_counts_of_a_game_have_its_plies_and_the_result_for_the_player_who_began(name):
    game, seen = games.make(name), set()
    for record in play(game, to_the_end(games=8, random_opening_plies=3), moves=60):
        final = game.initial(1)
        for action in record.actions:
            final = game.step(final, np.array([action]))
        outcome = int(game.outcome(final)[0])
        counts = count_game(game, record)
        assert counts.plies == len(record.actions)
        assert counts.result == (-outcome if game.to_move(final)[0] == 1 else outcome)
        seen.add(counts.result)
    assert {-1, 1} <= seen


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


def test_a_group_that_began_very_many_games_is_restored_at_once():
    game, settings = games.make("tic_tac_toe"), to_the_end(games=2)
    state = GameGroup(game, PUCT(simulations=2), settings, 0, count()).state()
    ids = count(5, 3)
    group = GameGroup(game, PUCT(simulations=2), settings, 0, ids)
    group.restore(state | {"started": 3 * 10**7})
    assert group.state()["started"] == 3 * 10**7
    assert next(ids) == 5 + 3 * 3 * 10**7


def test_a_state_of_other_settings_is_refused_in_one_line():
    game = games.make("tic_tac_toe")
    small, large = (GameGroup(game, PUCT(), to_the_end(games=size), 0, count()) for size in (2, 3))
    with pytest.raises(ValueError, match="resume with the game and selfplay settings"):
        large.restore(small.state())


@pytest.mark.parametrize("spec", ["connect_four", "hex:size=5", "go:size=5", "chess"])
def test_games_in_progress_that_contradict_the_rules_are_refused(spec):
    """Kernels trust their states: a stranger's could write outside their arrays."""
    game, settings = games.make(spec), to_the_end(games=2, random_opening_plies=3)
    group = GameGroup(game, PUCT(simulations=2), settings, 0, count())
    for _ in range(4):
        run(group.move(), uniform(game))
    state, rng = group.state(), np.random.default_rng(0)
    row, arrays = group._rows.dtype, state["arrays"]
    fields = {
        name: (int(offset), field.itemsize) for name, (field, offset, *_) in row.fields.items()
    }
    places = {
        "_current": range(len(arrays["_current"])),
        "_actions": range(len(arrays["_actions"])),
        "_rows": [row.itemsize + fields[name][0] + at for name in ("state", "policy_action")
                  for at in range(fields[name][1])],
    }  # fmt: skip
    for name, choices in places.items():
        for place in rng.choice(choices, 12):
            data = bytearray(arrays[name])
            data[place] ^= int(rng.integers(1, 256))
            with pytest.raises(ValueError, match="self-play state: ") as refused:
                group.restore(state | {"arrays": arrays | {name: bytes(data)}})
            assert "\n" not in str(refused.value)
    group.restore(state)


@pytest.mark.parametrize(
    ("name", "value"), [("_plies", 10**6), ("_plies", 9), ("_ids", -1), ("_versions", -5),
                        ("_ids", 0)]
)  # fmt: skip
def test_impossible_numbers_of_a_game_in_progress_are_refused_before_there_is_room(name, value):
    game = games.make("tic_tac_toe")
    group = GameGroup(game, PUCT(simulations=2), to_the_end(games=2), 0, count())
    room = group._rows.shape
    state, stored = group.state(), np.array([0, value], np.int64).tobytes()
    arrays = state["arrays"] | {name: stored}
    if name == "_plies":  # all of them are the opening, which has no rows
        arrays |= {"_opening": stored, "_actions": np.zeros(value, np.int32).tobytes()}
    with pytest.raises(ValueError, match="self-play state: a game has an impossible "):
        group.restore(state | {"arrays": arrays})
    assert group._rows.shape == room


def test_a_state_of_an_unknown_layout_is_refused():
    group = GameGroup(
        games.make("tic_tac_toe"), PUCT(simulations=2), to_the_end(games=2), 0, count()
    )
    with pytest.raises(ValueError, match="self-play state: layout 7 is not known here"):
        group.restore(group.state() | {"layout": 7})


@pytest.mark.parametrize("field", ["value", "surprise", "policy_weight"])
def test_a_game_in_progress_with_a_number_that_is_not_finite_is_refused(field):
    game = games.make("connect_four")
    group = GameGroup(game, PUCT(simulations=2), to_the_end(games=2), 0, count())
    run(group.move(), uniform(game))
    group._rows[field][1, 0] = np.nan
    with pytest.raises(ValueError, match=r"self-play state: a (value|surprise|policy) "):
        group.restore(group.state())


def test_a_finished_game_is_no_game_in_progress():
    game = games.make("tic_tac_toe")
    group = GameGroup(game, PUCT(simulations=2), to_the_end(games=1), 0, count())
    for action in (0, 3, 1, 4, 2):  # X has the first row
        group._actions[0, group._plies[0]] = action
        group._rows["state"][0, group._plies[0]] = group._current[0]
        group._rows["policy_action"][0, group._plies[0]] = legal_actions(
            game, game.legal(group._current)
        )[0]
        group._rows["policy_weight"][0, group._plies[0], 0] = 1
        group._current = game.step(group._current, np.array([action]))
        group._plies[0] += 1
    with pytest.raises(ValueError, match="self-play state: a game is over"):
        group.restore(group.state())


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
        for action in random_opening(game, 8, rng).actions:
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


def test_only_two_low_values_in_a_row_are_resigned():
    # The second player's values are low, high, low, low: its fourth move is the last.
    values = iter([0, -0.95, 0, 0.1, 0, -0.95, 0, -0.95, 0, 0])

    class Given:
        simulations = 2

        def __call__(self, game, states, rngs, temperature):
            result = yield from PUCT(simulations=2)(game, states, rngs, temperature)
            return dataclasses.replace(result, value=np.array([next(values)], np.float32))

    settings = to_the_end(games=1, resign_value=0.9, resign_disabled_fraction=0.0)
    records = play(games.make("othello:size=6"), settings, search=Given(), moves=10)
    assert [(len(record), record.ending) for record in records] == [(8, Ending.RESIGNED)]
    assert records[0].rows["outcome"].tolist() == [1, -1] * 4


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
        assert (
            record.rows["outcome"]
            == np.where(movers == movers[-1], 1, -1) * record.rows["outcome"][-1]
        ).all()


def test_a_proven_result_has_the_right_sign_where_a_player_moves_twice():
    game = DoubleNim()
    chosen = to_the_end(games=16, random_opening_plies=4, stop_when_proven=True)
    records = play(game, chosen, moves=40, search=PUCT(simulations=400), evaluate=uniform(game))
    assert len(records) > 20
    for record in records:
        for state, outcome in zip(
            record.rows["state"][-1:], record.rows["outcome"][-1:], strict=True
        ):
            assert outcome == max(double_nim_values(int(state["stones"])))


def test_a_record_says_how_its_game_ended():
    game = games.make("connect_four")

    def second_player_is_lost(states):
        value = np.where(game.to_move(states) == 1, -0.99, 0.99).astype(np.float32)
        return Evaluation(np.zeros((len(states), 7), np.float32), value)

    resigning = to_the_end(games=4, resign_value=0.9, resign_disabled_fraction=0.0)
    resigned = play(game, resigning, evaluate=second_player_is_lost, moves=4)
    assert {record.ending for record in resigned} == {Ending.RESIGNED}
    assert {record.ending for record in play(game, to_the_end(games=4))} == {Ending.RULES}
    small = games.make("tic_tac_toe")
    proving = play(small, to_the_end(games=16, stop_when_proven=True), search=PUCT(simulations=40))
    assert {record.ending for record in proving} == {Ending.PROVEN, Ending.RULES}
    for record in proving:
        last = small.step(states_of(record.rows[-1:]), record.actions[-1:])
        assert (record.ending == Ending.RULES) == (not small.legal(last).any())


class Cut(DoubleNim):
    """Double nim of at most 6 plies; then the player about to move has won."""

    max_plies = 6

    def adjudicate(self, states):
        return np.ones(len(states), np.float32)


def test_a_game_that_reaches_its_last_ply_is_adjudicated():
    game = Cut()
    records = play(game, to_the_end(games=8), moves=30)
    cut = [record for record in records if record.ending == Ending.LENGTH]
    assert {record.ending for record in records} == {Ending.LENGTH, Ending.RULES}
    for record in cut:
        last = game.step(states_of(record.rows[-1:]), record.actions[-1:])
        assert (len(record.actions), game.outcome(last)[0]) == (
            6,
            pytest.approx(np.nan, nan_ok=True),
        )
        same_player = game.to_move(states_of(record.rows)) == game.to_move(last)
        assert np.array_equal(record.rows["outcome"], np.where(same_player, 1, -1))
        assert same(wire.decode(game, wire.encode(game, record)), record)


def test_a_draw_has_the_outcome_zero_without_a_sign():
    records = play(games.make("tic_tac_toe"), to_the_end(games=32), moves=40)
    drawn = [record for record in records if record.rows["outcome"][0] == 0]
    assert drawn
    assert not any(np.signbit(record.rows["outcome"]).any() for record in drawn)


def test_a_group_grows_with_its_games(monkeypatch):
    game = games.make("connect_four")
    settings = to_the_end(games=4, random_opening_plies=4)
    expected = play(game, settings)
    monkeypatch.setattr(selfplay, "FIRST_PLIES", 3)
    records = play(game, settings)
    assert len(records) == len(expected) > 4
    assert all(map(same, records, expected))
    group = GameGroup(game, PUCT(simulations=4), settings, 0, count())
    assert group._rows.shape[1] < 9


def test_a_state_may_come_from_a_group_with_longer_games_than_this_one_has_room_for(monkeypatch):
    game, evaluate = games.make("connect_four"), hashed(games.make("connect_four"))
    settings = to_the_end(games=2)
    monkeypatch.setattr(selfplay, "FIRST_PLIES", 2)
    first, second = (GameGroup(game, PUCT(simulations=2), settings, 0, count()) for _ in range(2))
    for _ in range(5):
        run(first.move(), evaluate)
    second.restore(first.state())
    assert second.state() == first.state()


def test_the_state_of_a_group_does_not_hold_earlier_games():
    game, evaluate = games.make("tic_tac_toe"), hashed(games.make("tic_tac_toe"))
    first, second = (
        GameGroup(game, PUCT(simulations=2), to_the_end(games=3), 0, count()) for _ in range(2)
    )
    for _ in range(13):
        run(first.move(), evaluate)
    second.restore(first.state())
    for _ in range(4):
        run(first.move(), evaluate)
        run(second.move(), evaluate)
    assert second.state() == first.state()


def test_a_group_whose_games_have_just_begun_can_be_saved():
    game = games.make("tic_tac_toe")
    first, second = (
        GameGroup(game, PUCT(simulations=2), to_the_end(games=2), seed, count()) for seed in (0, 1)
    )
    second.restore(training_state.load(training_state.dump(first.state())))
    assert second.state() == first.state()


EARLIER = Path(__file__).parent / "data/earlier_versions"


def earlier_group():
    """The state of a group in the first layout, and an empty group of its game."""
    state = training_state.load((EARLIER / "training.pt").read_bytes())
    settings = SelfPlaySettings(games=2, groups=2, random_opening_plies=2)
    group = GameGroup(games.make("tic_tac_toe"), Gumbel(simulations=4), settings, 0, count(0, 2))
    return state["fleet"]["seats"][0]["group"], group


def test_a_state_of_an_earlier_version_continues_with_the_same_games():
    """The games of a checkpoint's first group, continued by the earlier version and by this one."""
    state, group = earlier_group()
    group.restore(state)
    evaluate = hashed(games.make("tic_tac_toe"), version=3)
    later = [record for _ in range(12) for record in run(group.move(), evaluate)]
    assert_columns(later, "training_later.npz")
    _, again = earlier_group()
    again.restore(group.state())
    assert again.state() == group.state()


def test_the_positions_of_an_earlier_version_are_those_of_the_moves_whatever_is_stored():
    state, group = earlier_group()
    group.restore(state)
    expected, garbage = group.state(), bytes(len(state["arrays"]["_states"]))
    _, other = earlier_group()
    other.restore(state | {"arrays": state["arrays"] | {"_states": garbage}})
    assert other.state() == expected


def test_an_illegal_move_of_an_earlier_version_is_refused():
    state, group = earlier_group()
    actions = np.full(len(state["arrays"]["_actions"]) // 2, 99, np.int16).tobytes()
    with pytest.raises(ValueError, match="self-play state: move 1 of a game, action 99, is ill"):
        group.restore(state | {"arrays": state["arrays"] | {"_actions": actions}})


def test_the_uncollected_games_of_an_earlier_checkpoint_are_read():
    state = training_state.load((EARLIER / "training.pt").read_bytes())
    game = games.make("tic_tac_toe")
    frames = [frame for seat in state["fleet"]["seats"] for frame in seat["played"] or ()]
    assert frames
    assert_columns([wire.decode(game, frame) for frame in frames], "training_played.npz")


def assert_columns(records, name):
    """The games equal the arrays that the earlier version wrote beside its checkpoint."""
    expected, game = np.load(EARLIER / name), games.make("tic_tac_toe")
    rows = np.concatenate([record.rows for record in records])
    assert [record.game_id for record in records] == expected["game_id"].tolist()
    assert [record.version for record in records] == expected["version"].tolist()
    assert [len(record) for record in records] == expected["positions"].tolist()
    actions = np.concatenate([record.actions for record in records])
    assert actions.tolist() == expected["actions"].tolist()
    assert states_of(rows).tobytes() == expected["states"].tobytes()
    _, policy = unpack_policy(game, rows["policy_action"], rows["policy_weight"])
    assert np.array_equal(policy, expected["policy"])
    assert np.array_equal(rows["value"], expected["value"])
    assert np.array_equal(rows["outcome"], expected["outcome"])


class Trap(DoubleNim):
    """Double nim with 40 actions, all but the first of which end the game at once."""

    num_actions = 40

    def legal(self, states):
        return np.repeat(states["stones"][:, None] > 0, 40, axis=1)

    def step(self, states, actions):
        after = super().step(states, np.zeros(len(states), np.int64))
        after["stones"][np.asarray(actions) > 0] = 0
        return after


def test_the_longest_opening_is_taken_where_nearly_all_openings_finish_the_game():
    game, rng = Trap(), np.random.default_rng(0)
    openings = [random_opening(game, 12, rng).actions for _ in range(40)]
    assert all(set(opening) <= {0} for opening in openings)
    # 100 openings: one of them has its first move right with probability 0.92, two in a row 0.06.
    assert {len(opening) for opening in openings} <= {0, 1, 2, 3}
    assert max(map(len, openings)) >= 1


class Reusing:
    """A search whose tree is the batch of positions that it searched; it records what it got."""

    simulations = 2

    def __init__(self):
        self.calls = []

    def __call__(self, game, states, rngs, temperature, limits=None, kept=None):
        self.calls.append((states.copy(), kept))
        result = yield from PUCT(simulations=2)(game, states, rngs, temperature)
        fields = {name: getattr(result, name) for name in result.__slots__}
        return SimpleNamespace(**fields | {"tree": states.copy(), "prior": None})


def test_each_search_continues_from_the_tree_of_its_games_last_one():
    game, search = games.make("tic_tac_toe"), Reusing()
    played = play(game, to_the_end(games=3, reuse_tree=True), search=search, moves=25)
    assert len(played) > 5
    fresh = 0
    for states, kept in search.calls:
        assert len(kept) == 3
        for state, entry in zip(states, kept, strict=True):
            if entry is None:
                fresh += 1
                assert not state["cells"].any()
                continue
            before = entry.tree[entry.index : entry.index + 1]
            assert game.step(before, np.array(entry.actions)).tobytes() == state.tobytes()
    # Three games began with the group, one with the end of each other one, if it was searched.
    assert len(played) <= fresh <= len(played) + 3


def test_trees_are_not_passed_where_reuse_is_off_or_the_search_takes_none():
    game, search = games.make("tic_tac_toe"), Reusing()
    play(game, to_the_end(games=2), search=search, moves=5)
    assert all(kept is None for _, kept in search.calls)
    gumbel = Gumbel(simulations=2)
    with_reuse = play(game, to_the_end(games=2, reuse_tree=True), search=gumbel, moves=12)
    assert all(map(same, with_reuse, play(game, to_the_end(games=2), search=gumbel, moves=12)))


def test_an_older_tree_is_not_passed_after_a_search_that_returned_none():
    class Sometimes(Reusing):
        def __call__(self, game, states, rngs, temperature, limits=None, kept=None):
            result = yield from super().__call__(game, states, rngs, temperature, limits, kept)
            result.tree = None if len(self.calls) % 2 == 0 else result.tree
            return result

    game, search = games.make("connect_four"), Sometimes()
    play(game, to_the_end(games=2, reuse_tree=True), search=search, moves=5)
    passed = [[entry is not None for entry in kept] for _, kept in search.calls]
    assert passed == [[False] * 2, [True] * 2, [False] * 2, [True] * 2, [False] * 2]


def test_saving_and_restoring_forget_the_trees():
    game, search = games.make("tic_tac_toe"), Reusing()
    settings = to_the_end(games=2, reuse_tree=True)
    group = GameGroup(game, search, settings, 0, count())
    run(group.move(), hashed(game))
    state = group.state()
    run(group.move(), hashed(game))
    assert search.calls[-1][1] == [None, None]
    group.restore(state)
    run(group.move(), hashed(game))
    assert search.calls[-1][1] == [None, None]


def test_reuse_with_a_search_that_has_fresh_trees_is_a_contradiction():
    overrides = ["selfplay.reuse_tree=true", "search.kind=gumbel"]
    with pytest.raises(ValueError, match="search: gumbel begins each search with a new tree"):
        config.load("connect_four_quick", overrides)


def test_the_surprise_is_the_divergence_from_the_networks_prior():
    game = games.make("tic_tac_toe")

    class WithPrior(Reusing):
        def __call__(self, game, states, rngs, temperature):
            result = yield from super().__call__(game, states, rngs, temperature)
            prior = game.legal(states) / game.legal(states).sum(1, keepdims=True)
            return SimpleNamespace(**vars(result) | {"prior": prior.astype(np.float32)})

    for record in play(game, to_the_end(games=2), search=WithPrior(), moves=12):
        legal, policy = unpack_policy(
            game, record.rows["policy_action"], record.rows["policy_weight"]
        )
        # The KL divergence from a uniform prior is log n minus the entropy.
        entropy = -(policy * np.log(np.maximum(policy, 1e-9))).sum(1)
        expected = np.log(legal.sum(1)) - entropy
        assert np.allclose(record.rows["surprise"], expected, atol=5e-3)
        assert record.rows["surprise"].max() > 0.1


def test_openings_that_nearly_always_end_the_game_are_announced_in_one_line():
    game = games.make("tic_tac_toe")
    line = selfplay.shortened_openings(game, 20)
    assert "selfplay.random_opening_plies: 20" in line
    assert "before ply 10" in line, "tic-tac-toe ends with its ninth ply"
    assert "\n" not in line
    assert selfplay.shortened_openings(game, 4) == ""
    rng = np.random.default_rng(0)
    assert max(len(random_opening(game, 20, rng).actions) for _ in range(20)) == 8


def test_actions_beyond_16_bits_are_recorded_stored_and_read_as_they_were_played(tmp_path):
    game, path = LargeTug(), tmp_path / "shard_000000.bin"
    settings = to_the_end(games=3, random_opening_plies=3)
    records = play(game, settings, moves=20, evaluate=uniform(game))
    assert len(records) >= 3
    path.write_bytes(wire.header(game) + b"".join(wire.encode(game, one) for one in records))
    read = [record for _, record in wire.read_shard(game, path)]
    assert {action for one in records for action in one.actions.tolist()} == {39_998, 39_999}
    assert all(same(one, again) for one, again in zip(records, read, strict=True))
