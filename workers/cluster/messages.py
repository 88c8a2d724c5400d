"""The last messages of an actor, which the driver reads with its answers."""

import threading
from collections import deque
from typing import Any

MOST = 40
"""Messages that are kept for the driver, which asks twice per second."""


class Messages:
    """The last ``MOST`` messages, and the number of all; they may be added by several threads."""

    def __init__(self) -> None:
        self._last: deque[str] = deque(maxlen=MOST)
        self._number = 0
        self._changing = threading.Lock()

    def add(self, message: str) -> None:
        with self._changing:
            self._last.append(message)
            self._number += 1

    def status(self) -> dict[str, Any]:
        """The last messages as ``reports``, and the number of all as ``reported``."""
        with self._changing:
            return {"reports": list(self._last), "reported": self._number}


def new(before: dict[str, Any], status: dict[str, Any]) -> list[str]:
    """The messages in ``status`` that are newer than those of the answer ``before``, {} at first.

    Only the last ones where more than ``MOST`` are new.
    """
    number = status["reported"] - before.get("reported", 0)
    return status["reports"][max(0, len(status["reports"]) - number) :]
