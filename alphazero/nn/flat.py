"""A module's parameters and statistics in one vector, on which one operation reaches them all.

A small network has dozens of tensors of some hundred to some thousand numbers. An optimizer step, a
norm or an average that takes them one by one spends most of its time on the overhead of each call.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Flat:
    """Moves a module's parameters and BatchNorm's statistics into the vector ``values``.

    The module's tensors become views of it, with the shapes and strides they had; from then on they
    must be changed in place only. The vector has four sections, in this order:

    * ``matrices``: the weights of convolutional, linear, recurrent and attention layers,
    * ``biases``, of the same, LayerNorm's parameters and embeddings,
    * ``scales``: BatchNorm's scales and shifts,
    * ``statistics``: BatchNorm's running means and variances.

    Other buffers are not moved, so that no optimizer and no average changes them: integers
    (BatchNorm's counts of batches) and constants (word vectors that are not trained).
    """

    def __init__(self, module: nn.Module):
        self.module = module
        parts = sections(module)
        first = parts[0][0]
        sizes = [sum(tensor.numel() for tensor in part) for part in parts]
        self.values = torch.empty(sum(sizes), dtype=first.dtype, device=first.device)
        tensors = [tensor for part in parts for tensor in part]
        for tensor, view in zip(tensors, views(tensors, self.values), strict=True):
            tensor.data = view.copy_(tensor.detach())
        self.matrices, self.biases, self.scales, self.statistics = self.values.split(sizes)
        self.gradient = torch.zeros_like(self.values[: sum(sizes[:3])])
        """The gradient of matrices, biases and scales; the parameters' own ``grad`` is not set."""

    def leaves(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Two parameters for an optimizer: the matrices, and all others; with their gradients."""
        matrices, end = len(self.matrices), len(self.gradient)
        leaves = []
        for part in (slice(0, matrices), slice(matrices, end)):
            leaves.append(nn.Parameter(self.values[part]))
            leaves[-1].grad = self.gradient[part]
        return leaves[0], leaves[1]

    def named(self, values: Tensor) -> dict[str, Tensor]:
        """Views of ``values``, laid out like ``self.values``, by the names of ``state_dict``.

        Buffers that are not in ``self.values`` are returned as they are in the module.
        """
        memory = self.values.untyped_storage().data_ptr()
        return {
            name: values.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            if tensor.untyped_storage().data_ptr() == memory
            else tensor
            for name, tensor in self.module.state_dict().items()
        }


def sections(module: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """The tensors of the four sections of ``Flat``, each in the module's order."""
    norms = [part for part in module.modules() if isinstance(part, BATCH_NORMS)]
    scales: list[Tensor] = [
        parameter for part in norms for parameter in part.parameters(recurse=False)
    ]
    scale_ids = {id(parameter) for parameter in scales}
    others = [parameter for parameter in module.parameters() if id(parameter) not in scale_ids]
    vectors = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    return (
        [tensor for tensor in others if tensor.ndim > 1 and id(tensor) not in vectors],
        [tensor for tensor in others if tensor.ndim <= 1 or id(tensor) in vectors],
        scales,
        [
            buffer
            for part in norms
            for buffer in part.buffers(recurse=False)
            if buffer.is_floating_point()
        ],
    )


def views(tensors: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    """Consecutive pieces of ``vector`` with the shapes and strides of ``tensors``."""
    pieces = vector.split([tensor.numel() for tensor in tensors])
    return [
        piece.as_strided(tensor.shape, tensor.stride())
        for piece, tensor in zip(pieces, tensors, strict=True)
    ]
