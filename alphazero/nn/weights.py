"""A module's weights as NumPy arrays: the form in which they are published, stored and loaded."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch takes seconds to import, and passing weights on does not need it
    from torch import Tensor, nn

Weights = dict[str, NDArray[Any]]
"""Parameters *and buffers* by name: without BatchNorm's statistics the outputs would be wrong."""
Shapes = dict[str, tuple[int, ...]]
"""The shape of each of them."""
BFLOAT16 = np.dtype([("bfloat16", np.uint16)])
"""The upper half of a float32 number, which NumPy has no type for."""
VARIANCE = "running_var"
"""End of the names of BatchNorm's variances."""


def arrays(state: dict[str, "Tensor"]) -> Weights:
    """Copy a state dictionary's tensors into contiguous arrays."""
    return {name: np.array(tensor.cpu().numpy(), order="C") for name, tensor in state.items()}


def shortened(weights: Weights) -> Weights:
    """The weights with their kernels in bfloat16, for sending: about half as many bytes.

    A kernel, an array of two or more axes of float32, becomes one of ``BFLOAT16`` with the upper
    halves of its numbers, rounded to the nearest, to the even one of two. Vectors, such as biases
    and BatchNorm's statistics, stay what they are.
    """
    kernels = (name for name, array in weights.items()
               if array.dtype == np.float32 and array.ndim > 1)  # fmt: skip
    return weights | {name: _upper_halves(weights[name]) for name in kernels}


def lengthened(weights: Weights) -> Weights:
    """The float32 weights of what ``shortened`` has made."""
    kernels = (name for name, array in weights.items() if array.dtype == BFLOAT16)
    return weights | {name: (weights[name]["bfloat16"].astype(np.uint32) << 16).view(np.float32)
                      for name in kernels}  # fmt: skip


def _upper_halves(array: NDArray[np.float32]) -> NDArray[np.void]:
    bits = np.ascontiguousarray(array).view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype(np.uint16).view(BFLOAT16)


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
    check_shapes(shapes(own), {name: array.shape for name, array in weights.items()})
    module.load_state_dict({name: own[name].new_tensor(array) for name, array in weights.items()})


def shapes(state: dict[str, "Tensor"]) -> Shapes:
    """The shapes of a state dictionary's tensors."""
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def check_shapes(own: Shapes, given: Shapes) -> None:
    """ValueError, one line, unless ``given`` has the names and the shapes of a network's ``own``.

    It names at most three of the weights that differ.
    """
    missing, unknown = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if missing or unknown:
        raise ValueError(
            f"weights of another network: missing {_few(missing)}, unknown {_few(unknown)}"
        )
    for name, shape in own.items():
        if given[name] != shape:
            raise ValueError(
                f"weights of another network: {name} has shape {given[name]} where this one's has "
                f"{shape}"
            )


def _few(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{names[:3]}{rest}"
