"""The result of a search in one position, in the words of the game's players."""

from dataclasses import dataclass, field

import numpy as np

from alphazero.judging import picture, variations
from alphazero.judging.picture import Picture
from alphazero.types import SearchResult
from games.base import Game, States


@dataclass(frozen=True, slots=True)
class MoveEvaluation:
    """One legal move of an analysed position."""

    move: str
    """In the notation of the game's players."""
    action: int
    """The same as an index into the game's actions, counted from 0."""
    probability: float
    """The move's share of the search's policy, in [0, 1]; all moves together sum to 1."""
    visits: int
    """Simulations that began with this move."""
    value: float | None
    """Mean result expected after it, in [-1, 1] for the player who makes it; None where the search
    did not visit the move."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The result of one search in one position, seen by the player about to move."""

    move: str
    """The best move, in the notation of the game's players."""
    action: int
    """The same as an index into the game's actions, counted from 0."""
    value: float
    """Expected result, in [-1, 1]: +1 a win, 0 a draw, -1 a loss."""
    proven: bool
    """Whether the search has proven ``value``: it is the result under best play."""
    moves: tuple[MoveEvaluation, ...]
    """All legal moves: the best one, then the others by visits and by probability."""
    variation: tuple[str, ...] = ()
    """The principal variation: the best move and the most visited replies after it."""
    picture: Picture | None = field(default=None, compare=False, repr=False)
    """The position with the search's policy; a notebook shows an analysis as this picture."""

    def _repr_svg_(self) -> str | None:
        return self.picture and self.picture._repr_svg_()


def analysis(game: Game, states: States, result: SearchResult, last: int | None = None) -> Analysis:
    """The ``result`` of the search in the one position ``states [1]``, as an ``Analysis``.

    ``last``: the action that led to the position, where it is known.
    """
    best, policy, visits = int(result.action[0]), result.policy[0], result.visits[0]
    legal = np.flatnonzero(game.legal(states)[0]).tolist()
    order = sorted(legal, key=lambda action: (action != best, -visits[action], -policy[action]))
    values = result.action_value[0]
    return Analysis(
        move=game.move_to_text(states[0], best),
        action=best,
        value=float(result.value[0]),
        proven=result.proven is not None and bool(result.proven[0]),
        moves=tuple(
            MoveEvaluation(
                move=game.move_to_text(states[0], action),
                action=action,
                probability=float(policy[action]),
                visits=int(visits[action]),
                value=None if np.isnan(values[action]) else float(values[action]),
            )
            for action in order
        ),
        variation=variations.expected(game, states, result.tree, best),
        picture=picture.drawn(game, states[0], last, dict(enumerate(policy.tolist()))),
    )
