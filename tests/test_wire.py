"""Records as bytes: round trips, and the reading of truncated or damaged bytes."""

import dataclasses
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import games
from alphazero import wire
from alphazero.types import GameRecord
from games.base import Game

CONNECT_FOUR = games.make("connect_four")
GAMES = [games.make(name) for name in ("tic_tac_toe", "connect_four", "othello:size=6")]


def random_record(game: Game, game_id: int, opening: int = 0) -> GameRecord:
    """A game of random moves and random policies; the first ``opening`` plies are not recorded."""
    rng = np.random.default_rng(game_id)
    state, states, actions, policies = game.initial(1), [], [], []
    while (legal := game.legal(state)[0]).any():
        policy = np.where(legal, rng.exponential(size=game.num_actions), 0)
        states.append(state)
        policies.append(policy / policy.sum())
        actions.append(rng.choice(game.num_actions, p=policies[-1]))
        state = game.step(state, np.array(actions[-1:]))
    recorded = np.concatenate(states)[opening:]
    same_mover = game.to_move(recorded) == game.to_move(state)
    return GameRecord(
        game_id=game_id,
        version=game_id // 3,
        actions=np.array(actions, np.int16),
        states=recorded,
        policy=np.array(policies[opening:], np.float16).reshape(-1, game.num_actions),
        value=rng.uniform(-1, 1, len(recorded)).astype(np.float16),
        outcome=(np.where(same_mover, 1, -1) * game.outcome(state)).astype(np.float32),
    )


def same(one: GameRecord, other: GameRecord) -> bool:
    """Whether two records are equal bit for bit, dtypes and shapes included."""
    for field in dataclasses.fields(GameRecord):
        a, b = (np.asarray(getattr(record, field.name)) for record in (one, other))
        if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
            return False
    return True


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


def test_every_bit_pattern_of_a_float_survives():
    record = dataclasses.replace(
        RECORDS[0],
        value=np.resize(np.array([np.nan, -0.0, np.inf, 6e-8], np.float16), len(RECORDS[0])),
        outcome=np.full(len(RECORDS[0]), -0.0, np.float32),
    )
    assert same(wire.decode(CONNECT_FOUR, wire.encode(CONNECT_FOUR, record)), record)


def test_a_game_that_ended_in_its_random_opening_survives_without_positions():
    record = random_record(CONNECT_FOUR, 7, opening=42)
    assert len(record) == 0
    assert same(wire.decode(CONNECT_FOUR, wire.encode(CONNECT_FOUR, record)), record)


def test_arrays_that_are_views_of_larger_ones_survive():
    record = dataclasses.replace(
        RECORDS[0],
        states=np.repeat(RECORDS[0].states, 2)[::2],
        policy=np.asfortranarray(RECORDS[0].policy),
    )
    assert same(wire.decode(CONNECT_FOUR, wire.encode(CONNECT_FOUR, record)), RECORDS[0])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"policy": RECORDS[0].policy.astype(np.float32)}, "policy is float32"),
        ({"policy": RECORDS[0].policy[:, :6]}, "policy is float16"),
        ({"value": RECORDS[0].value[:-1]}, "value is float16"),
        ({"outcome": RECORDS[0].outcome.astype(np.int8)}, "outcome is int8"),
        ({"states": GAMES[0].initial(len(RECORDS[0]))}, "states is"),
        ({"actions": RECORDS[0].actions[:3]}, "and 3 moves"),
        ({"actions": np.zeros(43, np.int16)}, "at most 42 plies"),
        ({"game_id": 2**63}, "2\\*\\*63 - 1"),
    ],
)
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
    bomb = zlib.compress(b"\0" * 2_000_000)
    frame = wire._PREFIX.pack(wire.MARKER, len(bomb), wire._crc(CONNECT_FOUR, bomb)) + bomb
    assert len(frame) < wire._limit(CONNECT_FOUR)
    tracemalloc.start()
    with pytest.raises(wire.WireError):
        wire.decode(CONNECT_FOUR, frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000
