"""Divergence: a loss that is no longer finite, or that stays far above what it was.

A loss that *jumped* was computed with weights that the steps before it have damaged. Losses during
a jump do not count as recent ones, so that the limit stays where it was. With a median of 2:

    step   40   41   42   43   44    limit 20
    loss  2.1  1.9   90   80  2.2    jumped at step 42 for two steps, and came back
"""

import math
import statistics
from collections import deque
from typing import Any

from alphazero.ranges import LARGEST

RECENT = 100
"""Losses that the median is taken of."""
FACTOR = 10.0
"""A loss above this many times the recent median has jumped."""
PATIENCE = 20
"""Steps in a row with such a loss after which a training has diverged."""
SMALLEST = 0.01
"""A smaller median counts as this one: a loss near 0 may well grow tenfold."""


class Diverged(RuntimeError):
    """A training that cannot go on; the message is one line that says where and what to change.

    ``step``: the number of steps after which the weights were bad, the first of the jump.
    """

    def __init__(self, message: str, step: int):
        super().__init__(f"{message}; lower optimizer.learning_rate")
        self.step = step


def check(state: Any) -> None:
    """``ValueError``, one line, where ``state``, from anyone, is no ``state`` of ``Losses``."""
    match state:
        case {"recent": list(recent), "high": int(high), "jump": None | int() as jump}:
            finite = all(type(loss) is float and math.isfinite(loss) for loss in recent)
            counted = 0 <= high < PATIENCE and (jump is None or 0 <= jump <= LARGEST)
            if finite and counted and len(recent) <= RECENT:
                return
    raise ValueError("the recent losses of the training are not what a training stores")


class Losses:
    """The recent losses of one training, and where they jumped."""

    def __init__(self, factor: float = FACTOR):
        self._factor = factor
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._high = 0
        self.jump: int | None = None
        """The step with which the last jump began."""

    @property
    def jumped(self) -> bool:
        """Whether the last loss was above the limit."""
        return self._high > 0

    def add(self, step: int, loss: float, gradient: float) -> None:
        """Add the loss and the gradient's norm that the weights of ``step`` had.

        ``Diverged`` where they are not finite, or at the ``PATIENCE``-th loss in a row above the
        limit.
        """
        finite, median = math.isfinite(loss) and math.isfinite(gradient), self._median()
        if finite and not loss > self._factor * median:
            self._high = 0
            self._recent.append(loss)
            return
        if not self._high:
            self.jump = step
        self._high += 1
        begun = step if self.jump is None else self.jump
        if not finite:
            figures = f"loss {loss}, gradient norm {gradient}"
            raise Diverged(f"training diverged at step {step}: {figures}", begun)
        if self._high >= PATIENCE:
            raise Diverged(
                f"training diverged at step {begun}: the loss is {loss:.3g} and has been over "
                f"{self._factor:g} times its recent median of {median:.3g} for {PATIENCE} steps",
                begun,
            )

    def state(self) -> dict[str, Any]:
        """All that ``restore`` needs, as plain values."""
        return {"recent": list(self._recent), "high": self._high, "jump": self.jump}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state``, which ``check`` accepts."""
        self._recent = deque(state["recent"], RECENT)
        self._high, self.jump = state["high"], state["jump"]

    def _median(self) -> float:
        """The recent median; infinite before the first loss, which no limit can judge."""
        if not self._recent:
            return math.inf
        return max(SMALLEST, statistics.median(self._recent))
