"""The newest games of a run's self-play, and the matches of a folder, for the page."""

import heapq
import threading
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from alphazero import plain_files
from alphazero.errors import reason
from alphazero.types import GameRecord, is_trained
from games.base import Game
from workers.runs import game_files
from workers.serve.batching import Unavailable
from workers.serve.bodies import RequestError
from workers.web.runs import Run

MOST_GAMES = 12
MOST_MOVES = 10
"""Moves of the search's policy that are shown for a position."""
LEAST_SHARE = 0.001
"""The share of a move that is shown, at least."""
MOST_MATCHES = 20
MOST_FILES = 100
"""Files that are looked at for matches."""
MOST_PLAYERS = 30
"""Players of a match whose cross-table is shown."""
MOST_PLAYED = 10**9
"""Games of two players."""
MOST_READING = 4
"""Pages that wait for games of self-play; with more the answer is 503."""


class _Place(NamedTuple):
    """The games of a run at some time."""

    path: Path
    changed: tuple[tuple[str, int], ...]
    """The names of the shards and when they were last written."""


_reading = threading.Lock()
"""Reading a shard takes 64 MiB: one at a time, however many pages ask."""
_room = threading.BoundedSemaphore(MOST_READING)
"""Those that wait hold threads, which other requests need, too."""


def games_of(run: Run, game: Game) -> dict[str, Any]:
    """The newest games of self-play, the newest first, with what the search found.

    ``RequestError`` (404) where there are none, or none that can be read; ``Unavailable`` (503)
    where too many pages wait for theirs.
    """
    if not _room.acquire(blocking=False):
        raise Unavailable("the games of other pages are read first")
    try:
        shards = sorted((run.path / "games").glob("shard_*.bin"))
        changed = tuple((path.name, path.lstat().st_mtime_ns) for path in shards)
        with _reading:
            played = _newest(game, _Place(run.path, changed))
    except (OSError, ValueError) as error:
        raise RequestError(
            404, f"the games of {run.name} cannot be read: {reason(error)}", "run"
        ) from None
    finally:
        _room.release()
    if not played:
        raise RequestError(404, f"{run.name} has no games of self-play yet", "run")
    return {"games": played}


@lru_cache(maxsize=4)
def _newest(game: Game, place: _Place) -> list[dict[str, Any]]:
    records = game_files.newest_records(game, place.path, MOST_GAMES, lambda line: None)
    return [_as_json(game, record) for record in reversed(records)]


def _as_json(game: Game, record: GameRecord) -> dict[str, Any]:
    """A game with the search's value and policy of each recorded position.

    ``searched``: per ply None where the move was drawn at random, else the value for the player
    about to move and the likeliest moves ``[number, share]``, none where the move was a fast one.
    """
    played = game_files.as_dict(game, record)
    before: list[dict[str, Any] | None] = [None] * (len(record.actions) - len(record.rows))
    searched = [_searched(game, row) for row in record.rows]
    return {
        "id": str(record.game_id),  # JavaScript has no whole numbers of 64 bits
        "version": record.version,
        "moves": [str(number) for number in played["moves"]],
        "result": played["result"],
        "searched": (before + searched)[: len(played["moves"]) + 1],
    }


def _searched(game: Game, row: np.void) -> dict[str, Any]:
    actions, weights = row["policy_action"], row["policy_weight"].astype(float)
    used = (actions < game.num_actions) & (weights >= LEAST_SHARE)
    order = np.argsort(-weights[used], kind="stable")[:MOST_MOVES]
    moves = zip(actions[used][order], weights[used][order], strict=True)
    trained = bool(is_trained(row["surprise"]))
    return {
        "value": round(float(row["value"]), 3),
        "policy": [[int(action) + 1, round(float(weight), 3)] for action, weight in moves]
        if trained
        else [],
    }


class _Pairing(BaseModel):
    """Points of two players of a match against each other, as the arena writes them."""

    first: int = Field(ge=0, lt=MOST_PLAYERS)
    second: int = Field(ge=0, lt=MOST_PLAYERS)
    wins: int = Field(ge=0, le=MOST_PLAYED)
    draws: int = Field(ge=0, le=MOST_PLAYED)
    losses: int = Field(ge=0, le=MOST_PLAYED)


class _Player(BaseModel):
    name: str = Field(max_length=1000)
    elo: float = Field(allow_inf_nan=False)
    elo_low: float | None = Field(default=None, allow_inf_nan=False)
    """The bounds of the 95 % interval; None where no result sets one."""
    elo_high: float | None = Field(default=None, allow_inf_nan=False)


class _Match(BaseModel):
    """The part of the arena's JSON of which the page makes a table."""

    game: str = Field(max_length=1000)
    players: list[_Player] = Field(min_length=2, max_length=MOST_PLAYERS)
    pairings: list[_Pairing] = Field(max_length=MOST_PLAYERS**2)


def matches(folder: Path | None) -> list[dict[str, Any]]:
    """The matches that `alphazero arena --json` has written into a folder, the newest first.

    Those are files ``*.json`` with players and pairings; others are left out. ``MOST_FILES`` are
    looked at, the newest ones.
    """
    if folder is None:
        return []
    try:
        files = [(path.lstat().st_mtime_ns, path) for path in folder.glob("*.json")]
    except OSError:
        return []
    newest = heapq.nlargest(MOST_FILES, files)
    read = (_match(path, changed) for changed, path in newest)
    return list(islice((match for match in read if match is not None), MOST_MATCHES))


@lru_cache(maxsize=4 * MOST_FILES)
def _match(path: Path, changed: int) -> dict[str, Any] | None:
    """The match of a file that was last written at ``changed``; None where it holds none."""
    try:
        match = _Match.model_validate_json(plain_files.read(path))
        table = _points(match.pairings, len(match.players))
    except (OSError, ValueError, IndexError):
        return None
    players = [player.model_dump() for player in match.players]
    return {"name": path.name, "game": match.game, "players": players, "points": table}


def _points(pairings: list[_Pairing], count: int) -> list[list[list[float] | None]]:
    """Per player and opponent ``[points, games]``, None where they have not met."""
    table: list[list[list[float] | None]] = [[None] * count for _ in range(count)]
    for pair in pairings:
        if pair.first == pair.second:
            raise ValueError("a player does not play against itself")
        played = pair.wins + pair.draws + pair.losses
        table[pair.first][pair.second] = [pair.wins + pair.draws / 2, played]
        table[pair.second][pair.first] = [pair.losses + pair.draws / 2, played]
    return table
