"""Six sets of solved Connect Four positions to measure a player by, drawn reproducibly from a seed.

A set is a stage (plies played) and a difficulty (plies to the end under perfect play), as in the
sets that Pascal Pons published for his solver: opening up to 14 plies played, middle 15 to 28, end
later; easy ends within 13 plies, medium within 28, hard later. No two positions of a set are equal
or mirror images.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import games
from games import solvers
from games.base import States
from games.solvers import connect_four, minimax
from games.solvers.connect_four import CELLS, Solver

GAME = games.make("connect_four")


class PositionSet(NamedTuple):
    """A stage of the game and a difficulty."""

    name: str
    plies: range
    """The numbers of plies played before its positions; each is there equally often."""
    left: range
    """Plies to the end under perfect play."""


SETS = (
    # Earlier positions would take most of the time: all moves of one of 8 plies take seconds.
    PositionSet("opening_easy", range(9, 15), range(1, 14)),
    PositionSet("opening_medium", range(11, 15), range(14, 29)),
    PositionSet("opening_hard", range(8, 14), range(29, CELLS + 1)),
    PositionSet("middle_easy", range(15, 29), range(1, 14)),
    PositionSet("middle_medium", range(15, 29), range(14, 29)),
    # With three cells left or fewer there is hardly a choice.
    PositionSet("end_easy", range(29, 39), range(1, 14)),
)

POSITIONS = 1000
"""The size of each set in the suite that is committed."""

_LEFT_OUT = ("54655445", "73442756")
"""Drawn with seed 0 and fitting, but in the set of openings that this project tunes on."""

# Games played at once; the depth of minimax in them, up to the ply from which the solver plays.
_GAMES = 256
_DEPTH = 3
_SOLVED_FROM = 20
# Games tried for one position before the draw is given up.
_ATTEMPTS = 10_000


def draw(
    target: PositionSet, seed: int, solver: Solver, known: Sequence[str] = ()
) -> Iterator[str]:
    """The set's positions as 1-based moves, without end; ``seed`` alone decides which.

    Each position is taken from a game of its own; the numbers of plies played take turns.
    ``known`` are the first positions of the set from an earlier call, which are not solved again.
    ``ValueError`` where they were drawn with another seed.
    """
    lines = _play_games(np.random.default_rng([seed, SETS.index(target)]), target.plies.stop)
    seen = {_with_mirror_image(moves) for moves in _LEFT_OUT}
    for number in count():
        plies = target.plies[number % len(target.plies)]
        for _ in range(_ATTEMPTS):
            line = next(lines)
            moves, both = line[:plies], _with_mirror_image(line[:plies])
            if len(line) <= plies or both in seen:
                continue
            if moves == known[number] if number < len(known) else fits(moves, target, solver):
                break
        else:
            raise ValueError(
                f"{target.name}: position {number + 1} cannot be found with seed {seed}"
            )
        seen.add(both)
        yield moves


def fits(moves: str, target: PositionSet, solver: Solver) -> bool:
    """Whether the unfinished position after ``moves`` belongs to the set: cheaper than to solve."""
    first, last = target.left[0], target.left[-1]
    return (
        len(moves) in target.plies
        and _lasts(moves, first, solver)
        and not _lasts(moves, last + 1, solver)
    )


def plies_left(score: int, played: int) -> int:
    """How long a game of this score, seen by the mover, lasts under perfect play."""
    if score == 0:
        return CELLS - played
    # The winner's stones at the end, less those on the board: with score 18 after 6 plies it ends
    # with 22 - 18 = 4 stones, of which 3 are there, so one ply is left.
    mine, theirs = played // 2, (played + 1) // 2
    return 2 * (22 - score - mine) - 1 if score > 0 else 2 * (22 + score - theirs)


def _lasts(moves: str, plies: int, solver: Solver) -> bool:
    """Whether perfect play goes on for ``plies`` or more."""
    played = len(moves)
    if plies <= 1 or played + plies > CELLS:
        return plies <= 1
    # Perfect play ends sooner exactly where the score is at least ``win`` or at most ``-loss``.
    win = min(s for s in range(1, 22) if plies_left(s, played) < plies)
    loss = min(s for s in range(1, 22) if plies_left(-s, played) < plies)
    state = solvers.position(GAME, moves)[0]
    own, other = int(state["mine"]), int(state["theirs"])
    return not solver.at_least(own, other, win) and solver.at_least(own, other, 1 - loss)


def _play_games(rng: np.random.Generator, plies: int) -> Iterator[str]:
    """Games of at most ``plies`` moves, without end, in all mixtures of random and sound moves.

    The probability of a random move is drawn for each game, uniformly from 0 to 1.
    """
    while True:
        random_share = rng.random(_GAMES)
        states, lines = GAME.initial(_GAMES), [""] * _GAMES
        for ply in range(plies):
            going = np.flatnonzero(GAME.legal(states).any(axis=1))
            if len(going) == 0:
                break
            sound = _sound_moves(states[going], ply)
            randomly = rng.random(len(going)) < random_share[going]
            allowed = np.where(randomly[:, None], GAME.legal(states[going]), sound)
            actions = (rng.random(allowed.shape) * allowed).argmax(axis=1)
            states[going] = GAME.step(states[going], actions)
            for row, action in zip(going, actions, strict=True):
                lines[row] += str(action + 1)
        yield from lines


def _sound_moves(states: States, ply: int) -> NDArray[np.bool_]:
    """``[B, 7]``: the best moves, from the solver where that is cheap, else from minimax."""
    if ply >= _SOLVED_FROM:
        _, scores = solvers.scores(GAME, states)
    else:
        _, scores = minimax.search(GAME, states, _DEPTH, connect_four.heuristic)
    return scores == np.nanmax(scores, axis=1, keepdims=True)


def _with_mirror_image(moves: str) -> frozenset[bytes]:
    """The states after ``moves`` and after their mirror image, as bytes: equal for both."""
    mirrored = "".join(str(8 - int(move)) for move in moves)
    return frozenset(solvers.position(GAME, text).tobytes() for text in (moves, mirrored))
