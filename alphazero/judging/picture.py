"""Positions as pictures, for notebooks: the same drawing as in the terminal and on the page.

alphazero.show("connect_four", "4453")                     # the last line of a notebook's cell
alphazero.show(game, "4453", weights=agent.analyse("4453"))
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

import games
from alphazero.judging import session
from games import svg
from games.base import Game
from games.drawing import Drawing

if TYPE_CHECKING:
    from alphazero.judging.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Picture:
    """A position as a picture; ``show`` makes one.

    A notebook shows it as SVG, and as text where the game has a text only; ``str`` of it is the
    text, ``svg()`` the file.
    """

    drawing: Drawing
    weights: Mapping[int, float] = field(default_factory=dict)
    """A number in [0, 1] per cell: how green its ground is."""
    caption: str = ""
    """A line below the board."""

    def svg(self) -> str:
        """The picture as an SVG element of its own size."""
        return svg.render(self.drawing, self.weights, self.caption)

    def _repr_svg_(self) -> str | None:
        # None: a notebook then shows the text, whose columns SVG would not keep.
        return self.svg() if self.drawing.cells else None

    def __repr__(self) -> str:
        return "\n".join(filter(None, [self.drawing.as_text(), self.caption]))


def show(
    game: Game | str,
    position: str | Sequence[int | str] | np.ndarray | np.void = "",
    *,
    weights: "Analysis | Mapping[int, float] | ArrayLike | None" = None,
    caption: str = "",
) -> Picture:
    """A position of ``game``, or of the game of that name, as a picture that a notebook shows.

    ``position``: the moves from the start, as for ``Agent.analyse`` but also to the end of a game,
    or a state, as ``game.step`` returns it, alone or in an array ``[1]``; the last move is marked
    where the moves are known. ``weights`` in [0, 1] per action, a policy ``[A]`` for instance, are
    shown as green grounds of the cells where the moves end; an analysis brings its policy.
    ``caption``: a text below the board. ``ValueError``, one line: an unknown game, a move that
    cannot be played, states of another game, or ``weights`` of another length.
    """
    game = games.make(game) if isinstance(game, str) else game
    state, last = _position(game, position)
    return drawn(game, state, last, _by_action(game, weights), caption)


def drawn(
    game: Game, state: np.void, last: int | None, weights: Mapping[int, float], caption: str = ""
) -> Picture:
    """The picture of ``state``; ``last``: the action that led to it, ``weights`` by action."""
    drawing = game.drawing(state, last)
    return Picture(drawing, svg.cell_weights(drawing, weights), caption)


def _position(
    game: Game, position: str | Sequence[int | str] | np.ndarray | np.void
) -> tuple[np.void, int | None]:
    """The state, and the action that led to it where it is known."""
    if not isinstance(position, np.ndarray | np.void):
        played = session.after(game, position)
        return played.states[0], played.actions[-1] if played.actions else None
    states = np.atleast_1d(np.asarray(position))
    if states.dtype != game.dtype or states.shape != (1,):
        raise ValueError(
            f"a position is a text or a list of moves, or one state of {game.name}, not an array "
            f"{list(states.shape)} of {states.dtype.names or states.dtype}"
        )
    return states[0], None


def _by_action(
    game: Game, weights: "Analysis | Mapping[int, float] | ArrayLike | None"
) -> Mapping[int, float]:
    """``weights`` by their actions."""
    if weights is None or isinstance(weights, Mapping):
        return weights or {}
    moves = getattr(weights, "moves", None)
    if moves is not None:
        return {move.action: move.probability for move in moves}
    policy = np.asarray(weights, np.float32)
    if policy.shape != (game.num_actions,):
        raise ValueError(
            f"weights are {game.num_actions} numbers, one per action of {game.name}, or a "
            f"dictionary of them by action, not an array {list(policy.shape)}"
        )
    return dict(enumerate(policy.tolist()))
