"""Records as bytes: round trips, and the reading of truncated or damaged bytes."""

import dataclasses
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_rows import random_record, same

import games
from alphazero import wire
from alphazero.types import Ending, GameRecord

CONNECT_FOUR = games.make("connect_four")
GAMES = [games.make(name) for name in ("tic_tac_toe", "connect_four", "othello:size=6")]


RECORDS = [random_record(CONNECT_FOUR, game_id) for game_id in range(5)]
FRAMES = [wire.encode(CONNECT_FOUR, record) for record in RECORDS]
SHARD = wire.header(CONNECT_FOUR) + b"".join(FRAMES)
ENDS = (len(wire.header(CONNECT_FOUR)) + np.cumsum([len(frame) for frame in FRAMES])).tolist()


@pytest.fixture(scope="module")
def shard_path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shards") / "shard_000000.bin"


def read(path: Path, data: bytes) -> tuple[list[tuple[int, GameRecord]], list[str]]:
    path.write_bytes(data)
    lines: list[str] = []
    return list(wire.read_shard(CONNECT_FOUR, path, lines.append)), lines


def assert_survivors(entries: list[tuple[int, GameRecord]], ids: list[int]):
    assert [record.game_id for _, record in entries] == ids
    assert all(same(record, RECORDS[record.game_id]) for _, record in entries)


@pytest.mark.parametrize("game", GAMES, ids=repr)
@pytest.mark.parametrize("opening", [0, 3])
def test_a_record_survives_encoding_bit_for_bit(game, opening):
    for game_id in (0, 1, 2**63 - 1):
        record = random_record(game, game_id, opening)
        assert same(wire.decode(game, wire.encode(game, record)), record)


def test_a_game_that_ended_in_its_random_opening_survives_without_positions():
    record = random_record(CONNECT_FOUR, 7, opening=42)
    assert len(record) == 0
    assert same(wire.decode(CONNECT_FOUR, wire.encode(CONNECT_FOUR, record)), record)


def test_arrays_that_are_views_of_larger_ones_survive():
    record = dataclasses.replace(RECORDS[0], rows=np.repeat(RECORDS[0].rows, 2)[::2])
    assert same(wire.decode(CONNECT_FOUR, wire.encode(CONNECT_FOUR, record)), RECORDS[0])


def changed(**columns) -> dict:
    """The rows of the first record with one entry of a column replaced: ``{"rows": ...}``."""
    rows = RECORDS[0].rows.copy()
    for name, (place, value) in columns.items():
        rows[name][place] = value
    return {"rows": rows}


MALFORMED = [
    ({"rows": random_record(GAMES[0], 0).rows}, "rows is"),
    ({"rows": RECORDS[0].rows[None]}, "rows is"),
    ({"actions": RECORDS[0].actions.astype(np.int16)}, "actions is int16"),
    ({"actions": RECORDS[0].actions[:3]}, "and 3 moves"),
    ({"actions": np.zeros(43, np.int32)}, "at most 42 plies"),
    ({"actions": RECORDS[0].actions - 7}, "not in 0 to 6"),
    ({"actions": RECORDS[0].actions[::-1].copy()}, "illegal|next position"),
    ({"game_id": 2**63}, "2\\*\\*63 - 1"),
    (changed(value=(3, np.nan)), "a value is not"),
    (changed(value=(0, -1.5)), "a value is not"),
    (changed(surprise=(2, np.inf)), "a surprise is not"),
    (changed(surprise=(2, -0.1)), "a surprise is not"),
    (changed(outcome=(-1, np.nan)), "an outcome is not"),
    (changed(outcome=(-1, 0.5)), "an outcome is not"),
    (changed(outcome=(4, -RECORDS[0].rows["outcome"][4] or 1)), "contradict"),
    (changed(policy_weight=(1, 0)), "does not sum to 1"),
    (changed(policy_weight=((1, 2), np.nan)), "not a number"),
    (changed(policy_weight=((1, slice(2)), (-1, 2))), "not a number"),
    (changed(policy_action=((5, 0), 3)), "legal moves"),
    (changed(state=(4, RECORDS[0].rows["state"][2])), "legal moves|next position"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "named"), MALFORMED)
def test_a_malformed_record_is_refused_with_one_line(wrong, named):
    with pytest.raises(wire.WireError, match=named) as caught:
        wire.encode(CONNECT_FOUR, dataclasses.replace(RECORDS[0], **wrong))
    assert "\n" not in str(caught.value)


def test_a_frame_of_another_game_is_refused():
    with pytest.raises(wire.WireError, match="not one whole record of tic_tac_toe"):
        wire.decode(GAMES[0], FRAMES[0])


def test_a_shard_of_another_game_is_refused_and_both_games_are_named(shard_path):
    shard_path.write_bytes(SHARD)
    with pytest.raises(wire.WireError, match=r"connect_four.*not othello:size=6") as caught:
        list(wire.read_shard(GAMES[2], shard_path))
    assert "\n" not in str(caught.value)


def test_a_whole_shard_is_read_with_the_offset_behind_every_record(shard_path):
    entries, lines = read(shard_path, SHARD)
    assert_survivors(entries, [0, 1, 2, 3, 4])
    assert [end for end, _ in entries] == ENDS
    assert lines == []


@settings(max_examples=150, deadline=None)
@given(length=st.integers(0, len(SHARD) - 1))
def test_truncation_anywhere_keeps_every_whole_record_and_reports(shard_path, length):
    entries, lines = read(shard_path, SHARD[:length])
    assert_survivors(entries, [game_id for game_id, end in enumerate(ENDS) if end <= length])
    assert bool(lines) == (length not in (0, len(wire.header(CONNECT_FOUR)), *ENDS))


@settings(max_examples=300, deadline=None)
@given(position=st.integers(0, 8 * len(SHARD) - 1))
def test_a_flipped_bit_costs_at_most_the_record_that_holds_it_and_is_reported(shard_path, position):
    data = bytearray(SHARD)
    data[position // 8] ^= 1 << position % 8
    entries, lines = read(shard_path, bytes(data))
    header = len(wire.header(CONNECT_FOUR))
    starts = [header, *ENDS[:-1]]
    hit = [start <= position // 8 < end for start, end in zip(starts, ENDS, strict=True)]
    assert_survivors(entries, [game_id for game_id in range(5) if not hit[game_id]])
    damaged = hit.index(True) if any(hit) else None
    expected = "header" if damaged is None else f"bytes {starts[damaged]} to {ENDS[damaged]}"
    assert len(lines) == 1
    assert expected in lines[0]
    assert "shard_000000.bin" in lines[0]


@settings(max_examples=150, deadline=None)
@given(position=st.integers(0, 8 * len(FRAMES[0]) - 1))
def test_a_frame_with_a_flipped_bit_is_refused(position):
    data = bytearray(FRAMES[0])
    data[position // 8] ^= 1 << position % 8
    with pytest.raises(wire.WireError):
        wire.decode(CONNECT_FOUR, bytes(data))


@settings(max_examples=150, deadline=None)
@given(noise=st.binary(max_size=200), cut=st.integers(0, 4))
def test_foreign_bytes_between_records_are_skipped(shard_path, noise, cut):
    head = len(wire.header(CONNECT_FOUR)) if cut == 0 else ENDS[cut - 1]
    entries, lines = read(shard_path, SHARD[:head] + noise + SHARD[head:])
    assert_survivors(entries, [0, 1, 2, 3, 4])
    assert len(lines) == bool(noise)


def test_a_length_beyond_that_of_any_record_is_rejected(shard_path):
    # Without the limit this would be checked, and its payload inflated, however long it is.
    body = b"\0" * 50_000
    forged = wire._PREFIX.pack(wire.MARKER, len(body), wire._crc(CONNECT_FOUR, body)) + body
    entries, lines = read(shard_path, wire.header(CONNECT_FOUR) + forged + FRAMES[0])
    assert_survivors(entries, [0])
    assert len(lines) == 1


def test_a_payload_that_inflates_beyond_any_record_is_cut_short():
    bomb = zlib.compress(b"\0" * 1_500_000)
    frame = wire._PREFIX.pack(wire.MARKER, len(bomb), wire._crc(CONNECT_FOUR, bomb)) + bomb
    assert len(frame) < wire._limit(CONNECT_FOUR)
    tracemalloc.start()
    with pytest.raises(wire.WireError):
        wire.decode(CONNECT_FOUR, frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000
