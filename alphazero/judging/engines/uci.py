"""UCI, the Universal Chess Interface, spoken to a program; with UCI_Variant also Breakthrough.

Stefan Meyer-Kahlen, "Description of the universal chess interface" (2006). By that description a
program ignores what it does not understand: so options and variants are compared with its own list.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from alphazero.errors import one_line
from alphazero.judging.engines import notation
from alphazero.judging.engines.positions import SHOWN, common_plies, legal_action
from alphazero.judging.engines.process import Deadline, EngineFailure, Program
from alphazero.judging.lines import Line, plies
from games.base import Game
from games.spec import suggest

SETUP_SECONDS = 30.0
"""The time to start, and to set up a game; programs load networks then."""
VARIANT = "UCI_Variant"
_NUMBER = re.compile(r"-?\d{1,18}")
_LOWEST, _HIGHEST = (re.compile(rf"\b{end} (-?\d{{1,18}})\b") for end in ("min", "max"))
_OPTION = re.compile(r"option name (.+?) type (check|spin|combo|button|string)\b(.*)")


class UciOption(NamedTuple):
    """An option as the program describes it."""

    kind: str
    """``check``, ``spin``, ``combo``, ``button`` or ``string``."""
    details: str
    """The rest of its line: ``default chess var chess var breakthrough``."""

    def problem(self, value: str) -> str:
        """Why it cannot have ``value``; empty where it can."""
        if self.kind == "check" and value not in ("true", "false"):
            return "it is true or false"
        if self.kind == "spin":
            number = _NUMBER.fullmatch(value)
            low, high = _LOWEST.search(self.details), _HIGHEST.search(self.details)
            if not (number and low and high):
                return "it is a whole number"
            fits = int(low[1]) <= int(value) <= int(high[1])
            return "" if fits else f"it is {low[1]} to {high[1]}"
        if self.kind == "combo":
            known = [part.strip() for part in re.split(r"(?:^|\s)var\s", self.details)[1:]]
            return "" if value in known else suggest(value, known[:100])
        return ""


class UciEngine:
    """A program that plays ``game``; errors as in ``GtpEngine``."""

    def __init__(
        self,
        game: Game,
        command: Sequence[str],
        options: Mapping[str, str],
        limits: str = "",
        variant: str | None = None,
    ) -> None:
        """Start it, ``EngineFailure`` where that fails; ``begin`` must be called before all else.

        ``limits`` are added to each ``go``, as ``nodes 1000``. ``variant``: the program's name of
        the game, where it is another than ``notation.uci_variant`` says.
        """
        self._game, self._options, self._limits, self._line = game, options, limits, None
        usual = notation.uci_variant(game)
        if usual is None:
            raise ValueError(notation.not_uci(game))
        self._board, self._variant = notation.UCI_BOARDS[usual], variant or usual
        self.title = ""
        self.program = Program(command)

    @property
    def line(self) -> Line:
        """The moves of the game that it played last."""
        return self._line or ()

    def begin(self) -> None:
        """Set its options; ``EngineFailure``: it lacks one of them, or does not play the game."""
        deadline = self.program.deadline(SETUP_SECONDS)
        self.title, known = self._described(deadline)
        if VARIANT not in known and self._variant != "chess":
            raise EngineFailure(
                f"plays chess only, not {self._variant}: it has no option {VARIANT!r}; "
                "Fairy-Stockfish has variants"
            )
        if VARIANT in known:
            self._set(VARIANT, self._variant, known, deadline)
        for name, value in self._options.items():
            self._set(name, value, known, deadline)
        self._new_game(deadline)
        self._check_start()

    def _described(self, deadline: Deadline) -> tuple[str, dict[str, UciOption]]:
        """Its name and its options."""
        title, known = "", {}
        self.program.send("uci", deadline)
        for line in self.program.answer(deadline):
            if line.strip() == "uciok":
                return title, known
            if line.startswith("id name "):
                title = one_line(line.removeprefix("id name "), 100)
            if match := _OPTION.match(line):
                known[match[1]] = UciOption(match[2], match[3])
        raise AssertionError("an answer ends with an error")

    def _set(
        self, name: str, value: str, known: Mapping[str, UciOption], deadline: Deadline
    ) -> None:
        names = {key.lower(): key for key in known}
        if name.lower() not in names:
            more = one_line(suggest(name, known))
            raise EngineFailure(f"has no option {one_line(name, SHOWN)!r}; {more}")
        name = names[name.lower()]
        if problem := known[name].problem(value):
            shown = f"{one_line(name, SHOWN)} {one_line(value, SHOWN)!r}"
            raise EngineFailure(f"has no {shown}: {one_line(problem)}")
        given = "" if known[name].kind == "button" else f" value {value}"
        self.program.send(f"setoption name {name}{given}", deadline)

    def _new_game(self, deadline: Deadline) -> None:
        self.program.send("ucinewgame", deadline)
        self._wait(deadline)

    def _wait(self, deadline: Deadline) -> list[str]:
        """The lines that it writes until it has executed every command before."""
        self.program.send("isready", deadline)
        lines = []
        for line in self.program.answer(deadline):
            if line.strip() == "readyok":
                break
            lines.append(line)
        return lines

    def _check_start(self) -> None:
        """``EngineFailure`` where it shows another first position than ours.

        ``d``, which is no part of UCI, shows it in Stockfish and its relatives; the others ignore
        it.
        """
        deadline = self.program.deadline(SETUP_SECONDS)
        for command in ("position startpos", "d"):
            self.program.send(command, deadline)
        for line in self._wait(deadline):
            field, _, fen = line.partition(":")
            if field == "Fen" and fen.split()[:1] != [self._board]:
                shown = one_line(fen, 2 * SHOWN)
                raise EngineFailure(f"begins with the position {shown}, not {self._board}")

    def choose(
        self, line: Line, state: np.void, seconds: float, stated: float | None
    ) -> int | None:
        """Its move after ``line``, which leads to ``state``; UCI has no resignation.

        ``seconds``: the time that it has; ``stated``: the time that is stated to it, None: none.
        """
        earlier, self._line = self._line, line
        deadline = self.program.deadline(SETUP_SECONDS)
        if earlier is not None and common_plies(earlier, line) < len(earlier):
            self._new_game(deadline)
        moves = " ".join(self._written(line))
        self.program.send("position startpos" + f" moves {moves}" * bool(line), deadline)
        self._wait(deadline)  # also reads what it may still have written about earlier moves
        deadline = self.program.deadline(seconds)
        time = "" if stated is None else f"movetime {max(1, int(1000 * stated))}"
        self.program.send(" ".join(filter(None, ("go", self._limits, time))), deadline)
        for answer in self.program.answer(deadline):
            words = answer.split()
            if words[:1] == ["bestmove"]:
                move = words[1] if len(words) > 1 else ""
                action = legal_action(self._game, state, move, notation.from_uci)
                self._line = (*line, action)
                return action
        raise AssertionError("an answer ends with an error")

    def _written(self, line: Line) -> list[str]:
        game = self._game
        played = plies(game, game.initial(1), line)
        return [notation.to_uci(game, states[0], action) for states, action in played]
