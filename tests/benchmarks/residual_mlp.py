"""A residual multilayer perceptron in place of convolutions, as a network by its address.

    alphazero train hex:size=7 'network={kind: "tests.benchmarks.residual_mlp:ResidualMLP"}'

The network of Jones 2021 ("Scaling Scaling Laws with Board Games", arXiv 2104.03113): the flattened
planes, a linear layer, and residual layers of one width. `recipe.py` compares it with convolutions.
"""

from torch import Tensor, nn


class ResidualLayer(nn.Module):
    """``x + ReLU(BatchNorm(W x))``: ``[B, width]`` to the same."""

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.norm(self.linear(features)).relu()


class ResidualMLP(nn.Module):
    """``[B, C, H, W]`` to policy logits ``[B, A]`` and logits of win, draw and loss ``[B, 3]``."""

    def __init__(
        self, shape: tuple[int, int, int], num_actions: int, width: int = 512, layers: int = 4
    ):
        super().__init__()
        planes, height, rows = shape
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(planes * height * rows, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            *(ResidualLayer(width) for _ in range(layers)),
        )
        self.policy = nn.Linear(width, num_actions)
        self.value = nn.Linear(width, 3)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(observations)
        return self.policy(features), self.value(features)
