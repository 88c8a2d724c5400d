"""The policy-value networks: a residual tower of convolutions, or a residual perceptron.

The first is that of AlphaGo Zero (Silver et al. 2017) and AlphaZero (2018), the second that of
Jones 2021 ("Scaling Scaling Laws with Board Games", arXiv 2104.03113).
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from alphazero import addresses, encoders, heads, values
from alphazero.errors import reading, reason
from alphazero.network_settings import (
    Network,
    NetworkByAddress,
    NetworkSettings,
    PerceptronSettings,
)
from alphazero.nn.initialization import initialize
from alphazero.nn.layers import (
    LAST_NORM,
    Residual,
    perceptron_tower,
    policy_head,
    residual_tower,
    value_head,
)
from alphazero.nn.weights import Shapes, Weights, arrays, check_shapes
from alphazero.nn.weights import shapes as shapes_of
from alphazero.targets import TARGETS
from games.base import Game

AUXILIARY = "heads."
"""The prefix of the auxiliary heads' weights: ``heads.ownership.0.weight``."""


class Outputs(NamedTuple):
    """A network's outputs for ``B`` positions."""

    policy: Tensor
    """Logits ``[B, A]``, unmasked."""
    value: Tensor
    """Logits ``[B, 3]`` of win, draw and loss for the player about to move, or ``[B, 1]``, the
    value before tanh (``alphazero.values``)."""
    auxiliary: Mapping[str, Tensor]
    """The outputs of the auxiliary heads by name; their shapes are those of the targets."""


class PolicyValueNetwork(nn.Module):
    """A tower under a policy head, a value head and any auxiliary ``heads``.

    Its weights are torch's default ones; ``build`` draws proper ones from a seed.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        num_actions: int,
        settings: NetworkSettings | PerceptronSettings,
        auxiliary: Mapping[str, nn.Module] | None = None,
    ):
        """``shape``: ``(C, H, W)`` of the encoder's planes. ``auxiliary``: heads by name."""
        super().__init__()
        if isinstance(settings, PerceptronSettings):
            parts = _perceptron(shape, num_actions, settings)
        else:
            parts = _residual(shape, num_actions, settings)
        self.tower, self.policy, self.value = parts
        # The last part: the weights drawn for the others do not depend on it.
        self.heads = nn.ModuleDict(auxiliary or {})

    def forward(self, observations: Tensor) -> Outputs:
        """``[B, C, H, W]`` to the outputs of all heads."""
        features = self.tower(observations)
        auxiliary = {name: head(features) for name, head in self.heads.items()}
        return Outputs(self.policy(features), self.value(features), auxiliary)


Parts = tuple[nn.Sequential, nn.Module, nn.Module]
"""Tower, policy head and value head."""


def _residual(shape: tuple[int, int, int], num_actions: int, settings: NetworkSettings) -> Parts:
    planes, height, width = shape
    channels, cells = settings.channels, height * width
    outputs = values.LOGITS[settings.value_head]
    return (
        residual_tower(planes, channels, settings.blocks, settings.attention),
        policy_head(channels, cells, settings.policy_channels, num_actions),
        value_head(channels, cells, settings.value_channels, settings.value_hidden, outputs),
    )


def _perceptron(
    shape: tuple[int, int, int], num_actions: int, settings: PerceptronSettings
) -> Parts:
    return (
        perceptron_tower(math.prod(shape), settings.width, settings.layers),
        nn.Linear(settings.width, num_actions),
        nn.Linear(settings.width, values.LOGITS[settings.value_head]),
    )


def as_outputs(outputs: Outputs | tuple[Tensor, Tensor]) -> Outputs:
    """The outputs of any network: one of the user's own may return policy and value alone.

    ``ValueError`` for anything else.
    """
    if isinstance(outputs, Outputs):
        return outputs
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise ValueError(
            "its call must return policy and value, a tuple of two, or network.Outputs"
        )
    return Outputs(*outputs, {})


def for_inference(shape: tuple[int, int, int], num_actions: int, settings: Network) -> nn.Module:
    """A network whose weights are to be loaded, without auxiliary heads; errors as in ``build``."""
    if isinstance(settings, NetworkByAddress):
        return _by_address(shape, num_actions, settings, {})
    return PolicyValueNetwork(shape, num_actions, settings)


def build(game: Game, settings: Network, seed: int) -> nn.Module:
    """Build a network for ``game`` whose weights depend on ``seed`` alone; in training mode.

    Its call returns ``Outputs``, or a tuple of the first two of them. ``ValueError``, one line,
    where a network by address cannot be made or returns outputs of other shapes.
    """
    shape = encoders.make(settings.encoder, game).shape
    if isinstance(settings, NetworkByAddress):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            auxiliary = {name: TARGETS[name].shape(game) for name in settings.heads}
            return _by_address(shape, game.num_actions, settings, auxiliary)
    return _built_in(game, settings, shape, seed)


def check_weights(game: Game, settings: Network, given: Shapes, where: object) -> None:
    """``ValueError``, one line, unless weights of these shapes are those of the network.

    No memory is taken for the network: settings from anywhere may describe an absurd one. The
    shapes of a network of the user's own are known only after it was made.
    """
    if isinstance(settings, NetworkByAddress):
        return
    with reading(where):
        shape = encoders.make(settings.encoder, game).shape
        with torch.device("meta"):
            network = _with_heads(game, settings, shape)
        check_shapes(shapes_of(network.state_dict()), given)


def _by_address(
    shape: tuple[int, int, int],
    num_actions: int,
    settings: NetworkByAddress,
    auxiliary: Mapping[str, tuple[int, ...]],
) -> nn.Module:
    """The user's network, tried on two positions; ``auxiliary``: the shapes of heads by name."""
    network = addresses.build(settings, "network", shape, num_actions)
    if not isinstance(network, nn.Module):
        raise ValueError(f"network {settings.kind!r} is not a torch.nn.Module")
    try:
        with torch.no_grad():
            outputs = as_outputs(network.eval()(torch.zeros(2, *shape)))
        _check_outputs(outputs, num_actions, auxiliary)
    except Exception as error:  # a user's own network may raise anything
        raise ValueError(f"network {settings.kind!r}: {reason(error)}") from error
    return network.train()


def _check_outputs(
    outputs: Outputs, num_actions: int, auxiliary: Mapping[str, tuple[int, ...]]
) -> None:
    """``ValueError`` unless the outputs for two positions have the shapes of ``Outputs``."""
    allowed = {
        "policy": [(2, num_actions)],
        "value": [(2, logits) for logits in values.LOGITS.values()],
        **{name: [(2, *shape)] for name, shape in auxiliary.items()},
    }
    tensors = {"policy": outputs.policy, "value": outputs.value, **outputs.auxiliary}
    for name, shapes in allowed.items():
        given = tuple(tensors[name].shape) if name in tensors else "missing"
        if given not in shapes:
            right = " or ".join(map(str, shapes))
            raise ValueError(f"for 2 positions the output {name} must be {right}, but is {given}")


def _built_in(
    game: Game,
    settings: NetworkSettings | PerceptronSettings,
    shape: tuple[int, int, int],
    seed: int,
) -> PolicyValueNetwork:
    """The weights of tower, policy and value are the same with and without auxiliary heads."""
    with torch.random.fork_rng(devices=[]):  # torch's own first weights would use its global state
        network = _with_heads(game, settings, shape)
    generator = torch.Generator().manual_seed(seed)
    parts = network.policy, network.value, *network.heads.values()
    initialize(network, settings.initialization, generator, map(_last_layer, parts))
    return network


def _with_heads(
    game: Game, settings: NetworkSettings | PerceptronSettings, shape: tuple[int, int, int]
) -> PolicyValueNetwork:
    """The network with its auxiliary heads, and torch's own first weights."""
    if isinstance(settings, PerceptronSettings):
        auxiliary = heads.build_linear(settings.heads, game, settings.width)
    else:
        features = heads.Features(settings.channels, *shape[1:])
        auxiliary = heads.build(settings.heads, game, features)
    return PolicyValueNetwork(shape, game.num_actions, settings, auxiliary)


def _last_layer(head: nn.Module) -> nn.Module:
    """The layer of ``head`` that computes its output."""
    layers = [part for part in head.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    return layers[-1]


def without_heads(network: nn.Module, weights: Weights) -> Weights:
    """The ``weights`` that inference needs: all but those of auxiliary heads.

    All weights of a network of the user's own are needed.
    """
    if not isinstance(network, PolicyValueNetwork):
        return weights
    return {name: array for name, array in weights.items() if not name.startswith(AUXILIARY)}


def fit_heads(
    network: nn.Module, weights: Weights, report: Callable[[str], object] = lambda line: None
) -> Weights:
    """``weights`` with the heads that ``network`` has, whichever they come with.

    An auxiliary head that ``weights`` lack keeps the network's own weights; one that the network
    lacks is left out. A head of other shapes keeps the network's own weights, too: those of policy
    and value depend on the size of the board. ``report`` is called with a line for each. Any other
    difference is left for ``nn.weights.load`` to refuse.
    """
    own = arrays(network.state_dict())
    ours, theirs = _auxiliary(own), _auxiliary(weights)
    for name in sorted(ours - theirs):
        report(f"the head {name} has no weights there: it begins with random ones")
    for name in sorted(theirs - ours):
        report(f"the head {name} of the weights is left out: this network has none")
    other = _of_other_shapes(network, own, weights)
    for name in sorted(other):
        report(f"the head {name} has other shapes there: it begins with random weights")
    kept = {n: array for n, array in weights.items() if _head_of(n) not in (theirs - ours) | other}
    return kept | {n: array for n, array in own.items() if _head_of(n) in (ours - theirs) | other}


def _auxiliary(weights: Weights) -> set[str]:
    """The auxiliary heads that have weights."""
    return {_head_of(name) for name in weights if name.startswith(AUXILIARY)}


def _of_other_shapes(network: nn.Module, own: Weights, weights: Weights) -> set[str]:
    """The heads of ``network`` of which ``weights`` have an array of another shape.

    A network of the user's own may call anything ``policy.``: its weights must fit as they are.
    """
    if not isinstance(network, PolicyValueNetwork):
        return set()
    both = own.keys() & weights.keys()
    return {_head_of(name) for name in both if own[name].shape != weights[name].shape} - {""}


def _head_of(name: str) -> str:
    """The head to which the weights ``name`` belong, such as ``policy`` or ``ownership``; "" for
    those of the tower."""
    parts = name.removeprefix(AUXILIARY).split(".")
    return parts[0] if name.startswith((AUXILIARY, "policy.", "value.")) else ""


def deepen(network: nn.Module, weights: Weights) -> Weights:
    """Extend ``weights`` of a network with fewer blocks to ``network``; the outputs stay the same.

    The additional blocks start as identities. A scale of 0 in the last BatchNorm of a residual
    branch makes the branch 0 (Goyal et al. 2017, section 5.1), so a block computes ReLU(x + 0),
    which is x: the block before ends with a ReLU, so x is at least 0.

    A perceptron's layer x + ReLU(0) would be an identity, too, but ReLU has no gradient there, so
    that it would never learn: weights of fewer layers are left for ``load`` to refuse.
    """
    grown, own = dict(weights), arrays(network.state_dict())
    if not isinstance(network, PolicyValueNetwork):
        return grown
    for index, block in enumerate(network.tower):
        prefix = f"tower.{index}."
        if isinstance(block, Residual) and not any(name.startswith(prefix) for name in weights):
            grown |= {name: array for name, array in own.items() if name.startswith(prefix)}
            grown[f"{prefix}body.{LAST_NORM}.weight"][:] = 0
    return grown
