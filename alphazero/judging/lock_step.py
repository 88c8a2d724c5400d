"""The games of two players, in lock step: each gets all its positions as one batch, ply by ply.

A result depends on the seeds and on the players in their order; players limited in time depend on
the machine, too, and share seconds within a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from alphazero.judging.decisions import RESIGNED, Player
from alphazero.judging.lines import Line
from alphazero.judging.session import Reason
from alphazero.types import Generators
from games.base import Game, States
from games.history import replay


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


def games_as_dicts(
    game: Game, names: tuple[str, str], openings: Sequence[Line], match: Match
) -> Iterator[dict[str, Any]]:
    """The games of a match, ready for JSON, in the form of ``Session.as_dict``.

    ``session.load`` reads them. ``opening_plies`` is added: the number of moves that neither player
    chose.
    """
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
