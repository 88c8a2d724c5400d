"""A game of self-play as pictures and figures: some of its boards, each with policy and value."""

import html
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alphazero import records
from alphazero.types import GameRecord
from games import svg
from games.base import Game

BOARDS = 6
"""Boards of one game, at most, spread evenly over its recorded positions."""
TOP_MOVES = 3
"""Moves that are named per board."""
COLUMNS = ("ply", "to move", "value", "outcome", "played", "most likely moves")
"""The columns of ``Pictures.positions``."""


@dataclass(frozen=True)
class Pictures:
    """One game, ready to be shown."""

    page: str
    """An HTML fragment with an SVG per board."""
    positions: list[list[Any]]
    """A row per recorded position, with the columns ``COLUMNS``. Value and outcome are from the
    point of view of the player about to move."""


def of_game(game: Game, record: GameRecord) -> Pictures:
    """The pictures of ``record``, a game of ``game``."""
    opening = len(record.actions) - len(record.rows)
    positions = [_figures(game, record, opening + i) for i in range(len(record.rows))]
    chosen = np.unique(np.linspace(0, len(record.rows) - 1, BOARDS).round().astype(int))
    boards = "".join(_board(game, record, opening + int(i)) for i in chosen)
    # Here, because it imports Numba: supervised trainings, which never draw a game, do without.
    from alphazero.judging import lines

    moves = " ".join(lines.notation(game, game.initial(1), record.actions))
    return Pictures(f"<div>{html.escape(game.name)}: {html.escape(moves)}</div>{boards}", positions)


def _figures(game: Game, record: GameRecord, ply: int) -> list[Any]:
    """The row of the position before the move number ``ply``, counted from 0."""
    row = _row(record, ply)
    states = records.states_of(row)
    state, mover = states[0], int(game.to_move(states)[0])
    actions, weights = _policy(game, row)
    likely = np.argsort(-weights, kind="stable")[:TOP_MOVES]
    named = ", ".join(
        f"{game.move_to_text(state, int(actions[i]))} {float(weights[i]):.0%}" for i in likely
    )
    if not weights.any():
        named = "searched fast"
    played = game.move_to_text(state, int(record.actions[ply]))
    value, outcome = (round(float(row[name][0]), 3) for name in ("value", "outcome"))
    return [ply + 1, ("first", "second")[mover], value, outcome, played, named]


def _board(game: Game, record: GameRecord, ply: int) -> str:
    """The position before the move number ``ply``, with the search's policy and value."""
    row = _row(record, ply)
    last = int(record.actions[ply - 1]) if ply else None
    drawing = game.drawing(records.states_of(row)[0], last)
    actions, weights = _policy(game, row)
    policy = dict(zip(actions.tolist(), weights.tolist(), strict=True))
    number, mover, value, _, played, named = _figures(game, record, ply)
    caption = f"move {number}, {mover} to move: value {value:+.2f}\n{named}; played {played}"
    if drawing.cells:
        return svg.render(drawing, svg.cell_weights(drawing, policy), caption)
    return f"<pre>{html.escape(drawing.as_text())}\n{html.escape(caption)}</pre>"


def _row(record: GameRecord, ply: int) -> NDArray:
    """``[1]``, the recorded position before the move number ``ply``."""
    index = ply - (len(record.actions) - len(record.rows))
    return record.rows[index : index + 1]


def _policy(game: Game, row: NDArray) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
    """The legal actions of ``row [1]``, and the search's probability of each."""
    actions = row["policy_action"][0]
    used = actions < game.num_actions
    return actions[used], row["policy_weight"][0][used].astype(np.float32)
