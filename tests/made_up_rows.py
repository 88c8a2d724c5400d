"""Made-up records and samples, for tests of what stores, sends and reads them."""

import dataclasses
import zlib

import msgpack
import numpy as np

from alphazero import records, targets, wire
from alphazero.config import ReplaySettings
from alphazero.replay import Samples
from alphazero.types import Ending, GameRecord
from games.base import Game


def random_record(game: Game, game_id: int, opening: int = 0, untrained: float = 0.0) -> GameRecord:
    """A game of random moves and random policies; the first ``opening`` plies are not recorded.

    ``untrained``: the chance of each position that it is not trained on.
    """
    rng = np.random.default_rng(game_id)
    state, states, actions, policies = game.initial(1), [], [], []
    while (legal := game.legal(state)[0]).any():
        policy = np.where(legal, rng.exponential(size=game.num_actions), 0)
        states.append(state)
        policies.append(policy / policy.sum())
        actions.append(rng.choice(game.num_actions, p=policies[-1]))
        state = game.step(state, np.array(actions[-1:]))
    recorded = np.concatenate(states)[opening:]
    policy = np.array(policies[opening:], np.float16).reshape(-1, game.num_actions)
    same_mover = game.to_move(recorded) == game.to_move(state)
    rows = made_up_rows(
        game, recorded, policy,
        value=rng.uniform(-1, 1, len(recorded)),
        surprise=rng.exponential(size=len(recorded)),
        outcome=np.where(same_mover, 1, -1) * game.outcome(state) + 0.0,
    )  # fmt: skip
    if untrained:
        fast = rng.random(len(rows)) < untrained
        rows["surprise"][fast], rows["policy_weight"][fast] = -1, 0
    played = np.array(actions, np.int32)
    return GameRecord(game_id, game_id // 3, played, rows, Ending.RULES)


def made_up_rows(game: Game, states: np.ndarray, policy: np.ndarray, **columns) -> np.ndarray:
    """Rows with dense ``policy [T, A]``; the other columns are 0 where they are not given."""
    rows = np.zeros(len(states), records.row(game))
    rows["state"] = states
    packed = records.pack_policy(game, game.legal(states), policy)
    rows["policy_action"], rows["policy_weight"] = packed
    for name, column in columns.items():
        rows[name] = column
    return rows


def uniform_policy(game: Game, states: np.ndarray) -> np.ndarray:
    legal = game.legal(states)
    return legal / legal.sum(1, keepdims=True)


def samples_of(
    game: Game, games: list[GameRecord], symmetry, settings: ReplaySettings, heads=()
) -> Samples:
    """All positions of ``games`` as the replay buffer stores them."""
    rows = [targets.rows_to_store(game, record, settings, heads) for record in games]
    return Samples(np.concatenate(rows), np.asarray(symmetry))


def first_positions(game: Game, size: int) -> Samples:
    """``size`` times the initial position, drawn, with a uniform policy."""
    rows = np.zeros(size, targets.columns(game, ReplaySettings()))
    states = game.initial(size)
    row = made_up_rows(game, states, uniform_policy(game, states))
    for name in row.dtype.names or ():
        rows[name] = row[name]
    rows["wdl"] = (0, 1, 0)
    return Samples(rows, np.zeros(size, np.int64))


def same(one: GameRecord, other: GameRecord) -> bool:
    """Whether two records are equal bit for bit, dtypes and shapes included."""
    for field in dataclasses.fields(GameRecord):
        a, b = (np.asarray(getattr(record, field.name)) for record in (one, other))
        if a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
            return False
    return True


def forged(game: Game, record: GameRecord, **fields) -> bytes:
    """A frame of ``record`` with a right CRC, in which ``fields`` replace what it should hold."""
    rows = record.rows
    used = (rows["policy_action"] < game.num_actions) & (rows["surprise"] != -1)[:, None]
    slots = np.ascontiguousarray(rows["policy_action"])
    true = {
        "game_id": record.game_id,
        "version": record.version,
        "ending": int(record.ending),
        "result": int(rows["outcome"][0]) * (1 - 2 * int(game.to_move(rows["state"][:1])[0])),
        "actions": record.actions.astype(records.action_type(game)),
        "weights": rows["policy_weight"][used],
        "value": rows["value"],
        "surprise": rows["surprise"],
        "checksum": zlib.crc32(slots, zlib.crc32(records.states_of(rows))),
    }
    assert set(fields) <= set(true)
    values = (true | fields).values()
    return framed(game, [v.tobytes() if isinstance(v, np.ndarray) else v for v in values])


def framed(game: Game, fields: object) -> bytes:
    """A frame with a right CRC around any msgpack value."""
    return sealed(game, zlib.compress(msgpack.packb(fields)))


def sealed(game: Game, payload: bytes) -> bytes:
    """A frame with a right CRC around any payload."""
    return wire._PREFIX.pack(wire.MARKER, len(payload), wire._crc(game, payload)) + payload
