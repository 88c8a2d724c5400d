"""The share of self-play that is spent in the rules of a game."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from games.base import Game

METHODS = ("initial", "legal", "step", "outcome", "to_move", "observe", "advance", "identity",
           "adjudicate", "result")  # fmt: skip
"""The methods of a game that self-play calls."""


class GameTime:
    """Measures self-play, and the part of it that is spent in the methods of a game.

    For several threads at once; a method that waits for Python's lock counts as running. A method
    that calls another one counts once.
    """

    def __init__(self) -> None:
        self._thread = threading.local()
        self._lock = threading.Lock()
        self._all = 0.0
        self._methods: Counter[str] = Counter()  # seconds

    @property
    def share(self) -> float:
        """The share of the measured time that was spent in the game, in [0, 1]; 0 before any."""
        return sum(self.shares.values())

    @property
    def shares(self) -> dict[str, float]:
        """The part of each method in ``share``; a method that was not called is left out."""
        return {name: spent / self._all for name, spent in self._methods.items() if self._all}

    def watch(self, game: Game, methods: Sequence[str] = METHODS) -> None:
        """Measure these methods of this instance from now on."""
        for name in methods:
            # A frozen dataclass is no obstacle, but a class with slots cannot be measured.
            with contextlib.suppress(AttributeError):
                object.__setattr__(game, name, self._measured(name, getattr(game, name)))

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what this thread does meanwhile."""
        start, self._thread.spent = time.perf_counter(), Counter()
        try:
            yield
        finally:
            with self._lock:
                self._all += time.perf_counter() - start
                self._methods.update(self._thread.spent)
            self._thread.spent = None

    def _measured(self, name: str, method: Callable) -> Callable:
        thread = self._thread

        def measured(*arguments: Any, **named: Any) -> Any:
            spent = getattr(thread, "spent", None)
            if spent is None:  # not in self-play, or inside of another method
                return method(*arguments, **named)
            start, thread.spent = time.perf_counter(), None
            try:
                return method(*arguments, **named)
            finally:
                spent[name] += time.perf_counter() - start
                thread.spent = spent

        return measured
