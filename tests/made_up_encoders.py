"""Encoders for tests: planes of earlier positions, and some that break a promise."""

import numpy as np

from alphazero.encoders import Encoder
from games import history

PLIES = 2


class HistoryPlanes(Encoder):
    """The planes of the present and of the last two positions, all for the player about to move."""

    history = PLIES

    def __init__(self, game):
        super().__init__(game)
        planes, height, width = game.observation_shape
        self.shape = (planes * (1 + PLIES), height, width)

    def __call__(self, states):
        present = history.present(states)
        mover, planes = self.game.to_move(present), [self.game.observe(present)]
        for back in range(1, PLIES + 1):
            before = history.earlier(states, back)
            seen = self.game.observe(before)
            # Its planes are those of the player about to move then: mine, then theirs.
            other = self.game.to_move(before) != mover
            seen[other] = seen[other][:, ::-1]
            seen[states["known"] < back] = 0
            planes.append(seen)
        return np.concatenate(planes, axis=1)


class Corners(Encoder):
    """The game's planes and one with 1 in the corners."""

    def __init__(self, game):
        super().__init__(game)
        self.shape = (game.observation_shape[0] + 1, *game.observation_shape[1:])

    def __call__(self, states):
        planes = self.game.observe(states)
        corners = np.zeros_like(planes[:, :1])
        corners[:, :, [0, 0, -1, -1], [0, -1, 0, -1]] = 1
        return np.concatenate([planes, corners], axis=1)


class Rows(Corners):
    """The game's planes and one with the number of the row: no symmetry leaves it as it is."""

    def __call__(self, states):
        planes = super().__call__(states)
        planes[:, -1] = np.linspace(0, 1, planes.shape[2])[:, None]
        return planes


class WrongShape(Corners):
    def __call__(self, states):
        return self.game.observe(states)


class NotFinite(Encoder):
    def __call__(self, states):
        return np.log(self.game.observe(states))


class Doubles(Encoder):
    def __call__(self, states):
        return self.game.observe(states).astype(np.float64)


class FewSymmetries(Encoder):
    def symmetries(self):
        return super().symmetries()[:1]


class NoPermutation(Encoder):
    def symmetries(self):
        return [np.zeros_like(cells) for cells in super().symmetries()]


class WrongSymmetry(Encoder):
    def symmetries(self):
        return [np.roll(cells, number) for number, cells in enumerate(super().symmetries())]


class LongHistory(Encoder):
    history = 1000


class WrongKey(Encoder):
    def key(self, states):
        return np.zeros(len(states))


class SharedKey(Encoder):
    def key(self, states):
        return np.zeros((len(states), 1), np.uint8)


class NeedsMore(Encoder):
    def __init__(self, game, planes):
        super().__init__(game)


class WithoutShape(Encoder):
    def __init__(self, game):
        self.game = game


class Raises(Encoder):
    def __call__(self, states):
        raise RuntimeError("first line\nsecond line")


class NoEncoder:
    pass
