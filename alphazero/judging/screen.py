"""The terminal of a game: lines and boards, below each other or redrawn in place, and input."""

import sys
from contextlib import suppress

from rich.console import Console
from rich.text import Text

SPINNER = "line"
"""In ASCII, as everything that is shown while a person waits."""
LINES_BESIDE_BOARD = 12
"""Lines that a board which is redrawn in place leaves free for the title, notes and the prompt."""


class Screen:
    """Shows boards with notes; on a real terminal each board replaces the one before."""

    def __init__(self, console: Console, title: str, redraw: bool) -> None:
        self.console, self.title, self.redraw = console, title, redraw
        self.notes: list[Text] = []
        """Lines since the last input; a board that is redrawn in place has them below it."""

    def open(self, board: Text) -> None:
        """Show the title, or make room for boards: what was on the screen scrolls up and stays."""
        if self.in_place(board):
            self.console.print("\n" * (self.console.height - 2))
        else:
            self.say(self.title)

    def in_place(self, board: Text) -> bool:
        """Whether ``board`` replaces the one before: on a real terminal on which it fits."""
        rows = board.plain.count("\n") + 1
        return self.redraw and rows + LINES_BESIDE_BOARD <= self.console.height

    def say(self, line: str, style: str = "") -> None:
        """Show a line; into a file or a pipe it goes as it is, without line breaks."""
        self.notes.append(Text(line, style))
        self.console.print(self.notes[-1], soft_wrap=not self.console.is_terminal)

    def refresh(self, board: Text) -> None:
        """Where boards are redrawn in place, show ``board`` and the notes, else nothing."""
        if not self.in_place(board):
            return
        self.console.clear()
        for part in (Text(self.title), Text(), board, Text(), *self.notes):
            self.console.print(part)

    def show(self, board: Text) -> None:
        """Show ``board``, in place or below everything else."""
        if self.in_place(board):
            self.refresh(board)
        else:
            self.console.print()
            self.console.print(board)


def is_interactive(console: Console) -> bool:
    """Whether a person types the input and sees the output on a screen that can be redrawn."""
    streams = sys.stdin.isatty() and sys.stdout.isatty()
    return streams and console.is_terminal and not console.is_dumb_terminal


def edit_lines() -> None:
    """Let ``input`` edit lines and bring back earlier ones, where the platform can do that.

    From now on bytes that are no text are read as a mark instead of an error.
    """
    with suppress(AttributeError):  # a stream of a notebook or a test cannot be changed
        sys.stdin.reconfigure(errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    # Into a pipe, readline would write an escape sequence.
    if sys.stdin.isatty() and sys.stdout.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401


def read_line(prompt: str) -> str:
    """``input``; lines that are not typed are echoed, so that a transcript reads like a session."""
    answer = input(prompt)
    if not sys.stdin.isatty():
        print(answer)
    return answer
