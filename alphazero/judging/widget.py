"""A game as a widget of a notebook, on anywidget: the page's own board, moves played in Python."""

from collections.abc import Callable, Mapping
from typing import Any

import anywidget
import traitlets

from alphazero.judging import plain_positions, session, widget_script
from alphazero.judging.session import Session

Opinion = Callable[[Session], tuple[Mapping[int, float], float | None]]
"""The weights of the moves of a position, by action, and its value for the player about to move."""


class GameWidget(anywidget.AnyWidget):
    """One game that is played, on both sides, and stepped through; ``notebook.board`` makes one.

    ``session`` is the whole game, ``position`` the part of it that is on the board.
    """

    _esm = widget_script.script()
    shown = traitlets.Dict().tag(sync=True)
    """The state of the board, as JSON: ``here``, the position, see ``plain_positions``; ``at``, its
    ply; ``texts`` and ``movers`` of the whole game; ``weights`` in [0, 1] by action, counted from
    1; ``value`` in [-1, 1] for the player about to move, or None; ``message``, a refusal."""

    def __init__(self, played: Session, opinion: Opinion) -> None:
        super().__init__()
        self.session, self.position, self._opinion = played, played, opinion
        self.on_msg(lambda _, content, __: self.receive(content))
        self._show()

    @property
    def at(self) -> int:
        """The ply on the board, 0 at the start."""
        return len(self.position.actions)

    def play(self, move: int | str) -> None:
        """Play a move in the position on the board: its number, counted from 1, or its text.

        Another move than the game's next one leaves the moves behind this position.
        ``ValueError``, one line, where it cannot be played or the game is over.
        """
        played = session.after(self.session.game, [*self.position.as_dict()["moves"], move])
        if played.actions != self.session.actions[: len(played.actions)]:
            self.session = played
        self.position = played
        self._show()

    def go(self, ply: int) -> None:
        """Show the position after ``ply`` moves; the first or the last one where there is none."""
        actions = self.session.actions[: max(ply, 0)]
        self.position = session.after(self.session.game, [action + 1 for action in actions])
        self._show()

    def receive(self, content: object) -> None:
        """Do what the board in the browser asks for; anything else changes nothing.

        ``{"play": number, "at": ply}`` is a move in the position of ``ply``; a click on a position
        that is no longer on the board is left. ``{"go": ply}`` shows another one.
        """
        match content:
            case {"play": int(number), "at": int(ply)} if ply == self.at:
                try:
                    self.play(number)
                except ValueError as error:
                    self.shown = {**self.shown, "message": str(error)}
            case {"go": int(ply)}:
                self.go(ply)

    def _show(self) -> None:
        weights, value = ({}, None) if self.position.over() else self._opinion(self.position)
        whole = plain_positions.as_json(self.session)
        self.shown = {
            "game": self.session.game.name,
            "here": plain_positions.as_json(self.position),
            "at": self.at,
            "texts": whole["texts"],
            "movers": whole["movers"],
            "weights": {str(action + 1): weight for action, weight in weights.items()},
            "value": value,
            "message": "",
        }

    def __repr__(self) -> str:
        """The position as text, for front ends without widgets."""
        return self.position.drawing.as_text()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and the position as SVG for front ends without widgets."""
        bundle, svg = super()._repr_mimebundle_(**kwargs), self.position._repr_svg_()
        if bundle and svg:
            bundle[0]["image/svg+xml"] = svg
        return bundle
