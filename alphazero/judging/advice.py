"""A player's opinion of a position and of a move, in words for the person who plays against it."""

from typing import NamedTuple

import numpy as np

from alphazero.judging import variations
from alphazero.judging.decisions import Decision
from games.base import Game, States

TOP_MOVES = 3
BLUNDER = 0.4
"""The value that a move must lose to be pointed out: 0.4 are 20 % of the points."""


class Choice(NamedTuple):
    """A move that a person has chosen in a position that the player had evaluated."""

    move: str
    best: str
    """The player's own move there."""
    value: float
    """The value of the position, in [-1, 1], for the person."""


def percent(value: float) -> str:
    """The expected share of the points of a value in [-1, 1]: 0.72 is ``86 %``, a draw ``50 %``.

    Only values of exactly 1 and -1 are 100 % and 0 %: others may be uncertain.
    """
    share = round(50 * (1 + value))
    return f"{share if abs(value) == 1 else min(99, max(1, share))} %"


def blunder(choice: Choice, after: float) -> str | None:
    """``4? 86 % -> 49 %; 6 was better``, or None where the move lost less than ``BLUNDER``.

    ``after``: the value after the move, in [-1, 1], for the person.
    """
    if choice.move == choice.best or choice.value - after < BLUNDER:
        return None
    change = f"{percent(choice.value)} -> {percent(after)}"
    return f"{choice.move}? {change}; {choice.best} was better"


def described(
    game: Game, states: States, decision: Decision, own: bool, trained_in: str = ""
) -> list[str]:
    """The evaluation of the decision in the position ``states [1]`` for the human, in lines.

    ``own``: the human was to move there. ``trained_in``: that of the player, see ``Player``.
    """
    said, state = [], states[0]
    if decision.value is not None:
        value = float(decision.value[0]) * (1 if own else -1)
        by = f"; by a network trained in {trained_in}" if trained_in else ""
        said.append(f"Your chances: {percent(value)} (a draw counts one half{by}).")
    top = top_moves(decision)
    listed = [f"{game.move_to_text(state, move)} ({share:.0%})" for move, share in top]
    if listed:
        said.append(f"Its top moves: {', '.join(listed)}.")
    line = variations.expected(game, states, decision.tree, int(decision.action[0]))
    if len(line) > 1:
        said.append(f"It expects: {' '.join(line)}.")
    return said


def top_moves(decision: Decision) -> list[tuple[int, float]]:
    """The move chosen in the first position, then those searched most, each with its policy.

    The order is by visits, because Gumbel's search may give a high policy to a move that it stopped
    searching early. Moves of less than half a percent are left out.
    """
    if decision.policy is None:
        return []
    policy, action = decision.policy[0], int(decision.action[0])
    visits = np.zeros_like(policy) if decision.visits is None else decision.visits[0]
    others = [int(other) for other in np.lexsort((-policy, -visits)) if other != action]
    ranked = [action, *others][:TOP_MOVES]
    return [(move, float(policy[move])) for move in ranked if policy[move] >= 0.005]
