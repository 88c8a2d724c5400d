"""The Go Text Protocol, version 2: requests and responses, without the commands themselves.

A request is a line ``[id] name [arguments]``; a response is ``=[id] text`` or ``?[id] message`` and
an empty line. The source is the draft of Farnebäck (2002), sections 2.5 to 2.8 and 3.
"""

import logging
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from alphazero.errors import reason
from workers.engines.inbox import LONGEST, Inbox

log = logging.getLogger(__name__)

MOST_DIGITS = 9
"""Digits of a number; the draft has 31 bits."""

Say = Callable[[str], None]
"""Writes text to the other program, at once."""


class Refusal(Exception):
    """A command that fails; the text is the response's, one line."""


class Request(NamedTuple):
    """One command as it was received."""

    number: str
    """Its id, or an empty text."""
    name: str
    arguments: list[str]


Command = Callable[[list[str]], str | None]
"""``command(arguments)`` returns the response's text, or None where it has written it itself; it
raises ``Refusal`` where it fails."""


def parse(line: str) -> Request | None:
    """The request in ``line``; None: it is empty but for spaces and comments.

    Control characters are dropped, a tab is a space, and ``#`` begins a comment.
    """
    text = "".join(" " if c == "\t" else c for c in line if c == "\t" or c.isprintable())
    words = text.partition("#")[0].split()
    if not words:
        return None
    number = words.pop(0) if re.fullmatch(r"[0-9]+", words[0]) else ""
    name = words.pop(0) if words else ""
    return Request(number, name, words)


def response(number: str, text: str, mark: str = "=") -> str:
    """The response with this text, in which an empty line would be its end.

    A text that begins with a line break begins in the second line of the response.
    """
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    first = "\n" if lines and text.startswith("\n") else ""
    return f"{mark}{number} {first}{chr(10).join(lines)}".rstrip(" ") + "\n\n"


def serve(commands: Mapping[str, Command], begin: Callable[[str], None], inbox: Inbox, say: Say):
    """Answer the requests of ``inbox`` until ``quit`` or the end of the input.

    ``begin(id)`` is called before each command, for those that write their own response. Whatever
    is received, there is one response to each request, and none ends the program.
    """
    while (line := inbox.get()) is not None:
        if len(line) > LONGEST:
            say(response("", f"line longer than {LONGEST} bytes", "?"))
        elif request := parse(line):
            begin(request.number)
            answer = _answer(commands, request)
            if answer is not None:
                say(answer)
            if request.name == "quit":
                return


def _answer(commands: Mapping[str, Command], request: Request) -> str | None:
    """The response to a request; None where the command has written it."""
    if request.name not in commands:
        return response(request.number, "unknown command", "?")
    try:
        text = commands[request.name](request.arguments)
    except Refusal as refusal:
        return response(request.number, str(refusal), "?")
    except BrokenPipeError:  # the other program is gone
        raise
    except Exception as error:  # a player or a game of the user's own may raise anything
        log.warning("%s: %s", request.name, reason(error))
        return response(request.number, reason(error), "?")
    return None if text is None else response(request.number, text)


def whole(text: str) -> int:
    """A whole number, 0 or more; ``Refusal``: it is none."""
    if not re.fullmatch(rf"[0-9]{{1,{MOST_DIGITS}}}", text):
        raise Refusal("syntax error")
    return int(text)


def decimal(text: str) -> float:
    """A number such as 7.5 or -3; ``Refusal``: it is none."""
    if not re.fullmatch(rf"[+-]?[0-9]{{1,{MOST_DIGITS}}}(\.[0-9]{{0,{MOST_DIGITS}}})?", text):
        raise Refusal("syntax error")
    return float(text)


def color(text: str) -> int:
    """The side of a colour: 0 is black, who begins; ``Refusal``: it is none."""
    sides = {"b": 0, "black": 0, "w": 1, "white": 1}
    if text.lower() not in sides:
        raise Refusal("syntax error")
    return sides[text.lower()]


def exactly(arguments: list[str], number: int) -> list[str]:
    """``arguments``; ``Refusal`` where there are not so many."""
    if len(arguments) != number:
        raise Refusal("syntax error")
    return arguments
