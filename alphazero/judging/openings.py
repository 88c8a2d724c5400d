"""Openings: random moves at the beginning of the games of a match, so that these differ."""

import numpy as np

from alphazero.judging.lines import Line
from alphazero.types import Stream
from games.base import Game
from games.history import replay

USUAL_PLIES = 2
"""Random moves at the beginning of a game where no number is given."""
REDRAWS = 50
"""Attempts at an opening that leaves the game unfinished and leads to a new position."""
LONGER = 4
"""Plies by which openings become longer, at most, where there are too few of the given length."""


def usual_plies(game: Game) -> int:
    """``USUAL_PLIES``, or fewer in a game that is nearly always over by then."""
    rng = np.random.default_rng([0, Stream.OPENINGS])
    for plies in range(min(USUAL_PLIES, game.max_plies - 1), 0, -1):
        if any(random_line(game, plies, rng) is not None for _ in range(REDRAWS)):
            return plies
    return 0


def draw_openings(game: Game, count: int, seed: int, plies: int) -> list[Line]:
    """``count`` sequences of ``plies`` uniformly random moves after which the game goes on.

    They lead to different positions. Where the draw finds no new one, those after it are a ply
    longer, up to ``LONGER`` plies; after that the openings are repeated, as the empty one is where
    ``plies`` is 0. Example: 200 openings of one ply in tic-tac-toe are the 9 of one ply, nearly all
    72 of two plies, and some of three. ``ValueError``: ``plies`` end the game.
    """
    if not 0 <= plies < game.max_plies:
        raise ValueError(
            f"opening plies must be 0 to {game.max_plies - 1} in {game.name}, not {plies}"
        )
    rng = np.random.default_rng([seed, Stream.OPENINGS])
    openings: dict[bytes, Line] = {}
    length, longest = plies, min(plies + LONGER, game.max_plies - 1) if plies else 0
    while len(openings) < count and length <= longest:
        if not _add_opening(game, length, rng, openings):
            length += 1
    if not openings:
        raise ValueError(f"{plies} random opening plies nearly always end a game of {game.name}")
    lines = list(openings.values())
    return [lines[index % len(lines)] for index in range(count)]


def _add_opening(
    game: Game, plies: int, rng: np.random.Generator, openings: dict[bytes, Line]
) -> bool:
    """Add a line that leads to a new position; False where ``REDRAWS`` attempts find none."""
    for _ in range(REDRAWS):
        line = random_line(game, plies, rng)
        if line is not None:
            position = game.identity(replay(game, [line])).tobytes()
            if position not in openings:
                openings[position] = line
                return True
    return False


def random_line(game: Game, plies: int, rng: np.random.Generator) -> Line | None:
    """A line of ``plies`` uniformly random moves; None where the game ended on the way."""
    state, line = game.initial(1), []
    for _ in range(plies):
        actions = np.flatnonzero(game.legal(state)[0])
        if not actions.size:
            return None
        line.append(int(rng.choice(actions)))
        state = game.step(state, np.array(line[-1:]))
    return tuple(line) if game.legal(state).any() else None
