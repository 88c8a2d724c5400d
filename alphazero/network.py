"""The residual policy-value network (AlphaGo Zero, Silver et al. 2017; AlphaZero, 2018)."""

import torch
from torch import Tensor, nn

from alphazero.config import NetworkSettings
from alphazero.nn.initialization import initialize
from alphazero.nn.layers import LAST_NORM, Residual, policy_head, residual_tower, value_head
from alphazero.nn.weights import Weights, arrays
from games.base import Game


class PolicyValueNetwork(nn.Module):
    """A residual tower under a policy head and a value head.

    Its weights are torch's default ones; ``build`` draws proper ones from a seed.
    """

    def __init__(
        self, observation_shape: tuple[int, int, int], num_actions: int, settings: NetworkSettings
    ):
        super().__init__()
        planes, height, width = observation_shape
        channels, cells = settings.channels, height * width
        outputs = 3 if settings.value_head == "wdl" else 1
        self.tower = residual_tower(planes, channels, settings.blocks, settings.attention)
        self.policy = policy_head(channels, cells, settings.policy_channels, num_actions)
        self.value = value_head(
            channels, cells, settings.value_channels, settings.value_hidden, outputs
        )

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """``[B, C, H, W]`` to policy logits ``[B, A]`` and value logits ``[B, 3]`` or ``[B, 1]``.

        Three value logits are those of win, draw and loss for the player about to move; a single
        one is the value before tanh.
        """
        features = self.tower(observations)
        return self.policy(features), self.value(features)


def scalar_value(value_logits: Tensor) -> Tensor:
    """Value logits ``[B, 3]`` or ``[B, 1]`` to values ``[B]`` in [-1, 1] for the player to move.

    From three logits it is the expected outcome P(win) - P(loss): 0.5, 0.3, 0.2 give 0.3.
    """
    assert value_logits.shape in ((len(value_logits), 1), (len(value_logits), 3))
    if value_logits.shape[1] == 1:
        return torch.tanh(value_logits[:, 0])
    probabilities = torch.softmax(value_logits, dim=1)
    return probabilities[:, 0] - probabilities[:, 2]


def build(game: Game, settings: NetworkSettings, seed: int) -> PolicyValueNetwork:
    """Build a network for ``game`` whose weights depend on ``seed`` alone; in training mode."""
    with torch.random.fork_rng(devices=[]):  # torch's own first weights would use its global state
        network = PolicyValueNetwork(game.observation_shape, game.num_actions, settings)
    generator = torch.Generator().manual_seed(seed)
    outputs = (network.policy[-1], network.value[-1])
    initialize(network, settings.initialization, generator, outputs)
    return network


def deepen(network: PolicyValueNetwork, weights: Weights) -> Weights:
    """Extend ``weights`` of a network with fewer blocks to ``network``; the outputs stay the same.

    The additional blocks start as identities. A scale of 0 in the last BatchNorm of a residual
    branch makes the branch 0 (Goyal et al. 2017, section 5.1), so a block computes ReLU(x + 0),
    which is x: the block before ends with a ReLU, so x is at least 0.
    """
    grown, own = dict(weights), arrays(network.state_dict())
    for index, block in enumerate(network.tower):
        prefix = f"tower.{index}."
        if isinstance(block, Residual) and not any(name.startswith(prefix) for name in weights):
            grown |= {name: array for name, array in own.items() if name.startswith(prefix)}
            grown[f"{prefix}body.{LAST_NORM}.weight"][:] = 0
    return grown
