"""Errors that commands report in one line; importing this module takes no time."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONGEST = 300
"""Characters of another error's text that a message repeats."""
KINDS = {
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    "string_type": "text",
}
"""The kind of value that should be there, by the type of pydantic's error."""


class RunFailed(RuntimeError):
    """A run that cannot continue although its input was correct; its message is one line.

    Raised for instance where a loss is not finite or a cluster has been lost. Bad input raises
    ``ValueError`` instead.
    """


class PartLost(RunFailed):
    """The end of a run that has lost something outside of its own process.

    What was learned is whole, so a checkpoint can still be saved.
    """


class FleetLost(PartLost):
    """The end of a run whose self-play cannot continue."""


class LearnerLost(PartLost):
    """The end of a run whose learner has lost one of its processes."""


def reason(error: BaseException, longest: int = LONGEST) -> str:
    """The cause of an error, which may be any, in one line; its type where the text is no sentence.

    ``KeyError("step")`` gives ``KeyError 'step'``, ``ValueError("too\\nlong")`` ``too long``. The
    texts of Ray's errors are tracebacks and those of pydantic's begin with a count of errors: of
    the former the cause is named, of the latter each error. Of JSON the place is named first.
    """
    error = getattr(error, "cause", None) or error
    text, kind = getattr(error, "strerror", None) or str(error), type(error).__name__
    details = getattr(error, "errors", None)
    if kind == "JSONDecodeError":
        text = _json_problem(error)
    elif kind == "ValidationError" and details is not None:
        text = "; ".join(_validation_problem(detail) for detail in details())
    if not (line := one_line(text, longest)):
        return kind
    return f"{kind} {line}" if isinstance(error, KeyError) else line


def _json_problem(error: Any) -> str:
    """``no JSON at line 1, column 5: expecting value``."""
    what = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
    return f"no JSON at line {error.lineno}, column {error.colno}: {what}"


def _validation_problem(detail: dict) -> str:
    place, rule = ".".join(map(str, detail["loc"])), requirement(detail)
    return f"{place}: {rule}" if place else rule


def requirement(detail: Mapping[str, Any]) -> str:
    """The rule that pydantic's ``detail`` of an error states, as in "should be true or false"."""
    kind = KINDS.get(detail["type"])
    return f"should be {kind}" if kind else detail["msg"].removeprefix("Input ")


def one_line(text: str, longest: int = LONGEST) -> str:
    """``text`` in one line without control characters, cut where it is long.

    Texts of files are shown in terminals, where an escape sequence would be executed.
    """
    line = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return line if len(line) <= longest else f"{line[:longest]}..."


def signal_name(number: int) -> str:
    """``SIGKILL``; ``signal 35`` where there is no name, as for most real-time signals."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


@contextmanager
def reading(what: object) -> Iterator[None]:
    """Turn whatever is raised while ``what`` is read into a ``ValueError`` of one line.

    Libraries raise anything for crafted bytes: ``RecursionError``, ``KeyError``, ``EOFError``,
    errors of their own.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{what} cannot be used: {reason(error)}") from error


def diverged(why: object, good: Path | None) -> RunFailed:
    """The failure of a run that diverged; ``good``: its last good checkpoint, if there is one."""
    if good is None:
        return RunFailed(f"{why} and start again: no checkpoint was saved before")
    return RunFailed(f"{why} and resume: the last good checkpoint is {good}")
