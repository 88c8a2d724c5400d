"""The newest weights of a machine, in memory that its evaluators read."""

import numpy as np

from alphazero.nn.weights import Weights
from workers.node.shared import SharedArrays

COUNT = "/published"
"""How often weights were published; no name of a weight begins with a slash."""
VERSIONS = "/versions"


class PublishedWeights:
    """Two copies of the weights: while one is written, the other one is read.

    After publication ``n`` (from 1 on) the copy ``n % 2`` is the newest one. A reader that was so
    slow that another publication has ended meanwhile reads again, because the next one would be
    writing into its copy.
    """

    def __init__(self, weights: Weights, memory: SharedArrays | None = None):
        """``weights``: names, shapes and types; the values are not published. ``memory``: in a
        child process, in which ``weights`` may be empty."""
        self.memory = memory or SharedArrays(
            {
                **{name: ((2, *array.shape), array.dtype) for name, array in weights.items()},
                COUNT: ((1,), np.dtype(np.int64)),
                VERSIONS: ((2,), np.dtype(np.int64)),
            }
        )
        self._names = [name for name in self.memory.specs if name not in (COUNT, VERSIONS)]
        self._count, self._versions = self.memory[COUNT], self.memory[VERSIONS]

    def __reduce__(self) -> tuple:
        return PublishedWeights, ({}, self.memory)

    @property
    def count(self) -> int:
        """How often weights were published; it grows when there are new ones."""
        return int(self._count[0])

    def publish(self, weights: Weights, version: int) -> None:
        """Make ``weights`` the newest ones. ``ValueError``: names or shapes are other ones."""
        if weights.keys() != set(self._names):
            raise ValueError("these weights have other names than those before")
        for name, array in weights.items():  # NumPy would repeat an array that has too few values
            if np.shape(array) != self.memory[name].shape[1:]:
                raise ValueError(f"the weights {name} have another shape than those before")
        copy = (self.count + 1) % 2
        for name, array in weights.items():
            self.memory[name][copy] = array
        self._versions[copy] = version
        self._count[0] += 1

    def read(self) -> tuple[Weights, int]:
        """Copies of the newest weights, and their version."""
        while True:
            count = self.count
            weights = {name: self.memory[name][count % 2].copy() for name in self._names}
            version = int(self._versions[count % 2])
            if self.count == count:
                return weights, version
