"""A module's weights as NumPy arrays: parameters *and* buffers, by name."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Weights = dict[str, NDArray[Any]]


def arrays(state: dict[str, Tensor]) -> Weights:
    """A state dictionary's tensors as arrays of their own, contiguous."""
    return {name: np.array(tensor.cpu().numpy(), order="C") for name, tensor in state.items()}


def load(module: nn.Module, weights: Weights) -> None:
    """Copy ``weights`` into ``module``.

    ValueError, and nothing is changed, where its names and shapes are not exactly theirs.
    """
    own = module.state_dict()
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        raise ValueError(f"weights of another network: missing {missing}, unknown {unknown}")
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"weights of another network: {name} has shape {weights[name].shape} where this "
                f"one's has {tuple(tensor.shape)}"
            )
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
