"""A game against a player in the terminal; the same with scripted input, in plain text."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.text import Text

from alphazero.judging.players import Decision, Player
from games.base import Game, States

Read = Callable[[str], str]
"""Shows a prompt and returns the answer; ``EOFError`` where there is no more of it."""

STONES = "XO"
COLOURS = {"X": "bold red", "O": "bold yellow"}
TOP_MOVES = 3


@dataclass(frozen=True, slots=True)
class PlaySettings:
    begin: bool = True
    """Whether the human has the first move."""
    hints: bool = False
    """Show the agent's evaluation and top moves all the time, not only when asked."""
    seed: int = 0
    """Of the agent's randomness."""


def play(game: Game, player: Player, settings: PlaySettings, read: Read, console: Console) -> None:
    """Play until the human quits, input ends, or Ctrl-C; none of these is an error."""
    session = Session(game, player, settings, console)
    console.print(f"{game.name} against {player.name}. Type a move, or ? for help.", markup=False)
    if player.inference:
        console.print(f"Its network runs on {player.inference}.", markup=False, highlight=False)
    try:
        while not session.left:
            session.until_human()
            session.obey(read(session.prompt()))
    except (EOFError, KeyboardInterrupt):
        console.print()
    console.print("Goodbye.")


def terminal_read(prompt: str) -> str:
    """``input``; scripted answers are echoed, so that a transcript reads like a session."""
    answer = input(prompt)
    if not sys.stdin.isatty():
        print(answer)
    return answer


class Session:
    """One human, one agent and the positions since the game began."""

    def __init__(
        self, game: Game, player: Player, settings: PlaySettings, console: Console
    ) -> None:
        self.game, self.player, self.console = game, player, console
        self.hints = settings.hints
        self.seat = 0 if settings.begin else 1
        self.rng = np.random.default_rng(settings.seed)
        self.left = False
        self.start()

    def start(self) -> None:
        self.history = [self.game.initial(1)]
        self.resigned = False
        self.changed = True

    @property
    def states(self) -> States:
        """``[1]``, the position on the board."""
        return self.history[-1]

    def over(self) -> bool:
        return self.resigned or not self.game.legal(self.states).any()

    def human_to_move(self) -> bool:
        return self.game.to_move(self.states)[0] == self.seat

    def say(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, markup=False, highlight=False)

    def until_human(self) -> None:
        """Let the agent move while it is its turn, then show what the human must answer."""
        while not self.over() and not self.human_to_move():
            self.agent_moves()
        if self.changed:
            self.show()
        self.changed = False

    def agent_moves(self) -> None:
        decision = self.ask()
        action = int(decision.action[0])
        self.say(f"The agent plays {self.game.action_to_text(action)}.")
        if self.hints:
            self.explain(decision, mine=False)
        self.advance(action)

    def advance(self, action: int) -> None:
        self.history.append(self.game.step(self.states, np.array([action])))
        self.changed = True

    def ask(self) -> Decision:
        """What the agent would do here, whoever is to move."""
        with self.console.status("The agent is thinking ..."):
            return self.player(self.states, [self.rng])

    def show(self) -> None:
        self.console.print()
        self.console.print(self.board())
        if self.over():
            self.say(self.result(), "bold")
            return
        self.say(f"It is your turn; you play {STONES[self.seat]}.")
        if self.hints:
            self.hint()

    def board(self) -> Text:
        """The drawing in colour; a stone where there was none before is the last move."""
        drawing = self.game.render(self.states[0])
        before = self.game.render(self.history[-2][0]) if len(self.history) > 1 else drawing
        if len(before) != len(drawing):  # a drawing that grows says nothing of what is new in it
            before = drawing
        text = Text(drawing)
        for index, (old, new) in enumerate(zip(before, drawing, strict=True)):
            if new in STONES:
                fresh = " reverse" if old not in STONES else ""
                text.stylize(COLOURS[new] + fresh, index, index + 1)
            else:
                text.stylize("dim", index, index + 1)
        return text

    def result(self) -> str:
        if self.resigned:
            return "You resigned: the agent wins."
        outcome = self.game.outcome(self.states)[0]
        if outcome == 0:
            return "The game is over: a draw."
        won = (outcome > 0) == self.human_to_move()
        return f"The game is over: {'you win' if won else 'the agent wins'}."

    def prompt(self) -> str:
        if self.over():
            return "n new game, u undo, q quit > "
        return f"{STONES[self.seat]} to move > "

    def obey(self, text: str) -> None:
        """A command, or else a move in the game's notation; bad input is explained."""
        word = text.strip()
        for names, action, _ in COMMANDS:
            if word.lower() in names:
                action(self)
                return
        try:
            self.move(word)
        except ValueError as error:
            self.say(f"{error}. Type ? for help.", "red")

    def move(self, text: str) -> None:
        if self.over():
            raise ValueError("the game is over; n begins a new one")
        action, legal = self.game.text_to_action(text), self.game.legal(self.states)[0]
        if not legal[action]:
            raise ValueError(f"{text} cannot be played here; possible are {self.possible()}")
        self.advance(action)

    def possible(self) -> str:
        actions = np.flatnonzero(self.game.legal(self.states)[0])
        return " ".join(self.game.action_to_text(int(action)) for action in actions)

    def explain(self, decision: Decision, mine: bool) -> None:
        """The agent's view of the position it decided in; ``mine``: the human was to move."""
        if decision.value is not None:
            # Adding 0 turns -0.0, which would be shown as -0.00, into 0.0.
            value = float(decision.value[0]) * (1 if mine else -1) + 0.0
            self.say(f"  It rates the position {value:+.2f} for you (+1 won, 0 even, -1 lost).")
        listed = [
            f"{self.game.action_to_text(action)} ({share:.0%})"
            for action, share in top_moves(decision)
        ]
        if listed:
            self.say(f"  Its top moves: {', '.join(listed)}.")

    def undo(self) -> None:
        """Back to the human's last decision, resigning included."""
        own = [ply for ply, states in enumerate(self.history[:-1]) if self._is_own(states)]
        if self.resigned:
            self.resigned = False
        elif own:
            self.history = self.history[: own[-1] + 1]
        else:
            self.say("You have no move to take back.", "red")
            return
        self.changed = True

    def _is_own(self, states: States) -> bool:
        return self.game.to_move(states)[0] == self.seat

    def switch(self) -> None:
        if self.over():
            self.say("The game is over: start a new one to change seats.", "red")
            return
        self.seat = 1 - self.seat
        self.say(f"You play {STONES[self.seat]} now.")
        self.changed = True

    def hint(self) -> None:
        if self.over():
            self.say("The game is over: there is nothing to advise.", "red")
            return
        decision = self.ask()
        self.say(f"The agent would play {self.game.action_to_text(int(decision.action[0]))}.")
        self.explain(decision, mine=True)

    def resign(self) -> None:
        if self.over():
            self.say("The game is over already.", "red")
            return
        self.resigned = self.changed = True

    def help(self) -> None:
        for names, _, meaning in COMMANDS:
            self.say(f"  {', '.join(names):12} {meaning}")
        if not self.over():
            self.say(f"  or a move, one of {self.possible()}")

    def leave(self) -> None:
        self.left = True


def top_moves(decision: Decision) -> list[tuple[int, float]]:
    """The move of the first position and those searched most beside it, with their policy.

    Of the policy alone Gumbel's search may prefer a move that it gave up on the way. Moves of less
    than half a percent are left out.
    """
    if decision.policy is None:
        return []
    policy, action = decision.policy[0], int(decision.action[0])
    visits = np.zeros_like(policy) if decision.visits is None else decision.visits[0]
    others = [int(other) for other in np.lexsort((-policy, -visits)) if other != action]
    ranked = [action, *others][:TOP_MOVES]
    return [(each, float(policy[each])) for each in ranked if policy[each] >= 0.005]


COMMANDS: list[tuple[tuple[str, ...], Callable[[Session], None], str]] = [
    (("u", "undo"), Session.undo, "take your last move back"),
    (("s", "switch"), Session.switch, "switch sides with the agent"),
    (("h", "hint"), Session.hint, "ask what the agent would play"),
    (("r", "resign"), Session.resign, "give this game up"),
    (("n", "new"), Session.start, "begin a new game"),
    (("?", "help"), Session.help, "this list"),
    (("q", "quit"), Session.leave, "leave"),
]
