"""The balance between self-play and training."""

import math
from dataclasses import dataclass

from alphazero.config import ReplaySettings


@dataclass(frozen=True)
class Limiter:
    """Keeps the training samples per stored position at ``samples_per_position``, on average.

    It limits both sides: training waits while there are too few positions (``due``), self-play
    waits while there are too many (``allowance``).

    Example: 4 samples per position, batches of 200, at least 1,000 positions. A step uses 200
    samples, so that each step needs 200 / 4 = 50 more positions than the step before it:

        step     needed                   allowance
           0     max(1 * 50, 1,000)       (0 + 20 + 1) * 50 + 1     =  1,051
          20     21 * 50    =  1,050      (20 + 21 + 1) * 50 + 1    =  2,101
       1,000     1,001 * 50 = 50,050      (1,000 + 70 + 1) * 50 + 1 = 53,551

    Steps 0 to 19 are due as soon as 1,000 positions are stored; after that, every 50 new positions
    make one more step due. While step 1,000 is the next one, self-play stops at 53,551 positions.
    """

    settings: ReplaySettings
    batch_size: int

    def due(self, positions: int, step: int) -> bool:
        """Whether optimizer step ``step``, counted from 0, may be taken now."""
        return positions >= self.needed(step)

    def needed(self, step: float) -> int:
        """The number of stored positions that step ``step`` requires."""
        balanced = (step + 1) * self.batch_size / self.settings.samples_per_position
        return math.ceil(max(balanced, self.settings.min_positions))

    def allowance(self, step: int) -> int:
        """The number of stored positions at which self-play waits for the learner.

        Self-play may be ahead by 20 steps plus 5 % of the steps taken, so that in a long run the
        samples per position stay within about 5 % of the setting. The allowance is always more than
        ``needed(step)``, so that the two sides never wait for each other.
        """
        ahead = 0.05 * step + 20
        return self.needed(step + ahead) + 1
