"""A game against a player in the terminal; the same with scripted input, in plain text."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from alphazero.judging import advice, board, lines, points, saved_games
from alphazero.judging.advice import Choice
from alphazero.judging.clock import as_text
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.screen import SPINNER, Screen
from alphazero.judging.session import Reason, Session
from games.base import States
from games.drawing import STONES

Read = Callable[[str], str]
"""Shows a prompt and returns the line typed; ``EOFError`` at the end of the input."""

HUMAN, AGENT = "you", "the agent"
"""The names of the two seats."""
WAITING = "The agent is thinking ..."


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """How the human plays."""

    begin: bool = True
    """Whether the human has the first move, where no saved game says who has it."""
    hints: bool = False
    """Whether the agent's evaluation and top moves are shown in every position."""
    seed: int = 0
    """The seed of the agent's randomness."""
    redraw: bool = False
    """Whether each board replaces the one before; for a real terminal only."""


def play(
    player: Player, session: Session, settings: PlaySettings, read: Read, console: Console
) -> None:
    """Play ``session`` until the human quits, input ends, or Ctrl-C; none of these is an error.

    The session may be in progress; the human takes the seat of ``HUMAN`` or, where there is none,
    the one of ``settings``. ``ValueError``, one line: the game is over before its first move.
    """
    if session.over() and not session.actions:
        raise ValueError(f"{session.game.name} is over in its initial position: no move is left")
    shown = TerminalSession(player, session, settings, console)
    shown.screen.open(shown.board())
    try:
        while not shown.left:
            shown.until_human()
            text = read(shown.prompt())
            shown.screen.notes.clear()
            shown.execute(text)
    except (EOFError, KeyboardInterrupt):
        console.print()
    console.print("Goodbye.")


class TerminalSession:
    """A session between one human and one agent, shown on a console."""

    def __init__(
        self, player: Player, session: Session, settings: PlaySettings, console: Console
    ) -> None:
        self.game, self.player, self.console = session.game, player, console
        self.settings, self.hints = settings, settings.hints
        self.rng = np.random.default_rng(settings.seed)
        self.left = False
        title = f"{self.game.name} against {player.name}. Type a move, or ? for help."
        self.screen = Screen(console, title, settings.redraw)
        self.file: Path | None = None
        """Where the game was saved or loaded last."""
        self.begin(session)

    def begin(self, session: Session) -> None:
        """Go on with another game; its clock runs from now."""
        seats = session.seats
        if set(seats) != {HUMAN, AGENT}:
            seats = (HUMAN, AGENT) if self.settings.begin else (AGENT, HUMAN)
        session.continue_as(seats, session.clock, session.resigned)
        self.session = session
        self.forget()

    def forget(self) -> None:
        """Show the position before the next prompt, without what was found out about others."""
        self.changed = True
        self.advised: Decision | None = None
        """The evaluation of the position on the board, where hints are shown."""
        self.choice: Choice | None = None
        """The human's last move, until the agent has evaluated the position after it."""

    @property
    def side(self) -> int:
        """The human's side."""
        return self.session.side(HUMAN)

    @cached_property
    def move_texts(self) -> set[str]:
        """All moves of the game, legal or not, in lower case."""
        actions = range(self.game.num_actions)
        return {self.game.action_to_text(action).casefold() for action in actions}

    def start(self) -> None:
        self.session.start()
        self.forget()

    def human_to_move(self) -> bool:
        return self.session.to_move == self.side

    def until_human(self) -> None:
        """Let the agent move while it is its turn, then show the position to the human."""
        while not self.session.over() and not self.human_to_move():
            self.screen.refresh(self.board())
            self.agent_moves()
        if (result := self.session.result(self.side)) is not None:
            self.judge(result)
        if self.changed or self.screen.in_place(self.board()):
            self.show()
        self.changed = False

    def agent_moves(self) -> None:
        before = self.session.states
        with self.console.status(WAITING, spinner=SPINNER):
            decision = self.session.play_by(self.player, self.rng)
        self.changed = True
        if decision.forfeits:
            return
        if decision.value is not None:
            self.judge(-float(decision.value[0]))
        self.screen.say(f"The agent plays {self.text(before, decision)}.")
        if self.hints:
            self.explain(before, decision, own=False)

    def judge(self, value: float) -> None:
        """Say that the human's last move was bad if the ``value`` after it, for him, shows that."""
        if self.choice and (said := advice.blunder(self.choice, value)):
            self.screen.say(said, "bold magenta")
        self.choice = None

    def show(self) -> None:
        """Show the position, whose turn it is or how the game ended, and the hints."""
        self.screen.show(self.board())
        if self.session.over():
            self.screen.say(self.result(), "bold")
            return
        self.screen.say(f"It is your turn; you play {STONES[self.side]}.")
        if self.hints:
            self.hint()

    def board(self) -> Text:
        """The drawing in colour, with the last move and the winning line marked."""
        game, session = self.game, self.session
        if not session.actions:
            return board.as_text(game.drawing(session.states[0]))
        before = game.drawing(session.history[-2][0])
        return board.as_text(game.drawing(session.states[0], session.actions[-1]), before)

    def result(self) -> str:
        reason, result = self.session.reason(), self.session.result(self.side)
        lost = result == -1
        how = {
            None: "The game goes on",
            Reason.RULES: "The game is over",
            Reason.RESIGNATION: "You resigned" if lost else "The agent resigned",
            Reason.TIME: "Your time is over" if lost else "The agent's time is over",
            Reason.FORFEIT: f"The agent has lost: it {self.session.forfeit}",
            Reason.LENGTH: f"The game is over after {self.game.max_plies} moves, the most that are "
            "played",
        }[reason]
        winner = "a draw" if result == 0 else "the agent wins" if lost else "you win"
        return f"{how}: {winner}{self.margin()}."

    def margin(self) -> str:
        """The points of a victory by the rules, `` by 5.5 points``; empty where none count."""
        by_rules = self.session.reason() is Reason.RULES
        count = points.shown(self.game, self.session.states) if by_rules else ""
        return count and f" by {count} point{'s' * (count != '1')}"

    def prompt(self) -> str:
        if self.session.over():
            return "n new game, u undo, q quit > "
        clock = self.session.clock
        left = f", {as_text(clock.remaining()[self.side])} left" if clock else ""
        return f"{STONES[self.side]} to move{left} > "

    def execute(self, text: str) -> None:
        """Play a move in the game's notation, or run a command; bad input is explained."""
        word = text.strip()
        name, _, argument = word.partition(" ")
        command = self.command(name)
        if command and argument and not command.takes_file:
            command = None
        try:
            if command:
                command.run(self, *([argument.strip()] if command.takes_file else []))
            elif word:
                self.move(word)
        except ValueError as error:
            more = "" if command else f" Type {self.shown_name('?')} for help."
            self.screen.say(f"{error}.{more}", "red")

    def command(self, name: str) -> "Command | None":
        """The command of this name; None where there is none, or it is a move of the game.

        A move hides a command even where it is illegal: a slip must not begin a new game. With a
        slash in front commands can be used nevertheless.
        """
        if self.is_move(name):
            return None
        key = name.removeprefix("/").lower()
        return next((command for command in COMMANDS if key in command.names), None)

    def is_move(self, text: str) -> bool:
        """Whether ``text`` is a move of this game, as long as moves can be played."""
        if self.session.over():
            return False
        named = lines.named_action(self.game, self.session.states, text) is not None
        return named or text.casefold() in self.move_texts

    def shown_name(self, name: str) -> str:
        """The word to type for the command ``name``: with a slash where a move has this name."""
        return f"/{name}" if self.is_move(name) else name

    def move(self, text: str) -> None:
        if self.session.over():
            if self.session.reason() is Reason.TIME:
                self.changed = True  # it may have ended since the position was shown
                return
            raise ValueError("the game is over; n begins a new one")
        advised, before = self.advised, self.session.states
        self.session.move(text)
        self.forget()
        if advised and advised.value is not None:
            played = self.game.move_to_text(before[0], self.session.actions[-1])
            self.choice = Choice(played, self.text(before, advised), float(advised.value[0]))

    def text(self, states: States, decision: Decision) -> str:
        """The move of a decision in the position ``states [1]``."""
        return self.game.move_to_text(states[0], int(decision.action[0]))

    def explain(self, states: States, decision: Decision, own: bool) -> None:
        """Show the agent's evaluation of ``states [1]``; ``own``: the human was to move there."""
        trained_in = self.player.trained_in
        for line in advice.described(self.game, states, decision, own, trained_in):
            self.screen.say(f"  {line}")

    def undo(self) -> None:
        """Go back to the human's last decision; resigning is one."""
        if not self.session.undo(self.side):
            raise ValueError("You have no move to take back")
        self.forget()

    def switch(self) -> None:
        if self.session.over():
            raise ValueError("The game is over: start a new one to change seats")
        self.session.swap_seats()
        self.screen.say(f"You play {STONES[self.side]} now.")
        self.forget()

    def hint(self) -> None:
        """Show what the agent would play; a position is searched once."""
        if self.session.over():
            raise ValueError("The game is over: there is nothing to advise")
        states = self.session.states
        if self.advised is None:
            with self.console.status(WAITING, spinner=SPINNER):
                decision = self.session.decide(self.player, self.rng)
            self.advised = decision if self.hints else None
            if decision.value is not None:
                self.judge(float(decision.value[0]))
        else:
            decision = self.advised
        if decision.forfeits:
            raise ValueError(f"There is no advice: it {decision.forfeits[0] or 'would resign'}")
        self.screen.say(f"The agent would play {self.text(states, decision)}.")
        self.explain(states, decision, own=True)

    def resign(self) -> None:
        if self.session.over():
            raise ValueError("The game is over already")
        self.session.resign(self.side)
        self.forget()

    def save(self, name: str) -> None:
        """Write the game to a file; without a name to the one that it came from."""
        path = saved_games.path(name) if name else self.file
        if path is None:
            raise ValueError("save needs a file, as in: save game.json")
        saved_games.write(self.session, path, replace=path == self.file)
        self.file = path
        self.screen.say(f"The game is saved: {path}")

    def load(self, name: str) -> None:
        if not name:
            raise ValueError("load needs a file, as in: load game.json")
        path = saved_games.path(name)
        session, alone = saved_games.read_first(path, self.game)
        self.begin(session)
        self.file = path if alone else None

    def help(self) -> None:
        for command in COMMANDS:
            names = ", ".join(self.shown_name(name) for name in command.names)
            self.screen.say(f"  {names + ' FILE' * command.takes_file:12} {command.meaning}")
        if not self.session.over():
            self.screen.say(f"  or a move; {lines.possible(self.game, self.session.states)}")

    def leave(self) -> None:
        self.left = True


class Command(NamedTuple):
    """A word that does something else than play a move."""

    names: tuple[str, ...]
    run: Callable[..., None]
    """Called with the session and, where the command takes a file, the text behind its name."""
    meaning: str
    takes_file: bool = False


COMMANDS = (
    Command(("u", "undo"), TerminalSession.undo, "take your last move back"),
    Command(("s", "switch"), TerminalSession.switch, "switch sides with the agent"),
    Command(("h", "hint"), TerminalSession.hint, "show what the agent would play"),
    Command(("r", "resign"), TerminalSession.resign, "give this game up"),
    Command(("n", "new"), TerminalSession.start, "begin a new game"),
    Command(("save",), TerminalSession.save, "write the game to a file", takes_file=True),
    Command(("load",), TerminalSession.load, "go on with the game of a file", takes_file=True),
    Command(("?", "help"), TerminalSession.help, "this list"),
    Command(("q", "quit"), TerminalSession.leave, "leave"),
)
