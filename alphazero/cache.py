"""A cache of evaluations, in front of an evaluator or of a search's requests."""

import sys
from collections.abc import Generator
from typing import TypeVar

import numpy as np
from numba import njit

from alphazero.search import run
from alphazero.types import Evaluation, Evaluator
from games.base import Game, States

Result = TypeVar("Result")

UNKNOWN = sys.maxsize
"""The version before the first answer: newer than any, so never the oldest of two."""


class EvaluationCache:
    """What has been said of the last positions, also within one batch.

    A table of ``capacity`` places (a power of two), one position a place, the newest stays. It
    forgets when newer weights answer and when it is told to (``clear``). For one thread, and one
    question at a time. Size: ``capacity * (4 A + 16 + game.dtype.itemsize)`` bytes.
    """

    def __init__(self, game: Game, capacity: int):
        if capacity < 1 or capacity & (capacity - 1):
            raise ValueError(f"a cache's capacity must be a power of two, not {capacity}")
        self._keys = np.zeros((capacity, game.dtype.itemsize), np.uint8)
        self._marks = np.zeros((capacity, 2), np.int32)  # generation and call that wrote the place
        self._logits = np.zeros((capacity, game.num_actions), np.float32)
        self._values = np.zeros(capacity, np.float32)
        self._generation, self._calls = 1, 0
        self._version = UNKNOWN  # of the last answer
        self.asked = self.missed = 0
        """Positions that it was asked for, and those that it had to pass on."""

    def clear(self) -> None:
        """Forget everything."""
        self._generation += 1

    def ask(self, states: States) -> Generator[States, Evaluation, Evaluation]:
        """Yields the unknown ones of ``states``, if any, and receives their evaluation.

        Returns that of all; its version is the oldest that answered any of them.
        """
        raw = states.view(np.uint8).reshape(len(states), -1)
        self._calls += 1
        place, asked = np.empty((2, len(states)), np.int64)
        mark = np.array([self._generation, self._calls], np.int32)
        count = _look_up(raw, self._keys, self._marks, mark, place, asked)
        self.asked += len(states)
        self.missed += count
        if not count:
            return Evaluation(self._logits[place], self._values[place], self._version)
        rows, before = asked[:count], self._version
        try:
            answer = yield states[rows]
        except BaseException:
            self.clear()  # places were taken for answers that never came
            raise
        stored = place[rows] >= 0
        self._logits[place[rows[stored]]] = answer.logits[stored]
        self._values[place[rows[stored]]] = answer.value[stored]
        logits, values = self._logits[place], self._values[place]
        logits[rows], values[rows] = answer.logits, answer.value
        if answer.version != before != UNKNOWN:
            self.clear()
        self._version = answer.version
        oldest = answer.version if count == len(states) else min(before, answer.version)
        return Evaluation(logits, values, oldest)

    def through(
        self, asking: Generator[States, Evaluation, Result]
    ) -> Generator[States, Evaluation, Result]:
        """Passes on what ``asking`` asks, less what is known; its result in the end."""
        try:
            states = next(asking)
            while True:
                states = asking.send((yield from self.ask(states)))
        except StopIteration as end:
            return end.value


class CachedEvaluator(EvaluationCache):
    """``evaluate`` with a memory of what it said."""

    def __init__(self, game: Game, evaluate: Evaluator, capacity: int):
        super().__init__(game, capacity)
        self._evaluate = evaluate

    def __call__(self, states: States) -> Evaluation:
        return run(self.ask(states), self._evaluate)


@njit(cache=True, nogil=True)
def _look_up(raw, keys, marks, mark, place, asked):
    """Find each state's place, or take one for it; how many must be ``asked`` (their rows).

    A place that another position took in this very call stays taken: -1.
    """
    count = 0
    for row in range(len(raw)):
        at = _hash(raw[row]) & np.uint64(len(keys) - 1)
        place[row] = at
        same = marks[at, 0] == mark[0]
        for byte in range(raw.shape[1]):
            same = same and keys[at, byte] == raw[row, byte]
        if same:
            marks[at, 1] = mark[1]  # nobody may take it before it has been read
            continue
        asked[count] = row
        count += 1
        if marks[at, 1] == mark[1] and marks[at, 0] == mark[0]:
            place[row] = -1
        else:
            # Element by element: compiling `keys[at] = raw[row]` takes Numba two seconds, most of
            # them for the message of an error that cannot occur.
            for byte in range(raw.shape[1]):
                keys[at, byte] = raw[row, byte]
            marks[at, 0], marks[at, 1] = mark[0], mark[1]
    return count


@njit(cache=True, nogil=True)
def _hash(raw):
    """64 bits of a state's bytes: FNV-1a, its high bits folded down."""
    value = np.uint64(14695981039346656037)
    for byte in raw:
        value = (value ^ np.uint64(byte)) * np.uint64(1099511628211)
    return value ^ (value >> np.uint64(32))
