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
from alphazero.errors import one_line
from alphazero.judging import session
from games import svg
from games.base import Game
from games.drawing import Drawing

if TYPE_CHECKING:
    from alphazero.judging.analysis import Analysis


ROUNDING = 1e-5
"""How much a weight may be above 1."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A position as a picture; ``show`` makes one.

    A notebook shows it as SVG, and as text where the game has a text only; ``str`` of it is the
    text, ``svg()`` the file.
    """

    game: Game
    state: np.void
    last: int | None = None
    """The action that led to the state, where it is known."""
    by_action: Mapping[int, float] = field(default_factory=dict)
    """Weights in [0, 1] by action."""
    caption: str = ""
    """A line below the board."""

    @property
    def drawing(self) -> Drawing:
        """The position without weights and caption; drawn anew each time, in milliseconds."""
        return self.game.drawing(self.state, self.last)

    @property
    def weights(self) -> dict[int, float]:
        """A number in [0, 1] per cell: how green its ground is."""
        return svg.cell_weights(self.drawing, self.by_action)

    def svg(self) -> str:
        """The picture as an SVG element of its own size."""
        return self._render(self.drawing)

    def _render(self, drawing: Drawing) -> str:
        return svg.render(drawing, svg.cell_weights(drawing, self.by_action), self.caption)

    def _repr_svg_(self) -> str | None:
        drawing = self.drawing
        # None: a notebook then shows the text, whose columns SVG would not keep.
        return self._render(drawing) if drawing.cells else None

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
    shown as green grounds of the cells where the moves end; an analysis brings its policy. Those
    of moves that end on one cell are added, up to 1. ``caption``: a text below the board.
    ``ValueError``, one line: an unknown game, a move that cannot be played, states of another game,
    or ``weights`` of another length, of actions that there are not, or outside [0, 1].
    """
    game = games.make(game) if isinstance(game, str) else game
    state, last = _position(game, position)
    return drawn(game, state, last, by_action(game, weights), caption)


def drawn(
    game: Game, state: np.void, last: int | None, weights: Mapping[int, float], caption: str = ""
) -> Picture:
    """The picture of ``state``; ``last``: the action that led to it, ``weights`` by action.

    Nothing is drawn before the picture is shown; the state is copied until then.
    """
    return Picture(game, state.copy(), last, weights, caption)


def _position(
    game: Game, position: str | Sequence[int | str] | np.ndarray | np.void
) -> tuple[np.void, int | None]:
    """The state, and the action that led to it where it is known."""
    if not isinstance(position, np.ndarray | np.void):
        played = session.after(game, position)
        return played.states[0], played.last
    states = np.atleast_1d(np.asarray(position))
    if states.dtype != game.dtype or states.shape != (1,):
        raise ValueError(
            f"a position is a text or a list of moves, or one state of {game.name}, not an array "
            f"{list(states.shape)} of {states.dtype.names or states.dtype}"
        )
    return states[0], None


def by_action(
    game: Game, weights: "Analysis | Mapping[int, float] | ArrayLike | None"
) -> Mapping[int, float]:
    """``weights`` by their actions."""
    if weights is None:
        return {}
    if isinstance(weights, Mapping):
        return _checked(game, weights)
    moves = getattr(weights, "moves", None)
    if moves is not None:
        _check_game(game, getattr(weights, "picture", None))
        return {move.action: move.probability for move in moves}
    policy = np.asarray(weights, np.float32)
    if policy.shape != (game.num_actions,):
        raise ValueError(
            f"weights are {game.num_actions} numbers, one per action of {game.name}, or a "
            f"dictionary of them by action, not an array {list(policy.shape)}"
        )
    return _checked(game, dict(enumerate(policy.tolist())))


def _check_game(game: Game, analysed: Picture | None) -> None:
    """``ValueError`` where an analysis is one of another game, whose actions are other moves."""
    if analysed is not None and not games.same(analysed.game.name, game.name):
        raise ValueError(f"the analysis is one of {analysed.game.name}, not of {game.name}")


def _checked(game: Game, weights: Mapping[int, float]) -> dict[int, float]:
    """The weights as plain numbers; ``ValueError`` for one that cannot be shown."""
    for action, weight in weights.items():
        if not (isinstance(action, int | np.integer) and 0 <= action < game.num_actions):
            raise ValueError(
                f"{one_line(repr(action), 40)} is no action of {game.name}: they are the whole "
                f"numbers from 0 to {game.num_actions - 1}"
            )
        number = isinstance(weight, int | float | np.number)
        # A policy in float32 may be above 1 by its rounding.
        if not (number and 0 <= weight <= 1 + ROUNDING):
            raise ValueError(
                f"weights are in [0, 1]: that of action {action} is {one_line(repr(weight), 40)}"
            )
    return {int(action): min(float(weight), 1.0) for action, weight in weights.items()}
