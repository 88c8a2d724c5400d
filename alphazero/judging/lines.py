"""Moves that people and programs write: texts and lists of them, read as a game's actions.

A line is the sequence of a game's actions from its initial position.
"""

from collections.abc import Sequence

import numpy as np

from games import solvers
from games.base import Game

Line = tuple[int, ...]
"""A game's actions from the initial position."""
SHOWN = 100
"""Characters of a line or a move that a message shows, at most."""


def words(game: Game, moves: str | Sequence[int | str]) -> list[str]:
    """The single moves of ``moves``, a text or a list, as texts that ``action`` reads.

    A text is split into characters where the game has fewer than ten actions, else at spaces:
    ``"4453"`` and ``"4 4 5 3"`` give ``["4", "4", "5", "3"]`` in Connect Four. ``ValueError``, one
    line: ``moves`` is neither a text nor a list of whole numbers and texts.
    """
    if isinstance(moves, str):
        text = moves if solvers.separator(game) else "".join(moves.split())
        return [part.strip() for part in solvers.moves(game, text)]
    listed = isinstance(moves, Sequence) or (isinstance(moves, np.ndarray) and moves.ndim)
    if not listed or isinstance(moves, bytes):
        raise ValueError(f"moves are a text or a list, as '44' or [4, 4], not {short(repr(moves))}")
    for part in moves:
        if not isinstance(part, int | np.integer | str) or isinstance(part, bool):
            raise ValueError(
                f"a move is a whole number, counted from 1, or a text, not {short(repr(part))}"
            )
    return [str(part).strip() for part in moves]


def shown(game: Game, parts: Sequence[str]) -> str:
    """The moves ``parts`` as one text, for messages; of a long one the beginning."""
    return short(solvers.separator(game).join(parts))


def short(text: str) -> str:
    """``text``, or the beginning of a long one."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def action(game: Game, word: str) -> int:
    """The action of one move: a number counted from 1, or a move in the game's notation.

    ``ValueError``, one line: there is no such action. Whether it is legal is not checked.
    """
    if not (word.isascii() and word.isdigit()):
        return game.text_to_action(word)
    number = int(word) if len(word) < 10 else 0  # Python refuses to read numbers of 5,000 digits
    if not 1 <= number <= game.num_actions:
        raise ValueError(
            f"there is no action {short(word)} in {game.name}, only 1 to {game.num_actions}"
        )
    return number - 1
