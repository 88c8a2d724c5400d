"""Inference sessions of a trained module: BatchNorm is folded, then torch or OpenVINO runs it.

A module is translated part by part, so every network built from ``nn.layers`` can be exported. The
original modules are never changed.
"""

import copy
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from alphazero.errors import RunFailed
from alphazero.nn import extras
from alphazero.nn.layers import GlobalPoolingBias, Residual, ResidualLayer, SqueezeExcitation

Module = TypeVar("Module", bound=nn.Module)

PLANES = (2, 3)
"""The axes of a board in ``[B, C, H, W]``."""

HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}
"""OpenVINO's names of the precisions."""

SIZES_PER_OCTAVE = 16
"""Sizes of batches between a number and twice this number for which OpenVINO prepares itself."""

PROPERTIES = {"ENABLE_CPU_PINNING": False, "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
"""Properties of each compiled model. With pinning, two processes would share one core."""


def fold(module: Module) -> Module:
    """Return a copy in evaluation mode, each BatchNorm folded into the layer before it.

    That is a convolution or a linear layer. With BatchNorm's running mean m, variance v, scale g
    and shift b, its weight is multiplied by g / sqrt(v + eps) and its bias becomes
    b - m * g / sqrt(v + eps) (Ioffe & Szegedy 2015, algorithm 2, line 11). The two then compute the
    same up to rounding.

    An example with one number: weight 0.5, m = 2, v = 4, g = 3, b = 1 and eps about 0. An input of
    8 becomes 0.5 * 8 = 4, and (4 - 2) / sqrt(4) * 3 + 1 = 4. Folded: the factor is 3 / sqrt(4) =
    1.5, the weight 0.5 * 1.5 = 0.75, the bias 1 - 2 * 1.5 = -2, and 0.75 * 8 - 2 = 4.

    ``RunFailed`` where a folded weight is not finite, as for a variance below 0: all backends
    refuse such a module, also OpenVINO, whose ReLU would turn NaN into 0.
    """
    folded = copy.deepcopy(module).eval().requires_grad_(False)
    for part in folded.modules():
        if isinstance(part, nn.Sequential):
            _fold_pairs(part)
    broken = [name for name, weight in folded.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise RunFailed(f"weights are not finite after BatchNorm was folded: {', '.join(broken)}")
    return folded


def _fold_pairs(sequence: nn.Sequential) -> None:
    for i in reversed(range(len(sequence) - 1)):
        first, second = sequence[i], sequence[i + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            sequence[i] = fuse_conv_bn_eval(first, second)
        elif isinstance(first, nn.Linear) and isinstance(second, nn.BatchNorm1d):
            sequence[i] = fuse_linear_bn_eval(first, second)
        else:
            continue
        del sequence[i + 1]


class TorchSession:
    """Folded modules in torch: float32 ``[B, ...]`` to one float32 ``[B, K]`` per head.

    Calls are thread-safe. They run in parallel where torch is set to one thread.
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Sequence[nn.Module],
        dtype: torch.dtype,
        device: torch.device,
    ):
        self._format = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
        self._trunk = fold(trunk).to(**self._format)
        self._heads = [fold(head).to(**self._format) for head in heads]

    def __call__(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        torch.get_num_threads()  # set_num_threads takes effect in a new thread only after this call
        with torch.inference_mode():
            features = self._trunk(torch.from_numpy(inputs).to(**self._format))
            return [head(features).float().cpu().numpy() for head in self._heads]


class ModuleSession:
    """A whole module in torch, as it is: float32 ``[B, ...]`` to its first ``outputs`` outputs.

    For modules that are not made of a trunk and heads. Nothing is folded, and the inputs are
    contiguous, so that every module computes what it computes in training, in evaluation mode. It
    returns a tuple of tensors ``[B, K]``; further ones are left out. Calls are thread-safe.
    """

    def __init__(
        self, module: nn.Module, dtype: torch.dtype, device: torch.device, outputs: int = 2
    ):
        self._module = copy.deepcopy(module).eval().requires_grad_(False).to(device, dtype)
        self._format = {"device": device, "dtype": dtype}
        self._outputs = outputs

    def __call__(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        torch.get_num_threads()  # set_num_threads takes effect in a new thread only after this call
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(inputs).to(**self._format))
            return [output.float().cpu().numpy() for output in outputs[: self._outputs]]


class OpenVINOSession:
    """Folded modules on OpenVINO, on the CPU: float32 ``[B, ...]`` to ``[B, K]`` per head.

    The graph is built from the folded weights directly, in a tenth of the time of OpenVINO's own
    conversion. Calls are thread-safe and run in parallel: each takes an idle request, which has a
    compiled model of its own, and compiles a new one where none is idle.
    """

    def __init__(
        self,
        trunk: nn.Module,
        heads: Sequence[nn.Module],
        dtype: torch.dtype,
        shape: Sequence[int],
        requests: int = 1,
    ):
        """``shape``: one input's, without the batch. ``requests``: how many are compiled now.

        ValueError where OpenVINO is not installed or a module has no translation.
        """
        runtime, ops = _import_openvino()
        inputs = ops.parameter([-1, *shape], np.float32)
        features = _translate(fold(trunk), inputs, ops)
        outputs = [_translate(fold(head), features, ops) for head in heads]
        self._model = runtime.Model(outputs, [inputs])
        self._core = runtime.Core()
        self._properties = PROPERTIES | {"INFERENCE_PRECISION_HINT": HINTS[dtype]}
        self._all: list[Any] = []
        self._idle = [self._compile() for _ in range(requests)]

    @property
    def requests(self) -> int:
        """Compiled requests: the largest number of simultaneous calls until now."""
        return len(self._all)

    def __call__(self, inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        try:
            request = self._idle.pop()  # atomic: no other call gets the same one
        except IndexError:
            request = self._compile()
        rows = len(inputs)
        if more := padded(rows) - rows:
            inputs = np.concatenate([inputs, np.zeros((more, *inputs.shape[1:]), inputs.dtype)])
        # Without share_outputs the arrays are copies; with it the next call would overwrite them.
        # The input is passed without a list: OpenVINO takes 50 microseconds to unpack one.
        outputs = list(request.infer(inputs, share_inputs=True).values())
        self._idle.append(request)
        return [output[:rows] for output in outputs]

    def _compile(self) -> Any:
        """Compile the model once more and return a request for it, independent of the others.

        Requests of one compiled model with one stream would wait for each other, and several
        streams cost a single caller 6 % of its speed.
        """
        compiled = self._core.compile_model(self._model, "CPU", self._properties)
        self._all.append(compiled.create_infer_request())
        return self._all[-1]


def padded(rows: int) -> int:
    """The number of rows of the batch that OpenVINO computes for one of ``rows``.

    It prepares itself for each new size, which takes milliseconds, and again after new weights,
    while the batches of self-play have any size. So there are ``SIZES_PER_OCTAVE`` sizes between a
    power of two and the next one, and at most a sixteenth of the rows is computed in vain: 1 to 32
    rows stay as they are, 33 become 34, and 150 become 152.
    """
    step = max(1, (1 << rows.bit_length() >> 1) // SIZES_PER_OCTAVE)
    return -(-rows // step) * step


def openvino_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None


def _import_openvino() -> tuple[Any, Any]:
    try:
        return importlib.import_module("openvino"), importlib.import_module("openvino.opset13")
    except ImportError:
        raise ValueError(
            extras.missing(
                "inference.backend is openvino, which is not installed (auto and torch do without)",
                "openvino",
            )
        ) from None


def _translate(module: nn.Module, node: Any, ops: Any) -> Any:
    """Add ``module`` to the graph: return the node that applies it to ``node``."""
    if type(module) not in TRANSLATIONS:
        raise ValueError(f"no OpenVINO translation of {type(module).__name__}")
    return TRANSLATIONS[type(module)](module, node, ops)


def _constant(tensor: torch.Tensor, ops: Any) -> Any:
    """A node that holds ``tensor``; OpenVINO would take milliseconds to convert a bare array."""
    return ops.constant(tensor.detach().float().cpu().contiguous().numpy())


def _sequential(module: nn.Sequential, node: Any, ops: Any) -> Any:
    for part in module:
        node = _translate(part, node, ops)
    return node


def _convolution(module: nn.Conv2d, node: Any, ops: Any) -> Any:
    pads = list(module.padding)
    strides, dilations = list(module.stride), list(module.dilation)
    weight = _constant(module.weight, ops)
    node = ops.convolution(node, weight, strides, pads, pads, dilations)
    if module.bias is None:
        return node
    return ops.add(node, _constant(module.bias[:, None, None], ops))


def _linear(module: nn.Linear, node: Any, ops: Any) -> Any:
    product = ops.matmul(node, _constant(module.weight, ops), False, True)
    return product if module.bias is None else ops.add(product, _constant(module.bias, ops))


def _flatten(module: nn.Flatten, node: Any, ops: Any) -> Any:
    return ops.reshape(node, np.array([0, -1]), True)


def _residual(module: Residual, node: Any, ops: Any) -> Any:
    return ops.relu(ops.add(node, _translate(module.body, node, ops)))


def _residual_layer(module: ResidualLayer, node: Any, ops: Any) -> Any:
    return ops.add(node, _translate(module.body, node, ops))


def _as_planes(node: Any, ops: Any) -> Any:
    return ops.unsqueeze(node, np.array(PLANES))


def _squeeze_excitation(module: SqueezeExcitation, node: Any, ops: Any) -> Any:
    means = ops.reduce_mean(node, np.array(PLANES))
    return ops.multiply(node, _as_planes(_translate(module.gate, means, ops), ops))


def _global_pooling(module: GlobalPoolingBias, node: Any, ops: Any) -> Any:
    axes = np.array(PLANES)
    pooled = ops.concat([ops.reduce_mean(node, axes), ops.reduce_max(node, axes)], 1)
    return ops.add(node, _as_planes(_translate(module.bias, pooled, ops), ops))


TRANSLATIONS: dict[type[nn.Module], Callable[[Any, Any, Any], Any]] = {
    nn.Sequential: _sequential,
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.Flatten: _flatten,
    nn.ReLU: lambda module, node, ops: ops.relu(node),
    nn.Sigmoid: lambda module, node, ops: ops.sigmoid(node),
    Residual: _residual,
    ResidualLayer: _residual_layer,
    SqueezeExcitation: _squeeze_excitation,
    GlobalPoolingBias: _global_pooling,
}
