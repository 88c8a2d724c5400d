"""The replay buffer: storage, sampling, recovery after damage; and the targets of the learner."""

import dataclasses
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_up_rows import first_positions, forged, made_up_rows, random_record, samples_of

import games
from alphazero import rebuilding, targets, wire
from alphazero import replay as replay_module
from alphazero.config import ReplaySettings
from alphazero.records import row, states_of
from alphazero.replay import Batch, Replay, Samples, to_batch, window_size

GAME = games.make("connect_four")
GAMES = [games.make(name) for name in ("tic_tac_toe", "connect_four", "othello:size=6")]
RECORDS = [random_record(GAME, game_id) for game_id in range(60)]
SETTINGS = ReplaySettings(window_min=200)


OPEN: dict[Path, Replay] = {}


def opened(directory: Path, lines: list | None = None, settings=SETTINGS) -> Replay:
    """A replay buffer as a new process opens it, after the process that held the lock died."""
    before = OPEN.pop(directory, None)
    if before is not None:
        os.close(before._lock)
    replay = Replay(GAME, directory, settings, ([] if lines is None else lines).append)
    OPEN[directory] = replay
    return replay


def close(replay: Replay):
    del OPEN[replay.directory]
    replay.close()


def drawn(replay: Replay, size: int = 500, seed: int = 5) -> Samples:
    return replay.sample(size, np.random.default_rng(seed))


def assert_same_samples(one: Samples, other: Samples):
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


def stored_rows(games) -> np.ndarray:
    """Every recorded position as bytes, oldest first."""
    return np.array([row.tobytes() for record in games for row in record.rows], dtype=object)


def sampled_rows(samples: Samples) -> list[bytes]:
    """The sampled positions as ``stored_rows`` has them: the record's columns come first."""
    size = row(GAME).itemsize
    return [sampled.tobytes()[:size] for sampled in samples.rows]


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (100, 100),
        (250_000, 250_000),
        # 16**0.75 = 8: 250000 * (1 + 0.4 * 7 / 0.75)
        (4_000_000, 1_183_333),
        # 10000**0.75 = 1000: 250000 * (1 + 0.4 * 999 / 0.75)
        (2_500_000_000, 133_450_000),
    ],
)
def test_the_window_grows_as_in_katago(positions, expected):
    katago = ReplaySettings(window_min=250_000, window_exponent=0.75, window_scale=0.4)
    assert window_size(katago, positions) == pytest.approx(expected, abs=1)


def test_extreme_exponents_give_a_linear_and_a_logarithmic_window():
    linear = ReplaySettings(window_min=100, window_exponent=1, window_scale=1)
    logarithmic = ReplaySettings(window_min=100, window_exponent=0, window_scale=1)
    assert [window_size(linear, n) for n in (99, 100, 101, 12345)] == [99, 100, 101, 12345]
    assert window_size(logarithmic, 272) == 200


@settings(max_examples=200, deadline=None)
@given(
    start=st.integers(1, 1000),
    alpha=st.floats(0, 1),
    beta=st.floats(0.01, 3),
    positions=st.integers(1, 10**6),
)
@example(start=2, alpha=5e-324, beta=1.0, positions=66)
def test_a_position_that_left_the_window_never_returns_to_it(start, alpha, beta, positions):
    chosen = ReplaySettings(window_min=start, window_exponent=alpha, window_scale=beta)
    before, after = window_size(chosen, positions), window_size(chosen, positions + 1)
    assert 1 <= before <= after <= before + 1
    assert before <= positions


def test_games_and_positions_count_everything_ever_stored(tmp_path):
    replay = opened(tmp_path)
    assert replay.extend(RECORDS) == 60
    assert (replay.games, replay.positions) == (60, sum(map(len, RECORDS)))
    assert replay.window == window_size(SETTINGS, replay.positions) < replay.positions


def test_a_known_game_id_is_refused_even_after_reopening(tmp_path):
    replay = opened(tmp_path)
    assert replay.extend([RECORDS[0], RECORDS[0], RECORDS[1]]) == 2
    close(replay)
    replay = opened(tmp_path)
    assert replay.extend(RECORDS[:3]) == 1
    assert replay.games == 3


@pytest.mark.parametrize("count", [3, 60], ids=["window not full", "window beyond its start"])
def test_samples_are_the_stored_rows_uniformly_over_the_newest_positions(tmp_path, count):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:count])
    newest = stored_rows(RECORDS[:count])[-replay.window :]
    draws = 200 * len(newest)
    rows, drawn_count = np.unique(
        np.array(sampled_rows(drawn(replay, draws)), object), return_counts=True
    )
    kinds, multiplicity = np.unique(newest, return_counts=True)
    assert np.array_equal(rows, kinds)
    expected = 200 * multiplicity
    # Each count is binomial with mean and variance close to 200 per row: 6 standard deviations.
    assert (np.abs(drawn_count - expected) < 6 * np.sqrt(expected)).all()


FAST = [random_record(GAME, i, untrained=(0, 0.7, 1)[i % 3]) for i in range(60)]


def trained_rows(games) -> list[bytes]:
    return [row.tobytes() for game in games for row in game.rows if row["surprise"] >= 0]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), games=st.integers(1, 12), surprise=st.booleans())
def test_positions_of_fast_moves_are_not_counted_and_never_reach_a_batch(
    tmp_path_factory, seed, games, surprise
):
    chosen = dataclasses.replace(SETTINGS, policy_surprise=0.5 if surprise else 0.0)
    records = [random_record(GAME, seed + i, untrained=(seed + i) % 5 / 4) for i in range(games)]
    expected = trained_rows(records)
    replay = opened(tmp_path_factory.mktemp("games"), settings=chosen)
    assert replay.extend(records) == games
    assert (replay.games, replay.positions) == (games, len(expected))
    if expected:
        assert replay.window == window_size(SETTINGS, len(expected))
        samples = drawn(replay, 300, seed)
        assert set(sampled_rows(samples)) <= set(expected[-replay.window :])
        batch = to_batch(GAME, samples)
        assert batch.policy.sum(1) == pytest.approx(1, abs=1e-5)
        assert np.isfinite(batch.wdl).all()
        assert batch.weight is None or (batch.weight >= 0.5).all()
    close(replay)


def test_a_reopened_buffer_has_the_same_trained_positions(tmp_path):
    replay = opened(tmp_path)
    replay.extend(FAST)
    before, counts = drawn(replay), (replay.games, replay.positions, replay.window)
    assert replay.window < replay.positions == len(trained_rows(FAST)) < sum(map(len, FAST))
    again = opened(tmp_path)
    assert (again.games, again.positions, again.window) == counts
    assert_same_samples(drawn(again), before)


def test_every_trained_position_of_the_window_is_drawn(tmp_path):
    replay = opened(tmp_path)
    replay.extend(FAST)
    newest = trained_rows(FAST)[-replay.window :]
    assert set(sampled_rows(drawn(replay, 40 * len(newest)))) == set(newest)


def test_a_buffer_of_fast_moves_alone_has_games_and_no_positions(tmp_path):
    replay = opened(tmp_path)
    assert replay.extend([random_record(GAME, i, untrained=1) for i in range(3)]) == 3
    assert (replay.games, replay.positions, replay.window) == (3, 0, 0)
    with pytest.raises(ValueError, match="no position is stored"):
        drawn(replay)
    assert opened(tmp_path).games == 3


def test_games_arriving_singly_or_together_give_the_same_samples(tmp_path):
    together, singly = opened(tmp_path / "together"), opened(tmp_path / "singly")
    together.extend(RECORDS)
    for record in RECORDS:
        singly.extend([record])
    assert_same_samples(drawn(together), drawn(singly))


def test_sampling_depends_on_contents_and_generator_alone(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    first = drawn(replay)
    assert_same_samples(first, drawn(replay))
    assert not np.array_equal(first.rows, drawn(replay, seed=6).rows)


def test_a_sample_is_no_view_of_the_buffer(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    first = drawn(replay)
    for array in drawn(replay):
        array[:] = np.zeros(1, array.dtype)
    assert_same_samples(first, drawn(replay))


@pytest.mark.parametrize(("symmetries", "expected"), [(True, {0, 1}), (False, {0})])
def test_symmetries_are_drawn_only_where_they_are_wanted(tmp_path, symmetries, expected):
    replay = opened(tmp_path, settings=ReplaySettings(symmetries=symmetries))
    replay.extend(RECORDS[:2])
    symmetry = drawn(replay, 1000).symmetry
    assert set(symmetry) == expected
    assert not symmetries or 400 < symmetry.sum() < 600


def test_sampling_from_an_empty_buffer_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no position is stored"):
        drawn(opened(tmp_path))


def test_memory_follows_the_window_and_not_the_run(tmp_path):
    small = ReplaySettings(window_min=50, window_scale=0.1)
    replay = opened(tmp_path, settings=small)
    for record in RECORDS:
        replay.extend([record])
        assert len(replay._ring) <= max(50, replay.window * 9 // 8)


def test_a_game_longer_than_the_window_keeps_its_newest_positions(tmp_path):
    replay = opened(tmp_path, settings=ReplaySettings(window_min=5, window_scale=0.01))
    replay.extend(RECORDS[:2])
    newest = stored_rows(RECORDS[:2])[-replay.window :]
    assert set(sampled_rows(drawn(replay))) == set(newest)


def test_reopening_gives_the_same_samples_across_several_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_module, "SHARD_BYTES", 5000)
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    before, state = drawn(replay), replay.state()
    close(replay)
    shards = sorted(tmp_path.glob("shard_*.bin"))
    assert len(shards) == state["shard"] + 1 > 3
    assert all(5000 <= shard.stat().st_size < 7000 for shard in shards[:-1])
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    assert replay.state() == state
    assert_same_samples(before, drawn(replay))
    assert lines == []


@pytest.mark.parametrize("more", [1, 30], ids=["the same shard", "later shards"])
@pytest.mark.parametrize("reopen", [True, False], ids=["reopened", "still open"])
def test_restoring_with_truncation_drops_the_later_games(tmp_path, monkeypatch, more, reopen):
    monkeypatch.setattr(replay_module, "SHARD_BYTES", 5000)
    replay = opened(tmp_path)
    replay.extend(RECORDS[:20])
    before, state = drawn(replay), replay.state()
    replay.extend(RECORDS[20 : 20 + more])
    if reopen:
        close(replay)
        replay = opened(tmp_path)
    replay.restore(state, truncate=True)
    assert replay.state() == state
    assert_same_samples(before, drawn(replay))
    # The dropped games may be played again, and end in the same place.
    assert replay.extend(RECORDS[20:50]) == 30
    uninterrupted = opened(tmp_path / "other")
    uninterrupted.extend(RECORDS[:50])
    assert_same_samples(drawn(uninterrupted), drawn(replay))
    assert replay.state() == uninterrupted.state()


def test_restoring_to_an_empty_buffer_empties_it(tmp_path):
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    state = replay.state()
    replay.extend(RECORDS[:5])
    replay.restore(state, truncate=True)
    assert (replay.games, replay.positions, lines) == (0, 0, [])
    assert replay.extend(RECORDS[:5]) == 5


def test_restoring_without_truncation_keeps_the_later_games(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:20])
    state = replay.state()
    replay.extend(RECORDS[20:])
    after = drawn(replay)
    close(replay)
    replay = opened(tmp_path)
    replay.restore(state, truncate=False)
    assert replay.games == 60
    assert_same_samples(after, drawn(replay))


def test_games_missing_since_the_checkpoint_are_reported(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:9])
    state = replay.state()
    close(replay)
    (tmp_path / "shard_000000.bin").unlink()
    lines: list[str] = []
    opened(tmp_path, lines).restore(state, truncate=True)
    assert len(lines) == 1
    assert "holds 0 games where the checkpoint counted 9" in lines[0]


@pytest.mark.parametrize("cut", [1, 30, 10**6], ids=["one byte", "30 bytes", "header too"])
def test_a_half_written_end_is_cut_off_and_appending_goes_on_behind_whole_records(tmp_path, cut):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:1] if cut == 10**6 else RECORDS[:3])
    close(replay)
    shard = tmp_path / "shard_000000.bin"
    os.truncate(shard, max(40, shard.stat().st_size - cut))
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    whole = 0 if cut == 10**6 else 2
    assert replay.games == whole
    assert len(lines) == 1
    assert replay.extend(RECORDS[:10]) == 10 - whole
    close(replay)
    lines.clear()
    assert opened(tmp_path, lines).games == 10
    assert lines == []


def test_a_damaged_record_is_reported_and_the_others_are_kept(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:9])
    close(replay)
    shard = tmp_path / "shard_000000.bin"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    lines: list[str] = []
    assert opened(tmp_path, lines).games == 8
    assert len(lines) == 1
    assert "shard_000000.bin: skipped a damaged record" in lines[0]


def test_another_games_directory_is_refused(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:1])
    close(replay)
    with pytest.raises(ValueError, match=r"connect_four.*not tic_tac_toe"):
        Replay(GAMES[0], tmp_path, SETTINGS)


def test_an_open_directory_is_locked_until_it_is_closed(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:3])
    for _ in range(2):
        with pytest.raises(ValueError, match="another run writes to"):
            Replay(GAME, tmp_path, SETTINGS)
        replay.restore({"games": 0, "positions": 0, "shard": 0, "offset": 0}, truncate=True)
    close(replay)
    assert opened(tmp_path).games == 0


def test_a_directory_that_could_not_be_opened_is_not_locked(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:1])
    close(replay)
    with pytest.raises(ValueError, match="not tic_tac_toe"):
        Replay(GAMES[0], tmp_path, SETTINGS)
    assert opened(tmp_path).games == 1


def test_a_full_disk_is_one_line_and_costs_only_the_game_that_did_not_fit(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:5])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel takes 100 more bytes, part of a record, and then refuses.
    resource.setrlimit(resource.RLIMIT_FSIZE, (replay.state()["offset"] + 100, hard))
    try:
        with pytest.raises(OSError, match=r"could not be stored in .*File too large") as caught:
            replay.extend(RECORDS[5:8])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert replay.games == 5
    assert replay.state()["offset"] == (tmp_path / "shard_000000.bin").stat().st_size
    # Once there is room again the same object stores the games.
    assert replay.extend(RECORDS[5:8]) == 3
    close(replay)
    lines: list[str] = []
    assert opened(tmp_path, lines).games == 8
    assert lines == []


def test_a_malformed_record_is_left_out_named_and_not_counted(tmp_path):
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    rows = RECORDS[0].rows.copy()
    rows["outcome"] = np.nan
    short = dataclasses.replace(RECORDS[2], actions=RECORDS[2].actions[:-1])
    nan = dataclasses.replace(RECORDS[0], rows=rows)
    assert replay.extend([nan, RECORDS[1], short]) == 1
    assert replay.games == 1
    assert len(lines) == 2
    assert "game 0 cannot be stored: an outcome is not -1, 0 or 1" in lines[0]
    assert "game 2 cannot be stored" in lines[1]
    assert replay.extend([RECORDS[0]]) == 1, "the same game without the fault"


def test_where_all_records_are_malformed_the_storing_ends(tmp_path):
    replay = opened(tmp_path)
    wrong = [dataclasses.replace(record, actions=record.actions[:-1]) for record in RECORDS]
    with pytest.raises(wire.WireError, match="game 9 cannot be stored"):
        replay.extend(wrong)
    assert replay.games == 0


WRITER = """
import dataclasses
import sys
import games
from alphazero.config import ReplaySettings
from alphazero.replay import Replay
from made_up_rows import first_positions, forged, made_up_rows, random_record, samples_of

game = games.make("connect_four")
replay = Replay(game, sys.argv[1], ReplaySettings())
record = random_record(game, 0)
for game_id in range(10**6):
    replay.extend([dataclasses.replace(record, game_id=game_id)])
    print(replay.games, flush=True)
"""


def test_a_killed_process_loses_no_game_it_had_accepted(tmp_path):
    here = Path(__file__).parent
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{here.parent}:{here}"},
    )
    assert writer.stdout is not None
    accepted = [int(writer.stdout.readline()) for _ in range(500)]
    writer.send_signal(signal.SIGKILL)
    accepted += map(int, writer.stdout.read().split())
    writer.wait()
    writer.stdout.close()
    # One more may have been stored and not yet announced.
    assert opened(tmp_path).games - max(accepted) in (0, 1)


def test_a_mirrored_connect_four_position_as_drawn_by_hand():
    # The first stone lies in column 2; the mirror image has it in column 6.
    state = GAME.step(GAME.initial(1), np.array([1]))
    samples = first_positions(GAME, 1)
    policy = np.array([[0.5, 0.25, 0.125, 0.125, 0, 0, 0]])
    for name in row(GAME).names or ():
        samples.rows[name] = made_up_rows(GAME, state, policy)[name]
    batch = to_batch(GAME, Samples(samples.rows, np.array([1])))
    other = np.zeros((6, 7))
    other[np.nonzero(GAME.observe(state)[0].sum(0))[0][0], 5] = 1
    assert np.array_equal(batch.observations[0].sum(0), other)
    assert batch.policy.tolist() == [[0, 0, 0, 0.125, 0.125, 0.25, 0.5]]


class OwnedCells(type(GAMES[0])):
    """Tic-tac-toe in which a player owns the cells with own stones at the end."""

    def final_ownership(self, states):
        return states["cells"].astype(np.float32)


@pytest.mark.parametrize(
    ("game", "checked"), [(OwnedCells(), 8), (GAMES[1], 2), (GAMES[2], 4)], ids=str
)
def test_a_transformed_policy_points_at_the_transformed_move(game, checked):
    """Follow a game and its image in parallel: the image's moves are read off one-hot policies.

    So are the opponent's replies, and where the game has it, the ownership is compared with that
    of the image's last position. Four of Othello's symmetries exchange the colours of its first
    four stones, so that the image is no game from the usual beginning; they are skipped.
    """
    record = random_record(game, 3)
    hot = np.eye(game.num_actions, dtype=np.float16)[record.actions]
    record = dataclasses.replace(record, rows=made_up_rows(game, states_of(record.rows), hot))
    start, heads = game.observe(game.initial(1))[0], ("reply", "ownership")
    count = len(record)
    batches = [
        to_batch(game, samples_of(game, [record], [symmetry] * count, SETTINGS, heads))
        for symmetry in range(len(game.symmetries()))
    ]
    from_the_start = [batch for batch in batches if np.array_equal(batch.observations[0], start)]
    assert len(from_the_start) == checked
    for batch in from_the_start:
        image, movers = game.initial(1), game.to_move(states_of(record.rows))
        moves = batch.policy.argmax(1)
        for t in range(count):
            assert np.array_equal(game.observe(image)[0], batch.observations[t])
            assert np.array_equal(game.legal(image)[0], batch.legal[t])
            if t + 1 < count and movers[t + 1] != movers[t]:
                assert batch.auxiliary["reply"][t].argmax() == moves[t + 1]
            image = game.step(image, moves[t : t + 1])
        assert not game.legal(image).any()
        if (owned := game.final_ownership(image)) is not None:
            sign = np.where(movers == game.to_move(image), 1, -1)
            assert np.array_equal(batch.auxiliary["ownership"], sign[:, None] * owned)


def arrays(batch: Batch) -> dict[str, np.ndarray]:
    fields = batch._asdict() | batch.auxiliary
    return {name: array for name, array in fields.items() if isinstance(array, np.ndarray)}


@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_a_mixed_batch_equals_its_rows_taken_alone(game):
    games_played = [random_record(game, game_id) for game_id in range(4)]
    count = sum(map(len, games_played))
    symmetry = np.random.default_rng(1).integers(len(game.symmetries()), size=count)
    weighted = ReplaySettings(policy_surprise=0.5)
    samples = samples_of(game, games_played, symmetry, weighted, tuple(targets.TARGETS))
    whole = arrays(to_batch(game, samples))
    assert set(whole) == {"observations", "legal", "policy", "wdl", "weight", *targets.TARGETS}
    assert {name for name in whole if whole[name].dtype != np.float32} == {"legal"}
    for i in range(count):
        alone = arrays(to_batch(game, Samples(*(column[i : i + 1] for column in samples))))
        for name, array in whole.items():
            assert np.array_equal(alone[name][0], array[i], equal_nan=name != "legal")


def test_positions_have_weights_only_where_surprise_counts(tmp_path):
    plain, weighted = (
        opened(tmp_path / str(share), settings=ReplaySettings(policy_surprise=share))
        for share in (0, 0.5)
    )
    for replay in (plain, weighted):
        replay.extend(RECORDS[:2])
    assert to_batch(GAME, drawn(plain)).weight is None
    weight, rows = to_batch(GAME, drawn(weighted)).weight, drawn(weighted).rows
    assert weight is not None
    for record in RECORDS[:2]:
        surprise = record.rows["surprise"].astype(np.float64)
        for t in range(len(record)):
            here = rows["state"] == record.rows["state"][t]
            if here.any() and t > 2:  # games may share their first positions
                expected = 0.5 + 0.5 * surprise[t] / surprise.mean()
                assert np.allclose(weight[here], expected, rtol=1e-5)


def test_legal_moves_come_from_the_stored_rows_and_equal_the_rules(monkeypatch):
    record = random_record(GAMES[2], 5)
    samples = samples_of(GAMES[2], [record], [0] * len(record), SETTINGS)
    expected = GAMES[2].legal(states_of(record.rows))
    monkeypatch.setattr(type(GAMES[2]), "legal", None)
    assert np.array_equal(to_batch(GAMES[2], samples).legal, expected)


@settings(max_examples=40, deadline=None)
@given(which=st.integers(0, 2), game_id=st.integers(0, 10**6), seed=st.integers(0, 99))
def test_legal_moves_of_a_batch_are_those_of_its_turned_positions(which, game_id, seed):
    game = GAMES[which]
    record = random_record(game, game_id)
    symmetry = np.random.default_rng(seed).integers(len(game.symmetries()), size=len(record))
    batch = to_batch(game, samples_of(game, [record], symmetry, SETTINGS))
    expected = game.legal(states_of(record.rows))
    for t, index in enumerate(symmetry):
        assert np.array_equal(batch.legal[t], expected[t][game.symmetries()[index][1]])
        assert not batch.policy[t][~batch.legal[t]].any()


def test_an_encoder_makes_the_observations_with_its_own_symmetries():
    class Turned:
        """The planes of the game, upside down."""

        def __call__(self, states):
            return GAME.observe(states)[:, :, ::-1].copy()

        def symmetries(self):
            turned = np.arange(42).reshape(6, 7)[::-1].ravel()
            return [turned[cells[turned]] for cells, _ in GAME.symmetries()]

    samples = samples_of(GAME, RECORDS[:3], np.arange(sum(map(len, RECORDS[:3]))) % 2, SETTINGS)
    plain, turned = to_batch(GAME, samples), to_batch(GAME, samples, Turned())
    assert np.array_equal(turned.observations[:, :, ::-1], plain.observations)
    assert np.array_equal(turned.policy, plain.policy)


def test_a_head_without_a_target_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no target for the head 'ownershipp'; did you mean"):
        Replay(GAME, tmp_path, SETTINGS, heads=["ownershipp"])


def test_auxiliary_targets_are_the_same_after_reopening(tmp_path):
    heads = ("reply", "moves_left", "short_term")
    replay = Replay(GAME, tmp_path, SETTINGS, heads=heads)
    replay.extend(RECORDS)
    before = drawn(replay)
    replay.close()
    replay = Replay(GAME, tmp_path, SETTINGS, heads=heads)
    assert_same_samples(before, drawn(replay))
    assert set(to_batch(GAME, before).auxiliary) == set(heads)
    replay.close()


def test_no_game_is_appended_to_a_shard_of_the_earlier_format(tmp_path):
    earlier = Path(__file__).parent / "data/earlier_versions/connect_four_shard.bin"
    shard = tmp_path / "shard_000003.bin"
    shard.write_bytes(earlier.read_bytes())
    replay = opened(tmp_path)
    assert replay.games == 6
    replay.extend(RECORDS[20:30])
    before = drawn(replay)
    close(replay)
    assert shard.read_bytes() == earlier.read_bytes()
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    assert (replay.games, lines, replay.state()["shard"]) == (16, [], 4)
    assert_same_samples(before, drawn(replay))


def test_a_checkpoint_of_an_earlier_version_truncates_its_own_shard(tmp_path):
    earlier = Path(__file__).parent / "data/earlier_versions/connect_four_shard.bin"
    (tmp_path / "shard_000000.bin").write_bytes(earlier.read_bytes())
    ends = [end for end, _ in wire.read_shard(GAME, earlier)]
    replay = opened(tmp_path)
    replay.extend(RECORDS[20:25])
    positions = replay.positions
    replay.restore({"games": 4, "positions": 9, "shard": 0, "offset": ends[3]}, truncate=True)
    assert replay.games == 4
    assert replay.positions < positions
    assert replay.extend(RECORDS[20:25]) == 5


def test_a_game_that_breaks_the_rules_is_left_out_and_the_file_is_kept(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS[:3])
    replay._append(forged(GAME, RECORDS[3], value=np.full(len(RECORDS[3]), np.nan, np.float16)))
    close(replay)
    size = (tmp_path / "shard_000000.bin").stat().st_size
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    assert replay.games == 3
    assert len(lines) == 1
    assert "left out a game: game 3 cannot be read: a value is not in [-1, 1]" in lines[0]
    assert (tmp_path / "shard_000000.bin").stat().st_size == size
    assert replay.extend(RECORDS[3:5]) == 2


def test_reopening_rebuilds_only_the_games_of_the_window(tmp_path, monkeypatch):
    settings = ReplaySettings(window_min=20, window_scale=1e-9)
    replay = opened(tmp_path, settings=settings)
    replay.extend(RECORDS)
    games, positions, before = replay.games, replay.positions, drawn(replay)
    close(replay)
    rebuilt, rebuild = [], rebuilding.rebuild
    monkeypatch.setattr(rebuilding, "rebuild", lambda game, stored: (
        rebuilt.extend(stored), rebuild(game, stored))[1])  # fmt: skip
    replay = opened(tmp_path, settings=settings)
    assert (replay.games, replay.positions) == (games, positions)
    assert_same_samples(drawn(replay), before)
    newest, held = [], 0
    for record in reversed(RECORDS):
        if held < 20:
            newest, held = [record.game_id, *newest], held + len(record)
    assert [stored.game_id for stored in rebuilt] == newest
    assert len(newest) < len(RECORDS)


def test_where_a_game_of_the_window_breaks_the_rules_no_such_game_is_counted(tmp_path):
    """The old one too, which by itself would not have been noticed."""
    settings, lines = ReplaySettings(window_min=20, window_scale=1e-9), []
    replay = opened(tmp_path, settings=settings)
    for index, record in enumerate(RECORDS):
        if index in (0, len(RECORDS) - 1):
            broken = forged(GAME, record, value=np.full(len(record), np.nan, np.float16))
            replay._append(broken)
        else:
            replay.extend([record])
    expected = drawn(replay)
    close(replay)
    replay = opened(tmp_path, lines, settings)
    assert replay.games == len(RECORDS) - 2
    assert replay.positions == sum(map(len, RECORDS[1:-1]))
    assert len(lines) == 2
    assert_same_samples(drawn(replay), expected)


def test_policies_sum_to_one_and_stay_on_legal_moves(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    samples = drawn(replay, 1024)
    batch = to_batch(GAME, samples)
    stored = samples.rows["policy_weight"].astype(np.float32)
    assert np.abs(stored.sum(1) - 1).max() > 1e-4  # float16's rounding is to be corrected
    assert np.allclose(batch.policy.sum(1), 1, atol=1e-6)
    assert (batch.policy[~batch.legal] == 0).all()
    assert np.allclose(batch.wdl.sum(1), 1, atol=1e-6)


def test_building_a_batch_leaves_the_samples_alone(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    samples = drawn(replay)
    copies = Samples(*(array.copy() for array in samples))
    to_batch(GAME, samples)
    assert_same_samples(samples, copies)
