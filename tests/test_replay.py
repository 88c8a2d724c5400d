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
from hypothesis import given, settings
from hypothesis import strategies as st
from test_wire import random_record

import games
from alphazero import replay as replay_module
from alphazero import wire
from alphazero.config import ReplaySettings
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


def stored_rows(records) -> np.ndarray:
    """Every recorded position as bytes, oldest first: state, policy, value and outcome."""
    return np.array(
        [
            record.states[t].tobytes()
            + record.policy[t].astype(np.float32).tobytes()
            + record.value[t].astype(np.float32).tobytes()
            + record.outcome[t].tobytes()
            for record in records
            for t in range(len(record))
        ],
        dtype=object,
    )


def sampled_rows(samples: Samples) -> list[bytes]:
    columns = zip(samples.states, samples.policy, samples.value, samples.outcome, strict=True)
    return [b"".join(part.tobytes() for part in row) for row in columns]


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
    assert not np.array_equal(first.states, drawn(replay, seed=6).states)


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


def test_a_malformed_record_is_refused_and_not_counted(tmp_path):
    replay = opened(tmp_path)
    wrong = dataclasses.replace(RECORDS[0], value=RECORDS[0].value[:-1])
    with pytest.raises(wire.WireError):
        replay.extend([wrong])
    assert replay.games == 0
    assert replay.extend([RECORDS[0]]) == 1


WRITER = """
import dataclasses
import sys
import games
from alphazero.config import ReplaySettings
from alphazero.replay import Replay
from test_wire import random_record

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


def samples_of(game, records, symmetry) -> Samples:
    return Samples(
        states=np.concatenate([record.states for record in records]),
        symmetry=np.asarray(symmetry),
        policy=np.concatenate([record.policy for record in records]).astype(np.float32),
        value=np.concatenate([record.value for record in records]).astype(np.float32),
        outcome=np.concatenate([record.outcome for record in records]),
    )


def test_the_value_target_mixes_outcome_and_search_value_as_computed_by_hand():
    samples = Samples(
        states=GAME.initial(4),
        symmetry=np.zeros(4, np.int64),
        policy=np.full((4, 7), 1 / 7, np.float32),
        value=np.array([0.5, -0.25, -1, 0], np.float32),
        outcome=np.array([1, 0, -1, 1], np.float32),
    )
    wdl = to_batch(GAME, samples, value_mixing=0.2).wdl
    expected = [[0.9, 0.1, 0], [0, 0.95, 0.05], [0, 0, 1], [0.8, 0.2, 0]]
    assert wdl.dtype == np.float32
    assert np.allclose(wdl, expected, atol=1e-7)
    # The expectation is (1 - m) * outcome + m * value.
    assert np.allclose(wdl[:, 0] - wdl[:, 2], 0.8 * samples.outcome + 0.2 * samples.value)


@pytest.mark.parametrize(("mixing", "expected"), [(0, [0, 0, 1]), (1, [0.5, 0.5, 0])])
def test_the_value_target_is_the_outcome_alone_or_the_search_value_alone(mixing, expected):
    one = Samples(
        states=GAME.initial(1),
        symmetry=np.zeros(1, np.int64),
        policy=np.full((1, 7), 1 / 7, np.float32),
        value=np.array([0.5], np.float32),
        outcome=np.array([-1], np.float32),
    )
    assert to_batch(GAME, one, mixing).wdl.tolist() == [expected]


def test_a_mirrored_connect_four_position_as_drawn_by_hand():
    # The first stone lies in column 2; the mirror image has it in column 6.
    state = GAME.step(GAME.initial(1), np.array([1]))
    policy = np.array([[0.5, 0.25, 0.125, 0.125, 0, 0, 0]], np.float32)
    zero = np.zeros(1, np.float32)
    batch = to_batch(GAME, Samples(state, np.array([1]), policy, zero, zero), 0)
    other = np.zeros((6, 7))
    other[np.nonzero(GAME.observe(state)[0].sum(0))[0][0], 5] = 1
    assert np.array_equal(batch.observations[0].sum(0), other)
    assert batch.policy.tolist() == [[0, 0, 0, 0.125, 0.125, 0.25, 0.5]]


@pytest.mark.parametrize(
    ("game", "checked"), [(GAMES[0], 8), (GAMES[1], 2), (GAMES[2], 4)], ids=str
)
def test_a_transformed_policy_points_at_the_transformed_move(game, checked):
    """Follow a game and its image in parallel: the image's moves are read off one-hot policies.

    Four of Othello's symmetries exchange the colours of its first four stones, so that the image
    is no game from the usual beginning; they are skipped.
    """
    record = random_record(game, 3)
    hot = np.eye(game.num_actions, dtype=np.float16)[record.actions]
    record = dataclasses.replace(record, policy=hot)
    start = game.observe(game.initial(1))[0]
    batches = [
        to_batch(game, samples_of(game, [record], [symmetry] * len(record)), 0)
        for symmetry in range(len(game.symmetries()))
    ]
    from_the_start = [batch for batch in batches if np.array_equal(batch.observations[0], start)]
    assert len(from_the_start) == checked
    for batch in from_the_start:
        image = game.initial(1)
        for t in range(len(record)):
            assert np.array_equal(game.observe(image)[0], batch.observations[t])
            assert np.array_equal(game.legal(image)[0], batch.legal[t])
            image = game.step(image, batch.policy[t : t + 1].argmax(1))
        assert np.abs(game.outcome(image)) == np.abs(record.outcome[0])


@pytest.mark.parametrize("game", GAMES, ids=repr)
def test_a_mixed_batch_equals_its_rows_taken_alone(game):
    records = [random_record(game, game_id) for game_id in range(4)]
    count = sum(map(len, records))
    symmetry = np.random.default_rng(1).integers(len(game.symmetries()), size=count)
    samples = samples_of(game, records, symmetry)
    whole = to_batch(game, samples, 0.3)
    assert [array.dtype for array in whole] == [np.float32, np.bool_, np.float32, np.float32]
    for row in range(count):
        alone = to_batch(game, Samples(*(array[row : row + 1] for array in samples)), 0.3)
        for one, many in zip(alone, whole, strict=True):
            assert np.array_equal(one[0], many[row])


def test_policies_sum_to_one_and_stay_on_legal_moves(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    samples = drawn(replay, 1024)
    batch: Batch = to_batch(GAME, samples, 0.25)
    assert np.abs(samples.policy.sum(1) - 1).max() > 1e-4  # float16's rounding is to be corrected
    assert np.allclose(batch.policy.sum(1), 1, atol=1e-6)
    assert (batch.policy[~batch.legal] == 0).all()
    assert np.allclose(batch.wdl.sum(1), 1, atol=1e-6)


def test_building_a_batch_leaves_the_samples_alone(tmp_path):
    replay = opened(tmp_path)
    replay.extend(RECORDS)
    samples = drawn(replay)
    copies = Samples(*(array.copy() for array in samples))
    to_batch(GAME, samples, 0.25)
    assert_same_samples(samples, copies)
