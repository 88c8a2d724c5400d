"""The games of a run's self-play as games of sessions, to be written as files."""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import games
from alphazero import addresses, config_file, plain_files, plain_yaml, records, wire
from alphazero.config import OBSOLETE, Config
from alphazero.judging.session import Reason
from alphazero.replay import SHARD_BYTES
from alphazero.types import Ending, GameRecord
from games.base import Game

REASONS = {
    Ending.RULES: Reason.RULES,
    Ending.RESIGNED: Reason.RESIGNATION,
    Ending.LENGTH: Reason.LENGTH,
}
"""Why a game was over; the word for one of which the search has proven the result is its own."""

LARGEST = 2 * SHARD_BYTES
"""Bytes of a shard that is read; the replay buffer ends one with the game that reaches half."""


def game_of(run_dir: Path, allow: Collection[str] = ()) -> Game:
    """The game of a run; ``ValueError``, one line: it is no run, or names code not in ``allow``."""
    path = run_dir / "config.yaml"
    if not path.is_file():
        raise ValueError(f"{run_dir} is no run directory: it has no config.yaml")
    text = plain_yaml.read_text(path)
    name = config_file.parse(Config, text, str(path), obsolete=OBSOLETE).game
    address = games.address_of(name)
    addresses.check_allowed({"game": address} if address else {}, allow, path)
    return games.make(name)


def newest(
    game: Game, run_dir: Path, count: int, report: Callable[[str], object]
) -> Iterator[dict[str, Any]]:
    """The last ``count`` games that are stored, oldest first, in the form of ``Session.as_dict``.

    ``report`` gets a line for each damaged game. ``ValueError``: there are games of other rules.
    """
    return (as_dict(game, record) for record in newest_records(game, run_dir, count, report))


def newest_records(
    game: Game, run_dir: Path, count: int, report: Callable[[str], object]
) -> list[GameRecord]:
    """The same games as records; shards before those that have them are not read.

    ``NotPlain``, a ``ValueError``: a shard is a link or another kind of file, or too large.
    """
    kept: list[GameRecord] = []
    for path in sorted((run_dir / "games").glob("shard_*.bin"), reverse=True):
        if len(kept) >= count:
            break
        plain_files.check(path, LARGEST)
        kept = _last(game, path, count - len(kept), report) + kept
    return kept


def _last(game: Game, path: Path, count: int, report: Callable[[str], object]) -> list[GameRecord]:
    """The last ``count`` valid games of a shard, or all of them.

    Games that are not valid are rare: where there are some among the last ones, all are read.
    """
    for last in (count, None):
        read = [record for _, record in wire.read_shard(game, path, report, last)]
        valid = [record for record in read if record is not None]
        if len(valid) >= count or len(read) < count:
            break
    return valid[-count:]


def as_dict(game: Game, record: GameRecord) -> dict[str, Any]:
    """A game in the form of ``Session.as_dict``, with the weights' version as both players' names.

    A game ended by a proof or a resignation ended with a search, whose move is left out.
    """
    state, actions = records.states_of(record.rows[-1:]), record.actions
    mover, result = int(game.to_move(state)[0]), int(record.rows["outcome"][-1])
    if record.ending in (Ending.PROVEN, Ending.RESIGNED):
        actions = actions[:-1]
    resigned = (mover if result < 0 else 1 - mover) if record.ending is Ending.RESIGNED else None
    return {
        "game": game.name,
        "seats": [f"step {record.version}, first", f"step {record.version}, second"],
        "moves": [int(action) + 1 for action in actions],
        "resigned": resigned,
        "clock": None,
        "result": {
            "first": -result if mover else result,
            "reason": str(REASONS.get(record.ending, "proven")),
        },
        "opening_plies": len(record.actions) - len(record.rows),
    }
