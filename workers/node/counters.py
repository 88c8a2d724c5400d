"""Counters of a machine's processes in shared memory, where reading them costs no message."""

import numpy as np
from numpy.typing import NDArray

from workers.node.shared import SharedArrays

PLAYER = np.dtype([(name, np.int64) for name in ("iterations", "games", "moves", "evaluated")])
"""``iterations`` grows at least once per ``player.PAUSE`` plus the computation of one move."""
EVALUATOR = np.dtype(
    [
        (name, np.int64)
        for name in (
            "iterations", "requests", "evaluations", "batches", "room",
            "busy_nanoseconds", "version",
        )
    ]
)  # fmt: skip
"""``room``: positions that would have filled the batches; ``version``: that of the weights, -1
before the first; ``busy_nanoseconds``: of all its lanes."""


class Row:
    """The counters of one process, for itself."""

    def __init__(self, counters: NDArray[np.void], number: int):
        """``counters``: those of all processes of a kind; ``number``: that of this one."""
        # Adding to a number takes a tenth of the time that it takes in a NumPy array.
        self._number = number
        self._columns = {name: counters[name].data for name in counters.dtype.names or ()}

    def add(self, name: str, count: int) -> None:
        self._columns[name][self._number] += count


class Counters:
    """The counters of all search processes and evaluators, and whether play is held."""

    def __init__(self, players: int, evaluators: int, memory: SharedArrays | None = None):
        self._sizes = players, evaluators
        self.memory = memory or SharedArrays(
            {
                "players": ((players,), PLAYER),
                "evaluators": ((evaluators,), EVALUATOR),
                "held": ((1,), np.dtype(np.bool_)),
            }
        )
        if memory is None:
            self.memory["evaluators"]["version"] = -1
        self.players, self.evaluators = self.memory["players"], self.memory["evaluators"]

    def __reduce__(self) -> tuple:
        return Counters, (*self._sizes, self.memory)

    def of_kind(self, kind: str) -> NDArray[np.void]:
        """The counters of all processes of a kind, ``player`` or ``evaluator``."""
        return self.players if kind == "player" else self.evaluators

    def restart(self, kind: str, number: int) -> None:
        """Prepare the counters of a process that has ended for the one that replaces it, whose
        counts are added to them."""
        self.of_kind(kind)["iterations"][number] = 0
        if kind == "evaluator":
            self.evaluators["version"][number] = -1

    def of_player(self, number: int) -> Row:
        return Row(self.players, number)

    def of_evaluator(self, number: int) -> Row:
        return Row(self.evaluators, number)

    @property
    def held(self) -> bool:
        """Whether no new move is to begin."""
        return bool(self.memory["held"][0])

    @held.setter
    def held(self, held: bool) -> None:
        self.memory["held"][0] = held
