"""GTP's commands on one game session."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import alphazero
from alphazero.errors import reason
from alphazero.judging import points, saved_games, sgf
from alphazero.judging.decisions import Decision
from alphazero.judging.engines import notation
from alphazero.judging.session import Reason
from alphazero.types import Limits
from workers.engines.candidates import Candidate, Watch, of_decision, of_tree, texts
from workers.engines.engine import Engine, log
from workers.engines.gtp import Command, Refusal, color, decimal, exactly, whole
from workers.engines.inbox import Inbox
from workers.engines.timing import TimeControl

STYLES = {"lz-": "lz", "kata-": "kata", "": "lz"}
"""The prefixes of the commands that analyse, with the style of their lines."""
CENTISECONDS = 100
LEAST_INTERVAL = 10
"""Centiseconds between two reports, at least."""
MOST_SHOWN = 60
"""Moves of a report, at most; ``maxmoves`` of a request replaces it."""
FLAGS = ("ownership", "movesOwnership", "ownershipStdev", "rootInfo", "pvVisits", "pvEdgeVisits",
         "noResultValue", "policy")  # fmt: skip
"""KataGo's further outputs that a request may name: they are not given."""


class Gtp:
    """The commands by their names; they play, undo and analyse in ``engine``'s session."""

    def __init__(
        self, engine: Engine, inbox: Inbox, say: Callable[[str], None], resign: float | None = None
    ) -> None:
        """``resign``: the loss in (0, 1] from which on it resigns; None: it never does."""
        self._engine, self._inbox, self._say, self._resign = engine, inbox, say, resign
        self._time: TimeControl | None = None
        self._plies: list[int] = []
        """For each move that ``undo`` takes back, its plies: an implied pass is one more."""
        self._number = ""
        """The id of the request that is answered."""
        self.commands = self._commands()

    def begin(self, number: str) -> None:
        self._number = number

    def _commands(self) -> dict[str, Command]:
        commands: dict[str, Command] = {
            "protocol_version": lambda _: "2",
            "name": lambda _: "AlphaZero",
            "version": lambda _: alphazero.__version__,
            "known_command": lambda a: str(exactly(a, 1)[0] in self.commands).lower(),
            "list_commands": lambda _: "\n".join(sorted(self.commands)),
            "quit": lambda _: "",
            "boardsize": self._boardsize,
            "clear_board": self._clear_board,
            "komi": self._komi,
            "play": self._play,
            "genmove": lambda a: self._genmove(color(exactly(a, 1)[0])),
            "reg_genmove": self._reg_genmove,
            "undo": self._undo,
            "time_settings": self._time_settings,
            "time_left": self._time_left,
            "showboard": self._showboard,
            "final_score": self._final_score,
        }
        for prefix, style in STYLES.items():
            commands[f"{prefix}analyze"] = lambda a, s=style: self._analyze(a, s, play=False)
            commands[f"{prefix}genmove_analyze"] = lambda a, s=style: self._analyze(a, s, play=True)
        if sgf.reads(self._engine.game):
            commands["loadsgf"] = self._loadsgf
        if notation.sends_passes(self._engine.game):
            commands["final_status_list"] = self._final_status_list
        return commands

    def _boardsize(self, arguments: list[str]) -> str:
        game, size = self._engine.game, whole(exactly(arguments, 1)[0])
        try:
            if size != notation.gtp_size(game):
                sides = ("rows", "columns") if "rows=" in game.name else ("size",)
                self._engine.change(**dict.fromkeys(sides, size))
        except ValueError as error:
            log.warning("boardsize %s: %s", size, error)
            raise Refusal("unacceptable size") from None
        return self._clear_board([])

    def _clear_board(self, arguments: list[str]) -> str:
        exactly(arguments, 0)
        self._engine.session.start()
        self._plies.clear()
        if self._time:
            self._time.start()
        return ""

    def _komi(self, arguments: list[str]) -> str:
        """Play on with another komi; in a game without komi every one is accepted."""
        komi = decimal(exactly(arguments, 1)[0])
        if "komi=" not in self._engine.game.name:
            return ""
        before = self._engine.session
        actions, resigned = list(before.actions), before.resigned
        try:
            self._engine.change(komi=komi)
        except ValueError as error:
            log.warning("komi %s: %s", komi, error)
            raise Refusal(f"unacceptable komi: {error}") from None
        for action in actions:
            self._engine.session.play(action)
        if resigned is not None:
            self._engine.session.resign(resigned)
        return ""

    def _turn(self, side: int) -> int:
        """Let ``side`` be about to move, by a pass of the other one; the number of passes.

        ``Refusal``: the other side has to move by the rules of this game.
        """
        session = self._engine.session
        if session.to_move == side or session.over():
            return 0
        try:
            session.play(notation.from_gtp(session.game, session.states[0], "pass"))
        except ValueError:
            raise Refusal("illegal move: it is the other side's turn") from None
        if session.over() or session.to_move != side:
            session.undo(1 - side)
            raise Refusal("illegal move: it is the other side's turn")
        return 1

    def _play(self, arguments: list[str]) -> str:
        session, (who, vertex) = self._engine.session, exactly(arguments, 2)
        side = color(who)
        if vertex.lower() == "resign" and not session.over():
            session.resign(side)
            self._plies.append(0)
            return ""
        passes = self._turn(side)
        try:
            session.play(notation.from_gtp(session.game, session.states[0], vertex))
        except ValueError:
            self._take_back(passes)
            raise Refusal("illegal move") from None
        self._plies.append(passes + 1)
        return ""

    def _decide(self, side: int, watch: Watch | None = None) -> Decision:
        """The player's decision for ``side``, who is about to move, within its time."""
        session, clock = self._engine.session, self._time
        if session.over():
            raise Refusal("the game is over")
        if clock is None:
            return self._engine.decide(Limits(watch=watch))
        own_moves = -(-(session.game.max_plies - len(session.actions)) // 2)
        clock.run(side)
        try:
            return self._engine.decide(Limits(None, clock.seconds(side, own_moves), watch))
        finally:
            clock.moved(side)

    def _genmove(self, side: int, watch: Watch | None = None) -> str:
        passes = self._turn(side)
        try:
            return self._answer(self._decide(side, watch), passes)
        except Exception:
            self._take_back(passes)
            raise

    def _answer(self, decision: Decision, passes: int) -> str:
        """Play the decision's move, or resign; the vertex."""
        session, action = self._engine.session, int(decision.action[0])
        value = 0.0 if decision.value is None else float(decision.value[0])
        if self._resign is not None and value <= -self._resign:
            self._take_back(passes)
            return "resign"
        vertex = notation.to_gtp(session.game, session.states[0], action)
        session.play(action)
        self._plies.append(passes + 1)
        return vertex

    def _reg_genmove(self, arguments: list[str]) -> str:
        """The move that ``genmove`` would play; the board and the time stay as they are."""
        passes = self._turn(color(exactly(arguments, 1)[0]))
        session = self._engine.session
        try:
            if session.over():
                raise Refusal("the game is over")
            action = int(self._engine.decide().action[0])
            return notation.to_gtp(session.game, session.states[0], action)
        finally:
            self._take_back(passes)

    def _undo(self, arguments: list[str]) -> str:
        exactly(arguments, 0)
        if not self._plies:
            raise Refusal("cannot undo")
        plies = self._plies.pop()
        if self._engine.session.resigned is not None:
            self._engine.session.undo(0)
        self._take_back(plies)
        return ""

    def _take_back(self, plies: int) -> None:
        session = self._engine.session
        for _ in range(plies):
            session.undo(int(session.game.to_move(session.history[-2])[0]))

    def _time_settings(self, arguments: list[str]) -> str:
        main, period, moves = map(whole, exactly(arguments, 3))
        endless = period > 0 and moves == 0
        self._time = None if endless else TimeControl(main, period if moves else 0, moves)
        if main == period == 0:
            self._time = None  # no time at all is none that could be obeyed
        return ""

    def _time_left(self, arguments: list[str]) -> str:
        who, seconds, moves = exactly(arguments, 3)
        side, left, due = color(who), whole(seconds), whole(moves)
        if self._time:
            self._time.set(side, left, due)
        return ""

    def _showboard(self, arguments: list[str]) -> str:
        """The board, whose first row begins a line of its own, as in GNU Go."""
        exactly(arguments, 0)
        return "\n" + self._engine.game.render(self._engine.session.states[0])

    def _final_score(self, arguments: list[str]) -> str:
        """The winner and the margin where the game has one: ``B+3.5``, ``W+``, ``0``."""
        exactly(arguments, 0)
        session = self._engine.session
        result = session.result(0)
        if result is None:
            raise Refusal("cannot score: the game is not over")
        if result == 0:
            return "0"
        winner = notation.GTP_COLORS[0 if result > 0 else 1]
        if session.reason() is Reason.RESIGNATION:
            return f"{winner}+R"
        by_rules = session.reason() is Reason.RULES
        return f"{winner}+{points.shown(session.game, session.states) if by_rules else ''}"

    def _final_status_list(self, arguments: list[str]) -> str:
        """Stones by their status: all that are on the board count, so that none is dead."""
        status = exactly(arguments, 1)[0]
        if status not in ("alive", "dead", "seki"):
            raise Refusal("syntax error")
        session = self._engine.session
        points = enumerate(session.game.drawing(session.states[0]).cells)
        stones = [session.game.action_to_text(n) for n, cell in points if cell.player is not None]
        return "\n".join(stones) if status == "alive" else ""

    def _loadsgf(self, arguments: list[str]) -> str:
        """Play the main line of a file: ``loadsgf FILE [NUMBER]`` stops before move ``NUMBER``."""
        if len(arguments) not in (1, 2):
            raise Refusal("syntax error")
        until = whole(arguments[1]) if len(arguments) == 2 else None
        try:
            loaded = sgf.read(saved_games.content_of(Path(arguments[0])), self._engine.game)
            rules = loaded.rules(self._engine.game)
            actions = loaded.session(self._engine.changed(**rules), until).actions
            self._engine.change(**rules)  # only where all moves can be played
        except (ValueError, OSError) as error:
            log.warning("loadsgf: %s", reason(error))
            raise Refusal("cannot load file") from None
        self._clear_board([])
        for action in actions:
            self._engine.session.play(action)
            self._plies.append(1)
        return notation.GTP_COLORS[self._engine.session.to_move]

    def _analyze(self, arguments: list[str], style: str, play: bool) -> None:
        """Report candidates until the next line arrives, or with ``play`` until a move is made.

        The arguments are a colour, the centiseconds between reports, and pairs of a key and a
        value, all optional, as KataGo and Leela Zero have them.
        """
        session = self._engine.session
        wanted = _Wanted(arguments, session.to_move)
        passes = self._turn(wanted.side)
        if session.over():
            raise Refusal("the game is over")
        states, game = session.states, session.game

        def report(moves: list[Candidate]) -> None:
            if moves and len(moves) >= wanted.least:  # an empty line would end the response
                lines = [texts(game, states, move.line, notation.to_gtp) for move in moves]
                self._say(" ".join(map(_INFO[style], range(len(moves)), moves, lines)) + "\n")

        stop = (lambda: False) if play else self._inbox.ready
        watch = Watch(stop, lambda tree: report(of_tree(tree, most=wanted.most)), wanted.interval)
        self._say(f"={self._number}\n")
        try:
            search = self._engine.analyse if not play else partial(self._decide, wanted.side)
            decision = search(watch)
            report(of_decision(decision, most=wanted.most))
            if play:
                self._say(f"play {self._answer(decision, passes)}\n")
        except BrokenPipeError:  # the other program is gone
            raise
        except Exception as error:  # the response has begun: it can only end
            log.warning("analysis: %s", reason(error))
            self._take_back(passes)
        else:
            if not play:
                self._take_back(passes)
                self._inbox.wait()
        self._say("\n")


class _Wanted:
    """The arguments of an analysis."""

    def __init__(self, arguments: list[str], side: int) -> None:
        words = list(arguments)
        self.side, centiseconds, self.least, self.most = side, CENTISECONDS, 0, MOST_SHOWN
        if words and not words[0].isdigit() and words[0].lower() in ("b", "w", "black", "white"):
            self.side = color(words.pop(0))
        if words and words[0].isdigit():
            centiseconds = whole(words.pop(0))
        for key, value in zip(words[::2], words[1::2], strict=False):
            match key:
                case "interval":
                    centiseconds = whole(value)
                case "minmoves":
                    self.least = whole(value)
                case "maxmoves":
                    self.most = max(1, whole(value))
                case _ if key not in FLAGS:
                    raise Refusal(f"syntax error: {key!r} is not supported")
        if len(words) % 2:
            raise Refusal("syntax error")
        self.interval = max(LEAST_INTERVAL, centiseconds) / CENTISECONDS


def _lz(order: int, move: Candidate, line: list[str]) -> str:
    """Leela Zero's words: chances in ten-thousandths."""
    return (
        f"info move {line[0]} visits {move.visits} winrate {round(5000 * (move.value + 1))} "
        f"prior {round(10000 * move.prior)} order {order} pv {' '.join(line)}"
    )


def _kata(order: int, move: Candidate, line: list[str]) -> str:
    """KataGo's words: chances in [0, 1], the utility in [-1, 1]."""
    return (
        f"info move {line[0]} visits {move.visits} utility {move.value:.6f} "
        f"winrate {(move.value + 1) / 2:.6f} prior {move.prior:.6f} order {order} "
        f"pv {' '.join(line)}"
    )


_INFO = {"lz": _lz, "kata": _kata}
