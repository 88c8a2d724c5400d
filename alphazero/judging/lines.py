"""Moves that people and programs write: texts and lists of them, read as a game's actions.

A line is the sequence of a game's actions from its initial position.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from games import solvers
from games.base import Game, States
from games.spec import nearest

Line = tuple[int, ...]
"""A game's actions from the initial position."""
SHOWN = 100
"""Characters of a line or a move that a message shows, at most."""
LISTED = 12
"""Legal moves that a message lists, at most."""


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


def action(game: Game, states: States, word: str) -> int | None:
    """The legal action of the position ``states [1]`` that ``word`` names; None: there is none.

    ``word`` is a number counted from 1, or else a move as ``move`` reads it.
    """
    if not (word.isascii() and word.isdigit()):
        return move(game, states, word)
    number = int(word) if len(word) < 10 else 0  # Python refuses to read numbers of 5,000 digits
    return number - 1 if is_legal(game, states, number - 1) else None


def move(game: Game, states: States, text: str) -> int | None:
    """The legal action of ``states [1]`` that ``text`` names in the game's notation, or None.

    Where ``text`` is none as it stands, case is ignored if that leaves one legal move: ``E1-C3`` is
    ``e1-c3``.
    """
    named = named_action(game, states, text)
    if named is not None and is_legal(game, states, named):
        return named
    key = text.strip().casefold()
    legal = legal_moves(game, states)
    alike = [action for action, name in legal.items() if name.casefold() == key]
    return alike[0] if len(alike) == 1 else None


def is_legal(game: Game, states: States, action: int) -> bool:
    """Whether ``action``, any whole number, can be played in the position ``states [1]``."""
    return 0 <= action < game.num_actions and bool(game.legal(states)[0, action])


def named_action(game: Game, states: States, text: str) -> int | None:
    """The action that ``text`` names in ``states [1]``, legal or not; None: there is none."""
    try:
        action = game.text_to_move(states[0], text)
    except Exception:  # an author's own method may raise anything
        return None
    return action if 0 <= action < game.num_actions else None


def legal_moves(game: Game, states: States) -> dict[int, str]:
    """The legal actions of the position ``states [1]``, each with its text."""
    actions = np.flatnonzero(game.legal(states)[0]).tolist()
    return {action: game.move_to_text(states[0], action) for action in actions}


def notation(game: Game, states: States, actions: Iterable[int]) -> list[str]:
    """Legal ``actions`` from the position ``states [1]`` on, each in the notation of its position.

    Example: two actions from the start of chess are ``["e4", "e5"]``.
    """
    return [game.move_to_text(at[0], action) for at, action in plies(game, states, actions)]


def plies(game: Game, states: States, actions: Iterable[int]) -> Iterator[tuple[States, int]]:
    """Legal ``actions`` from the position ``states [1]`` on, each with the position before it."""
    for action in actions:
        yield states, int(action)
        states = game.step(states, np.array([action]))


def refusal(game: Game, states: States, text: str) -> str:
    """Why ``text`` is not played in the position ``states [1]``, and what could be, in one line."""
    action, word = named_action(game, states, text), short(text.strip())
    if action is not None:
        return f"{word} cannot be played here; {possible(game, states, word)}"
    return f"{word!r} is not a move here; {possible(game, states, word)}"


def possible(game: Game, states: States, word: str = "") -> str:
    """The legal moves, for a message about ``word``, which is none; of many those nearest to it."""
    moves = list(legal_moves(game, states).values())
    if len(moves) <= LISTED:
        return f"possible are {' '.join(moves)}"
    some = " ".join(nearest(word, moves, LISTED // 2))
    return f"{len(moves)} moves are possible, {'the nearest are' if word else 'as'} {some}"


def line_of(game: Game, text: str) -> Line:
    """The actions of moves written as in a position file, which must be playable."""
    return tuple(int(move) - 1 for move in solvers.moves(game, text))
