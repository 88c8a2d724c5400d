"""Matches between any number of players: every pair meets, with seats swapped and many openings.

A result depends on the seed and on the players in their order; ``lock_step`` plays the games.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, count
from typing import Any

from alphazero.judging.decisions import Player
from alphazero.judging.lines import Line
from alphazero.judging.lock_step import Match, games_as_dicts, play_match
from alphazero.judging.openings import draw_openings, usual_plies
from alphazero.judging.ratings import Standing, count_games, rank
from alphazero.judging.sprt import PAIRS_PER_LOOK, Test, Verdict, distinct_pairs
from alphazero.types import Stream
from games.base import Game

Progress = Callable[[int, int], None]
"""Called with the number of finished games and the number of all games."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The results of one pair of players, given by their places in the table, counted from 0."""

    first: int
    second: int
    wins: int
    """Games won by ``first``."""
    draws: int
    losses: int
    """Games lost by ``first``."""
    distinct_games: int
    """The number of different sequences of moves among its games, openings included."""


@dataclass(frozen=True, slots=True)
class Forfeits:
    """Games that a player lost because its program gave no legal move, for the same reason."""

    player: int
    """Its place in the table, counted from 0."""
    reason: str
    """Words that complete "it ...", such as "gave no answer within 10 s"."""
    games: int


@dataclass(frozen=True, slots=True)
class ArenaResult:
    """The table of a tournament and how many games it is based on."""

    game: str
    """The game's name."""
    games: int
    """The number of games in all pairings together."""
    players: tuple[Standing, ...]
    """In the order in which the players were given, with different names."""
    distinct_games: int
    """The sum of those of the pairings. The intervals of the Elo count equal games as one."""
    adjudicated: int = 0
    """The number of games that ended at ``max_plies`` with the result of ``game.adjudicate``."""
    pairings: tuple[Pairing, ...] = ()
    """Every pair of players, in the order of the table."""
    programs: tuple[str, ...] = ()
    """The name and version of each player's program, in the same order; empty for our own."""
    forfeits: tuple[Forfeits, ...] = ()
    """The games lost without a legal move, by player and reason; without resignations."""
    sprt: Verdict | None = None
    """How a sequential test ended; None where a number of games was given."""
    opening_plies: tuple[int, int] = (0, 0)
    """The fewest and the most random moves with which a game began."""

    def counted(self) -> str:
        """The number of games in words, such as "100 games, 2 different"."""
        return count_games(self.games, self.distinct_games)


def play(
    game: Game,
    players: Sequence[Player],
    games: int,
    seed: int,
    opening_plies: int | None = None,
    progress: Progress | None = None,
    swap: bool = True,
    record: Callable[[dict[str, Any]], object] | None = None,
) -> ArenaResult:
    """Let every pair of ``players`` play ``games`` games; all pairs play the same openings.

    Each opening is played twice, with seats swapped; where ``games`` is odd the last one is played
    once. Without ``swap`` the pair's first player has seat 0 (it begins) in every game, and each
    opening is played once. ``openings`` describes how ``opening_plies`` random moves are drawn;
    None stands for ``usual_plies``. ``record`` is called with each game as ``games_as_dicts`` gives
    it, once its pairing is played.

    ``ValueError``: fewer than two players, no game, or openings that end the game.
    ``RuntimeError``: a player's move is illegal.
    """
    if len(players) < 2:
        raise ValueError(f"an arena needs at least 2 players, not {len(players)}")
    if games < 1:
        raise ValueError(f"the number of games must be at least 1, not {games}")
    starts = _starts(game, games, seed, opening_plies, repeats=2 if swap else 1)
    pairs, names = list(combinations(range(len(players)), 2)), different_names(players)
    matches = []
    for number, (one, two) in enumerate(pairs):
        pair = players[one], players[two]
        report = games_done(progress, number * games, len(pairs) * games)
        seeds = [[seed, Stream.MATCH, number, index] for index in range(games)]
        matches.append(play_match(game, pair, starts, seeds, report, swap))
        if record:
            for played in games_as_dicts(game, (names[one], names[two]), starts, matches[-1]):
                record(played)
    return _result(game, players, pairs, matches, starts)


def play_until_certain(
    game: Game,
    players: tuple[Player, Player],
    test: Test,
    most_games: int,
    seed: int,
    opening_plies: int | None = None,
    progress: Callable[[Verdict], None] | None = None,
    record: Callable[[dict[str, Any]], object] | None = None,
) -> ArenaResult:
    """Let two players play pairs of games until ``test`` accepts a hypothesis.

    The games are the first ones of ``play`` with ``most_games``, an even number (else
    ``ValueError``). The test ends undecided after them, or where a look brings no new games: equal
    pairs count once. ``progress`` is called after ``PAIRS_PER_LOOK`` pairs. Errors as in ``play``.
    """
    if most_games < 2 or most_games % 2:
        raise ValueError(f"the most games of a test must be an even number, not {most_games}")
    (one, two), match, verdict = different_names(players), Match.of_no_games(), None
    starts: list[Line] = []
    while len(match.lines) < most_games and (verdict is None or verdict.accepted is None):
        rows = range(len(match.lines), min(len(match.lines) + 2 * PAIRS_PER_LOOK, most_games))
        if rows.stop > len(starts):  # those drawn before come first again
            starts = _starts(game, min(most_games, 2 * rows.stop), seed, opening_plies, repeats=2)
        some = starts[rows.start : rows.stop]
        seeds = [[seed, Stream.MATCH, 0, row] for row in rows]
        part = play_match(game, players, some, seeds, lambda done: None)
        if record:
            for played in games_as_dicts(game, (one, two), some, part):
                record(played)
        match = match.then(part)
        before, verdict = verdict, test.judge(distinct_pairs(match.lines, match.result))
        if progress:
            progress(verdict)
        if before is not None and sum(before.pairs) == sum(verdict.pairs):
            break
    played = starts[: len(match.lines)]
    return replace(_result(game, players, [(0, 1)], [match], played), sprt=verdict)


def different_names(players: Sequence[Player]) -> list[str]:
    """The players' names; of several equal ones the second is called ``NAME (2)``, and so on."""
    names: list[str] = []
    for player in players:
        numbered = (f"{player.name} ({number})" for number in count(2))
        names.append(next(name for name in chain([player.name], numbered) if name not in names))
    return names


def _starts(game: Game, games: int, seed: int, plies: int | None, repeats: int) -> list[Line]:
    """The opening of each game; each opening is used ``repeats`` times in a row."""
    plies = usual_plies(game) if plies is None else plies
    openings = draw_openings(game, -(-games // repeats), seed, plies)
    return [openings[index // repeats] for index in range(games)]


def _result(
    game: Game,
    players: Sequence[Player],
    pairs: Sequence[tuple[int, int]],
    matches: Sequence[Match],
    starts: Sequence[Line],
) -> ArenaResult:
    """The table of ``matches``, one for each of ``pairs``; ``starts`` are their openings."""
    plies = [len(start) for start in starts]
    distinct = [len(set(match.lines)) for match in matches]
    return ArenaResult(
        game.name,
        games=sum(len(match.lines) for match in matches),
        players=rank(
            different_names(players), pairs, [match.result for match in matches], distinct
        ),
        distinct_games=sum(distinct),
        adjudicated=sum(int(match.adjudicated.sum()) for match in matches),
        pairings=tuple(
            Pairing(*pair, *match.tally(), different)
            for pair, match, different in zip(pairs, matches, distinct, strict=True)
        ),
        programs=tuple(player.program for player in players),
        forfeits=_forfeits(pairs, matches),
        opening_plies=(min(plies), max(plies)),
    )


def _forfeits(pairs: Sequence[tuple[int, int]], matches: Sequence[Match]) -> tuple[Forfeits, ...]:
    """The games that each player lost without a legal move, counted by reason."""
    counts = Counter(
        (pair[loser], reason)
        for pair, match in zip(pairs, matches, strict=True)
        for loser, reason in match.forfeited()
    )
    return tuple(Forfeits(*key, games) for key, games in sorted(counts.items()))


def games_done(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    """A match's ``report``: calls ``progress`` with the games done in all matches, and ``total``.

    ``before`` is the number of games in the matches played before.
    """
    return lambda done: progress(before + done, total) if progress else None
