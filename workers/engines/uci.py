"""The Universal Chess Interface: an engine for chess programs.

The source is the protocol's description by Huber and Meyer-Kahlen (2006). White is side 0, who
begins. A search goes on in this thread; after each of its rounds it looks for ``stop``.
"""

import copy
import itertools
import math
import re
import time
from collections.abc import Callable

import numpy as np

import alphazero
from alphazero.errors import reason
from alphazero.judging.clock import Clock
from alphazero.judging.decisions import Decision
from alphazero.judging.engines import notation
from alphazero.judging.session import Session
from alphazero.search.tree import Tree
from alphazero.types import Limits
from games.base import Game, States
from workers.engines.candidates import Candidate, Watch, of_decision, of_tree, texts
from workers.engines.engine import MOST_SIMULATIONS, Engine, log
from workers.engines.inbox import LONGEST, Inbox

INTERVAL = 0.5
"""Seconds between two lines of information in a search."""
LEAST_SECONDS = 0.01
"""The least time for a move."""
MOST_MOVES = 1000
"""Moves to come in a game, where ``movestogo`` does not state them; ``Clock`` has a bound."""
MOST_VARIATIONS = 218
"""The legal moves of a position of chess, at most."""
TIMES = ("wtime", "btime", "winc", "binc", "movestogo", "movetime", "nodes", "depth", "mate")
"""The words of ``go`` that a number follows."""
LONGEST_LINE = 64
"""Moves of a variation, at most."""


class Uci:
    """The commands on one engine's session."""

    def __init__(self, engine: Engine, inbox: Inbox, say: Callable[[str], None]) -> None:
        self._engine, self._inbox, self._say = engine, inbox, say
        self._values = {"simulations": 0, "multipv": 1, "move overhead": 30}
        """The options by their names; 0 simulations are the player's own."""
        self._most = {"simulations": MOST_SIMULATIONS, "multipv": MOST_VARIATIONS,
                      "move overhead": 10_000}  # fmt: skip
        self._least = {"multipv": 1}
        self._commands = {
            "uci": self._uci,
            "isready": lambda _: self._line("readyok"),
            "ucinewgame": lambda _: self._new_game(),
            "setoption": self._setoption,
            "position": self._position,
            "go": self._go,
        }

    def serve(self) -> None:
        """Answer until ``quit`` or the end of the input; nothing that is received ends it sooner.

        Unknown commands are ignored, as the protocol demands; what is wrong in a known one is said
        in an ``info string``.
        """
        while (line := self._inbox.get()) is not None:
            words = line.split()
            if len(line) > LONGEST:
                self._note(f"a line longer than {LONGEST} bytes is ignored")
                continue
            if words and words[0] == "quit":
                return
            command = self._commands.get(words[0]) if words else None
            if command is None:
                continue
            try:
                command(words[1:])
            except BrokenPipeError:  # the other program is gone
                raise
            except Exception as error:  # a player or a game of the user's own may raise anything
                log.warning("%s: %s", words[0], reason(error))
                self._note(reason(error))
                if words[0] == "go":
                    self._line("bestmove (none)")

    def _line(self, text: str) -> None:
        self._say(f"{text}\n")

    def _note(self, text: str) -> None:
        self._line(f"info string {text}")

    def _uci(self, _: list[str]) -> None:
        variant = notation.uci_variant(self._engine.game)
        self._line(f"id name AlphaZero {alphazero.__version__} {self._engine.game.name}")
        self._line("id author the authors of alphazero")
        for name, shown in (("simulations", "Simulations"), ("multipv", "MultiPV"),
                            ("move overhead", "Move Overhead")):  # fmt: skip
            value, least = self._values[name], self._least.get(name, 0)
            self._line(
                f"option name {shown} type spin default {value} min {least} max {self._most[name]}"
            )
        self._line(f"option name UCI_Variant type combo default {variant} var {variant}")
        self._line("uciok")

    def _setoption(self, words: list[str]) -> None:
        """``setoption name N value V``; names and values may have several words."""
        match = re.fullmatch(r"name (.*?)(?: value (.*))?", " ".join(words))
        given, value = (match[1], match[2] or "") if match else ("", "")
        name = given.lower()  # UCI's names are the same in small letters and capitals
        if name in self._values:
            number = _number(value)
            if not self._least.get(name, 0) <= number <= self._most[name]:
                raise ValueError(
                    f"{given} is {self._least.get(name, 0)} to {self._most[name]}, not {value}"
                )
            self._values[name] = number
        elif name == "uci_variant" and value != notation.uci_variant(self._engine.game):
            raise ValueError(f"this engine plays {notation.uci_variant(self._engine.game)} alone")
        elif name != "uci_variant":
            raise ValueError(f"there is no option {given[:100]!r}")

    def _new_game(self) -> None:
        self._engine.session = Session(self._engine.game)

    def _position(self, words: list[str]) -> None:
        """``position startpos|fen F [moves ...]``; where a move is illegal the board stays."""
        game = self._engine.game
        start, moves = _split(words, "moves")
        if start[:1] == ["fen"]:
            game = starting_from(game, " ".join(start[1:]))
        elif start != ["startpos"]:
            raise ValueError("position is followed by startpos or fen")
        session = Session(game)
        for number, move in enumerate(moves, 1):
            try:
                session.play(notation.from_uci(game, session.states[0], move))
            except ValueError as error:
                raise ValueError(f"move {number}, {move[:20]!r}: {error}") from None
        self._engine.session = session

    def _go(self, words: list[str]) -> None:
        """Search the position on the board, then write the best move."""
        numbers, infinite = self._read_go(words)
        session = self._engine.session
        if session.over():
            self._note("the game is over")
            self._line("bestmove (none)")
            return
        search = _Search(self._stopped(infinite), self._info)
        if infinite:
            decision = self._engine.analyse(search.watch)
        else:
            decision = self._engine.decide(self._limits(numbers)._replace(watch=search.watch))
        self._info(of_decision(decision), search.seconds(), search.new)
        while infinite and not search.stopped():
            self._inbox.wait()
        self._line(f"bestmove {self._best(decision)}")

    def _best(self, decision: Decision) -> str:
        session = self._engine.session
        return notation.to_uci(session.game, session.states[0], int(decision.action[0]))

    def _read_go(self, words: list[str]) -> tuple[dict[str, int], bool]:
        """The numbers of ``go`` by their words, and whether the search goes on until ``stop``."""
        numbers: dict[str, int] = {}
        infinite = False
        rest = iter(words)
        for word in rest:
            if word in TIMES:
                numbers[word] = _number(next(rest, ""))
            infinite |= word in ("infinite", "ponder")
            if word in ("depth", "mate", "searchmoves", "ponder"):
                self._note(f"{word} is ignored")
        return numbers, infinite

    def _limits(self, numbers: dict[str, int]) -> Limits:
        """The limits of one move, of which the option Simulations is one."""
        side, overhead = self._engine.session.to_move, self._values["move overhead"] / 1000
        nodes = [n for n in (numbers.get("nodes"), self._values["simulations"]) if n]
        simulations = min([*nodes, MOST_SIMULATIONS]) if nodes else None
        seconds = None
        if "movetime" in numbers:
            seconds = numbers["movetime"] / 1000 - overhead
        elif (key := ("wtime", "btime")[side]) in numbers:
            left = [max(0, numbers.get(name, 0)) / 1000 for name in ("wtime", "btime")]
            increment = max(0, numbers.get(("winc", "binc")[side], 0)) / 1000
            moves = numbers.get("movestogo") or MOST_MOVES
            share = Clock(left, increment).share(side, moves)
            seconds = min(share, numbers[key] / 1000 - overhead)
        if seconds is not None:
            seconds = max(LEAST_SECONDS, seconds)
        return Limits(simulations, seconds)

    def _stopped(self, infinite: bool) -> Callable[[], bool]:
        """Whether the search has to end: for ``stop`` or ``quit``, and without an end for any line.

        So ``ponderhit``, after a ``go ponder`` that was not offered, has a move at once. ``stop``
        and ``quit`` end the search behind other lines, too, which are read after it, but not behind
        another ``go``, whose search they end. ``isready`` is answered meanwhile where no other line
        comes before it.
        """

        def stopped() -> bool:
            while (line := self._inbox.next()) is not None and line.strip() in ("isready", ""):
                self._inbox.get()
                if line.strip() == "isready":
                    self._line("readyok")
            if infinite:
                return line is not None or self._inbox.ended
            words = (line.split()[:1] for line in self._inbox.waiting())
            mine = itertools.takewhile(lambda word: word != ["go"], words)
            return any(word in (["stop"], ["quit"]) for word in mine)

        return stopped

    def _info(self, moves: list[Candidate], seconds: float, nodes: int) -> None:
        """The lines about the best ones of all visited ``moves``."""
        session = self._engine.session
        total = sum(move.visits for move in moves)
        speed = round(nodes / seconds) if seconds > 0 else 0
        for order, move in enumerate(moves[: self._values["multipv"]], 1):
            line = texts(session.game, session.states, move.line, notation.to_uci)
            self._line(
                f"info depth {len(line)} multipv {order} score cp {centipawns(move.value)} "
                f"nodes {total} nps {speed} time {round(1000 * seconds)} pv {' '.join(line)}"
            )


class _Search:
    """The watch of one search, with its time and its new simulations."""

    def __init__(
        self, stopped: Callable[[], bool], info: Callable[[list[Candidate], float, int], None]
    ) -> None:
        self._began, self._before, self._info = time.monotonic(), -1, info
        self.stopped, self.new = stopped, 0
        self._reporting = Watch(stopped, self._report, INTERVAL)

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def watch(self, tree: Tree) -> bool:
        visits = int(tree.nodes["visits"][0, 0])
        if self._before < 0:
            self._before = visits - 1
        self.new = visits - self._before
        return self._reporting(tree)

    def _report(self, tree: Tree) -> None:
        self._info(of_tree(tree, plies=LONGEST_LINE), self.seconds(), self.new)


def starting_from(game: Game, fen: str) -> Game:
    """``game`` with the position of a FEN as its initial one.

    ``ValueError``, one line: it is no position of this game, or the game reads none.
    """
    read = getattr(game, "state_of_fen", None)
    if read is None:
        raise ValueError(f"{game.name} has no positions in FEN: use startpos")
    changed = copy.copy(game)
    states: States = read(fen)

    def initial(batch: int) -> States:
        return np.repeat(states, batch)

    changed.initial = initial
    return changed


def centipawns(value: float) -> int:
    """A value in [-1, 1] on the scale of chess programs, by the formula of Leela Chess Zero."""
    return round(90 * math.tan(1.5637541897 * value))


def _split(words: list[str], at: str) -> tuple[list[str], list[str]]:
    """The words before and those after the first ``at``."""
    place = words.index(at) if at in words else len(words)
    return words[:place], words[place + 1 :]


def _number(text: str) -> int:
    """A whole number; ``ValueError``, one line, for another text."""
    if not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise ValueError(f"{text[:20]!r} is not a whole number")
    return int(text)
