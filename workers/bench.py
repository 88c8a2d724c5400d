"""What this machine does: search, inference, self-play and training rates, each measured here.

Rates drift by up to two between runs on a shared machine, so what is compared with each other is
measured in the same run, in slices that take turns.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic import dataclasses as validated
from torch.nn import functional

import games
from alphazero import config, evaluators, network, search
from alphazero.config import Config, InferenceSettings
from alphazero.config_file import ConfigError
from alphazero.inference import NetworkEvaluator
from alphazero.learner import Learner
from alphazero.loop import LocalFleet
from alphazero.nn.device import cores
from alphazero.nn.export import openvino_installed
from alphazero.replay import Batch
from alphazero.types import Evaluation, Evaluator, Weights
from games.base import Game, States

Figures = dict[str, Any]

TURNS = 4
"""Of each measurement in a run."""

SHORT = {
    "games": "selfplay.games",
    "simulations": "search.simulations",
    "blocks": "network.blocks",
    "channels": "network.channels",
}
"""What may be written for a key of the configuration here."""


@dataclass(frozen=True)
class Work:
    """``repeat(thread)`` does something once and returns how many units of it that was."""

    repeat: Callable[[int], int]
    threads: int


@dataclass
class Tally:
    units: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Units a second, all threads together."""
        return self.units / self.seconds


@validated.dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BenchSettings:
    config: str = "connect_four"
    """Whose game, search, network and optimizer; every key of it can be overridden too."""
    seconds: float = Field(default=10.0, gt=0)
    """Of measuring, start-up not counted."""
    threads: int = Field(default_factory=cores, ge=1)
    batch: int = Field(default=256, ge=2)
    """Positions a network call; self-play's follows from its games."""


def run(what: str, options: Sequence[str]) -> Figures:
    """Measure ``what`` (search, inference, selfplay or train) and return its figures by name.

    ``options`` are ``key=value``: a field of ``BenchSettings``, a key of ``SHORT`` or any key of
    the configuration. ``ConfigError`` where one is none of these.
    """
    own = set(BenchSettings.__dataclass_fields__)
    given = [option.partition("=") for option in options]
    values = {key: value for key, _, value in given if key in own}
    overrides = [f"{SHORT.get(key, key)}{_}{value}" for key, _, value in given if key not in own]
    try:
        settings = TypeAdapter(BenchSettings).validate_python(values)
    except ValidationError as error:
        lines = [f"{found['loc'][0]}: {found['msg']}" for found in error.errors()]
        raise ConfigError(lines) from None
    try:
        chosen = config.load(settings.config, overrides)
    except ConfigError as error:
        known = f"bench itself knows {', '.join(sorted(own | set(SHORT)))}"
        raise ConfigError([*error.lines, known]) from None
    torch.set_num_threads(1)
    return _BENCHES[what](chosen, settings)


def _search(chosen: Config, settings: BenchSettings) -> Figures:
    """Tree search alone: an evaluator that answers at once and knows nothing."""
    game = games.make(chosen.game)
    states = _midgame(game, chosen.selfplay.games)
    temperature = np.ones(len(states), np.float32)
    rngs = [_generators(thread, len(states)) for thread in range(settings.threads)]
    evaluate = evaluators.uniform(game)

    def work(thread: int) -> int:
        search.run(chosen.search(game, states, rngs[thread], temperature), evaluate)
        return len(states) * chosen.search.simulations

    (tally,) = _measure([Work(work, settings.threads)], settings.seconds)
    return {
        "simulations_per_second": tally.rate,
        **_circumstances(chosen, settings),
        "games": len(states),
        "simulations": chosen.search.simulations,
    }


def _inference(chosen: Config, settings: BenchSettings) -> Figures:
    """The network alone on every backend and precision there is here."""
    game = games.make(chosen.game)
    states = _midgame(game, settings.batch)
    backends = {name: _evaluator(chosen, game, each) for name, each in _backends(chosen)}

    def work_of(evaluate: Evaluator) -> Work:
        return Work(lambda _: len(evaluate(states).value), settings.threads)

    tallies = _measure([work_of(each) for each in backends.values()], settings.seconds)
    rates = [tally.rate for tally in tallies]
    return {
        "evaluations_per_second": max(rates),
        "backends": dict(zip(backends, rates, strict=True)),
        **_circumstances(chosen, settings),
        "batch": settings.batch,
    }


def _selfplay(chosen: Config, settings: BenchSettings) -> Figures:
    """Self-play as a run does it, against the same network fed with ready batches."""
    game = games.make(chosen.game)
    groups = max(chosen.selfplay.groups, settings.threads)
    play = replace(
        chosen.selfplay,
        groups=groups,
        workers=settings.threads,
        random_opening_plies=game.max_plies // 4,  # so that the games stand at different plies
    )
    evaluator = _Counting(game, chosen.network, chosen.inference)
    alone = NetworkEvaluator(game, chosen.network, chosen.inference)
    for each in (evaluator, alone):
        each.choice = evaluator.choice  # the same for both, made once
        each.load(_weights(chosen, game), 0)
    fleet = LocalFleet(game, chosen.search, play, evaluator, chosen.seed)
    states = _midgame(game, play.games)

    def collect(_: int) -> int:
        fleet.collect()
        return play.groups * play.games

    def ceiling(_: int) -> int:
        return len(alone(states).value)

    collect(0)
    evaluator.batches.clear()
    works = [Work(collect, threads=1), Work(ceiling, settings.threads)]
    played, ready = _measure(works, settings.seconds, warm=False)
    fleet.close()
    evaluations = sum(evaluator.batches) / played.seconds
    return {
        "simulations_per_second": played.rate * chosen.search.simulations,
        "positions_per_second": played.rate,
        "evaluations_per_second": evaluations,
        "ceiling_evaluations_per_second": ready.rate,
        "fraction_of_ceiling": evaluations / ready.rate,
        **_circumstances(chosen, settings),
        "games": groups * play.games,
        "simulations": chosen.search.simulations,
        "backend": evaluator.description,
    }


def _train(chosen: Config, settings: BenchSettings) -> Figures:
    """Optimizer steps as the learner does them, and as a plain float32 loop would."""
    game = games.make(chosen.game)
    training = replace(chosen.training, threads=settings.threads)
    learner = Learner(game, chosen.network, chosen.optimizer, training, chosen.seed)
    batch = _batch(game, settings.batch)
    plain_step = _plain_loop(chosen, game, batch)

    def plain(thread: int) -> int:
        torch.set_num_threads(settings.threads)
        try:
            return plain_step(thread)
        finally:
            torch.set_num_threads(1)

    def step(_: int) -> int:
        learner.train_step(batch, progress=0.0)
        return settings.batch

    works = [Work(step, threads=1), Work(plain, threads=1)]
    ours, theirs = _measure(works, settings.seconds)
    return {
        "samples_per_second": ours.rate,
        "plain_samples_per_second": theirs.rate,
        "ratio": ours.rate / theirs.rate,
        **_circumstances(chosen, settings),
        "batch": settings.batch,
        "precision": learner.precision,
    }


_BENCHES = {"search": _search, "inference": _inference, "selfplay": _selfplay, "train": _train}


class _Counting(NetworkEvaluator):
    """Remembers the size of every batch it was asked for."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.batches: list[int] = []

    def __call__(self, states: States) -> Evaluation:
        self.batches.append(len(states))  # atomic, where adding to a sum would not be
        return super().__call__(states)


def _measure(works: Sequence[Work], seconds: float, warm: bool = True) -> list[Tally]:
    """Repeat each work on its threads; the works take turns, ``seconds`` in all."""
    for work in works if warm else ():
        work.repeat(0)
    tallies = [Tally() for _ in works]
    for _ in range(TURNS):
        for work, tally in zip(works, tallies, strict=True):
            _take_turn(work, tally, seconds / (TURNS * len(works)))
    return tallies


def _take_turn(work: Work, tally: Tally, seconds: float) -> None:
    start = time.perf_counter()

    def until_the_end(thread: int) -> int:
        units = 0
        while time.perf_counter() < start + seconds:
            units += work.repeat(thread)
        return units

    with ThreadPoolExecutor(work.threads) as pool:
        tally.units += sum(pool.map(until_the_end, range(work.threads)))
    tally.seconds += time.perf_counter() - start


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
    evaluate.load(_weights(chosen, game), 0)
    return evaluate


def _weights(chosen: Config, game: Game) -> Weights:
    return network.weights(network.build(game, chosen.network, chosen.seed))


def _midgame(game: Game, batch: int) -> States:
    """Positions after a quarter of a game's plies, drawn at random; the same in every run."""
    rng = np.random.default_rng(0)
    states = game.initial(batch)
    for _ in range(game.max_plies // 4):
        after = game.step(states, evaluators.random_actions(game.legal(states), rng))
        going = game.legal(after).any(axis=1)
        states = np.where(going, after, states)
    return states


def _generators(seed: int, count: int) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, index]) for index in range(count)]


def _batch(game: Game, size: int) -> Batch:
    """Positions with uniform policies and drawn outcomes: as costly to learn from as real ones."""
    states = _midgame(game, size)
    legal = game.legal(states)
    policy = (legal / legal.sum(axis=1, keepdims=True)).astype(np.float32)
    wdl = np.eye(3, dtype=np.float32)[np.random.default_rng(0).integers(3, size=size)]
    return Batch(game.observe(states), legal, policy, wdl)


def _plain_loop(chosen: Config, game: Game, batch: Batch) -> Callable[[int], int]:
    """What a newcomer would write in torch: float32, the default memory layout, plain Adam."""
    wdl_network = network.build(game, chosen.network, chosen.seed).train()
    optimizer = torch.optim.Adam(wdl_network.parameters(), lr=1e-3, weight_decay=1e-4)

    def step(_: int) -> int:
        observations, legal, policy, wdl = (torch.from_numpy(array) for array in batch)
        logits, value_logits = wdl_network(observations)
        target = wdl if value_logits.shape[1] == 3 else wdl[:, :1]
        loss = functional.cross_entropy(logits.masked_fill(~legal, -1e9), policy)
        loss = loss + functional.mse_loss(value_logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        return len(observations)

    return step


def _circumstances(chosen: Config, settings: BenchSettings) -> Figures:
    return {
        "game": chosen.game,
        "network": f"{chosen.network.blocks}x{chosen.network.channels}",
        "threads": settings.threads,
        "seconds": settings.seconds,
    }
