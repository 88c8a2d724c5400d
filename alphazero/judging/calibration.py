"""Calibration of a ladder: openings, matches between its rungs, the fit of their Elo."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from alphazero.judging import players
from alphazero.judging.arena import Progress, games_done
from alphazero.judging.ladder import Ladder, Pairing, Rung, forfeited, opponent
from alphazero.judging.lines import Line, line_of
from alphazero.judging.lock_step import play_match
from alphazero.judging.openings import draw_openings, random_line
from alphazero.judging.ratings import ELO, bradley_terry
from alphazero.types import Stream
from games import solvers
from games.base import Game
from games.history import replay

ATTEMPTS = 1000
"""Random lines tried per balanced opening."""


def blank(game: Game, ladder: Ladder) -> Ladder:
    """A ladder of the same players before its calibration, with newly drawn openings.

    The same seed gives the same openings.
    """
    draw = balanced_openings if ladder.balanced else random_openings
    openings = draw(game, len(ladder.openings), ladder.opening_plies, ladder.seed)
    rungs = tuple(Rung(rung.player, 0.0, 0.0, 0) for rung in ladder.rungs)
    return replace(ladder, openings=openings, rungs=rungs, pairings=())


def calibrate(game: Game, ladder: Ladder, progress: Progress | None = None) -> Iterator[Ladder]:
    """Play the pairings that ``ladder`` lacks; yield the ladder, fitted again, after each of them.

    Each rung meets the rungs up to ``ladder.reach`` above and below it from every opening, twice,
    with seats swapped, or from the first of them; neighbours come first. A calibration that was
    stopped plays the same games as one that was not. ``ValueError``: a program cannot be started,
    or it lost a game without a legal move.
    """
    specs = [rung.player for rung in ladder.rungs]
    reach = min(ladder.reach, len(specs) - 1)
    pairs = [(i, i + gap) for gap in range(1, reach + 1) for i in range(len(specs) - gap)]
    known = {(pairing.lower, pairing.higher): pairing for pairing in ladder.pairings}
    starts = [line_of(game, text) for text in ladder.openings for _ in range(2)]
    starts = starts[: ladder.pairing_games]
    for number, (i, j) in enumerate(pairs):
        if (i, j) not in known:
            seeds = [[ladder.seed, Stream.MATCH, i, j, index] for index in range(len(starts))]
            report = games_done(progress, number * len(starts), len(pairs) * len(starts))
            with opponent(game, specs[i]) as one, opponent(game, specs[j]) as two:
                match = play_match(game, (one, two), starts, seeds, report)
                for text in forfeited(match, one, two):
                    raise ValueError(f"such a game would distort the Elo: {text}")
            known[i, j] = Pairing(i, j, *match.tally())
            pairings = tuple(known.values())
            yield replace(ladder, rungs=fit(specs, pairings), pairings=pairings)


def fit(specs: Sequence[str], pairings: Sequence[Pairing]) -> tuple[Rung, ...]:
    """The rungs with their Elo, fitted by ``bradley_terry``; the first rung has Elo 0.

    Elo and error are rounded to a tenth of a point.
    """
    points = np.zeros((len(specs), len(specs)))
    for pairing in pairings:
        points[pairing.lower, pairing.higher] += pairing.wins + pairing.draws / 2
        points[pairing.higher, pairing.lower] += pairing.losses + pairing.draws / 2
    strength, covariance = bradley_terry(points)
    # The variance of a difference: var(i) + var(0) - 2 cov(i, 0).
    variance = covariance.diagonal() + covariance[0, 0] - 2 * covariance[0]
    elo = ELO * (strength - strength[0])
    # Floating-point rounding may leave the first variance slightly below 0.
    error = ELO * np.sqrt(np.maximum(variance, 0))
    games = (points + points.T).sum(axis=1)
    return tuple(
        Rung(spec, round(float(elo[i]), 1), round(float(error[i]), 1), int(games[i]))
        for i, spec in enumerate(specs)
    )


def balanced_openings(game: Game, count: int, plies: int, seed: int) -> tuple[str, ...]:
    """``count`` openings of ``plies`` random moves whose positions are drawn and all different.

    For games with a solver. ``ValueError`` where there are not so many.
    """
    solver, rng = players.make("solver", game), np.random.default_rng([seed, Stream.OPENINGS])
    openings: dict[bytes, str] = {}
    for _ in range(ATTEMPTS * count):
        line = random_line(game, plies, rng)
        if line is None:
            continue
        state = replay(game, [line])
        key = game.identity(state).tobytes()
        if key not in openings and solver(state, [rng]).value == 0:
            openings[key] = _text(game, line)
        if len(openings) == count:
            return tuple(openings.values())
    raise ValueError(f"{game.name} has no {count} balanced openings of {plies} plies")


def random_openings(game: Game, count: int, plies: int, seed: int) -> tuple[str, ...]:
    """``count`` openings of ``plies`` random moves to different positions, as ``draw_openings``."""
    return tuple(_text(game, line) for line in draw_openings(game, count, seed, plies))


def _text(game: Game, line: Line) -> str:
    return solvers.separator(game).join(str(action + 1) for action in line)
