"""Initial weights: the distribution of ``torch.nn.init`` for each kind of layer.

BatchNorm and LayerNorm keep torch's initial values (scale 1, shift 0); biases are zero.
"""

from collections.abc import Iterable

import torch
from torch import nn

from alphazero.nn.settings import Activation, Initialization

OUTPUT_DEVIATION = 0.01
"""Standard deviation of an output layer's weights: so an untrained policy is nearly uniform and an
untrained value nearly 0."""

EMBEDDING_DEVIATION = 0.1
"""Standard deviation of word vectors."""


def initialize(
    module: nn.Module,
    kind: Initialization,
    generator: torch.Generator,
    outputs: Iterable[nn.Module] = (),
    activation: Activation = "relu",
) -> None:
    """Draw the weights of every layer, in place; embeddings are left, they may be pretrained.

    ``he``: normal with variance gain² / fan-in (He et al. 2015, equation 10), where the gain is
    that of the ``activation`` after the layer: √2 for ReLU, 5/3 for tanh, 1 for sigmoid.
    ``xavier``: uniform with variance 2 / (fan-in + fan-out) (Glorot & Bengio 2010, equation 16).
    The layers in ``outputs`` start near zero instead, with either kind, so that the first searches
    follow the results of finished games and not random network outputs.
    """
    small = {id(layer) for layer in outputs}
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            if id(layer) in small:
                nn.init.normal_(layer.weight, std=OUTPUT_DEVIATION, generator=generator)
            else:
                _draw(layer.weight, kind, activation, generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.RNNBase):
            _recurrent(layer, kind, generator)
        elif isinstance(layer, nn.MultiheadAttention):
            nn.init.xavier_uniform_(layer.in_proj_weight, generator=generator)


def embedding(layer: nn.Embedding, generator: torch.Generator) -> None:
    """Draw small random vectors, and set padding's to 0."""
    nn.init.normal_(layer.weight, std=EMBEDDING_DEVIATION, generator=generator)
    if layer.padding_idx is not None:
        nn.init.zeros_(layer.weight.detach()[layer.padding_idx])


def _draw(
    weight: torch.Tensor, kind: Initialization, activation: Activation, generator: torch.Generator
) -> None:
    if kind == "he":
        nn.init.kaiming_normal_(weight, 0.01, nonlinearity=activation, generator=generator)
    else:
        nn.init.xavier_uniform_(weight, generator=generator)


def _recurrent(layer: nn.RNNBase, kind: Initialization, generator: torch.Generator) -> None:
    """Draw each gate's matrices by themselves.

    Matrices between time steps are orthogonal, which keeps the length of the hidden state (Saxe et
    al. 2014). An LSTM's forget gates start open, with bias 1 (Jozefowicz et al. 2015).
    """
    for name, weight in layer.named_parameters():
        for gate in weight.detach().split(layer.hidden_size):
            if name.startswith("weight_ih"):
                _draw(gate, kind, "tanh", generator)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate, generator=generator)
            else:
                nn.init.zeros_(gate)
        if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
            nn.init.ones_(weight.detach().split(layer.hidden_size)[1])
