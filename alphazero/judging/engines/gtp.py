"""GTP 2, the Go Text Protocol, spoken to a program; it is also used for Othello, Hex and Gomoku.

Gunnar Farnebäck, "Specification of the Go Text Protocol, version 2, draft 2" (2002). Commands are
numbered, so that no answer is taken for that of another command.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from alphazero.errors import one_line
from alphazero.judging.engines import notation
from alphazero.judging.engines.positions import SHOWN, common_plies, legal_action, mover
from alphazero.judging.engines.process import Deadline, EngineFailure, Program
from alphazero.judging.lines import Line, plies
from games.base import Game

SETUP_SECONDS = 30.0
"""The time for each command before a game, as programs load their data then, and for all commands
that set up one position."""
HINT = "perhaps its command needs an option such as --mode gtp"
"""The advice where a program does not answer its first command."""
_ANSWER = re.compile(r"([=?])(\d*)[ \t]*(.*)", re.DOTALL)


class Refused(EngineFailure):
    """The program's answer that it cannot execute a command."""


class NoNumber(EngineFailure):
    """An answer that is GTP but does not repeat the number of the command."""


class _Move(NamedTuple):
    """A move on the program's board."""

    action: int
    command: str | None
    """Color and vertex; None for a forced pass, which is not sent."""


class GtpEngine:
    """A program that plays ``game``, with the position that is on its board.

    Its methods raise ``EngineFailure`` where the program cannot go on, and must not be called then.
    """

    def __init__(self, game: Game, command: Sequence[str], commands: Sequence[str] = ()) -> None:
        """Start it, ``EngineFailure`` where that fails; ``begin`` must be called before all else.

        ``commands`` are sent once, at first.
        """
        self._game, self._commands, self._number, self._stated = game, commands, 0, 0
        self._moves: list[_Move] = []
        self.title = ""
        self.program = Program(command)

    @property
    def line(self) -> Line:
        """The moves on the program's board."""
        return tuple(move.action for move in self._moves)

    def begin(self) -> None:
        """Set up a game; ``EngineFailure``: the program does not play it."""
        version = self._version()
        if version != "2":
            raise EngineFailure(f"speaks version {one_line(version, SHOWN)!r} of GTP, not 2")
        self.title = " ".join(one_line(self.ask(word), SHOWN) for word in ("name", "version"))
        self._known = set(self.ask("list_commands").split())
        self._check_game()
        for command in self._commands:
            self.ask(command)
        self.ask(f"boardsize {notation.gtp_size(self._game)}")
        self.ask("clear_board")
        if (komi := notation.komi(self._game)) is not None:
            self.ask(f"komi {komi:g}")
        self._check_rules()

    def _version(self) -> str:
        """The answer to its first command; a program that is not told to speak GTP has none."""
        try:
            return self.ask("protocol_version").strip()
        except (Refused, NoNumber):
            raise
        except EngineFailure as failure:
            raise EngineFailure(f"{failure}; {HINT}") from None

    def _check_game(self) -> None:
        """``EngineFailure`` where it lists the games that it plays, as ``gtp-rhino``, without ours.

        Programs without such a list are taken for what their user says they are.
        """
        if "list_games" in self._known:
            listed = self.ask("list_games")
            name = self._game.name.partition(":")[0]
            if name not in listed.lower().split():
                raise EngineFailure(f"plays {one_line(listed, SHOWN)}, not {name}")

    def _check_rules(self) -> None:
        """``EngineFailure`` where it allows a first move that is illegal: it plays another game."""
        start = self._game.initial(1)
        for action in np.flatnonzero(~self._game.legal(start)[0]):
            vertex = notation.to_gtp(self._game, start[0], int(action))
            if vertex.isalpha():
                continue
            try:
                self.ask(f"play B {vertex}")
            except Refused:
                return
            raise EngineFailure(f"allows {vertex} as the first move, so it plays another game")

    def choose(
        self, line: Line, state: np.void, seconds: float, stated: float | None
    ) -> int | None:
        """Its move after ``line``, which leads to ``state``; None: it resigns.

        ``seconds``: the time that it has; ``stated``: the time that is stated to it, None: none.
        """
        deadline = self.program.deadline(SETUP_SECONDS)
        self._go_to(line, deadline)
        color = notation.GTP_COLORS[mover(self._game, state)]
        self._tell_time(stated, color, deadline)
        vertex = self.ask(f"genmove {color}", self.program.deadline(seconds)).strip()
        if vertex.lower() == "resign":
            return None
        action = legal_action(self._game, state, vertex, notation.from_gtp)
        self._moves.append(_Move(action, vertex))
        return action

    def _go_to(self, line: Line, deadline: Deadline) -> None:
        """Set up the position after ``line``: moves are taken back as far as it differs."""
        common = common_plies(self.line, line)
        back = [move for move in self._moves[common:] if move.command]
        if back and ("undo" not in self._known or len(back) > common):
            common = 0
            self.ask("clear_board", deadline)
        else:
            for _ in back:
                self.ask("undo", deadline)
        del self._moves[common:]
        for move in self._written(line, common):
            if move.command:
                self.ask(f"play {move.command}", deadline)
            self._moves.append(move)

    def _written(self, line: Line, first: int) -> Iterator[_Move]:
        """The moves of ``line`` from the ply ``first`` on."""
        game = self._game
        for ply, (states, action) in enumerate(plies(game, game.initial(1), line)):
            if ply >= first:
                vertex = notation.to_gtp(game, states[0], action)
                sent = vertex != "pass" or notation.sends_passes(game)
                color = notation.GTP_COLORS[mover(game, states[0])]
                yield _Move(action, f"{color} {vertex}" if sent else None)

    def _tell_time(self, seconds: float | None, color: str, deadline: Deadline) -> None:
        """Give it the whole ``seconds`` for each move (one byo-yomi period per stone).

        GTP has whole seconds: of less than one it is not stated.
        """
        whole = int(seconds or 0)
        if not whole:
            return
        if whole != self._stated and "time_settings" in self._known:
            self.ask(f"time_settings 0 {whole} 1", deadline)
            self._stated = whole
        if "time_left" in self._known:
            self.ask(f"time_left {color} {whole} 1", deadline)

    def ask(self, command: str, deadline: Deadline | None = None) -> str:
        """The answer to a command, without its number; ``Refused``: it says that it cannot.

        It has ``SETUP_SECONDS`` from now without a ``deadline``.
        """
        self._number += 1
        deadline = deadline or self.program.deadline(SETUP_SECONDS)
        self.program.send(f"{self._number} {command}", deadline)
        lines: list[str] = []
        for line in self.program.answer(deadline):
            if line.strip():
                lines.append(line)
                self._check(lines[0], command)
            elif lines:
                break
        status, _, text = self._parts("\n".join(lines))
        if status == "?":
            raise Refused(f"refused {one_line(command, SHOWN)!r}: {one_line(text, 100)}")
        return text

    def _check(self, line: str, command: str) -> None:
        status, number, _ = self._parts(line)
        if not status or number != str(self._number):
            shown, word = one_line(line, SHOWN), command.partition(" ")[0]
            said = f"answered {shown!r} to {word}"
            if status and not number:
                raise NoNumber(f"{said} without its number, not '{status}{self._number} ...'")
            raise EngineFailure(f"{said}, which is no GTP")

    def _parts(self, text: str) -> tuple[str, str, str]:
        """The status, number and text of an answer; empty where it is none."""
        match = _ANSWER.fullmatch(text)
        return (match[1], match[2], match[3]) if match else ("", "", "")
