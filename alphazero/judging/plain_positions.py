"""Positions in plain types, as the page and notebooks draw them."""

from typing import Any

import numpy as np

from alphazero.judging import lines
from alphazero.judging.session import Session
from games.base import Game
from games.drawing import Drawing


def as_json(played: Session) -> dict[str, Any]:
    """Everything that a board shows of a position, as JSON has it.

    ``movers``: the player of each move, and the one about to move at the end.
    ``legal``: the moves that can be played, each with its number, its text, the cells to click and,
    where it has none, the name for its button. ``result``: for the player who began, in a finished
    game. ``places``: the name of each cell, None where the page makes one of the labels.
    """
    board = played.drawing
    plain = board.plain()
    reason = played.reason()
    legal = {} if reason else lines.legal_moves(played.game, played.states)
    return {
        "moves": [action + 1 for action in played.actions],
        "texts": played.notation(),
        "movers": [int(mover) for mover in played.game.to_move(np.concatenate(played.history))],
        "result": None if reason is None else played.result(0),
        "reason": reason and str(reason),
        "board": {key: plain[key] for key in ("cells", "labels", "edges", "last", "line", "text")},
        "places": _places(played.game, len(board.cells)),
        "legal": [_move(board, action, text) for action, text in legal.items()],
    }


def _places(game: Game, cells: int) -> list[str | None]:
    """Per cell the text of the action of clicking it alone, as the player who begins sees it.

    None where there is no such action, as in chess, and where its text is that of a label beside
    the board, which names a column, as in Connect Four.
    """
    begun = game.drawing(game.initial(1)[0], None)
    labels = {label.text for label in begun.labels}
    places: list[str | None] = [None] * cells
    for action, clicked in begun.clicks.items():
        if len(clicked) == 1 and (text := game.action_to_text(action)) not in labels:
            places[clicked[0]] = text
    return places


def _move(board: Drawing, action: int, text: str) -> dict[str, Any]:
    cells = [int(cell) for cell in board.clicks.get(action, ())]
    return {"action": action + 1, "text": text, "cells": cells, "name": board.named.get(action)}
