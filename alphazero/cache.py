"""A cache of evaluations, in front of an evaluator or of a generator that yields states."""

import sys
from collections.abc import Callable, Generator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from alphazero.search import run
from alphazero.types import Evaluation, Evaluator
from games.base import Game, States
from games.compiling import jit

Result = TypeVar("Result")

Key = Callable[[States], NDArray[np.uint8]]
"""``states [B]`` to ``uint8 [B, K]``: rows are equal where the evaluations are."""

NO_VERSION = sys.maxsize
"""The version of an empty cache: newer than any, so that it is never the older of two."""


class EvaluationCache:
    """The evaluations of the last positions, by their keys.

    A direct-mapped table of ``capacity`` entries, a power of two: a key's hash decides its entry,
    and a new position replaces the old one there. The entries are of one weights version: they are
    dropped when an evaluation of another version arrives, and by ``clear``. A key that occurs
    twice in a batch is evaluated once. Not for several threads at a time, and a lookup must be
    finished before the next one begins.

    Memory: ``capacity * entry_bytes(game, key)``, that is ``capacity * (4 A + 12 + K)`` bytes with
    keys of ``K`` bytes: 65,536 * (28 + 12 + 16) = 3.7 MB in Connect Four.
    """

    def __init__(self, game: Game, capacity: int, key: Key | None = None):
        """``key``: by default ``game.identity``; an encoder has one of its own.

        ``ValueError`` where ``capacity`` is no power of two.
        """
        if capacity < 1 or capacity & (capacity - 1):
            raise ValueError(f"a cache's capacity must be a power of two, not {capacity}")
        self._key = key or game.identity
        self._keys = np.zeros((capacity, self._key(game.initial(1)).shape[1]), np.uint8)
        self._marks = np.zeros((capacity, 2), np.int32)  # generation and call of the last use
        self._logits = np.zeros((capacity, game.num_actions), np.float32)
        self._values = np.zeros(capacity, np.float32)
        # Entries of an earlier generation are empty, so that clearing takes no time.
        self._generation, self._calls = 1, 0
        self._version = NO_VERSION  # of the entries
        self.lookups = self.misses = 0
        """Positions looked up since the start, and those of them that had to be evaluated."""

    def clear(self) -> None:
        """Drop all entries; the counts stay."""
        self._generation, self._calls = self._generation + 1, 0
        self._version = NO_VERSION

    def drop_older(self, version: int) -> None:
        """Drop all entries if they are of weights before ``version``."""
        if self._version < version:
            self.clear()

    def lookup(self, states: States) -> Generator[States, Evaluation, Evaluation]:
        """Yields the misses among ``states [B]``, if there are any, and receives their evaluation.

        Returns the evaluation of all; its version is the oldest among its parts.
        """
        raw = np.ascontiguousarray(self._key(states))
        self._calls += 1
        entry, missing = np.empty((2, len(states)), np.int64)
        mark = np.array([self._generation, self._calls], np.int32)
        count = _find(raw, self._keys, self._marks, mark, entry, missing)
        self.lookups += len(states)
        self.misses += count
        rows, before = missing[:count], self._version
        answer = Evaluation(self._logits[:0], self._values[:0], before)
        if count:
            try:
                answer = yield states[rows]
            except BaseException:
                self.clear()  # the entries taken for this evaluation have none
                raise
        if answer.version != before != NO_VERSION:
            self.clear()
        self._version = answer.version
        logits = np.empty((len(states), self._logits.shape[1]), np.float32)
        values = np.empty(len(states), np.float32)
        _exchange(
            rows, answer.logits, answer.value, entry, self._logits, self._values, logits, values
        )
        oldest = answer.version if count == len(states) else min(before, answer.version)
        return Evaluation(logits, values, oldest)

    def wrap(
        self, steps: Generator[States, Evaluation, Result]
    ) -> Generator[States, Evaluation, Result]:
        """``steps``, a search for example, yielding only the misses among its states."""
        try:
            states = next(steps)
            while True:
                states = steps.send((yield from self.lookup(states)))
        except StopIteration as end:
            return end.value


class CachedEvaluator:
    """An evaluator with an ``EvaluationCache`` in front of it."""

    def __init__(self, game: Game, evaluate: Evaluator, capacity: int, key: Key | None = None):
        self.cache = EvaluationCache(game, capacity, key)
        self._evaluate = evaluate

    def __call__(self, states: States) -> Evaluation:
        return run(self.cache.lookup(states), self._evaluate)


def entry_bytes(game: Game, key: Key | None = None) -> int:
    """Bytes of one entry: key, two marks of 4 bytes, ``A`` logits and a value of 4 bytes each."""
    return (key or game.identity)(game.initial(1)).shape[1] + 8 + 4 * game.num_actions + 4


@jit
def _find(raw, keys, marks, mark, entry, missing):
    """Find the ``entry`` of each state, or take one for it; returns how many are ``missing``.

    ``raw [B, K]``: the states' keys. Written are ``entry [B]`` and the first rows of
    ``missing [B]``: which rows need an evaluation. An entry that this same call has used already is
    not taken again, because it is read when the call ends: the state in row 5 whose entry the state
    in row 2 took gets the entry -1, is evaluated, and is not stored.
    """
    count = 0
    for row in range(len(raw)):
        at = _hash(raw[row]) & np.uint64(len(keys) - 1)
        entry[row] = at
        same = marks[at, 0] == mark[0]
        for byte in range(raw.shape[1]):
            same = same and keys[at, byte] == raw[row, byte]
        if same:
            marks[at, 1] = mark[1]  # a hit, which must not be replaced before it is read
            continue
        missing[count] = row
        count += 1
        if marks[at, 1] == mark[1] and marks[at, 0] == mark[0]:
            entry[row] = -1
        else:
            # Element by element: compiling `keys[at] = raw[row]` takes Numba two seconds, most of
            # them for the message of an error that cannot occur.
            for byte in range(raw.shape[1]):
                keys[at, byte] = raw[row, byte]
            marks[at, 0], marks[at, 1] = mark[0], mark[1]
    return count


@jit
def _exchange(rows, new_logits, new_values, entry, kept_logits, kept_values, logits, values):
    """Keep the new evaluations, which are those of ``rows``, and write that of every state.

    Where ``entry`` is -1 an evaluation is not kept. Element by element as in ``_find``.
    """
    for index in range(len(rows)):
        row, at = rows[index], entry[rows[index]]
        values[row] = new_values[index]
        for action in range(logits.shape[1]):
            logits[row, action] = new_logits[index, action]
        if at >= 0:
            kept_values[at] = values[row]
            for action in range(logits.shape[1]):
                kept_logits[at, action] = logits[row, action]
    for row in range(len(entry)):
        if entry[row] >= 0:
            values[row] = kept_values[entry[row]]
            for action in range(logits.shape[1]):
                logits[row, action] = kept_logits[entry[row], action]


@jit
def _hash(raw):
    """64 bits of a key's bytes: FNV-1a, its high bits folded down."""
    value = np.uint64(14695981039346656037)
    for byte in raw:
        value = (value ^ np.uint64(byte)) * np.uint64(1099511628211)
    return value ^ (value >> np.uint64(32))
