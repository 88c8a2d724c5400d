"""Matches between any number of players: every pair meets, with seats swapped and many openings.

All games of a pairing are played in lock step: each player gets all positions in which it is to
move as one batch, with the moves that led there. A result depends on the seed and on the players in
their order; players that are limited in time depend on the machine, too, and share their seconds
among the games of a batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from alphazero.judging.decisions import Player
from alphazero.judging.lines import Line
from alphazero.judging.mistakes import CONFIDENCE, wilson
from alphazero.types import Generators, Stream
from games.base import Game, States
from games.history import replay

Progress = Callable[[int, int], None]
"""Called with the number of finished games and the number of all games."""

ELO = 400 / math.log(10)
"""Elo points per unit of log-odds: a score of 75 %, log-odds ln 3, is 190.8 Elo."""
OPENING_PLIES = 2
"""Random moves at the beginning of each game, so that the games of a match differ."""
REDRAWS = 50
"""Attempts at an opening that leaves the game unfinished and is not among those drawn before."""
NEWTON_STEPS = 100
"""An upper bound on the steps of Newton's method, which ends sooner where a step is tiny."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One player's results. ``score`` is the share of points, a draw being half of one.

    With two players ``elo`` is the difference to the other; with more, all are on one scale whose
    mean is 0. ``elo_low`` and ``elo_high`` bound a 95 % interval; None is an open bound, such as
    the upper one of a player who won every game.
    """

    name: str
    wins: int
    draws: int
    losses: int
    score: float
    elo: float
    elo_low: float | None
    elo_high: float | None


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """The table of a tournament and how many games it is based on."""

    game: str
    """The game's name."""
    games: int
    """The number of games in all pairings together."""
    players: tuple[Standing, ...]
    """In the order in which the players were given."""
    distinct_games: int
    """The number of different sequences of moves among the games, openings included."""
    adjudicated: int = 0
    """The number of games that ended at ``max_plies`` with the result of ``game.adjudicate``."""


@dataclass(frozen=True, slots=True)
class Match:
    """The finished games of one pairing."""

    result: NDArray[np.int8]
    """``[G]``, for the pairing's first player: 1 won, 0 drawn, -1 lost."""
    lines: list[Line]
    """``[G]``, the moves of each game, its opening included."""
    adjudicated: int = 0
    """Games that ended at ``max_plies``, with the result of ``game.adjudicate``."""


def play(
    game: Game,
    players: Sequence[Player],
    games: int,
    seed: int,
    opening_plies: int | None,
    progress: Progress | None = None,
    swap: bool = True,
) -> ArenaResult:
    """Let every pair of ``players`` play ``games`` games; all pairs play the same openings.

    Each opening of ``opening_plies`` random moves (None: ``usual_plies``) is played twice, with
    seats swapped; where ``games`` is odd the last one is played once. Without ``swap`` the pair's
    first player has seat 0 (it begins) in every game, and each opening is played once.
    ``ValueError``: fewer than two players, no game, or openings that end the game.
    ``RuntimeError``: a player's move is illegal.
    """
    if len(players) < 2:
        raise ValueError(f"an arena needs at least 2 players, not {len(players)}")
    if games < 1:
        raise ValueError(f"the number of games must be at least 1, not {games}")
    repeats = 2 if swap else 1
    opening_plies = usual_plies(game) if opening_plies is None else opening_plies
    openings = draw_openings(game, -(-games // repeats), seed, opening_plies)
    starts = [openings[index // repeats] for index in range(games)]
    pairs = list(combinations(range(len(players)), 2))
    matches = []
    for number, (one, two) in enumerate(pairs):
        report = games_done(progress, number * games, len(pairs) * games)
        seeds = [[seed, Stream.MATCH, number, index] for index in range(games)]
        matches.append(play_match(game, (players[one], players[two]), starts, seeds, report, swap))
    standings = rank([player.name for player in players], pairs, [m.result for m in matches])
    distinct = len({line for match in matches for line in match.lines})
    adjudicated = sum(match.adjudicated for match in matches)
    return ArenaResult(game.name, len(pairs) * games, standings, distinct, adjudicated)


def games_done(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    """A match's ``report``: calls ``progress`` with the games done in all matches, and ``total``.

    ``before`` is the number of games in the matches played before.
    """
    return lambda done: progress(before + done, total) if progress else None


def usual_plies(game: Game) -> int:
    """The random moves of an opening where no number is given: ``OPENING_PLIES``, fewer in a game
    whose random games are over by then. Example: 1 in a game of two moves.
    """
    rng = np.random.default_rng(0)
    return next(
        plies
        for plies in range(min(OPENING_PLIES, game.max_plies - 1), -1, -1)
        if any(random_line(game, plies, rng) is not None for _ in range(REDRAWS))
    )


def draw_openings(game: Game, count: int, seed: int, plies: int) -> list[Line]:
    """``count`` sequences of ``plies`` uniformly random moves after which the game goes on.

    Distinct as long as the draw finds new ones: small games have few short openings.
    """
    if not 0 <= plies < game.max_plies:
        raise ValueError(
            f"opening plies must be 0 to {game.max_plies - 1} in {game.name}, not {plies}"
        )
    rng = np.random.default_rng([seed, Stream.OPENINGS])
    openings: list[Line] = []
    for _ in range(count):
        openings.append(_draw_opening(game, plies, rng, set(openings)))
    return openings


def _draw_opening(game: Game, plies: int, rng: np.random.Generator, seen: set[Line]) -> Line:
    """One opening that is not in ``seen``, or after ``REDRAWS`` attempts one that is."""
    repeated = None
    for _ in range(REDRAWS):
        opening = random_line(game, plies, rng)
        if opening is not None and opening not in seen:
            return opening
        repeated = repeated if opening is None else opening
    if repeated is None:
        raise ValueError(f"{plies} random opening plies nearly always end a game of {game.name}")
    return repeated


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


def play_match(
    game: Game,
    players: tuple[Player, Player],
    openings: Sequence[Line],
    seeds: Sequence[Sequence[int]],
    report: Callable[[int], None],
    swap: bool = True,
) -> Match:
    """Play one game from each opening, in lock step.

    The first player has seat 0 in the games with an even index and seat 1 in the others; without
    ``swap`` it has seat 0 in all. A game's generators depend on its entry of ``seeds`` alone (a
    player may still combine the generators of a batch, as rollouts do). ``report`` is called after
    every ply with the number of games that are over.
    """
    lines = [list(opening) for opening in openings]
    states = replay(game, openings)
    first_seat = np.arange(len(lines)) % 2 * swap
    rngs = [[np.random.default_rng([*seed, side]) for seed in seeds] for side in (0, 1)]
    while (going := np.isnan(results(game, states, lines))).any():
        # Computed before either player moves: after the first one's moves it would be the second's
        # turn in the same games, and two plies would be played as one.
        side_to_move = game.to_move(states) ^ first_seat
        for side, player in enumerate(players):
            rows = np.flatnonzero(going & (side_to_move == side))
            if rows.size:
                generators = [rngs[side][row] for row in rows]
                so_far = [tuple(lines[row]) for row in rows]
                actions = _choose_actions(game, player, states[rows], generators, so_far)
                states[rows] = game.step(states[rows], actions)
                for row, action in zip(rows, actions, strict=True):
                    lines[row].append(int(action))
        report(len(lines) - int(np.isnan(results(game, states, lines)).sum()))
    sign = np.where(game.to_move(states) == first_seat, 1, -1)
    result = (sign * results(game, states, lines)).astype(np.int8)
    adjudicated = int(game.legal(states).any(axis=1).sum())
    return Match(result, [tuple(line) for line in lines], adjudicated)


def results(game: Game, states: States, lines: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """``[B]``: the results of games after ``lines``, for the players about to move; NaN: goes on.

    Games of ``max_plies`` plies are adjudicated.
    """
    return game.result(states, np.array([len(line) for line in lines]))


def _choose_actions(
    game: Game, player: Player, states: States, rngs: Generators, lines: Sequence[Line]
) -> NDArray[np.int64]:
    """The player's moves ``[B]``; ``RuntimeError`` where one is illegal."""
    actions = player(states, rngs, lines=lines).action
    if not game.legal(states)[np.arange(len(states)), actions].all():
        raise RuntimeError(f"{player.name} played an illegal move in {game.name}")
    return actions


def rank(
    names: Sequence[str], pairs: Sequence[tuple[int, int]], results: Sequence[NDArray[np.int8]]
) -> tuple[Standing, ...]:
    """The table of a tournament; ``results[k]`` are for the first player of ``pairs[k]``."""
    wins, draws = np.zeros((2, len(names), len(names)))
    for (one, two), result in zip(pairs, results, strict=True):
        wins[one, two], wins[two, one] = (result > 0).sum(), (result < 0).sum()
        draws[one, two] = draws[two, one] = (result == 0).sum()
    won, drawn, lost = (table.sum(axis=1).astype(int).tolist() for table in (wins, draws, wins.T))
    points = wins + draws / 2
    return tuple(
        Standing(name, won[i], drawn[i], lost[i], _share(points)[i], *rating)
        for i, (name, rating) in enumerate(zip(names, elo(points), strict=True))
    )


def elo(points: NDArray[np.float64]) -> list[tuple[float, float | None, float | None]]:
    """Each player's rating and its 95 % bounds; ``points[i, j]`` is what i scored against j.

    Maximum likelihood under the model of Bradley and Terry (1952, *Biometrika* 39, 324-345): the
    expected score of i against j is ``1 / (1 + exp(s_j - s_i))``, Elo is ``ELO * s``, and a draw is
    half a win and half a loss. Two players' bounds come from the Wilson interval of the score, more
    players' from the Fisher information. ``Standing`` explains the scale and None.
    """
    total, share = (points + points.T).sum(axis=1), _share(points)
    strength, covariance = bradley_terry(points)
    if len(points) == 2:
        bounds = [wilson(share[i] * total[i], total[i]) for i in (0, 1)]
        intervals = [(_log_odds(low), _log_odds(high)) for low, high in bounds]
        strength = strength - strength[::-1]
    else:
        radius = CONFIDENCE * np.sqrt(covariance.diagonal())
        intervals = zip(strength - radius, strength + radius, strict=True)
    return [
        (
            ELO * float(strength[i]),
            ELO * float(low) if share[i] > 0 else None,
            ELO * float(high) if share[i] < 1 else None,
        )
        for i, (low, high) in enumerate(intervals)
    ]


def _share(points: NDArray[np.float64]) -> list[float]:
    """Each player's points as a share of the points in its games."""
    return (points.sum(axis=1) / (points + points.T).sum(axis=1)).tolist()


def _log_odds(share: float) -> float:
    """``ln(share / (1 - share))``; infinite at 0 and 1."""
    return math.log(share / (1 - share)) if 0 < share < 1 else math.copysign(math.inf, share - 0.5)


def _strongly_connected(scored: NDArray[np.bool_]) -> bool:
    """Whether a chain of points leads from every player to every other (Ford 1957).

    ``scored[i, j]``: i scored against j. Squaring the matrix doubles the length of the chains.
    """
    reach = scored | np.eye(len(scored), dtype=bool)
    for _ in range(len(scored)):
        reach = reach @ reach
    return bool(reach.all())


def bradley_terry(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The most likely strengths ``[n]`` (log-odds, mean 0) and their covariance ``[n, n]``.

    Newton's method. The likelihood has one maximum where a chain of points leads from every player
    to every other; where none does, one imagined draw is added for every pair that met. Example: 40
    wins of 40 become 40.5 points of 41, log-odds ln 81, instead of an infinite difference.
    """
    if not _strongly_connected(points > 0):
        points = points + 0.5 * (points + points.T > 0)
    games = points + points.T
    strength = np.zeros(len(points))
    for _ in range(NEWTON_STEPS):
        expected, covariance = _bradley_terry_model(games, strength)
        step = covariance @ (points - games * expected).sum(axis=1)
        # A step of more than one unit leaves the region in which the quadratic model holds.
        strength = strength + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-12:
            break
    _, covariance = _bradley_terry_model(games, strength)
    return strength, covariance


def _bradley_terry_model(
    games: NDArray[np.float64], strength: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``expected[i, j]``, i's expected share of the points against j, and the covariance.

    The covariance is the inverse of the Fisher information, in which a game of i against j has the
    weight ``p * (1 - p)``.
    """
    expected = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    weight = games * expected * expected.T
    information = np.diag(weight.sum(axis=1)) - weight
    # Only differences are known: the pseudo-inverse keeps the mean at 0.
    return expected, np.linalg.pinv(information, hermitian=True).astype(np.float64)
