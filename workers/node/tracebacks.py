"""Tracebacks of other processes: bounded, and in the log only, where a terminal has one line."""

import logging
import traceback

MOST_CHARACTERS = 4000
"""Characters of the end of a traceback that are kept."""
INDENT = "    "


def traceback_of(error: BaseException | None) -> str:
    """The end of the traceback of an error; empty for None."""
    if error is None:
        return ""
    return "".join(traceback.format_exception(error)).strip()[-MOST_CHARACTERS:]


def log_traceback(logger: logging.Logger, where: str, text: str) -> None:
    """Log the end of a traceback, if there is one, at a level that is not shown in the terminal.

    Each line is indented, so that none looks like a line of the log itself.
    """
    lines = text.strip()[-MOST_CHARACTERS:].splitlines()
    shown = ["".join(letter if letter.isprintable() else "?" for letter in line) for line in lines]
    if shown:
        logger.info("\n".join([f"{where}, traceback:", *(INDENT + line for line in shown)]))
