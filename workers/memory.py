"""What a worker's games know already: evaluations that need not travel to a server again."""

import sys
from collections.abc import Generator
from typing import TypeVar

import numpy as np

from alphazero.evaluators import CachedEvaluator, _look_up, uniform
from alphazero.types import Evaluation
from games.base import Game, States

Result = TypeVar("Result")

UNKNOWN = sys.maxsize
"""The version before the first answer, newer than any, so that it is not the oldest of two."""


class Memory(CachedEvaluator):
    """``CachedEvaluator`` for one who waits for answers. Forgets when new weights answer."""

    def __init__(self, game: Game, capacity: int):
        super().__init__(game, uniform(game), capacity)
        self._version = UNKNOWN

    def through(
        self, asking: Generator[States, Evaluation, Result]
    ) -> Generator[States, Evaluation, Result]:
        """Passes on what ``asking`` asks, less what is known; its result in the end."""
        try:
            states = next(asking)
            while True:
                states = asking.send((yield from self._ask_for(states)))
        except StopIteration as end:
            return end.value

    def _ask_for(self, states: States) -> Generator[States, Evaluation, Evaluation]:
        """Yields the unknown ones of ``states``, if any. The version is the oldest one's."""
        raw = states.view(np.uint8).reshape(len(states), -1)
        self._calls += 1
        place, asked = np.empty((2, len(states)), np.int64)
        mark = np.array([self._generation, self._calls], np.int32)
        count = _look_up(raw, self._keys, self._marks, mark, place, asked)
        if not count:
            return Evaluation(self._logits[place], self._values[place], self._version)
        rows = asked[:count]
        answer = yield states[rows]
        taken = place[rows]
        stored = taken >= 0
        self._logits[taken[stored]] = answer.logits[stored]
        self._values[taken[stored]] = answer.value[stored]
        logits, values = self._logits[place], self._values[place]
        logits[rows], values[rows] = answer.logits, answer.value
        everything = count == len(states)
        oldest = answer.version if everything else min(answer.version, self._version)
        if answer.version != self._version != UNKNOWN:
            self.clear()
        self._version = answer.version
        return Evaluation(logits, values, oldest)
