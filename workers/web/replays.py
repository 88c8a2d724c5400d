"""The newest games of a run's self-play, and the matches of a folder, for the page."""

import json
import math
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from alphazero import plain_files
from alphazero.types import GameRecord, is_trained
from games.base import Game
from workers.runs import game_files
from workers.serve.bodies import RequestError
from workers.web.runs import Run

MOST_GAMES = 12
MOST_MOVES = 10
"""Moves of the search's policy that are shown for a position."""
MOST_MATCHES = 20
MOST_PLAYERS = 30
"""Players of a match whose cross-table is shown."""


class _Place(NamedTuple):
    """The games of a run at some time."""

    path: Path
    changed: tuple[tuple[str, int], ...]
    """The names of the shards and when they were last written."""


_reading = threading.Lock()
"""Reading a shard takes 64 MiB: one at a time, however many pages ask."""


def games_of(run: Run, game: Game) -> dict[str, Any]:
    """The newest games of self-play, the newest first, with what the search found.

    ``RequestError`` (404) where there are none, or none that can be read.
    """
    try:
        shards = sorted((run.path / "games").glob("shard_*.bin"))
        changed = tuple((path.name, path.lstat().st_mtime_ns) for path in shards)
        with _reading:
            played = _newest(game, _Place(run.path, changed))
    except (OSError, ValueError) as error:
        raise RequestError(404, f"the games of {run.name} cannot be read: {error}", "run") from None
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
    used = (actions < game.num_actions) & (weights > 0)
    order = np.argsort(-weights[used], kind="stable")[:MOST_MOVES]
    moves = zip(actions[used][order], weights[used][order], strict=True)
    trained = bool(is_trained(row["surprise"]))
    return {
        "value": round(float(row["value"]), 3),
        "policy": [[int(action) + 1, round(float(weight), 3)] for action, weight in moves]
        if trained
        else [],
    }


def matches(folder: Path | None) -> list[dict[str, Any]]:
    """The matches that `alphazero arena --json` has written into a folder, the newest first.

    Those are files ``*.json`` with players and pairings; others are left out.
    """
    if folder is None:
        return []
    try:
        newest = sorted(folder.glob("*.json"), key=lambda path: -path.lstat().st_mtime)[
            :MOST_MATCHES
        ]
    except OSError:
        return []
    return [match for path in newest if (match := _match(path)) is not None]


def _match(path: Path) -> dict[str, Any] | None:
    """The match of a file; None where it holds none."""
    try:
        content = json.loads(plain_files.read(path))
        players = content["players"]
        if not 2 <= len(players) <= MOST_PLAYERS:
            return None
        return {
            "name": path.name,
            "game": str(content["game"])[:300],
            "players": [
                {"name": str(player["name"])[:300], "elo": _number(player["elo"])}
                for player in players
            ],
            "points": _points(content["pairings"], len(players)),
        }
    except (OSError, ValueError, TypeError, KeyError, IndexError, RecursionError):
        return None


def _points(pairings: list[dict[str, Any]], count: int) -> list[list[list[float] | None]]:
    """Per player and opponent ``[points, games]``, None where they have not met."""
    table: list[list[list[float] | None]] = [[None] * count for _ in range(count)]
    for pairing in pairings[: count * count]:
        first, second = int(pairing["first"]), int(pairing["second"])
        wins, draws, losses = (_number(pairing[key]) for key in ("wins", "draws", "losses"))
        if min(first, second) < 0 or first == second:
            raise ValueError("no such players")
        played = wins + draws + losses
        table[first][second] = [wins + draws / 2, played]
        table[second][first] = [losses + draws / 2, played]
    return table


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("no finite number")
    return number
