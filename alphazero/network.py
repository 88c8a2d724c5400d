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

        The three are win, draw and loss for the player about to move; the one is a scalar value
        before its tanh.
        """
        features = self.tower(observations)
        return self.policy(features), self.value(features)


def scalar_value(value_logits: Tensor) -> Tensor:
    """Value logits ``[B, 3]`` or ``[B, 1]`` to values ``[B]`` in [-1, 1], for the mover.

    Of three it is the expected result: P(win) - P(loss).
    """
    if value_logits.shape[1] == 1:
        return torch.tanh(value_logits[:, 0])
    probabilities = torch.softmax(value_logits, dim=1)
    return probabilities[:, 0] - probabilities[:, 2]


def build(game: Game, settings: NetworkSettings, seed: int) -> PolicyValueNetwork:
    """A network for ``game`` whose weights depend on ``seed`` alone; in training mode."""
    with torch.random.fork_rng(devices=[]):  # torch's own first weights would use its global state
        network = PolicyValueNetwork(game.observation_shape, game.num_actions, settings)
    generator = torch.Generator().manual_seed(seed)
    outputs = (network.policy[-1], network.value[-1])
    initialize(network, settings.initialization, generator, outputs)
    return network


def deepen(network: PolicyValueNetwork, weights: Weights) -> Weights:
    """For ``network``, the ``weights`` of one that has only its first blocks; computes the same.

    The blocks which that one lacks begin as identities: a scale of 0 in the last BatchNorm of a
    residual branch silences it (Goyal et al. 2017, section 5.1), and its input is at least 0.
    """
    grown, own = dict(weights), arrays(network.state_dict())
    for index, block in enumerate(network.tower):
        prefix = f"tower.{index}."
        if isinstance(block, Residual) and not any(name.startswith(prefix) for name in weights):
            grown |= {name: array for name, array in own.items() if name.startswith(prefix)}
            grown[f"{prefix}body.{LAST_NORM}.weight"][:] = 0
    return grown
