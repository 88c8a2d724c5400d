"""One game in progress, without a console: moves, undo, seats, resignation, clock, result.

The terminal and the service ``/move`` stand on it; any other front end can do the same. Sides are
numbered as players are in ``games.base``: 0 began, 1 is the other.

    session = Session(games.make("connect_four"), ("Ann", "the agent"), Clock((60.0, 60.0)))
    session.move("4")
    session.play_by(player, rng)         # the player moves within its time
    session.result(0), session.reason()  # None while the game goes on
"""

import time
from collections.abc import Callable, Collection, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import games
from alphazero import addresses
from alphazero.errors import one_line
from alphazero.judging import lines
from alphazero.judging.clock import Clock
from alphazero.types import Limits
from games import solvers, svg
from games.base import Game, States
from games.drawing import STONES, Drawing

if TYPE_CHECKING:
    from alphazero.judging.decisions import Decision, Player

LEAST_SECONDS = 1e-6
"""The least time with which a player is called."""
SEATS = ("first", "second")
"""The names of the sides where none are given."""
OUT_OF_TIME, FORFEITED = "ran out of time", "forfeited the game"
"""``Session.forfeit`` of games in files of SGF and PGN, which say no more than that."""


class Reason(StrEnum):
    """Why a game is over."""

    RULES = "rules"
    RESIGNATION = "resignation"
    TIME = "time"
    LENGTH = "length"
    """It has reached ``max_plies``, and ``game.adjudicate`` gives the result."""
    FORFEIT = "forfeit"
    """A program that played gave no legal move in time; ``Session.forfeit`` says how."""


class _Ply(NamedTuple):
    """One position of the game and the seconds that both sides had left when it arose."""

    states: States
    seconds: tuple[float, float] | None


class Session:
    """The moves of one game since it began, who plays which side, and how it ended.

    With a clock the time of the side about to move runs from the start, and the side whose time is
    over has lost. For one thread at a time.
    """

    def __init__(
        self, game: Game, seats: tuple[str, str] = SEATS, clock: Clock | None = None
    ) -> None:
        """``seats`` are the names of side 0 and side 1; ``ValueError`` where they are equal."""
        self.game, self.seats, self.clock = game, _checked(seats), clock
        self.start()

    def start(self) -> None:
        """Begin a new game, with the clock as it was at first."""
        self.actions: list[int] = []
        """The game's moves from the initial position."""
        self.resigned: int | None = None
        """The side that resigned, or that a forfeit has made lose."""
        self.forfeit = ""
        """How a program has lost without resigning, in words that complete "it ..."."""
        if self.clock:
            self.clock.set(self.clock.start_seconds)
        self._plies = [_Ply(self.game.initial(1), self._seconds())]
        self._run_clock()

    def continue_as(self, seats: Sequence[str], clock: Clock | None, resigned: int | None) -> None:
        """Give a game in progress its players, its clock, which runs from now, and its end."""
        self.seats, self.clock, self.resigned = _checked(seats), clock, resigned
        self._run_clock()

    @property
    def history(self) -> list[States]:
        """The positions ``[1]`` from the start to the one on the board."""
        return [ply.states for ply in self._plies]

    @property
    def states(self) -> States:
        """``[1]``, the position on the board."""
        return self._plies[-1].states

    @property
    def last(self) -> int | None:
        """The action that led to the current position; None at the start."""
        return self.actions[-1] if self.actions else None

    @property
    def to_move(self) -> int:
        """The side about to move; in a finished game, the side that would move next."""
        return self._mover(self.states)

    def side(self, name: str) -> int:
        """The side that ``name`` plays; ``ValueError`` for a name that is not one of the seats."""
        if name not in self.seats:
            raise ValueError(f"{name!r} does not play here, only {' and '.join(self.seats)}")
        return self.seats.index(name)

    def swap_seats(self) -> None:
        """Let each player go on with the other side; the sides keep their times."""
        self.seats = self.seats[::-1]

    def reason(self) -> Reason | None:
        """Why the game is over; None while it goes on."""
        if self.resigned is not None:
            return Reason.FORFEIT if self.forfeit else Reason.RESIGNATION
        if not np.isnan(self.game.outcome(self.states)[0]):
            return Reason.RULES
        if len(self.actions) >= self.game.max_plies:
            return Reason.LENGTH
        expired = self.clock is not None and self.clock.expired() is not None
        return Reason.TIME if expired else None

    @property
    def drawing(self) -> Drawing:
        """The board after the last move, which is marked; drawn anew each time."""
        return self.game.drawing(self.states[0], self.last)

    def _repr_svg_(self) -> str | None:
        """The position on the board, for notebooks; None where the game has a text only."""
        drawing = self.drawing
        return svg.render(drawing) if drawing.cells else None

    def over(self) -> bool:
        """Whether the game has ended, for one of the reasons of ``Reason``."""
        return self.reason() is not None

    def result(self, side: int) -> int | None:
        """The result for ``side``: +1 a win, 0 a draw, -1 a loss; None while the game goes on."""
        reason = self.reason()
        if reason is None:
            return None
        if reason in (Reason.RESIGNATION, Reason.FORFEIT):
            return -1 if side == self.resigned else 1
        if reason is Reason.TIME:
            return -1 if self.clock and side == self.clock.expired() else 1
        outcome = int(self.game.result(self.states, len(self.actions))[0])
        return outcome if self.to_move == side else -outcome

    def notation(self) -> list[str]:
        """The moves played so far, each in the notation of its position."""
        played = zip(self.history, self.actions, strict=False)  # the last position has no move yet
        return [self.game.move_to_text(states[0], action) for states, action in played]

    def legal_moves(self) -> list[str]:
        """The moves that can be played now by the rules, in the game's notation."""
        return list(lines.legal_moves(self.game, self.states).values())

    def move(self, text: str) -> None:
        """Play a move given in the game's notation, for the side about to move; see ``lines.move``.

        ``ValueError``, one line that says what would be right: the game is over, the text is no
        move of this game, or it cannot be played here.
        """
        self._check_going()
        action = lines.move(self.game, self.states, text)
        if action is None:
            raise ValueError(lines.refusal(self.game, self.states, text))
        self._play(action)

    def play(self, action: int) -> None:
        """Play an action for the side about to move; ``ValueError`` as in ``move``."""
        self._check_going()
        if not lines.is_legal(self.game, self.states, action):
            known = 0 <= action < self.game.num_actions
            text = self.game.action_to_text(action) if known else f"action {action + 1}"
            raise ValueError(lines.refusal(self.game, self.states, text))
        self._play(action)

    def _play(self, action: int) -> None:
        if self.clock:
            self.clock.moved(self.to_move)
        states = self.game.step(self.states, np.array([action]))
        self._plies.append(_Ply(states, self._seconds()))
        self.actions.append(int(action))
        self._run_clock()

    def play_by(
        self, player: "Player", rng: np.random.Generator, limits: Limits | None = None
    ) -> "Decision":
        """Let ``player`` decide within its time, and play its move unless the time is over by then.

        A player that forfeits the game has lost it. ``RuntimeError``: the move is illegal;
        ``ValueError``: the game is over.
        """
        decision = self.decide(player, rng, limits)
        if decision.forfeits:
            if not self.over():
                self.resign(self.to_move)
                self.forfeit = decision.forfeits[0]
            return decision
        action = int(decision.action[0])
        if not self.game.legal(self.states)[0, action]:
            raise RuntimeError(f"{player.name} played an illegal move in {self.game.name}")
        if not self.over():  # not play, for which the time may be over a moment later
            self._play(action)
        return decision

    def decide(
        self, player: "Player", rng: np.random.Generator, limits: Limits | None = None
    ) -> "Decision":
        """The decision of ``player`` for the side about to move, which is not played.

        ``limits`` replace those of the player. The clock shortens the time: the player takes at
        most ``Clock.share`` of it. ``ValueError``: the game is over.
        """
        self._check_going()
        limits = player.limits if limits is None else limits
        if self.clock:
            own_moves = -(-(self.game.max_plies - len(self.actions)) // 2)
            # The time may end between the check above and here.
            share = max(self.clock.share(self.to_move, own_moves), LEAST_SECONDS)
            own = share if limits.seconds is None else limits.seconds
            limits = limits._replace(seconds=min(share, own))
        return player(self.states, [rng], limits, [tuple(self.actions)])

    def undo(self, side: int) -> bool:
        """Go back to the last decision of ``side``; False where it has made none.

        A resignation is taken back first, by itself; then the last move of ``side`` and every move
        after it. Both sides then have the time that they had in that position.
        """
        own = [ply for ply, at in enumerate(self._plies[:-1]) if self._mover(at.states) == side]
        if self.resigned is not None:
            self.resigned, self.forfeit = None, ""
        elif own:
            del self._plies[own[-1] + 1 :], self.actions[own[-1] :]
            if self.clock and (seconds := self._plies[-1].seconds):
                self.clock.set(seconds)
        else:
            return False
        self._run_clock()
        return True

    def resign(self, side: int) -> None:
        """End the game: ``side`` loses, whichever side is about to move.

        ``ValueError``: the game is over, or there is no such side.
        """
        self._check_going()
        if side not in (0, 1):
            raise ValueError(f"the sides are 0 and 1, not {side}")
        self.resigned = side
        if self.clock:
            self.clock.stop()

    def as_dict(self) -> dict[str, Any]:
        """The session in plain types, ready for JSON; ``load`` continues it.

        ``moves`` are actions counted from 1, as ``Agent.analyse`` and ``/move`` read them.
        """
        reason, clock = self.reason(), self.clock
        forfeit = {"forfeit": self.forfeit} if self.forfeit else {}
        return forfeit | {
            "game": self.game.name,
            "seats": list(self.seats),
            "moves": [action + 1 for action in self.actions],
            "resigned": self.resigned,
            "clock": clock and clock.as_dict(),
            "result": reason and {"first": self.result(0), "reason": str(reason)},
        }

    def _check_going(self) -> None:
        if self.over():
            raise ValueError("the game is over; start begins a new one")

    def _mover(self, states: States) -> int:
        return int(self.game.to_move(states)[0])

    def _seconds(self) -> tuple[float, float] | None:
        return self.clock.remaining() if self.clock else None

    def _run_clock(self) -> None:
        if self.clock and not self.over():
            self.clock.run(self.to_move)


def _checked(seats: object) -> tuple[str, str]:
    """The names of the two sides; ``ValueError`` where they are not two different texts."""
    match seats:
        case [str(first), str(second)] if first != second:
            return first, second
    raise ValueError(f"the two sides need two names, not {seats!r}")


def after(game: Game, moves: str | Sequence[int | str]) -> Session:
    """A session in which ``moves`` have been played: a text or a list, see ``lines.words``.

    Numbers are actions counted from 1, other words moves in the game's notation. ``ValueError``,
    one line that names the first move that cannot be played.
    """
    session, words = Session(game), lines.words(game, moves)
    for number, word in enumerate(words, 1):
        action = None if session.over() else lines.action(game, session.states, word)
        if action is None:
            place = f"move {number} of {lines.shown(game, words)!r}, {lines.short(word)!r}"
            possible = lines.possible(game, session.states, lines.short(word))
            why = _ending(session) if session.over() else possible
            if len(words) == 1 and solvers.separator(game):
                why += "; several moves are separated by spaces"
            raise ValueError(f"{place}, cannot be played; {why}")
        session.play(action)
    return session


def unfinished(game: Game, moves: str | Sequence[int | str]) -> Session:
    """The same as ``after``; ``ValueError`` also where the game is over after ``moves``."""
    session = after(game, moves)
    if session.over():
        raise ValueError(_ending(session))
    return session


def _ending(session: Session) -> str:
    """Where and how the game ended, in one line."""
    game, first = session.game, session.result(0)
    where = "in its initial position"
    if session.actions:
        where = f"after {lines.shown(game, session.notation())!r}"
    result = "a draw" if first == 0 else f"{STONES[first != 1]} has won"
    return f"the game is over {where}: {result}"


def load(
    saved: dict[str, Any],
    game: Game | None = None,
    now: Callable[[], float] = time.monotonic,
    allow: Collection[str] = (),
) -> Session:
    """The session of which ``saved`` is the ``as_dict``; its clock runs on from now.

    Moves made before give no time back when they are taken back. ``game`` is needed where
    ``games.make`` cannot make it. ``saved`` may come from anyone: without ``game`` its game must be
    a registered one, or have an address in ``allow``. ``ValueError``, one line: ``saved`` is no
    session, or one of another game, or its moves cannot be played.
    """
    try:
        name, moves, seats, resigned, clock = (
            saved[key] for key in ("game", "moves", "seats", "resigned", "clock")
        )
        clock = None if clock is None else Clock.load(clock, now)
    except (KeyError, TypeError) as error:
        raise ValueError(f"this is no saved session: {error!r}") from None
    if not (isinstance(name, str) and isinstance(moves, list)):
        raise ValueError("this is no saved session: it needs a game's name and a list of moves")
    if game is not None and not games.same(name, game.name):
        raise ValueError(f"the saved session is one of {one_line(name)}, not of {game.name}")
    session = after(game or _game_of(name, allow), moves)
    if resigned is not None and (type(resigned) is not int or resigned not in (0, 1)):
        raise ValueError(f"the side that resigned is 0, 1 or null, not {resigned!r}")
    if resigned is not None and session.over():
        raise ValueError("no side can have resigned in a game that was over")
    session.continue_as(seats, clock, resigned)
    if resigned is not None and isinstance(forfeit := saved.get("forfeit", ""), str):
        session.forfeit = one_line(forfeit)
    return session


def _game_of(name: str, allow: Collection[str]) -> Game:
    address = games.address_of(name)
    addresses.check_allowed({"game": address} if address else {}, allow, "the saved session")
    return games.make(name)
