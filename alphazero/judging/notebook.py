"""A board to play on in a notebook.

alphazero.board("connect_four", "4453")                    # the last line of a notebook's cell
alphazero.board("connect_four", agent=agent)               # with the agent's analysis
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

import games
from alphazero.judging import picture, session
from alphazero.judging.session import Session
from alphazero.nn import extras
from games.base import Game

if TYPE_CHECKING:
    from alphazero.judging.agent import Agent
    from alphazero.judging.analysis import Analysis
    from alphazero.judging.widget import GameWidget, Opinion


def board(
    game: Game | str,
    moves: str | Sequence[int | str] = "",
    *,
    agent: "Agent | None" = None,
    weights: "Analysis | Mapping[int, float] | ArrayLike | None" = None,
) -> "GameWidget":
    """A board of ``game``, or of the game of that name, on which a notebook's user plays.

    ``moves`` from the start as for ``show``; clicks play on for both sides, and the arrows and the
    list of moves lead through the game. Another move in an earlier position leaves the rest.
    With an ``agent`` each position is analysed when it is shown: the cells have the share of the
    search's policy in percent, the line above the board the win rate of the player about to move.
    ``weights`` as for ``show``, for the position after ``moves``. The game is in ``session`` of the
    widget. ``ValueError``, one line: as for ``show``, an agent of another game, both an agent and
    weights, or anywidget is not installed.
    """
    try:
        from alphazero.judging.widget import GameWidget
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "traitlets"):
            raise
        need = "alphazero.board needs anywidget (alphazero.show does not)"
        raise ValueError(extras.missing(need, "notebook")) from None
    game = games.make(game) if isinstance(game, str) else game
    played = session.after(game, moves)
    return GameWidget(played, _opinion(played, agent, weights))


def _opinion(
    played: Session,
    agent: "Agent | None",
    weights: "Analysis | Mapping[int, float] | ArrayLike | None",
) -> "Opinion":
    """The agent's analysis of each position, or ``weights`` in the one they are given for."""
    if agent is None:
        given, actions = picture.by_action(played.game, weights), list(played.actions)
        return lambda position: (given if position.actions == actions else {}, None)
    if weights is not None:
        raise ValueError("the weights are those of the agent's analysis: give one of the two")
    if not games.same(agent.game.name, played.game.name):
        raise ValueError(f"the agent plays {agent.game.name}, not {played.game.name}")
    return lambda position: _policy(agent.analyse([action + 1 for action in position.actions]))


def _policy(analysis: "Analysis") -> tuple[Mapping[int, float], float]:
    return {move.action: move.probability for move in analysis.moves}, analysis.value
