"""Planes of Go without liberties, for ``recipe.py``: what is a game's own knowledge worth?"""

import numpy as np
from numpy.typing import NDArray

from alphazero.encoders import Encoder
from games.base import States


class WithoutLiberties(Encoder):
    """The planes of ``games.go``; those of chains with one and two liberties are empty."""

    def __call__(self, states: States) -> NDArray[np.float32]:
        planes = self.game.observe(states)
        planes[:, 2:6] = 0
        return planes
