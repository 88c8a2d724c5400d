"""A ladder of graded opponents whose Elo is fixed, and where a player stands on it.

A ladder is a file of this package: the openings, the rungs with their Elo, and the results they
were fitted to. Whoever plays against rungs from those openings gets a number on the same scale.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alphazero.judging import players
from alphazero.judging.arena import (
    ELO,
    Line,
    Progress,
    after,
    bradley_terry,
    play_match,
    random_line,
    replay,
)
from alphazero.judging.mistakes import CONFIDENCE, wilson
from alphazero.judging.players import Player
from alphazero.types import Stream
from games import solvers
from games.base import Game

FOLDER = Path(__file__).parents[1] / "ladders"
REACH = 3
"""A calibration lets each rung meet so many above and below: farther ones tell little."""
ROUND = 20
"""Games against one rung before the next is chosen."""
ATTEMPTS = 1000
"""At a balanced opening, for each that is wanted."""
BEYOND = 4000.0
"""Elo above and below the ladder within which a rating is sought."""
WORTH = np.array([1.0, 0.5, 0.0])
"""Points of a win, a draw and a loss."""


@dataclass(frozen=True, slots=True)
class Rung:
    player: str
    """As ``players.make`` reads it."""
    elo: float
    """Above the first rung."""
    error: float
    """Its standard error, of the difference to the first rung."""
    games: int
    """That it played in the calibration."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """What one rung scored against a higher one."""

    lower: int
    higher: int
    wins: int
    """Of the lower."""
    draws: int
    losses: int


@dataclass(frozen=True, slots=True)
class Ladder:
    game: str
    seed: int
    opening_plies: int
    openings: tuple[str, ...]
    """Moves as in a position file. Perfect play draws behind each."""
    rungs: tuple[Rung, ...]
    """In the order of the calibration, which was to be that of their strength."""
    pairings: tuple[Pairing, ...]

    def as_dict(self) -> dict:
        """Plain types, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Met:
    """A player's games against one rung."""

    name: str
    elo: float
    wins: int
    draws: int
    losses: int
    score: float
    low: float
    high: float
    """The score's Wilson interval of 95 %."""


@dataclass(frozen=True, slots=True)
class Rating:
    """Where a player stands. A bound that no result sets is None, as after winning every game."""

    game: str
    player: str
    elo: float
    elo_low: float | None
    elo_high: float | None
    games: int
    opponents: tuple[Met, ...]
    """Weakest first."""

    def as_dict(self) -> dict:
        """Plain types, ready for JSON; open bounds become null."""
        return asdict(self)


def load(game: Game, path: Path | None = None) -> Ladder:
    """The ladder of ``game`` at ``path``; without one, the package's.

    ``ValueError`` where there is none, or one of another game, or an opening cannot be played.
    """
    if path and not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    path = path or FOLDER / f"{game.name}.json"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.json")))
        raise ValueError(f"{game.name} has no ladder; there is one for {known}")
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        rungs = tuple(Rung(**row) for row in read.pop("rungs"))
        pairings = tuple(Pairing(*row) for row in read.pop("pairings"))
        openings = tuple(read.pop("openings"))
        found = Ladder(**read, openings=openings, rungs=rungs, pairings=pairings)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no ladder: {error}") from None
    if found.game != game.name:
        raise ValueError(f"{path} is a ladder of {found.game}, not of {game.name}")
    _check_openings(game, found.openings, path)
    return found


def _check_openings(game: Game, openings: Sequence[str], path: Path) -> None:
    """``ValueError``: there are none, or one of them cannot be played or ends the game."""
    if not openings:
        raise ValueError(f"{path} has no openings")
    try:
        solvers.unfinished(game, openings)
    except solvers.NotAPosition as error:
        raise ValueError(f"{path}: an opening will not do: {error}") from None


def save(ladder: Ladder, path: Path) -> None:
    """One line a rung and a pairing, so that a change can be read."""
    fields = asdict(ladder)
    rows = {
        "openings": fields.pop("openings"),
        "rungs": fields.pop("rungs"),
        "pairings": [list(each.values()) for each in fields.pop("pairings")],
    }
    head = [f'  "{key}": {json.dumps(value)}' for key, value in fields.items()]
    body = [
        f'  "{key}": [\n' + ",\n".join(f"    {json.dumps(row)}" for row in each) + "\n  ]"
        for key, each in rows.items()
    ]
    path.write_text("{\n" + ",\n".join(head + body) + "\n}\n", encoding="utf-8")


def rate(
    game: Game,
    player: Player,
    ladder: Ladder,
    games: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> Rating:
    """Let ``player`` play ``games`` games against the rungs that tell most about it.

    They come in rounds of 20 against one rung, ``_next_rung``'s, from the ladder's openings, each
    twice with seats swapped. The same seed gives the same rating. ``ValueError``: no game.
    """
    if games < 1:
        raise ValueError(f"the number of games must be at least 1, not {games}")
    openings = [_line(game, text) for text in ladder.openings]
    heights = np.array([rung.elo for rung in ladder.rungs])
    results = np.zeros((len(heights), len(WORTH)), np.int64)
    while (played := int(results.sum())) < games:
        index = _next_rung(heights, results)
        first, size = int(results[index].sum()), min(ROUND, games - played)
        pair = player, players.make(ladder.rungs[index].player, game)
        numbers = range(first, first + size)
        starts = [openings[number // 2 % len(openings)] for number in numbers]
        seeds = [[seed, Stream.MATCH, index, number] for number in numbers]
        results[index] += _tally(game, pair, starts, seeds, after(progress, played, games))
    met = tuple(
        _met(ladder.rungs[index], *results[index].tolist())
        for index in np.argsort(heights, kind="stable")
        if results[index].any()
    )
    return Rating(game.name, player.name, *estimate(heights, results), games, met)


def _met(rung: Rung, wins: int, draws: int, losses: int) -> Met:
    games, points = wins + draws + losses, wins + draws / 2
    low, high = wilson(points, games)
    return Met(rung.player, rung.elo, wins, draws, losses, points / games, low, high)


def _next_rung(heights: NDArray[np.float64], results: NDArray[np.int64]) -> int:
    """Which rung's next round says most, in proportion to the games that it has played already.

    The player is taken for as strong as the results make it, at first for as strong as the middle.
    """
    now = estimate(heights, results)[0] if results.any() else float(np.median(heights))
    share = _expected(now, heights)
    return int((share * (1 - share) / (results.sum(axis=1) + ROUND)).argmax())


def estimate(
    heights: NDArray[np.float64], results: NDArray[np.int64]
) -> tuple[float, float | None, float | None]:
    """A player's likeliest Elo and its 95 % bounds.

    ``results[r]`` are its wins, draws and losses against rungs whose Elo ``heights[r]`` is taken as
    exact. The bounds are where the points lie 1.96 standard deviations from those expected: for one
    rung, Wilson's interval of the score. Who won, or lost, everything has one bound only, and is
    rated as if it had drawn once more with each that it met.
    """
    games, points = results.sum(axis=1), results @ WORTH
    bounded_below, bounded_above = points.sum() > 0, points.sum() < games.sum()
    drawn = 0.0 if bounded_below and bounded_above else 1.0 * (games > 0)

    def excess(elo: float, deviations: float) -> float:
        share = _expected(elo, heights)
        spread = np.sqrt((games * share * (1 - share)).sum())
        return float((points - games * share).sum() - deviations * spread)

    def likelihood_slope(elo: float) -> float:
        share = _expected(elo, heights)
        return float((points + drawn / 2 - (games + drawn) * share).sum())

    ends = float(heights.min()) - BEYOND, float(heights.max()) + BEYOND
    return (
        _root(likelihood_slope, *ends),
        _root(lambda elo: excess(elo, CONFIDENCE), *ends) if bounded_below else None,
        _root(lambda elo: excess(elo, -CONFIDENCE), *ends) if bounded_above else None,
    )


def _expected(elo: float, heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the points that a player of ``elo`` takes from each rung."""
    return 1 / (1 + np.exp((heights - elo) / ELO))


def _root(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, by bisection to far less than a point of Elo."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def blank(game: Game, ladder: Ladder) -> Ladder:
    """A ladder of the same players, yet to be calibrated, with openings drawn anew.

    The same seed gives the same openings.
    """
    openings = balanced_openings(game, len(ladder.openings), ladder.opening_plies, ladder.seed)
    rungs = tuple(Rung(rung.player, 0.0, 0.0, 0) for rung in ladder.rungs)
    return replace(ladder, openings=openings, rungs=rungs, pairings=())


def calibrate(game: Game, ladder: Ladder, progress: Progress | None = None) -> Iterator[Ladder]:
    """Play the pairings that ``ladder`` lacks and rate its players anew after each of them.

    Each rung meets those up to ``REACH`` above and below in every opening, twice, seats swapped;
    neighbours come first. What is played does not depend on where one begins.
    """
    specs = [rung.player for rung in ladder.rungs]
    pairs = [(i, i + gap) for gap in range(1, REACH + 1) for i in range(len(specs) - gap)]
    known = {(each.lower, each.higher): each for each in ladder.pairings}
    starts = [_line(game, text) for text in ladder.openings for _ in range(2)]
    for number, (i, j) in enumerate(pairs):
        if (i, j) not in known:
            pair = players.make(specs[i], game), players.make(specs[j], game)
            seeds = [[ladder.seed, Stream.MATCH, i, j, index] for index in range(len(starts))]
            report = after(progress, number * len(starts), len(pairs) * len(starts))
            known[i, j] = Pairing(i, j, *_tally(game, pair, starts, seeds, report).tolist())
            pairings = tuple(known.values())
            yield replace(ladder, rungs=fit(specs, pairings), pairings=pairings)


def fit(specs: Sequence[str], pairings: Sequence[Pairing]) -> tuple[Rung, ...]:
    """The rungs' Elo, to a tenth of a point, by ``arena.bradley_terry``; the first one is 0."""
    points = np.zeros((len(specs), len(specs)))
    for each in pairings:
        points[each.lower, each.higher] += each.wins + each.draws / 2
        points[each.higher, each.lower] += each.losses + each.draws / 2
    strength, covariance = bradley_terry(points)
    variance = covariance.diagonal() + covariance[0, 0] - 2 * covariance[0]
    elo = ELO * (strength - strength[0])
    # Rounding may leave the first one's a hair below 0.
    error = ELO * np.sqrt(np.maximum(variance, 0))
    games = (points + points.T).sum(axis=1)
    return tuple(
        Rung(spec, round(float(elo[i]), 1), round(float(error[i]), 1), int(games[i]))
        for i, spec in enumerate(specs)
    )


def balanced_openings(game: Game, count: int, plies: int, seed: int) -> tuple[str, ...]:
    """``count`` openings of ``plies`` random moves behind which perfect play draws, no two alike.

    For games with a solver. ``ValueError`` where there are not so many.
    """
    judge, rng = players.make("solver", game), np.random.default_rng([seed, Stream.OPENINGS])
    found: dict[bytes, str] = {}
    for _ in range(ATTEMPTS * count):
        line = random_line(game, plies, rng)
        if line is None:
            continue
        state = replay(game, [line])
        if state.tobytes() not in found and judge(state, [rng]).value == 0:
            found[state.tobytes()] = _text(game, line)
        if len(found) == count:
            return tuple(found.values())
    raise ValueError(f"{game.name} has no {count} balanced openings of {plies} plies")


def _tally(
    game: Game,
    pair: tuple[Player, Player],
    starts: Sequence[Line],
    seeds: Sequence[Sequence[int]],
    report: Callable[[int], None],
) -> NDArray[np.int64]:
    """``[3]``: the wins, draws and losses of the pair's first player."""
    result = play_match(game, pair, starts, seeds, report).result
    return np.array([(result == each).sum() for each in (1, 0, -1)])


def _line(game: Game, text: str) -> Line:
    """The actions of playable moves, written as in a position file."""
    return tuple(int(move) - 1 for move in solvers.moves(game, text))


def _text(game: Game, line: Line) -> str:
    return solvers.separator(game).join(str(action + 1) for action in line)
