"""Players that are programs: several processes of one program, among which games are divided."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np

from alphazero.judging.decisions import RESIGNED, Decision, Player
from alphazero.judging.engines.positions import common_plies
from alphazero.judging.engines.process import EngineFailure, Program
from alphazero.judging.lines import Line
from alphazero.types import Generators, Limits, Lines
from games.base import Game, States

STATED = 0.9
"""The share of its time of which a program is told; the rest is for the way there and back."""


class Engine(Protocol):
    """A program with a game on its board: ``GtpEngine`` or ``UciEngine``."""

    title: str
    """Its name and version, as it states them."""
    program: Program

    @property
    def line(self) -> Line: ...

    def begin(self) -> None: ...

    def choose(
        self, line: Line, state: np.void, seconds: float, stated: float | None
    ) -> int | None: ...


class _Slot:
    """A place for one process, which starts at its first position, and again after a failure."""

    def __init__(self, start: Callable[[], Engine]) -> None:
        self._start: Callable[[], Engine] = start
        self.engine: Engine | None = None

    def begin(self) -> Engine:
        """The engine, which is started where there is none; ``EngineFailure``: it cannot play."""
        if self.engine is None:
            # It is here before it answers, so that an interrupt finds it.
            self.engine = self._start()
            self.engine.begin()
        return self.engine

    def common(self, line: Line) -> int:
        """How many moves of ``line`` are on the board of its process; -1 without a process."""
        return common_plies(self.engine.line, line) if self.engine else -1

    def choose(self, line: Line, state: np.void, seconds: float, stated: float | None) -> int | str:
        """The action, or how the game was lost, as ``Decision.forfeits`` has it."""
        try:
            action = self.begin().choose(line, state, seconds, stated)
        except EngineFailure as failure:
            self.kill()
            return str(failure)
        return RESIGNED if action is None else action

    def kill(self) -> None:
        if self.engine:
            self.engine.program.kill()
        self.engine = None


class Settings(NamedTuple):
    """How a program is started, and how long it has."""

    start: Callable[[], Engine]
    """Starts a process, which ``Engine.begin`` then sets up; ``EngineFailure`` where it cannot."""
    processes: int
    """How many run at once, at most."""
    seconds: float
    """The time for one move, after which the game is lost."""
    limits: Limits
    """The limits of a call that gives none of its own; the program is told of the seconds."""


def player(game: Game, name: str, settings: Settings) -> Player:
    """The player whose moves come from a program.

    A program that has no move in time, ends, or answers what is no legal move loses that game
    (``Decision.forfeits``); the next game is played by a new process. It is told of 90 % of the
    seconds of each call's limits, or of its own where these are fewer. A forced pass is played
    without it. One process is started at once; ``ValueError``, one line, where it cannot be
    started, or does not play ``game``.
    """
    pool = _Pool(game, settings)
    try:
        first = pool.slots[0].begin()
    except BaseException as failure:
        pool.close()
        if isinstance(failure, EngineFailure):
            raise ValueError(f"it {failure}") from None
        raise

    def decide(states: States, rngs: Generators, limits: Limits, lines: Lines | None) -> Decision:
        if lines is None:
            raise ValueError(f"player {name}: it needs the moves from the start of each game")
        return pool.decide(states, [tuple(line) for line in lines], limits)

    limits = settings.limits
    return Player(name, decide, limits=limits, program=first.title, close=pool.close)


class _Pool:
    """The processes of one player."""

    def __init__(self, game: Game, settings: Settings) -> None:
        self.game, self.seconds = game, settings.seconds
        self.slots = [_Slot(settings.start) for _ in range(settings.processes)]

    def decide(self, states: States, lines: Sequence[Line], limits: Limits) -> Decision:
        """The moves in ``states [B]``, those of each process in a thread of its own."""
        seconds = limits.seconds
        stated = None if seconds is None else STATED * min(seconds, self.seconds)
        legal = self.game.legal(states)
        action = legal.argmax(axis=1)  # where only a pass is legal, it
        rows = [
            row for row in range(len(states)) if not forced_pass(self.game, states[row], legal[row])
        ]
        forfeits: dict[int, str] = {}

        def play(slot: _Slot, row: int) -> None:
            chosen = slot.choose(lines[row], states[row], self.seconds, stated)
            if isinstance(chosen, str):
                forfeits[row] = chosen
            else:
                action[row] = chosen

        shares = divide(self.slots, [lines[row] for row in rows])
        self._in_threads(play, [(slot, [rows[i] for i in share]) for slot, share in shares])
        return Decision(action, forfeits=forfeits or None)

    def _in_threads(
        self, play: Callable[[_Slot, int], None], shares: Sequence[tuple[_Slot, Sequence[int]]]
    ) -> None:
        stopped = threading.Event()

        def play_all(slot: _Slot, rows: Sequence[int]) -> None:
            for row in rows:
                if not stopped.is_set():
                    play(slot, row)

        with ThreadPoolExecutor(max(1, len(shares))) as executor:
            try:
                for done in [executor.submit(play_all, *share) for share in shares]:
                    done.result()
            except BaseException:  # Ctrl-C: the threads end as soon as their programs have
                stopped.set()
                for engine in [slot.engine for slot in self.slots]:
                    if engine:
                        engine.program.stop()
                raise

    def close(self) -> None:
        for slot in self.slots:
            slot.kill()


def forced_pass(game: Game, state: np.void, legal: np.ndarray) -> bool:
    """Whether the only legal move of ``state`` is a pass."""
    actions = np.flatnonzero(legal)
    return len(actions) == 1 and game.move_to_text(state, int(actions[0])) == "pass"


def divide(slots: Sequence[_Slot], lines: Sequence[Line]) -> list[tuple[_Slot, list[int]]]:
    """The slots to use, each with the indices of its ``lines``: nearly the same number for all.

    A line goes to a slot on whose board most of its moves are.
    """
    slots = slots[: max(1, len(lines))]
    shares: list[list[int]] = [[] for _ in slots]
    most = -(-len(lines) // len(slots))
    for index, line in enumerate(lines):
        free = [number for number, share in enumerate(shares) if len(share) < most]
        best = max(free, key=lambda number: slots[number].common(line))
        shares[best].append(index)
    return [(slot, share) for slot, share in zip(slots, shares, strict=True) if share]
