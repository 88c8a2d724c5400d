"""Promises about the texts of moves, with and without a position."""

from collections.abc import Callable

import numpy as np

from games.base import Game
from games.conformance.promises import Ply, place, require


def check_text(game: Game) -> None:
    """``action_to_text`` and ``text_to_action`` must undo each other, for every action."""
    for action in range(game.num_actions):
        text = game.action_to_text(action)
        require(
            isinstance(text, str) and game.text_to_action(text) == action,
            f"text_to_action must undo action_to_text, but action {action} became {text!r} and "
            "that another action",
        )
    _check_refusal(game.text_to_action, "text_to_action")


def check_notation(game: Game, ply: Ply, row: int) -> None:
    """In one position, each legal action must have a text of its own, which is read again."""
    state, where = ply.states[row], place(ply.history[row][:-1])
    texts: dict[str, int] = {}
    for action in np.flatnonzero(game.legal(ply.states[row : row + 1])[0]).tolist():
        text = game.move_to_text(state, action)
        require(
            isinstance(text, str) and texts.setdefault(text, action) == action,
            "move_to_text must give every legal action of a position a text of its own, but gave "
            f"{text!r} for the actions {texts.get(text)} and {action} {where}",
        )
    for text, action in texts.items():
        try:
            read = f"action {game.text_to_move(state, text)}"
        except ValueError as error:
            read = f"the error {str(error)!r}"
        require(
            read == f"action {action}",
            f"text_to_move must undo move_to_text, but action {action} became {text!r} and that "
            f"{read} {where}",
        )
    _check_refusal(lambda text: game.text_to_move(state, text), "text_to_move")


def _check_refusal(read: Callable[[str], int], name: str) -> None:
    """``read``, the game's method ``name``, must refuse a text that is no move, in one line."""
    try:
        result = read("no such move")
    except ValueError as error:
        require(
            "\n" not in str(error) and str(error),
            f"{name} must explain itself in one line, not in {str(error)!r}",
        )
    else:
        raise AssertionError(
            f"{name} must raise ValueError for what is not a move, but gave {result!r} for "
            "'no such move'"
        )
