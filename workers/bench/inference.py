"""The rate of the network by itself."""

import copy
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from pydantic import TypeAdapter
from torch import nn
from torch.nn import functional

from alphazero import network, values
from alphazero.config import Config, InferenceSettings
from alphazero.encoders import Encoder
from alphazero.inference import NetworkEvaluator
from alphazero.nn.device import PRECISIONS, choose
from alphazero.nn.export import openvino_installed
from alphazero.parts import encoder_of, game_of
from games.base import Game, States
from workers.bench.measuring import (
    BenchSettings,
    Figures,
    Work,
    circumstances,
    measure,
    midgame,
    weights,
)

SWAPS = 5
"""How often new weights are loaded; the median time counts."""

MATRIX = {"cpu": 1024, "cuda": 8192, "mps": 4096}
"""Rows of the square matrices whose product shows the hardware's speed, by device."""


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure the network on every backend and precision of this machine, and in plain torch.

    ``fraction_of_matmul``: the network's operations per second as a share of those in torch's
    product of large matrices of the same precision, which is near the hardware's peak. A network of
    20 MFLOP per position at 10,000 evaluations per second does 200 GFLOP/s; where the product does
    500 GFLOP/s, that is 0.4.
    """
    game = game_of(chosen)
    states = midgame(game, settings.batch)
    backends = {name: _evaluator(chosen, game, kind) for name, kind in _backends(chosen)}
    swaps = {name: _swap_seconds(chosen, game, evaluator) for name, evaluator in backends.items()}
    module = network.build(game, chosen.network, chosen.seed).eval()
    calls = {name: _evaluate_all(evaluator, states) for name, evaluator in backends.items()}
    device = choose(chosen.inference.device)
    calls["eager"] = _eager(copy.deepcopy(module).to(device), encoder_of(chosen), states)
    calls |= {precision: _multiply(chosen, precision) for precision in PRECISIONS}
    works = [Work(call, settings.threads) for call in calls.values()]
    tallies = dict(zip(calls, measure(works, settings.seconds), strict=True))
    rates = {name: tallies[name].rate for name in backends}
    needed = operations(module, encoder_of(chosen).shape)
    return {
        "evaluations_per_second": max(rates.values()),
        "eager_evaluations_per_second": tallies["eager"].rate,
        "backends": rates,
        "ratio_to_eager": {name: rate / tallies["eager"].rate for name, rate in rates.items()},
        "fraction_of_matmul": {
            name: rate * needed / tallies[name.split("_")[1]].rate for name, rate in rates.items()
        },
        "matmul_gflops": {precision: tallies[precision].rate / 1e9 for precision in PRECISIONS},
        "swap_seconds": swaps,
        **circumstances(chosen, settings),
        "batch": settings.batch,
        "mflop_per_position": needed / 1e6,
    }


def operations(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiplications and additions of the layers with weights for one input of ``shape``.

    Those with the zeros around a board are not counted: libraries leave them out.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        nonlocal total
        uses = 1
        if isinstance(layer, nn.Conv2d):
            board = torch.ones(1, 1, *inputs[0].shape[2:])
            kernel = torch.ones(1, 1, *layer.kernel_size)
            uses = functional.conv2d(board, kernel, padding=layer.padding).sum() / kernel.numel()
        total += round(2 * layer.get_parameter("weight").numel() * float(uses))

    layers = [part for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.inference_mode():
        module(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return total


def _backends(chosen: Config) -> list[tuple[str, InferenceSettings]]:
    """Every backend and precision; OpenVINO where it is installed and the device is the CPU."""
    on_cpu = choose(chosen.inference.device).type == "cpu"
    names = ["torch", "openvino"] if on_cpu and openvino_installed() else ["torch"]
    settings = TypeAdapter(InferenceSettings)
    return [
        (
            f"{backend}_{precision}",
            settings.validate_python(
                {"backend": backend, "precision": precision, "device": chosen.inference.device}
            ),
        )
        for backend, precision in itertools.product(names, PRECISIONS)
    ]


def _evaluator(chosen: Config, game: Game, settings: InferenceSettings) -> NetworkEvaluator:
    evaluate = NetworkEvaluator(game, chosen.network, settings)
    evaluate.load(weights(chosen, game), 0)
    return evaluate


def _swap_seconds(chosen: Config, game: Game, evaluate: NetworkEvaluator) -> float:
    published, seconds = weights(chosen, game), []
    for version in range(SWAPS):
        start = time.perf_counter()
        evaluate.load(published, version)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _evaluate_all(evaluate: NetworkEvaluator, states: States) -> Callable[[int], int]:
    return lambda _: len(evaluate(states).value)


def _eager(module: nn.Module, encoder: Encoder, states: States) -> Callable[[int], int]:
    """Plain torch for comparison: float32, nothing folded, the default memory layout."""
    device = next(module.parameters()).device

    def call(_: int) -> int:
        torch.get_num_threads()  # set_num_threads takes effect in a new thread only after this call
        with torch.inference_mode():
            outputs = module(torch.from_numpy(encoder(states)).to(device))
            logits, value_logits = outputs[:2]
            value = values.from_logit_tensor(value_logits)
            return min(len(logits.cpu().numpy()), len(value.cpu().numpy()))

    return call


def _multiply(chosen: Config, precision: str) -> Callable[[int], int]:
    device = choose(chosen.inference.device)
    size = MATRIX[device.type]
    factor = torch.rand(size, size).to(device, PRECISIONS[precision])

    def call(_: int) -> int:
        torch.get_num_threads()
        float(torch.mm(factor, factor)[0, 0])  # waits for the device
        return 2 * size**3

    return call
