"""The settings of the network; importing them does not import torch."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Tag
from pydantic.dataclasses import dataclass

from alphazero import addresses, targets
from alphazero.addresses import ByAddress, by_kind
from alphazero.nn.settings import Attention, Initialization
from alphazero.ranges import (
    STRICT,
    Depth,
    HeadChannels,
    Positive,
    Width,
    check_layers,
    check_tower,
)
from alphazero.values import ValueHead
from games.spec import suggest


def _check_heads(weights: dict[str, float]) -> dict[str, float]:
    for name in weights:
        if name not in targets.TARGETS:
            raise ValueError(f"unknown head {name!r}; {suggest(name, targets.TARGETS)}")
    return weights


Heads = Annotated[dict[str, Positive], AfterValidator(_check_heads)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NetworkSettings:
    """The residual policy-value network (AlphaZero, Silver et al. 2018).

    The default, 5 blocks of 64 channels, is the largest network that two CPU cores train in an
    hour or two. AlphaGo Zero used 19 or 39 residual blocks of 256 channels, AlphaZero 19 of 256
    (the papers count the first convolution as one more block); KataGo begins with 6 of 96 and ends
    with 20 of 256 or more.
    """

    kind: Literal["residual"] = "residual"
    blocks: Depth = 5
    """Residual blocks of the tower, each of two 3x3 convolutions."""
    channels: Width = 64
    """Channels of every convolution in the tower."""
    attention: Attention = "none"
    """Added to each residual block: squeeze_excitation (Hu et al. 2018, used by Leela Chess Zero)
    or global_pooling (Wu 2019; KataGo has it in some of its blocks). The default, none, is
    AlphaZero's network."""
    policy_channels: HeadChannels = 16
    """Channels of the 1x1 convolution in the policy head. AlphaGo Zero used 2; 16 cost little
    compared with the tower."""
    value_channels: HeadChannels = 8
    """Channels of the 1x1 convolution in the value head; AlphaGo Zero used 1."""
    value_hidden: Width = 64
    """Units of the value head's hidden layer; AlphaGo Zero and AlphaZero used 256."""
    value_head: ValueHead = "wdl"
    """wdl: probabilities of win, draw and loss with a cross entropy, as in Leela Chess Zero
    (KataGo's are win, loss and no result); scalar: one number in [-1, 1] with a squared error, as
    in AlphaGo Zero and AlphaZero. wdl is the default because it distinguishes a certain draw from
    an even chance of a win and a loss."""
    initialization: Initialization = "he"
    """Distribution of the first weights: he (He et al. 2015, for ReLU networks) or xavier."""
    heads: Heads = field(default_factory=dict)
    """Auxiliary heads, by name with the weight of their loss, as in `heads={ownership: 1.5}`.

    reply: the opponent's next policy; ownership: who owns each cell in the end; score: the margin
    in the end; moves_left: how much of the longest game is left; short_term: the search's values of
    the next plies. Inference does without them. A position without a target (no score in a game
    that did not end by its rules) counts as a loss of 0. The default is none, as in AlphaZero,
    because a head has to show that it helps in the game at hand. KataGo's weights are 0.15 for
    reply and 1.5 for ownership."""
    encoder: Annotated[str, Field(min_length=1)] = "game"
    """The network's input planes: game, those of the game's own `observe`; history:plies=7, these
    and planes of the last 7 positions; or the address module:Class of an encoder of your own
    (`alphazero/encoders.py`), which may add a history."""

    def __post_init__(self) -> None:
        check_tower(self.blocks, self.channels)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PerceptronSettings:
    """A residual multilayer perceptron (Jones 2021, "Scaling Scaling Laws with Board Games", arXiv
    2104.03113).

    All planes are the input of one layer of ``width`` units; ``layers`` residual ones and linear
    heads follow. Jones has a learned factor in each residual layer; here it is BatchNorm, which
    costs nothing in play. In float32 on a processor with AVX2, the default played 2.3 times as many
    positions as 4 residual blocks of 32 channels and won 52 to 71 % against them, after 5
    CPU-minutes each in Hex 7x7 and Go 7x7.
    """

    kind: Literal["perceptron"] = "perceptron"
    width: Width = 512
    """Units of every layer."""
    layers: Depth = 4
    """Residual layers x + ReLU(BatchNorm(W x))."""
    value_head: ValueHead = "wdl"
    """wdl or scalar, as above."""
    initialization: Initialization = "he"
    """Distribution of the first weights, as above."""
    heads: Heads = field(default_factory=dict)
    """Auxiliary heads by name with the weights of their losses, as above; each is one linear
    layer."""
    encoder: Annotated[str, Field(min_length=1)] = "game"
    """The network's input planes, as above."""

    def __post_init__(self) -> None:
        check_layers(self.layers, self.width)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class NetworkByAddress(ByAddress):
    """A network of your own: ``kind`` is its address, and all keys but ``kind``, ``encoder`` and
    ``heads`` are arguments of the class, which is called with the shape ``(C, H, W)`` of the
    encoder's planes and the number of actions first.
    """

    heads: Heads = field(default_factory=dict)
    """Weights of auxiliary heads by name, for those that the network returns."""
    encoder: Annotated[str, Field(min_length=1)] = "game"
    """The network's input planes, as above."""


Network = Annotated[
    Annotated[NetworkSettings, Tag("residual")]
    | Annotated[PerceptronSettings, Tag("perceptron")]
    | Annotated[NetworkByAddress, Tag(addresses.ADDRESS)],
    by_kind("residual"),
]
