"""Auxiliary heads of the network, by name: they learn more from each game than policy and value.

An auxiliary head is trained beside the policy and the value, and shapes the tower below them; it
has no part in play, so inference sessions leave it out (Wu 2019, "Accelerating Self-Play Learning
in Go", sections 3.4 and 4.1). ``network.heads`` in the settings names those of a run and the
weights of their losses.

A head's name is that of its target in ``alphazero.targets``. A new head is an entry here, with a
module and a loss, and an entry there.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alphazero.nn import losses
from alphazero.nn.layers import convolutional_block, policy_head, value_head
from alphazero.targets import TARGETS
from games.base import Game

POLICY_CHANNELS = 16
"""Channels of the 1x1 convolution below a distribution over the actions."""
CHANNELS, HIDDEN = 8, 32
"""Channels and hidden units below a single number; channels below one number per cell."""
MOVES_LEFT_DELTA = 0.25
"""The error, as a share of the longest game, above which the loss of ``moves_left`` is linear.

Leela Chess Zero has 10 plies; a quarter is 10 plies in Connect Four."""


class Features(NamedTuple):
    """The shape of the tower's output for one position."""

    channels: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        return self.height * self.width


class Head(NamedTuple):
    """An auxiliary head: how it is built and how it is trained."""

    module: Callable[[Game, Features], nn.Module]
    """A new module from features ``[B, *Features]`` to the output, which has the target's shape.

    ``ValueError``, one line, for a game or features that the head cannot have.
    """
    loss: Callable[[Tensor, Tensor], Tensor]
    """``(output, target) -> loss``, 0-d: a mean over all entries, those with a target of NaN
    counted as 0, as in ``nn.losses``."""


def build(names: Iterable[str], game: Game, features: Features) -> dict[str, nn.Module]:
    """New modules of the heads called ``names``, in the order of ``HEADS``.

    The order does not depend on that of ``names``, so neither do the weights drawn for them.
    """
    return {name: HEADS[name].module(game, features) for name in _in_order(names)}


def build_linear(names: Iterable[str], game: Game, width: int) -> dict[str, nn.Module]:
    """The same heads for features ``[B, width]``: each is a linear layer to its target's shape."""
    return {name: _linear(width, TARGETS[name].shape(game)) for name in _in_order(names)}


def _in_order(names: Iterable[str]) -> list[str]:
    return sorted(names, key=list(HEADS).index)


def _linear(width: int, shape: tuple[int, ...]) -> nn.Module:
    """``[B, width]`` to ``[B, *shape]``, where ``shape`` has one axis or none."""
    layer = nn.Sequential(nn.Linear(width, math.prod(shape)))
    return layer if shape else layer.append(nn.Flatten(0))


def _actions(game: Game, features: Features) -> nn.Module:
    """Logits ``[B, A]`` of a distribution over the actions."""
    return policy_head(features.channels, features.cells, POLICY_CHANNELS, game.num_actions)


def _cells(game: Game, features: Features) -> nn.Module:
    """One logit per cell, ``[B, H * W]``."""
    board = game.observation_shape[1:]
    if board != features[1:]:
        raise ValueError(
            f"a head with a number per cell needs planes of {game.name}'s board, "
            f"{board[0]} x {board[1]}, but the encoder's are {features.height} x {features.width}"
        )
    return convolutional_block(features.channels, CHANNELS, 1).extend(
        [nn.Conv2d(CHANNELS, 1, 1), nn.Flatten()]
    )


def _number(game: Game, features: Features) -> nn.Module:
    """One number ``[B]``, before its activation."""
    return value_head(features.channels, features.cells, CHANNELS, HIDDEN, 1).append(nn.Flatten(0))


def _signed_loss(output: Tensor, target: Tensor) -> Tensor:
    """Squared error of ``tanh(output)`` for targets ``[B]`` in [-1, 1]."""
    return losses.masked_squared_error(torch.tanh(output.float()), target)


def _share_loss(output: Tensor, target: Tensor) -> Tensor:
    """Huber's loss of ``sigmoid(output)`` for targets ``[B]`` in [0, 1]."""
    return losses.masked_huber_loss(torch.sigmoid(output.float()), target, MOVES_LEFT_DELTA)


HEADS: dict[str, Head] = {
    # The opponent's reply: the policy of the search one ply later. It is not masked, because the
    # moves that are legal then are not known (Wu 2019, section 3.4).
    "reply": Head(_actions, losses.masked_cross_entropy),
    # Who owns each cell in the end (Wu 2019, section 4.1).
    "ownership": Head(_cells, losses.masked_sides_loss),
    # The margin of the finished game (Wu 2019, section 4.1, as one number).
    "score": Head(_number, _signed_loss),
    # How much of the longest game is left (Leela Chess Zero's moves left head).
    "moves_left": Head(_number, _share_loss),
    # The exponential average of the search's values of the next plies, as in KataGo.
    "short_term": Head(_number, _signed_loss),
}
"""Every auxiliary head by name."""
