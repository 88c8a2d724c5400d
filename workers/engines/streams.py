"""Standard input and output as the lines of a protocol."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout

from workers.engines.inbox import Inbox


@contextmanager
def protocol() -> Iterator[tuple[Inbox, Callable[[str], None]]]:
    """The lines of standard input, and a function that writes to standard output at once.

    Meanwhile, whatever else prints, as a game of the user's own may, prints to standard error.
    """
    output = sys.stdout

    def say(text: str) -> None:
        output.write(text)
        output.flush()

    with redirect_stdout(sys.stderr):
        yield Inbox(lambda size: os.read(0, size)), say
