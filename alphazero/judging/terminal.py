"""A game against a player in the terminal; the same with scripted input, in plain text."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from alphazero.judging import board, variations
from alphazero.judging.decisions import Decision, Player
from alphazero.judging.session import Reason, Session
from games.base import Game
from games.drawing import STONES

Read = Callable[[str], str]
"""Shows a prompt and returns the line typed; ``EOFError`` at the end of the input."""

HUMAN, AGENT = "you", "the agent"
"""The names of the two seats."""
TOP_MOVES = 3
WAITING = "The agent is thinking ..."


@dataclass(frozen=True, slots=True)
class PlaySettings:
    """How the human plays."""

    begin: bool = True
    """Whether the human has the first move."""
    hints: bool = False
    """Whether the agent's evaluation and top moves are shown in every position."""
    seed: int = 0
    """The seed of the agent's randomness."""


def play(game: Game, player: Player, settings: PlaySettings, read: Read, console: Console) -> None:
    """Play until the human quits, input ends, or Ctrl-C; none of these is an error."""
    session = TerminalSession(game, player, settings, console)
    console.print(f"{game.name} against {player.name}. Type a move, or ? for help.", markup=False)
    if player.inference:
        console.print(f"Its network runs on {player.inference}.", markup=False, highlight=False)
    try:
        while not session.left:
            session.until_human()
            session.execute(read(session.prompt()))
    except (EOFError, KeyboardInterrupt):
        console.print()
    console.print("Goodbye.")


def terminal_read(prompt: str) -> str:
    """``input``; lines that are not typed are echoed, so that a transcript reads like a session."""
    answer = input(prompt)
    if not sys.stdin.isatty():
        print(answer)
    return answer


class TerminalSession:
    """A session between one human and one agent, shown on a console."""

    def __init__(
        self, game: Game, player: Player, settings: PlaySettings, console: Console
    ) -> None:
        self.game, self.player, self.console = game, player, console
        self.hints = settings.hints
        self.rng = np.random.default_rng(settings.seed)
        self.left = False
        self.session = Session(game, (HUMAN, AGENT) if settings.begin else (AGENT, HUMAN))
        self.changed = True
        """Whether the position must be shown before the next prompt."""

    @property
    def side(self) -> int:
        """The human's side."""
        return self.session.side(HUMAN)

    def start(self) -> None:
        self.session.start()
        self.changed = True

    def human_to_move(self) -> bool:
        return self.session.to_move == self.side

    def print_line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, highlight=False)

    def until_human(self) -> None:
        """Let the agent move while it is its turn, then show the position to the human."""
        while not self.session.over() and not self.human_to_move():
            self.agent_moves()
        if self.changed:
            self.show()
        self.changed = False

    def agent_moves(self) -> None:
        with self.console.status(WAITING):
            decision = self.session.play_by(self.player, self.rng)
        self.print_line(f"The agent plays {self.game.action_to_text(int(decision.action[0]))}.")
        if self.hints:
            self.explain(decision, mine=False)
        self.changed = True

    def show(self) -> None:
        self.console.print()
        self.console.print(self.board())
        if self.session.over():
            self.print_line(self.result(), "bold")
            return
        self.print_line(f"It is your turn; you play {STONES[self.side]}.")
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
        reason = self.session.reason()
        if reason is Reason.RESIGNATION:
            return "You resigned: the agent wins."
        result = self.session.result(self.side)
        ended = "The game is over"
        if reason is Reason.LENGTH:
            ended += f" after {self.game.max_plies} moves, the most that are played"
        if result == 0:
            return f"{ended}: a draw."
        return f"{ended}: {'you win' if result == 1 else 'the agent wins'}."

    def prompt(self) -> str:
        if self.session.over():
            return "n new game, u undo, q quit > "
        return f"{STONES[self.side]} to move > "

    def execute(self, text: str) -> None:
        """Run a command, or else play a move in the game's notation; bad input is explained."""
        word = text.strip()
        for names, action, _ in COMMANDS:
            if word.lower() in names:
                action(self)
                return
        try:
            self.move(word)
        except ValueError as error:
            self.print_line(f"{error}. Type ? for help.", "red")

    def move(self, text: str) -> None:
        if self.session.over():
            raise ValueError("the game is over; n begins a new one")
        self.session.move(text)
        self.changed = True

    def explain(self, decision: Decision, mine: bool) -> None:
        """Show the agent's evaluation of the position of ``decision``, from the human's side.

        ``mine``: the human was to move there.
        """
        if decision.value is not None:
            # Adding 0 turns -0.0, which would be shown as -0.00, into 0.0.
            value = float(decision.value[0]) * (1 if mine else -1) + 0.0
            self.print_line(
                f"  It rates the position {value:+.2f} for you (+1 won, 0 even, -1 lost)."
            )
        listed = [
            f"{self.game.action_to_text(action)} ({share:.0%})"
            for action, share in top_moves(decision)
        ]
        if listed:
            self.print_line(f"  Its top moves: {', '.join(listed)}.")
        line = variations.expected(self.game, decision.tree, int(decision.action[0]))
        if len(line) > 1:
            self.print_line(f"  It expects: {' '.join(line)}.")

    def undo(self) -> None:
        """Go back to the human's last decision; resigning is one."""
        if self.session.undo(self.side):
            self.changed = True
        else:
            self.print_line("You have no move to take back.", "red")

    def switch(self) -> None:
        if self.session.over():
            self.print_line("The game is over: start a new one to change seats.", "red")
            return
        self.session.swap_seats()
        self.print_line(f"You play {STONES[self.side]} now.")
        self.changed = True

    def hint(self) -> None:
        if self.session.over():
            self.print_line("The game is over: there is nothing to advise.", "red")
            return
        with self.console.status(WAITING):
            decision = self.session.decide(self.player, self.rng)
        action = int(decision.action[0])
        self.print_line(f"The agent would play {self.game.action_to_text(action)}.")
        self.explain(decision, mine=True)

    def resign(self) -> None:
        if self.session.over():
            self.print_line("The game is over already.", "red")
            return
        self.session.resign(self.side)
        self.changed = True

    def help(self) -> None:
        for names, _, meaning in COMMANDS:
            self.print_line(f"  {', '.join(names):12} {meaning}")
        if not self.session.over():
            self.print_line(f"  or a move, one of {' '.join(self.session.legal_moves())}")

    def leave(self) -> None:
        self.left = True


def top_moves(decision: Decision) -> list[tuple[int, float]]:
    """The move chosen in the first position, then those searched most, each with its policy.

    The order is by visits, because Gumbel's search may give a high policy to a move that it stopped
    searching early. Moves of less than half a percent are left out.
    """
    if decision.policy is None:
        return []
    policy, action = decision.policy[0], int(decision.action[0])
    visits = np.zeros_like(policy) if decision.visits is None else decision.visits[0]
    others = [int(other) for other in np.lexsort((-policy, -visits)) if other != action]
    ranked = [action, *others][:TOP_MOVES]
    return [(move, float(policy[move])) for move in ranked if policy[move] >= 0.005]


COMMANDS: list[tuple[tuple[str, ...], Callable[[TerminalSession], None], str]] = [
    (("u", "undo"), TerminalSession.undo, "take your last move back"),
    (("s", "switch"), TerminalSession.switch, "switch sides with the agent"),
    (("h", "hint"), TerminalSession.hint, "ask what the agent would play"),
    (("r", "resign"), TerminalSession.resign, "give this game up"),
    (("n", "new"), TerminalSession.start, "begin a new game"),
    (("?", "help"), TerminalSession.help, "this list"),
    (("q", "quit"), TerminalSession.leave, "leave"),
]
