"""One game in progress, without a console: moves, undo, resignation, result.

The terminal shows it and reads moves for it; any other front end can do the same. Sides are
numbered as players are in ``games.base``: 0 began, 1 is the other.
"""

import numpy as np

from games.base import Game, States


class Session:
    """The positions of one game since it began, and a resignation if there was one."""

    def __init__(self, game: Game) -> None:
        self.game = game
        self.start()

    def start(self) -> None:
        """Begin a new game."""
        self.history: list[States] = [self.game.initial(1)]
        """The positions ``[1]`` from the start to the one on the board."""
        self.resigned: int | None = None
        """The side that resigned."""

    @property
    def states(self) -> States:
        """``[1]``, the position on the board."""
        return self.history[-1]

    @property
    def to_move(self) -> int:
        """The side about to move; in a finished game, the side that would move next."""
        return int(self.game.to_move(self.states)[0])

    def over(self) -> bool:
        """Whether the game has ended, by the rules or by a resignation."""
        return self.resigned is not None or not self.game.legal(self.states).any()

    def legal_moves(self) -> list[str]:
        """The moves that can be played now by the rules, in the game's notation."""
        actions = np.flatnonzero(self.game.legal(self.states)[0])
        return [self.game.action_to_text(int(action)) for action in actions]

    def move(self, text: str) -> None:
        """Play a move given in the game's notation, for the side about to move.

        ``ValueError``, one line that says what would be right: the game is over, the text is no
        move of this game, or it cannot be played here.
        """
        if self.over():
            raise ValueError("the game is over; start begins a new one")
        action, legal = self.game.text_to_action(text), self.game.legal(self.states)[0]
        if not legal[action]:
            possible = " ".join(self.legal_moves())
            raise ValueError(f"{text} cannot be played here; possible are {possible}")
        self.play(action)

    def play(self, action: int) -> None:
        """Play a legal action for the side about to move."""
        self.history.append(self.game.step(self.states, np.array([action])))

    def undo(self, side: int) -> bool:
        """Go back to the last decision of ``side``; False where it has made none.

        A resignation is taken back first, by itself; then the last move of ``side`` and every move
        after it.
        """
        own = [ply for ply, states in enumerate(self.history[:-1]) if self._moves(side, states)]
        if self.resigned is not None:
            self.resigned = None
        elif own:
            self.history = self.history[: own[-1] + 1]
        else:
            return False
        return True

    def _moves(self, side: int, states: States) -> bool:
        return self.game.to_move(states)[0] == side

    def resign(self, side: int) -> None:
        """End the game: ``side`` loses, whichever side is about to move."""
        self.resigned = side

    def result(self, side: int) -> int | None:
        """The result for ``side``: +1 a win, 0 a draw, -1 a loss; None while the game goes on."""
        if self.resigned is not None:
            return -1 if side == self.resigned else 1
        outcome = float(self.game.outcome(self.states)[0])
        if np.isnan(outcome):
            return None
        return int(outcome) if self.to_move == side else -int(outcome)
