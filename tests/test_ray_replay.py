"""The class of the replay actor, without Ray and as an actor; and its client in the driver."""

import os
from functools import partial

import numpy as np
import pytest
from made_up_rows import random_record, same

import games
from alphazero.config import ReplaySettings
from alphazero.replay import Replay
from workers.cluster import replay as replay_module
from workers.cluster.replay import RemoteReplay, ReplayStore

GAME = games.make("tic_tac_toe")
RECORDS = [random_record(GAME, game_id) for game_id in range(40)]
SETTINGS = ReplaySettings(window_min=50)


def opened(directory, lock_timeout=5.0) -> ReplayStore:
    make = partial(Replay, GAME, directory, SETTINGS, lock_timeout=lock_timeout)
    return ReplayStore(make, directory)


def killed(store: ReplayStore):
    """Release the lock, as the death of its process does."""
    os.close(store._replay._lock)


def ids(records) -> list[int]:
    return [record.game_id for record in records]


def test_the_log_is_read_from_any_position_on(tmp_path):
    store = opened(tmp_path)
    store.push(RECORDS[:5])
    assert ids(store.games_after(0)[0]) == [0, 1, 2, 3, 4]
    store.push(RECORDS[5:7])
    assert ids(store.games_after(5)[0]) == [5, 6]
    assert store.games_after(7) == ([], store.totals())


def test_a_delivery_that_is_repeated_counts_once(tmp_path):
    store = opened(tmp_path)
    store.push(RECORDS[:5])
    store.push(RECORDS[3:8])
    assert store.totals().games == 8
    assert ids(store.games_after(0)[0]) == list(range(8))


def test_a_reopened_store_continues_the_log_for_a_reader_that_lags_behind(tmp_path):
    store = opened(tmp_path)
    store.push(RECORDS[:9])
    killed(store)
    again = opened(tmp_path)
    assert again.totals() == store.totals()
    again.push(RECORDS[7:12])
    assert ids(again.games_after(4)[0]) == list(range(4, 12))
    assert ids(again.games_after(10)[0]) == [10, 11]


def test_records_from_the_shards_equal_those_from_memory(tmp_path):
    store = opened(tmp_path)
    store.push(RECORDS[:3])
    killed(store)
    for one, other in zip(store.games_after(0)[0], opened(tmp_path).games_after(0)[0], strict=True):
        assert same(one, other)


def test_games_that_no_longer_fit_in_memory_are_read_from_the_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(replay_module, "CACHED_GAMES", 4)
    monkeypatch.setattr(replay_module, "MAX_GAMES_PER_REPLY", 7)
    store = opened(tmp_path)
    store.push(RECORDS)
    seen = []
    while records := store.games_after(len(seen))[0]:
        assert len(records) <= 7
        seen += ids(records)
    assert seen == ids(RECORDS)


def test_play_is_held_from_the_allowed_number_of_positions_on(tmp_path):
    store = opened(tmp_path)
    assert not store.push(RECORDS[:1])
    positions = store.totals().positions
    store.allow(positions + 1)
    assert not store.push([])
    store.allow(positions)
    assert store.push([])


def test_a_full_disk_is_not_acknowledged_and_is_reported(tmp_path, monkeypatch):
    store = opened(tmp_path)
    store.push(RECORDS[:2])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="could not be stored"):
        store.push(RECORDS[2:4])
    monkeypatch.undo()
    assert "No space left" in store.status()["storage_error"]
    assert store.totals().games == 2
    assert ids(store.games_after(0)[0]) == [0, 1]


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
    ray_session.get(remote._actor.push.remote(records), timeout=30)
    return remote.new_games()


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


def test_new_games_are_stored_already(ray_session, remote):
    records = store(ray_session, remote, RECORDS[:4])
    assert remote.extend(records) == 4
    assert remote.new_games() == []
    assert remote.games == 4


def test_a_restored_run_does_not_collect_what_was_there_before(ray_session, remote):
    store(ray_session, remote, RECORDS[:4])
    state = remote.state()
    store(ray_session, remote, RECORDS[4:6])
    remote.restore(state, truncate=False)
    assert remote.games == 6
    assert remote.new_games() == []
    remote.restore(state, truncate=True)
    assert remote.games == 4


def test_a_call_survives_the_death_of_the_actor(ray_session, remote):
    store(ray_session, remote, RECORDS[:10])
    ray_session.kill(remote._actor, no_restart=False)
    assert remote.state()["games"] == 10


def test_an_error_of_the_store_reaches_the_caller_unchanged(remote):
    with pytest.raises(ValueError, match="no position is stored"):
        remote.sample(3, np.random.default_rng(0))
