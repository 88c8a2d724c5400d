"""Matches between any number of players: every pair meets, with seats swapped and many openings.

All games of a pairing are played in lock step: each player gets all positions in which it is to
move as one batch, with the moves that led there. A result depends on the seed and on the players in
their order; players limited in time depend on the machine, too, and share seconds within a batch.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.judging.decisions import RESIGNED, Player
from alphazero.judging.lines import Line
from alphazero.judging.openings import draw_openings, usual_plies
from alphazero.judging.ratings import Standing, count_games, rank
from alphazero.judging.session import Reason
from alphazero.judging.sprt import PAIRS_PER_LOOK, Test, Verdict, distinct_pairs
from alphazero.types import Generators, Stream
from games.base import Game, States
from games.history import replay

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
    """In the order in which the players were given."""
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

    def counted(self) -> str:
        """The number of games in words, such as "100 games, 2 different"."""
        return count_games(self.games, self.distinct_games)


class Forfeit(NamedTuple):
    """The end of one game by a player's resignation, or because it gave no legal move."""

    seat: int
    """The side that has lost: 0 began."""
    reason: str
    """As in ``Decision.forfeits``; ``RESIGNED`` for a resignation."""


@dataclass(frozen=True, slots=True)
class Match:
    """The finished games of one pairing."""

    result: NDArray[np.int8]
    """``[G]``, for the pairing's first player: 1 won, 0 drawn, -1 lost."""
    lines: list[Line]
    """``[G]``, the moves of each game, its opening included."""
    adjudicated: NDArray[np.bool_]
    """``[G]``: it ended at ``max_plies``, with the result of ``game.adjudicate``."""
    first_seat: NDArray[np.int8]
    """``[G]``, the seat of the pairing's first player: 0 begins."""
    forfeits: dict[int, Forfeit] = field(default_factory=dict)
    """The games that ended because a player forfeited them, by their index."""

    @classmethod
    def of_no_games(cls) -> "Match":
        return cls(np.zeros(0, np.int8), [], np.zeros(0, np.bool_), np.zeros(0, np.int8))

    def then(self, more: "Match") -> "Match":
        """The games of this match and, behind them, those of ``more``."""
        moved = {len(self.lines) + index: forfeit for index, forfeit in more.forfeits.items()}
        return Match(
            np.append(self.result, more.result),
            self.lines + more.lines,
            np.append(self.adjudicated, more.adjudicated),
            np.append(self.first_seat, more.first_seat),
            self.forfeits | moved,
        )

    def tally(self) -> tuple[int, int, int]:
        """The wins, draws and losses of the pairing's first player."""
        won, drawn, lost = (int((self.result == value).sum()) for value in (1, 0, -1))
        return won, drawn, lost

    def forfeited(self) -> list[tuple[int, str]]:
        """The loser, 0 or 1, and the reason of each game that was lost without a legal move."""
        return [
            (int(self.first_seat[index] != forfeit.seat), forfeit.reason)
            for index, forfeit in self.forfeits.items()
            if forfeit.reason != RESIGNED
        ]


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
    pairs = list(combinations(range(len(players)), 2))
    matches = []
    for number, (one, two) in enumerate(pairs):
        pair = players[one], players[two]
        report = games_done(progress, number * games, len(pairs) * games)
        seeds = [[seed, Stream.MATCH, number, index] for index in range(games)]
        matches.append(play_match(game, pair, starts, seeds, report, swap))
        if record:
            for played in games_as_dicts(game, (pair[0].name, pair[1].name), starts, matches[-1]):
                record(played)
    return _result(game, players, pairs, matches)


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
    names, match, verdict = (players[0].name, players[1].name), Match.of_no_games(), None
    starts: list[Line] = []
    while len(match.lines) < most_games and (verdict is None or verdict.accepted is None):
        rows = range(len(match.lines), min(len(match.lines) + 2 * PAIRS_PER_LOOK, most_games))
        if rows.stop > len(starts):  # those drawn before come first again
            starts = _starts(game, min(most_games, 2 * rows.stop), seed, opening_plies, repeats=2)
        some = starts[rows.start : rows.stop]
        seeds = [[seed, Stream.MATCH, 0, row] for row in rows]
        part = play_match(game, players, some, seeds, lambda done: None)
        if record:
            for played in games_as_dicts(game, names, some, part):
                record(played)
        match = match.then(part)
        before, verdict = verdict, test.judge(distinct_pairs(match.lines, match.result))
        if progress:
            progress(verdict)
        if before is not None and sum(before.pairs) == sum(verdict.pairs):
            break
    return replace(_result(game, players, [(0, 1)], [match]), sprt=verdict)


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
) -> ArenaResult:
    """The table of ``matches``, one for each of ``pairs``."""
    names = [player.name for player in players]
    distinct = [len(set(match.lines)) for match in matches]
    return ArenaResult(
        game.name,
        games=sum(len(match.lines) for match in matches),
        players=rank(names, pairs, [match.result for match in matches], distinct),
        distinct_games=sum(distinct),
        adjudicated=sum(int(match.adjudicated.sum()) for match in matches),
        pairings=tuple(
            Pairing(*pair, *match.tally(), different)
            for pair, match, different in zip(pairs, matches, distinct, strict=True)
        ),
        programs=tuple(player.program for player in players),
        forfeits=_forfeits(pairs, matches),
    )


def _forfeits(pairs: Sequence[tuple[int, int]], matches: Sequence[Match]) -> tuple[Forfeits, ...]:
    """The games that each player lost without a legal move, counted by reason."""
    counts = Counter(
        (pair[loser], reason)
        for pair, match in zip(pairs, matches, strict=True)
        for loser, reason in match.forfeited()
    )
    return tuple(Forfeits(*key, games) for key, games in sorted(counts.items()))


def games_as_dicts(
    game: Game, names: tuple[str, str], openings: Sequence[Line], match: Match
) -> Iterator[dict[str, Any]]:
    """The games of a match, ready for JSON, in the form of ``Session.as_dict``.

    ``session.load`` reads them. ``opening_plies`` is added: the number of moves that neither player
    chose. Of two players of the same name the second is called ``NAME (2)``.
    """
    one, two = names
    names = (one, two if two != one else f"{two} (2)")
    rows = zip(openings, match.lines, match.result, match.first_seat, strict=True)
    for index, (opening, line, result, seat) in enumerate(rows):
        forfeit = match.forfeits.get(index)
        lost = {"forfeit": forfeit.reason} if forfeit and forfeit.reason else {}
        yield lost | {
            "game": game.name,
            "seats": list(names[::-1] if seat else names),
            "moves": [action + 1 for action in line],
            "resigned": forfeit and forfeit.seat,
            "clock": None,
            "result": {
                "first": int(-result if seat else result),
                "reason": str(_reason(forfeit, bool(match.adjudicated[index]))),
            },
            "opening_plies": len(opening),
        }


def _reason(forfeit: Forfeit | None, adjudicated: bool) -> Reason:
    if forfeit:
        return Reason.RESIGNATION if forfeit.reason == RESIGNED else Reason.FORFEIT
    return Reason.LENGTH if adjudicated else Reason.RULES


def games_done(progress: Progress | None, before: int, total: int) -> Callable[[int], None]:
    """A match's ``report``: calls ``progress`` with the games done in all matches, and ``total``.

    ``before`` is the number of games in the matches played before.
    """
    return lambda done: progress(before + done, total) if progress else None


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
    first_seat = (np.arange(len(openings)) % 2 * swap).astype(np.int8)
    played = _Games(game, replay(game, openings), [list(line) for line in openings])
    rngs = [[np.random.default_rng([*seed, side]) for seed in seeds] for side in (0, 1)]
    while (going := played.going()).any():
        # Computed before either player moves: after the first one's moves it would be the second's
        # turn in the same games, and two plies would be played as one.
        side_to_move = game.to_move(played.states) ^ first_seat
        for side, player in enumerate(players):
            rows = np.flatnonzero(going & (side_to_move == side))
            if rows.size:
                played.play(player, rows, [rngs[side][row] for row in rows])
        report(len(openings) - int(played.going().sum()))
    return played.match(first_seat)


@dataclass(slots=True)
class _Games:
    """The games of a match in progress."""

    game: Game
    states: States
    lines: list[list[int]]
    forfeits: dict[int, Forfeit] = field(default_factory=dict)

    def going(self) -> NDArray[np.bool_]:
        """``[G]``: the games that are not over."""
        going = np.isnan(results(self.game, self.states, self.lines))
        going[list(self.forfeits)] = False
        return going

    def play(self, player: Player, rows: NDArray[np.intp], rngs: Generators) -> None:
        """Let ``player`` move in the games ``rows``; ``RuntimeError`` where a move is illegal."""
        states = self.states[rows]
        decision = player(states, rngs, lines=[tuple(self.lines[row]) for row in rows])
        lost = decision.forfeits or {}
        for index, reason in lost.items():
            seat = int(self.game.to_move(states)[index])
            self.forfeits[int(rows[index])] = Forfeit(seat, reason)
        played = np.array([index for index in range(len(rows)) if index not in lost], np.intp)
        actions = decision.action[played]
        if not self.game.legal(states[played])[np.arange(len(played)), actions].all():
            raise RuntimeError(f"{player.name} played an illegal move in {self.game.name}")
        self.states[rows[played]] = self.game.step(states[played], actions)
        for row, action in zip(rows[played], actions, strict=True):
            self.lines[row].append(int(action))

    def match(self, first_seat: NDArray[np.int8]) -> Match:
        """The finished games; ``first_seat [G]`` is the seat of the pairing's first player."""
        sign = np.where(self.game.to_move(self.states) == first_seat, 1, -1)
        adjudicated = np.asarray(self.game.legal(self.states).any(axis=1))
        lost = list(self.forfeits)
        outcome = results(self.game, self.states, self.lines)
        outcome[lost] = 0
        result = (sign * outcome).astype(np.int8)
        losers = np.array([forfeit.seat for forfeit in self.forfeits.values()], np.int8)
        result[lost] = np.where(losers == first_seat[lost], -1, 1)
        adjudicated[lost] = False
        lines = [tuple(line) for line in self.lines]
        return Match(result, lines, adjudicated, first_seat, self.forfeits)


def results(game: Game, states: States, lines: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """``[B]``: the results of games after ``lines``, for the players about to move; NaN: goes on.

    Games of ``max_plies`` plies are adjudicated.
    """
    return game.result(states, np.array([len(line) for line in lines]))
