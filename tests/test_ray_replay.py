"""The class of the replay actor, without Ray and as an actor; and its client in the driver."""

import os
import pickle
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_rows import random_record, same

import games
from alphazero import resignation
from alphazero.config import ReplaySettings
from alphazero.packing import Packing
from alphazero.replay import Replay
from alphazero.types import Ending
from workers.cluster.replay import RemoteReplay, ReplayStore

GAME = games.make("tic_tac_toe")
RECORDS = [random_record(GAME, game_id) for game_id in range(40)]
SETTINGS = ReplaySettings(window_min=50)


def packed(records, resign_value=None):
    return [Packing(GAME, SETTINGS, (), resign_value)(record) for record in records]


def opened(directory, lock_timeout=5.0) -> ReplayStore:
    make = partial(Replay, GAME, directory, SETTINGS, lock_timeout=lock_timeout)
    return ReplayStore(make, directory)


def killed(store: ReplayStore):
    """Release the lock, as the death of its process does."""
    os.close(store._replay._lock)


def lengths(records) -> int:
    return sum(map(len, records))


def assert_summary(collected, records):
    """``collected`` is the summary of ``records``, computed here one by one."""
    assert (collected.games, collected.positions) == (len(records), lengths(records))
    assert collected.versions.tolist() == [record.version for record in records]
    for ending in Ending:
        same_ending = [record for record in records if record.ending == ending]
        assert collected.endings[ending] == len(same_ending)
    if records:
        assert same(collected.example, records[-1])
    else:
        assert collected.example is None


def assert_stored_after(store, count, records):
    collected, totals = store.stored_after(count)
    assert_summary(collected, records)
    assert totals == store.totals()


def test_the_log_is_read_from_any_position_on(tmp_path):
    store = opened(tmp_path)
    store.push(packed(RECORDS[:5]))
    assert_stored_after(store, 0, RECORDS[:5])
    store.push(packed(RECORDS[5:9]))
    assert_stored_after(store, 5, RECORDS[5:9])
    assert_stored_after(store, 7, RECORDS[7:9])
    assert_stored_after(store, 9, [])
    assert_stored_after(store, 2, RECORDS[2:9])  # read already: from the shards


def test_the_log_counts_trained_positions_and_mistaken_resignations(tmp_path):
    """Also where it is read from the shards."""
    limit, fast = 0.3, [random_record(GAME, i, untrained=0.5 * (i % 2)) for i in range(40)]
    store = ReplayStore(partial(Replay, GAME, tmp_path, SETTINGS), tmp_path, limit)
    store.push(packed(fast, limit))
    log, _ = store.stored_after(0)
    store.stored_after(40)
    shards, _ = store.stored_after(0)
    judged = [resignation.count_mistakes(GAME, record, limit) for record in fast]
    for collected in (log, shards):
        assert (collected.games, collected.positions) == (40, sum(r.positions for r in fast))
        assert (collected.would_resign, collected.mistaken) == tuple(np.sum(judged, 0))
    assert lengths(fast) > log.positions
    assert log.would_resign > log.mistaken > 0


def test_the_log_in_memory_holds_what_the_driver_has_not_read(tmp_path):
    store = opened(tmp_path)
    for number, record in enumerate(RECORDS):
        store.push(packed([record]))
        assert len(store._log) == 1
        assert_stored_after(store, number, [record])
        store.stored_after(number + 1)
        assert len(store._log) == 0


def test_a_reply_is_smaller_than_one_of_its_games_and_one_number_per_game(tmp_path):
    store = opened(tmp_path)
    store.push(packed(RECORDS))
    reply = pickle.dumps(store.stored_after(0))
    assert len(reply) < len(pickle.dumps(RECORDS[-1])) + 8 * len(RECORDS) + 1000
    assert len(reply) < len(pickle.dumps(RECORDS)) / 5


def test_a_delivery_that_is_repeated_counts_once(tmp_path):
    store = opened(tmp_path)
    store.push(packed(RECORDS[:5]))
    store.push(packed(RECORDS[3:8]))
    assert store.totals().games == 8
    assert_stored_after(store, 0, RECORDS[:8])


def test_a_reopened_store_continues_the_log_for_a_reader_that_lags_behind(tmp_path):
    store = opened(tmp_path)
    store.push(packed(RECORDS[:9]))
    killed(store)
    again = opened(tmp_path)
    assert again.totals() == store.totals()
    again.push(packed(RECORDS[7:12]))
    assert_stored_after(again, 4, RECORDS[4:12])
    assert_stored_after(again, 10, RECORDS[10:12])


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.data())
def test_every_game_is_read_once_whatever_is_repeated_and_restarted(sizes, data):
    """Deliveries overlap with those before, the reader sometimes lags, the store may restart."""
    with TemporaryDirectory() as folder:
        store, stored, read = opened(Path(folder)), 0, 0
        versions: list[int] = []
        for size in sizes:
            repeated = data.draw(st.integers(0, stored))
            store.push(packed(RECORDS[repeated : stored + size]))
            stored = min(stored + size, len(RECORDS))
            if data.draw(st.booleans()):
                killed(store)
                store = opened(Path(folder))
            if data.draw(st.booleans()):
                collected, totals = store.stored_after(read)
                read += collected.games
                versions += collected.versions.tolist()
                assert read == totals.games == stored
        store.close()
        assert versions == [record.version for record in RECORDS[:read]]


def test_play_is_held_from_the_allowed_number_of_positions_on(tmp_path):
    store = opened(tmp_path)
    assert not store.push(packed(RECORDS[:1]))
    positions = store.totals().positions
    store.allow(positions + 1)
    assert not store.push([])
    store.allow(positions)
    assert store.push([])


def test_a_full_disk_is_not_acknowledged_and_is_reported(tmp_path, monkeypatch):
    store = opened(tmp_path)
    store.push(packed(RECORDS[:2]))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="could not be stored"):
        store.push(packed(RECORDS[2:4]))
    monkeypatch.undo()
    assert "No space left" in store.status()["storage_error"]
    assert store.totals().games == 2
    assert_stored_after(store, 0, RECORDS[:2])


def test_two_runs_may_not_write_to_one_directory(tmp_path):
    store = opened(tmp_path)
    with pytest.raises(ValueError, match="another run writes to"):
        opened(tmp_path, lock_timeout=0.0)
    store.close()
    opened(tmp_path, lock_timeout=0.0)


@pytest.fixture
def remote(ray_session, tmp_path):
    actor = ray_session.remote(ReplayStore).options(num_cpus=0, max_restarts=-1)
    make = _Make(tmp_path)
    handle = actor.remote(make, tmp_path)
    yield RemoteReplay(handle, lambda: None, timeout=60.0)
    ray_session.kill(handle)


class _Make:
    """Opens the real store; pickled by its state, because the actor cannot import this file."""

    def __init__(self, directory):
        self.directory = directory

    def __reduce__(self):
        from functools import partial

        return partial, (Replay, GAME, self.directory, SETTINGS)


def store(ray_session, remote, records):
    """Store as a worker does, and collect as the driver does."""
    ray_session.get(remote._actor.push.remote(packed(records)), timeout=30)
    return remote.collect()


def test_the_remote_replay_samples_what_a_local_one_would(ray_session, remote, tmp_path):
    store(ray_session, remote, RECORDS)
    local = Replay(GAME, tmp_path / "local", SETTINGS)
    local.extend(RECORDS)
    assert (remote.games, remote.positions) == (local.games, local.positions)
    assert remote.window == local.window
    seed = int(np.random.default_rng(3).integers(2**63))
    here = local.sample(30, np.random.default_rng(seed))
    for one, other in zip(remote.sample(30, np.random.default_rng(3)), here, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.flags.owndata  # a view would keep Ray's memory allocated


def test_a_stored_game_is_collected_once(ray_session, remote):
    collected = store(ray_session, remote, RECORDS[:4])
    assert_summary(collected, RECORDS[:4])
    for array in (collected.versions, collected.endings, collected.example.rows):
        assert array.flags.owndata  # a view would keep Ray's memory allocated
    assert_summary(remote.collect(), [])
    assert (remote.games, remote.positions) == (4, lengths(RECORDS[:4]))


def test_games_are_collected_once_from_an_actor_that_was_restarted(ray_session, remote):
    store(ray_session, remote, RECORDS[:4])
    ray_session.get(remote._actor.push.remote(packed(RECORDS[4:7])), timeout=30)
    pid = remote._call("status")["pid"]
    ray_session.kill(remote._actor, no_restart=False)
    while remote._call("status")["pid"] == pid:
        time.sleep(0.05)
    assert_summary(remote.collect(), RECORDS[4:7])
    assert_summary(store(ray_session, remote, RECORDS[5:9]), RECORDS[7:9])


def test_a_restored_run_does_not_collect_what_was_there_before(ray_session, remote):
    store(ray_session, remote, RECORDS[:4])
    state = remote.state()
    store(ray_session, remote, RECORDS[4:6])
    remote.restore(state, truncate=False)
    assert remote.games == 6
    assert remote.collect().games == 0
    remote.restore(state, truncate=True)
    assert remote.games == 4


def test_a_call_survives_the_death_of_the_actor(ray_session, remote):
    store(ray_session, remote, RECORDS[:10])
    ray_session.kill(remote._actor, no_restart=False)
    assert remote.state()["games"] == 10


def test_an_error_of_the_store_reaches_the_caller_unchanged(remote):
    with pytest.raises(ValueError, match="no position is stored"):
        remote.sample(3, np.random.default_rng(0))
