"""Finished games ready to be stored, made where they were played.

To check a game, compress it and compute its targets takes ten times as long as to append the result
to a shard and to the window. So every search process packs its own games, and the one process that
stores those of all of them has little to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero import records, resignation, targets, wire
from alphazero.config import ReplaySettings
from alphazero.types import Ending, GameRecord
from games.base import Game


class GameCounts(NamedTuple):
    """The numbers of one stored game."""

    version: int
    """The oldest version of the weights that it was played with."""
    positions: int
    """Positions that are trained on, without those of its random opening."""
    ending: Ending
    would_resign: int = 0
    """1 in a game without resignation in which a player would have resigned, else 0."""
    mistaken: int = 0
    """1 where that player did not lose."""
    plies: int = 0
    """All plies, those of the random opening included."""
    result: int = 0
    """+1, 0 or -1: won, drawn or lost for the player who began."""


def count_game(game: Game, record: GameRecord, resign_value: float | None = None) -> GameCounts:
    """The numbers of ``record``, which are all that a run's metrics need of it.

    ``resign_value``: that of ``selfplay``.
    """
    judged = resignation.count_mistakes(game, record, resign_value)
    ending, result = record.ending, _result(game, record)
    return GameCounts(
        record.version, record.positions, ending, *judged, len(record.actions), result
    )


def _result(game: Game, record: GameRecord) -> int:
    """+1, 0 or -1 for player 0, the sign of the outcome, which may be a fraction in games of one
    player; 0 for a record without positions, which holds no result."""
    if not len(record.rows):
        return 0
    last = record.rows[-1:]
    outcome = int(np.sign(last["outcome"][0]))
    return -outcome if game.to_move(records.states_of(last))[0] else outcome


class PackedGame(NamedTuple):
    """A finished game and all that storing it needs."""

    game_id: int
    counts: GameCounts
    frame: bytes
    """The bytes that ``wire.encode`` makes; empty for a malformed record."""
    rows: NDArray
    """``[positions]`` of ``targets.columns``: the positions that are trained on."""
    problem: str = ""
    """Why the record is malformed, in one line."""


@dataclass(frozen=True)
class Packing:
    """How the games of a run are packed."""

    game: Game
    replay: ReplaySettings
    heads: Sequence[str] = ()
    """The names of the auxiliary targets that are stored beside each position."""
    resign_value: float | None = None
    """The setting ``selfplay.resign_value``."""

    def __call__(self, record: GameRecord) -> PackedGame:
        """``record`` with its targets; a malformed one has only the ``problem``."""
        game_id = int(record.game_id)
        try:
            frame = wire.encode(self.game, record)
        except wire.WireError as error:
            none = np.zeros(0, targets.columns(self.game, self.replay, self.heads))
            return PackedGame(game_id, GameCounts(0, 0, Ending.RULES), b"", none, str(error))
        rows = targets.rows_to_store(self.game, record, self.replay, self.heads)
        return PackedGame(game_id, count_game(self.game, record, self.resign_value), frame, rows)
