"""The common parts of clients of programs: how positions differ, which answers are moves."""

from collections.abc import Callable

import numpy as np

from alphazero.errors import one_line
from alphazero.judging.engines.process import EngineFailure
from alphazero.judging.lines import Line
from games.base import Game

SHOWN = 40
"""Characters of an answer that a message shows."""


def common_plies(one: Line, other: Line) -> int:
    """The number of moves at the beginning of both lines that are the same."""
    plies = min(len(one), len(other))
    return next((ply for ply in range(plies) if one[ply] != other[ply]), plies)


def mover(game: Game, state: np.void) -> int:
    """The player about to move in one state: 0, who began, or 1."""
    return int(game.to_move(np.array([state], game.dtype))[0])


def legal_action(
    game: Game, state: np.void, text: str, read: Callable[[Game, np.void, str], int]
) -> int:
    """The legal action of ``state`` that a program has named; ``read`` is its notation.

    ``EngineFailure``: there is none.
    """
    word = one_line(text, SHOWN)
    try:
        action = read(game, state, text)
    except Exception:  # the author of a game may raise anything for a text
        raise EngineFailure(f"answered {word!r}, which is no move") from None
    if not game.legal(np.array([state], game.dtype))[0, action]:
        raise EngineFailure(f"played {word}, which is illegal")
    return action
