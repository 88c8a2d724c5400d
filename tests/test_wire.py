"""Records as bytes: round trips, and the reading of truncated or damaged bytes."""

import dataclasses
import re
import tracemalloc
import zlib
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_rows import forged, framed, random_record, same, sealed

import games
from alphazero import rebuilding, wire
from alphazero.records import states_of, unpack_policy
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


@settings(max_examples=60, deadline=None)
@given(
    game=st.sampled_from(GAMES), game_id=st.integers(0, 10**6), opening=st.integers(0, 8),
    untrained=st.floats(0.01, 1),
)  # fmt: skip
def test_positions_that_are_not_trained_on_survive_encoding_without_a_policy(
    game, game_id, opening, untrained
):
    record = random_record(game, game_id, opening, untrained)
    frame = wire.encode(game, record)
    assert same(wire.decode(game, frame), record)
    stored = wire._unpack(game, frame, wire.FORMAT)
    assert stored.positions == record.positions == (record.rows["surprise"] >= 0).sum()
    used = record.rows["policy_action"] < game.num_actions
    assert len(stored.weights) == used[record.rows["surprise"] >= 0].sum()


def test_games_with_and_without_untrained_positions_lie_in_one_shard(shard_path):
    mixed = [random_record(CONNECT_FOUR, i, untrained=0.7 * (i % 2)) for i in range(6)]
    frames = [wire.encode(CONNECT_FOUR, record) for record in mixed]
    assert frames[0] == FRAMES[0]
    entries, lines = read(shard_path, wire.header(CONNECT_FOUR) + b"".join(frames))
    assert lines == []
    assert all(same(one, other) for (_, one), other in zip(entries, mixed, strict=True))


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
    (changed(surprise=(2, -2)), "a surprise is not"),
    (changed(surprise=(2, -1)), "not trained on has a policy"),
    (changed(surprise=(2, -1), policy_weight=(2, 1e-7)), "not trained on has a policy"),
    (changed(surprise=(2, -1), policy_weight=(2, np.nan)), "not a number"),
    (changed(surprise=(2, -1), policy_weight=(2, 0), value=(2, 2)), "a value is not"),
    (changed(outcome=(-1, np.nan)), "an outcome is not"),
    (changed(outcome=(-1, 0.5)), "an outcome is not"),
    (changed(outcome=(4, -RECORDS[0].rows["outcome"][4] or 1)), "contradict"),
    (changed(policy_weight=(1, 0)), "does not sum to 1"),
    (changed(policy_weight=((1, 2), np.nan)), "not a number"),
    (changed(policy_weight=((1, slice(2)), (-1, 2))), "not a number"),
    ({"ending": Ending.PROVEN}, "it ended by PROVEN, but the position .* is over"),
    (changed(outcome=(slice(None), -RECORDS[0].rows["outcome"])), "its result is .1, by the rules"),
    ({"actions": RECORDS[0].actions[:-1], "rows": RECORDS[0].rows[:-1]}, "RULES, but .* not over"),
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


def test_the_example_of_the_docstring_is_a_frame_as_it_is_written():
    record = random_record(GAMES[0], 3)
    frame = wire.encode(GAMES[0], record)
    marker, length, crc = frame[:4].hex(" "), frame[4:8].hex(" "), frame[8:12].hex(" ")
    payload = len(zlib.decompress(frame[12:]))
    assert (record.version, len(record), record.rows["outcome"][0]) == (1, 7, 1)
    for line in (
        f"         0      4  marker   {marker}\n",
        f"         4      4  length   {length}: {len(frame) - 12} bytes of payload\n",
        f"         8      4  CRC-32   {crc}: ",
        f"        12    {len(frame) - 12}  payload  zlib of {payload} bytes: [3, 1, ",
        f"       {len(frame)}      -  the next frame begins here\n",
    ):
        assert line in (wire.__doc__ or "")
    assert payload == 7 + 84 + 14 + 14 + 18


EARLIER = Path(__file__).parent / "data/earlier_versions"


@pytest.mark.parametrize("spec", ["tic_tac_toe", "connect_four", "othello:size=4"])
def test_a_shard_of_the_first_format_is_read_as_it_was_written(spec):
    game, name = games.make(spec), spec.partition(":")[0]
    lines: list[str] = []
    entries = list(wire.read_shard(game, EARLIER / f"{name}_shard.bin", lines.append))
    assert lines == []
    assert_columns(game, [record for _, record in entries], EARLIER / f"{name}_shard.npz")


def assert_columns(game, read, path):
    """The games equal the arrays that the earlier version wrote beside its bytes."""
    expected = np.load(path)
    assert [record.game_id for record in read] == expected["game_id"].tolist()
    assert [record.version for record in read] == expected["version"].tolist()
    assert [len(record.actions) for record in read] == expected["plies"].tolist()
    assert [len(record) for record in read] == expected["positions"].tolist()
    assert np.concatenate([r.actions for r in read]).tolist() == expected["actions"].tolist()
    rows = np.concatenate([record.rows for record in read])
    assert states_of(rows).tobytes() == expected["states"].tobytes()
    legal, policy = unpack_policy(game, rows["policy_action"], rows["policy_weight"])
    assert np.array_equal(legal, game.legal(states_of(rows)))
    assert np.array_equal(policy, expected["policy"])
    assert np.array_equal(rows["value"], expected["value"])
    assert np.array_equal(rows["outcome"], expected["outcome"])
    assert not rows["surprise"].any()
    for record in read:
        last = game.step(states_of(record.rows[-1:]), record.actions[-1:])
        over = not game.legal(last).any()
        assert record.ending == (Ending.RULES if over else Ending.PROVEN)


def test_games_of_the_first_format_survive_a_damaged_header(shard_path):
    data = bytearray((EARLIER / "connect_four_shard.bin").read_bytes())
    data[30] ^= 1
    entries, lines = read(shard_path, bytes(data))
    assert len(entries) == 6
    assert len(lines) == 1


def test_a_shard_of_a_later_format_is_refused(shard_path):
    text = wire.header(CONNECT_FOUR)[:-4].replace(b'"format": 2', b'"format": 3')
    shard_path.write_bytes(text + zlib.crc32(text).to_bytes(4, "little"))
    with pytest.raises(wire.WireError, match=r"format.*3.*not connect_four"):
        list(wire.read_shard(CONNECT_FOUR, shard_path))


class OtherRules(type(CONNECT_FOUR)):
    """Connect Four in which the states are those of the mirror image."""

    def step(self, states, actions):
        return super().step(states, 6 - np.asarray(actions))


def test_a_game_that_was_played_by_other_rules_is_refused_in_one_line():
    with pytest.raises(wire.WireError, match=r"game 2 .*the rules of connect_four have changed"):
        wire.decode(OtherRules(), FRAMES[2])


class OtherResults(type(CONNECT_FOUR)):
    """Connect Four in which the one who makes the last move loses."""

    def outcome(self, states):
        return -super().outcome(states)


def test_a_result_that_is_not_that_of_the_rules_is_refused():
    with pytest.raises(wire.WireError, match=r"its result is .1, by the rules .1"):
        wire.decode(OtherResults(), FRAMES[0])


LENGTH = len(RECORDS[0])
FORGERIES = [
    ({"actions": RECORDS[0].actions.astype(np.uint8) + 100}, "move 1, action 10[0-9], is illegal"),
    ({"actions": np.zeros(9, np.uint8), "value": np.zeros(9, np.float16),
      "surprise": np.zeros(9, np.float16)}, "move 7, action 0, is illegal"),
    ({"actions": RECORDS[0].actions[:-1].astype(np.uint8)}, "positions and"),
    ({"actions": np.zeros(43, np.uint8)}, "at most 42 plies"),
    ({"value": RECORDS[0].rows["value"][1:]}, "surprises of"),
    ({"weights": RECORDS[0].rows["policy_weight"][:3]}, "weights of"),
    ({"weights": RECORDS[0].rows["policy_weight"] * 2}, "does not sum to 1|weights of"),
    ({"value": np.full(LENGTH, np.inf, np.float16)}, "a value is not"),
    ({"surprise": np.full(LENGTH, np.nan, np.float16)}, "a surprise is not"),
    ({"surprise": np.full(LENGTH, -0.5, np.float16)}, "a surprise is not"),
    ({"surprise": np.full(LENGTH, -1, np.float16)}, "weights of 0 moves"),
    ({"surprise": np.full(LENGTH, -1, np.float16), "weights": b"", "value":
      np.full(LENGTH, 2, np.float16)}, "a value is not"),
    ({"weights": b""}, "0 weights of"),
    ({"result": np.nan}, "its result is nan"),
    ({"result": 7}, "its result is 7"),
    ({"result": -1 - random_record(CONNECT_FOUR, 0).rows["outcome"][0].item()}, "result"),
    ({"ending": 2}, "it ended by RESIGNED, but the position after its last move is over"),
    ({"ending": 9}, "9 is not a valid Ending"),
    ({"checksum": 0}, "the rules of connect_four have changed"),
    ({"checksum": None}, "the rules of connect_four have changed"),
    ({"game_id": -1}, "2\\*\\*63 - 1"),
    ({"game_id": "seven"}, "2\\*\\*63 - 1"),
    ({"version": 2**63}, "2\\*\\*63 - 1"),
    ({"actions": "2233"}, "cannot be read"),
    ({"value": 3}, "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "named"), FORGERIES)
def test_a_forged_record_is_refused_in_one_line_and_left_out_of_its_shard(
    fields, named, shard_path
):
    frame = forged(CONNECT_FOUR, RECORDS[0], **fields)
    with pytest.raises(wire.WireError, match=named) as caught:
        wire.decode(CONNECT_FOUR, frame)
    assert "\n" not in str(caught.value)
    data = wire.header(CONNECT_FOUR) + FRAMES[1] + frame + FRAMES[2]
    entries, lines = read(shard_path, data)
    assert [record and record.game_id for _, record in entries] == [1, None, 2]
    assert len(lines) == 1
    assert re.search(named, lines[0])


def test_the_first_games_that_are_left_out_are_named_and_the_others_counted(shard_path):
    wrong = forged(CONNECT_FOUR, RECORDS[0], checksum=1)
    entries, lines = read(shard_path, wire.header(CONNECT_FOUR) + wrong * 25 + FRAMES[1])
    assert [record is None for _, record in entries] == [True] * 25 + [False]
    assert len(lines) == 11
    assert "left out 15 more games" in lines[-1]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9)
    | st.binary(max_size=99),
    lambda inner: st.lists(inner, max_size=11) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=12,
)  # fmt: skip
NAMES = ["game_id", "version", "ending", "result", "actions", "weights", "value", "surprise",
         "checksum"]  # fmt: skip


def accepted_or_refused_in_one_line(frame: bytes) -> None:
    try:
        record = wire.decode(CONNECT_FOUR, frame)
    except wire.WireError as refused:
        line = str(refused)
    else:
        line = ""
        assert same(wire.decode(CONNECT_FOUR, wire.encode(CONNECT_FOUR, record)), record)
    assert "\n" not in line


@settings(max_examples=300, deadline=None)
@given(fields=VALUES)
def test_any_value_in_a_frame_is_a_record_or_refused_in_one_line(fields):
    accepted_or_refused_in_one_line(framed(CONNECT_FOUR, fields))


@settings(max_examples=300, deadline=None)
@given(fields=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
def test_a_record_with_any_other_fields_is_valid_or_refused_in_one_line(fields):
    accepted_or_refused_in_one_line(forged(CONNECT_FOUR, RECORDS[1], **fields))


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(NAMES[4:8]), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_flipped_bit_with_a_right_crc_gives_a_valid_record_or_one_line(name, place, bit):
    rows, used = RECORDS[1].rows, RECORDS[1].rows["policy_action"] < 7
    true = {
        "actions": RECORDS[1].actions.astype(np.uint8), "weights": rows["policy_weight"][used],
        "value": rows["value"], "surprise": rows["surprise"],
    }  # fmt: skip
    data = bytearray(true[name].tobytes())
    data[place % len(data)] ^= 1 << bit
    accepted_or_refused_in_one_line(forged(CONNECT_FOUR, RECORDS[1], **{name: bytes(data)}))


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=300), packed=st.booleans())
def test_any_payload_with_a_right_crc_is_refused_in_one_line(payload, packed):
    frame = sealed(CONNECT_FOUR, zlib.compress(payload) if packed else payload)
    accepted_or_refused_in_one_line(frame)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_flipped_bits_of_format_1_with_a_right_crc_give_valid_records_or_one_line(data):
    path = EARLIER / "connect_four_shard.bin"
    (_, end), *_ = [(0, end) for end, _ in wire.read_shard(CONNECT_FOUR, path)]
    frame = path.read_bytes()[len(wire.header(CONNECT_FOUR, 1)) : end]
    content = bytearray(zlib.decompress(frame[12:]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    payload = zlib.compress(bytes(content))
    crc = wire._crc(CONNECT_FOUR, payload, 1)
    accepted_or_refused_in_one_line(wire._PREFIX.pack(wire.MARKERS[1], len(payload), crc) + payload)


@pytest.mark.parametrize("cut", range(2, 7))
def test_arrays_of_other_lengths_in_format_1_are_refused_in_one_line(cut):
    path = EARLIER / "connect_four_shard.bin"
    end = next(iter(wire.read_shard(CONNECT_FOUR, path)))[0]
    frame = path.read_bytes()[len(wire.header(CONNECT_FOUR, 1)) : end]
    fields = msgpack.unpackb(zlib.decompress(frame[12:]))
    # One action, state, policy, value or outcome less than there were.
    items = (2, CONNECT_FOUR.dtype.itemsize, 14, 2, 4)
    fields[cut] = fields[cut][: -items[cut - 2]]
    payload = zlib.compress(msgpack.packb(fields))
    prefix = wire._PREFIX.pack(wire.MARKERS[1], len(payload), wire._crc(CONNECT_FOUR, payload, 1))
    with pytest.raises(wire.WireError) as caught:
        wire.decode(CONNECT_FOUR, prefix + payload)
    assert "\n" not in str(caught.value)


def test_a_long_shard_is_read_in_several_batches_in_order(shard_path, monkeypatch):
    monkeypatch.setattr(wire, "BATCH_GAMES", 2)
    entries, _ = read(shard_path, SHARD)
    assert_survivors(entries, [0, 1, 2, 3, 4])
    monkeypatch.setattr(wire, "BATCH_BYTES", 1)
    entries, _ = read(shard_path, SHARD)
    assert_survivors(entries, [0, 1, 2, 3, 4])


def test_a_shard_that_is_full_of_markers_is_not_searched_for_ever(shard_path, monkeypatch):
    """Each marker announces as many bytes as a game may have, and none has the right checksum."""
    hashed = []
    crc = wire._crc
    monkeypatch.setattr(
        wire,
        "_crc",
        lambda game, payload, number=2: hashed.append(len(payload)) or crc(game, payload),
    )
    length = wire._limit(CONNECT_FOUR)
    hostile = wire._PREFIX.pack(wire.MARKER, length, 0) * 20_000
    data = wire.header(CONNECT_FOUR) + hostile
    entries, lines = read(shard_path, data)
    assert entries == []
    assert len(lines) == 1
    assert sum(hashed) <= (wire.MOST_SEARCHED + 1) * len(data) + length


def test_games_of_the_first_format_that_reached_max_plies_ended_by_length():
    game = games.make("tic_tac_toe")
    record = random_record(game, 3)
    columns = record.rows
    _, policy = unpack_policy(game, columns["policy_action"], columns["policy_weight"])
    states = states_of(columns)

    class Short(type(game)):
        max_plies = len(record.actions) - 1

    stored = rebuilding.Stored(
        3, 1, None, columns["outcome"][:-1] * 0, record.actions[:-1], policy[:-1].astype("f2"),
        columns["value"][:-1], columns["surprise"][:-1], zlib.crc32(states[:-1].tobytes()),
    )  # fmt: skip
    (longer,), (cut,) = rebuilding.rebuild(game, [stored]), rebuilding.rebuild(Short(), [stored])
    assert (longer.ending, cut.ending) == (Ending.PROVEN, Ending.LENGTH)
