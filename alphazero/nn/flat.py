"""A module's numbers in one vector, so that one operation reaches all of them.

A small network has dozens of tensors of some hundred to some thousand numbers. An optimizer step, a
norm or an average that visits them one by one spends its time between them, on a single core.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


class Flat:
    """Moves a module's parameters and BatchNorm's statistics into the vector ``values``.

    The module's tensors become views of it, with the shapes and strides they had; from then on they
    must be changed in place only. In this order:

    * ``matrices``: the weights of convolutional, linear, recurrent and attention layers,
    * ``biases``, of the same, LayerNorm's parameters and embeddings,
    * ``scales``: BatchNorm's scales and shifts,
    * ``statistics``: BatchNorm's running means and variances.

    Other buffers stay where they are: integers (BatchNorm's counts of batches) and constants (word
    vectors that are not trained), which no optimizer and no average can reach then.
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
        """Of matrices, biases and scales; the parameters' own ``grad`` are not set."""

    def leaves(self) -> tuple[nn.Parameter, nn.Parameter]:
        """Matrices, and all other parameters, for an optimizer; ``gradient`` is theirs."""
        matrices, ends = len(self.matrices), len(self.gradient)
        found = []
        for part in (slice(0, matrices), slice(matrices, ends)):
            found.append(nn.Parameter(self.values[part]))
            found[-1].grad = self.gradient[part]
        return found[0], found[1]

    def named(self, values: Tensor) -> dict[str, Tensor]:
        """Views of ``values``, laid out like ``self.values``, with the names of ``state_dict``.

        Buffers that are not in ``self.values`` are the module's own.
        """
        memory = self.values.untyped_storage().data_ptr()
        return {
            name: values.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            if tensor.untyped_storage().data_ptr() == memory
            else tensor
            for name, tensor in self.module.state_dict().items()
        }


def sections(module: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """The tensors of ``Flat``'s four sections, in the module's order."""
    norms = [part for part in module.modules() if isinstance(part, BATCH_NORMS)]
    scales: list[Tensor] = [each for part in norms for each in part.parameters(recurse=False)]
    known = {id(parameter) for parameter in scales}
    others = [parameter for parameter in module.parameters() if id(parameter) not in known]
    vectors = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    return (
        [each for each in others if each.ndim > 1 and id(each) not in vectors],
        [each for each in others if each.ndim <= 1 or id(each) in vectors],
        scales,
        [
            each
            for part in norms
            for each in part.buffers(recurse=False)
            if each.is_floating_point()
        ],
    )


def views(tensors: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    """Pieces of ``vector``, one behind the other, of the shapes and strides of ``tensors``."""
    pieces = vector.split([tensor.numel() for tensor in tensors])
    return [
        piece.as_strided(tensor.shape, tensor.stride())
        for piece, tensor in zip(pieces, tensors, strict=True)
    ]
