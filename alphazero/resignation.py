"""How often it would have been a mistake to resign: measured in games without resignation.

A share of the games, ``selfplay.resign_disabled_fraction``, is played on where a player would have
resigned. Where that player does not lose, the resignation would have been a mistake. AlphaGo Zero
kept these below 5 % (Silver et al. 2017, methods, "self-play").
"""

import numpy as np

from alphazero import records
from alphazero.types import Ending, GameRecord
from games.base import Game


def count_mistakes(game: Game, record: GameRecord, resign_value: float | None) -> tuple[int, int]:
    """Whether a player would have resigned in a game that was played on, and by mistake: 1 or 0.

    A function of the record alone: a game with a position in which the rule of ``GameGroup`` ends
    it, and which did not end there, is one without resignation. The last position shows nothing
    where a proof or the rules ended the game: they come first. A resignation comes before the end
    at ``max_plies``. The values of records are rounded to float16, so that a value within 0.0005 of
    the limit may be taken for one beyond it.

    Example: the limit is 0.9, player 0's values are 0.1, -0.92, -0.95, 0.3, and it wins. Its third
    move would have been its resignation: (1, 1). Had it lost: (1, 0). Without the third: (0, 0).
    """
    rows = record.rows
    if resign_value is None or record.ending == Ending.RESIGNED or not len(rows):
        return 0, 0
    mover = game.to_move(records.states_of(rows))
    low = rows["value"].astype(np.float32) < -resign_value
    if record.ending in (Ending.PROVEN, Ending.RULES):
        low[-1] = False
    resigned = [_second_low(np.flatnonzero(mover == player), low) for player in (0, 1)]
    first = min(resigned)
    return (0, 0) if first == len(rows) else (1, int(rows["outcome"][first] > -1))


def _second_low(own: np.ndarray, low: np.ndarray) -> int:
    """The first of a player's ``own`` positions that is ``low [T]``, as the one before; else T."""
    twice = own[1:][low[own[1:]] & low[own[:-1]]]
    return int(twice[0]) if len(twice) else len(low)
