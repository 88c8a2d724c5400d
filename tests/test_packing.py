"""Games that are packed where they were played are stored as if the buffer had got the records."""

import dataclasses
import pickle

import numpy as np
import pytest
from made_up_rows import random_record

import games
from alphazero import config, wire
from alphazero.config import ReplaySettings
from alphazero.packing import Packing
from alphazero.parts import packing_of
from alphazero.replay import MOST_MALFORMED, Replay

GAME = games.make("connect_four")
SETTINGS = ReplaySettings(window_min=50, policy_surprise=0.5)
HEADS = ("reply", "moves_left")
PACK = Packing(GAME, SETTINGS, HEADS)
RECORDS = [random_record(GAME, game_id, untrained=0.3 * (game_id % 2)) for game_id in range(20)]
MALFORMED = [dataclasses.replace(record, actions=record.actions[:-1]) for record in RECORDS]


def opened(directory, lines=None):
    report = pytest.fail if lines is None else lines.append
    return Replay(GAME, directory, SETTINGS, report, heads=HEADS)


def stored(directory):
    return [path.read_bytes() for path in sorted(directory.glob("shard_*"))]


def test_packed_games_leave_the_same_files_and_samples_as_their_records(tmp_path):
    whole, packed = opened(tmp_path / "whole"), opened(tmp_path / "packed")
    sent = pickle.loads(pickle.dumps([PACK(record) for record in RECORDS]))
    assert packed.store(sent[:12]) == whole.extend(RECORDS[:12]) == 12
    assert packed.store(sent[8:]) == whole.extend(RECORDS[8:]) == 8
    assert packed.positions == whole.positions == sum(record.positions for record in RECORDS)
    assert stored(tmp_path / "packed") == stored(tmp_path / "whole")
    one, other = (replay.sample(500, np.random.default_rng(3)) for replay in (whole, packed))
    assert one.rows.tobytes() == other.rows.tobytes()
    assert np.array_equal(one.symmetry, other.symmetry)


def test_a_packed_game_has_the_record_and_its_numbers(tmp_path):
    for record in RECORDS:
        game, trained = PACK(record), int((record.rows["surprise"] != -1).sum())
        assert game.game_id == record.game_id
        counts, plies = game.counts, len(record.actions)
        assert counts[:5] == (record.version, trained, record.ending, 0, 0)
        last = record.rows["outcome"][-1]  # for the player who made the last move
        assert (counts.plies, counts.result) == (plies, last if plies % 2 else -last)
        assert len(game.rows) == record.positions
        assert wire.decode(GAME, game.frame).rows.tobytes() == record.rows.tobytes()


def test_a_malformed_game_is_left_out_by_the_buffer_and_named(tmp_path):
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    assert replay.store(map(PACK, [MALFORMED[3], RECORDS[4]])) == 1
    (line,) = lines
    assert line.startswith("left out a game: game 3 cannot be stored: ")
    assert 3 not in replay
    assert replay.store([PACK(RECORDS[3])]) == 1


def test_where_all_packed_games_are_malformed_the_storing_ends(tmp_path):
    lines: list[str] = []
    replay = opened(tmp_path, lines)
    with pytest.raises(wire.WireError, match=f"game {MOST_MALFORMED - 1} cannot be stored"):
        replay.store(map(PACK, MALFORMED))
    assert len(lines) == MOST_MALFORMED - 1


def test_games_are_packed_as_the_configuration_of_their_run_stores_them():
    chosen = config.load(
        "connect_four", ["selfplay.resign_value=0.9", "replay.policy_surprise=0.5"]
    )
    packing = packing_of(chosen)
    assert packing.resign_value == 0.9
    assert packing.replay == chosen.replay
    assert packing.heads == tuple(chosen.network.heads)
