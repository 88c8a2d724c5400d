"""A module's weights as NumPy arrays: the form in which they are published, stored and loaded."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch takes seconds to import, and passing weights on does not need it
    from torch import Tensor, nn

Weights = dict[str, NDArray[Any]]
"""Parameters *and buffers* by name: without BatchNorm's statistics the outputs would be wrong."""
VARIANCE = "running_var"
"""End of the names of BatchNorm's variances."""


def arrays(state: dict[str, "Tensor"]) -> Weights:
    """Copy a state dictionary's tensors into contiguous arrays."""
    return {name: np.array(tensor.cpu().numpy(), order="C") for name, tensor in state.items()}


def find_broken(weights: Weights) -> list[str]:
    """The names of the arrays with which no result can be finite.

    They are not finite themselves, or are variances of a BatchNorm, of which some are below 0. The
    results do not always show it: OpenVINO's ReLU turns NaN into 0.
    """
    return [
        name
        for name, array in weights.items()
        if not np.isfinite(array).all() or (name.endswith(VARIANCE) and (array < 0).any())
    ]


def load(module: "nn.Module", weights: Weights) -> None:
    """Copy ``weights`` into ``module``.

    ValueError where names or shapes differ from the module's; nothing is changed then.
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
    module.load_state_dict({name: own[name].new_tensor(array) for name, array in weights.items()})
