"""Promises about ``render`` and ``drawing``, tested on a position of every ply of random games."""

import json
from itertools import pairwise

import numpy as np

from games.base import Game
from games.conformance.promises import Ply, place, require
from games.drawing import SHAPES, Cell, Drawing, Edge

DRAWN_PLIES = 128
"""Plies of which positions are drawn, at most: a game may have thousands of actions to click."""


def check_drawings(game: Game, plies: list[Ply]) -> None:
    """Draw the start and, of plies of the whole game, one game that goes on and one that ends."""
    _check(game, game.initial(1)[0], None, "at the start")
    for ply in plies[:: -(-len(plies) // DRAWN_PLIES) or 1]:
        over = ~np.isnan(game.outcome(ply.after))
        for row in {int(over.argmin()), int(over.argmax())}:
            _check(game, ply.after[row], int(ply.actions[row]), place(ply.history[row]))


def _check(game: Game, state: np.void, last_action: int | None, where: str) -> None:
    # The default drawing is made from ``render``; a game's own ``render`` often from its drawing.
    if type(game).drawing is Game.drawing:
        _check_render(game, state)
        _check_drawing(game, state, last_action, where)
    else:
        _check_drawing(game, state, last_action, where)
        _check_render(game, state)


def _check_render(game: Game, state: np.void) -> None:
    before = state.tobytes()
    drawing = game.render(state)
    require(
        isinstance(drawing, str) and drawing.strip(),
        f"render must return a drawing, a str that is not blank, not {drawing!r}",
    )
    require(state.tobytes() == before, "render must not modify the state: copy it first")


def _check_drawing(game: Game, state: np.void, last_action: int | None, where: str) -> None:
    """Test a drawing as a whole, then its parts."""
    before = state.tobytes()
    drawing = game.drawing(state, last_action)
    require(
        isinstance(drawing, Drawing),
        f"drawing must return a games.drawing.Drawing, not a {type(drawing).__name__}",
    )
    require(state.tobytes() == before, "drawing must not modify the state: copy it first")
    _check_cells(drawing, where)
    _check_edges(drawing)
    try:
        json.dumps(drawing.plain(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(
            f"drawing must hold plain numbers and texts, which JSON has: {error}; convert NumPy's "
            "numbers with int() or tolist()"
        ) from error
    require(
        drawing == game.drawing(state, last_action),
        f"drawing must be the same for the same arguments, but differs {where}",
    )
    require(drawing.as_text().strip(), f"drawing must show something, but is blank {where}")
    _check_actions(game, drawing, where)
    _check_marks(game, state, drawing, where)
    _check_last(drawing, last_action, where)


def _check_cells(drawing: Drawing, where: str) -> None:
    for number, cell in enumerate(drawing.cells):
        require(isinstance(cell, Cell), f"drawing: cell {number} must be a Cell, not {cell!r}")
        require(
            cell.shape in SHAPES,
            f"drawing: the shape of cell {number} must be one of {', '.join(SHAPES)}, "
            f"not {cell.shape!r}",
        )
        require(
            cell.player in (0, 1, None),
            f"drawing: the player of cell {number} must be 0, 1 or None, not {cell.player!r} "
            f"{where}",
        )
    middles = {(cell.x, cell.y) for cell in drawing.cells}
    require(
        len(middles) == len(drawing.cells), f"drawing: two cells must not be in one place {where}"
    )


def _check_edges(drawing: Drawing) -> None:
    for edge in drawing.edges:
        require(
            isinstance(edge, Edge)
            and edge.player in (0, 1)
            and len(edge.points) > 1
            and all(len(point) == 2 and np.isfinite(point).all() for point in edge.points),
            f"drawing: an edge must be an Edge of player 0 or 1 with two points or more, each with "
            f"x and y, not {edge!r}",
        )


def _check_actions(game: Game, drawing: Drawing, where: str) -> None:
    """Every action can be chosen, and clicks on cells that exist choose one action."""
    known = {*drawing.clicks, *drawing.named}
    require(
        known == set(range(game.num_actions)),
        f"drawing: every action needs cells to click or a name, and no other may have them, but "
        f"action {min(known ^ set(range(game.num_actions)), default=0)} is wrong {where}",
    )
    for action, text in drawing.named.items():
        require(
            isinstance(text, str) and text.strip(),
            f"drawing: the name of action {action} must be a text, not {text!r}",
        )
    for action, cells in drawing.clicks.items():
        require(
            len(cells) and all(0 <= cell < len(drawing.cells) for cell in cells),
            f"drawing: the clicks of action {action} must be cells from 0 to "
            f"{len(drawing.cells) - 1}, not {cells} {where}",
        )


def _check_last(drawing: Drawing, last_action: int | None, where: str) -> None:
    """The last move is marked exactly where it is known and has cells."""
    if last_action is None:
        require(not drawing.last, f"drawing: last must be empty without last_action {where}")
    elif last_action in drawing.clicks:
        require(drawing.last, f"drawing: last must mark the cells of last_action {where}")


def _check_marks(game: Game, state: np.void, drawing: Drawing, where: str) -> None:
    """Marked cells exist; lines are won in finished games; legal clicks are unambiguous."""
    for name in ("last", "line"):
        cells = getattr(drawing, name)
        require(
            all(0 <= cell < len(drawing.cells) for cell in cells),
            f"drawing: {name} must be cells from 0 to {len(drawing.cells) - 1}, not {cells} "
            f"{where}",
        )
    legal = game.legal(np.array([state], game.dtype))[0]
    require(
        not (drawing.line and legal.any()),
        f"drawing: line marks how a finished game was won, but this one goes on {where}",
    )
    # In sorted order a sequence that another begins with stands directly before such a one.
    chosen = sorted((drawing.clicks[a], a) for a in drawing.clicks if legal[a])
    for (cells, action), (more, other) in pairwise(chosen):
        require(
            more[: len(cells)] != cells,
            f"drawing: clicks must choose one legal action, but {cells} is action {action} and "
            f"begins action {other} {where}",
        )
