"""The network alone."""

import itertools

from pydantic import TypeAdapter

import games
from alphazero.config import Config, InferenceSettings
from alphazero.inference import NetworkEvaluator
from alphazero.nn.export import openvino_installed
from alphazero.types import Evaluator
from games.base import Game
from workers.bench.measuring import (
    BenchSettings,
    Figures,
    Work,
    circumstances,
    measure,
    midgame,
    weights,
)


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """The network alone on every backend and precision there is here."""
    game = games.make(chosen.game)
    states = midgame(game, settings.batch)
    backends = {name: _evaluator(chosen, game, each) for name, each in _backends(chosen)}

    def work_of(evaluate: Evaluator) -> Work:
        return Work(lambda _: len(evaluate(states).value), settings.threads)

    tallies = measure([work_of(each) for each in backends.values()], settings.seconds)
    rates = [tally.rate for tally in tallies]
    return {
        "evaluations_per_second": max(rates),
        "backends": dict(zip(backends, rates, strict=True)),
        **circumstances(chosen, settings),
        "batch": settings.batch,
    }


def _backends(chosen: Config) -> list[tuple[str, InferenceSettings]]:
    """Every backend and precision; only the torch ones where OpenVINO is not installed."""
    names = ["torch", "openvino"] if openvino_installed() else ["torch"]
    settings = TypeAdapter(InferenceSettings)
    return [
        (
            f"{backend}_{precision}",
            settings.validate_python(
                {"backend": backend, "precision": precision, "device": chosen.inference.device}
            ),
        )
        for backend, precision in itertools.product(names, ("float32", "bfloat16"))
    ]


def _evaluator(chosen: Config, game: Game, settings: InferenceSettings) -> NetworkEvaluator:
    evaluate = NetworkEvaluator(game, chosen.network, settings)
    evaluate.load(weights(chosen, game), 0)
    return evaluate
