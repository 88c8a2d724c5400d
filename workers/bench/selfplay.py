"""Self-play against the ceiling that the network sets it."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import games
from alphazero.config import Config
from alphazero.inference import NetworkEvaluator
from alphazero.local_fleet import LocalFleet
from alphazero.types import Evaluation
from games.base import States
from workers.bench.measuring import (
    BenchSettings,
    Figures,
    Tally,
    Work,
    circumstances,
    measure,
    midgame,
    weights,
)
from workers.runs.train import choose_ray

if TYPE_CHECKING:
    from workers.cluster.fleet import RayFleet


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Self-play as a run does it, against the same network fed with ready batches."""
    game = games.make(chosen.game)
    # So that the games stand at different plies.
    play = replace(chosen.selfplay, random_opening_plies=game.max_plies // 4)
    alone = NetworkEvaluator(game, chosen.network, chosen.inference)
    alone.load(weights(chosen, game), 0)
    ray = choose_ray() if chosen.ray == "auto" else chosen.ray
    chosen = replace(chosen, selfplay=play, ray=ray)
    measured = _local if ray == "off" else _on_ray
    return {
        **measured(chosen, settings, alone),
        **circumstances(chosen, settings),
        "ray": ray,
        "simulations": chosen.search.simulations,
        "backend": alone.description,
    }


def _local(chosen: Config, settings: BenchSettings, alone: NetworkEvaluator) -> Figures:
    game = games.make(chosen.game)
    groups = max(chosen.selfplay.groups, settings.threads)
    play = replace(chosen.selfplay, groups=groups, workers=settings.threads)
    evaluator = _Counting(game, chosen.network, chosen.inference)
    evaluator.choice = alone.choice  # the same for both, made once
    fleet = LocalFleet(game, chosen.search, play, evaluator, chosen.seed)
    fleet.publish(weights(chosen, game), 0)

    def collect(_: int) -> int:
        fleet.collect()
        return play.groups * play.games

    collect(0)
    evaluator.batches.clear()
    works = [Work(collect, threads=1), _ceiling(alone, midgame(game, play.games), settings)]
    played, ready = measure(works, settings.seconds, warm=False)
    fleet.close()
    return _figures(chosen, played, sum(evaluator.batches), ready) | {"games": groups * play.games}


def _on_ray(chosen: Config, settings: BenchSettings, alone: NetworkEvaluator) -> Figures:
    from workers.cluster.fleet import RayFleet  # which takes Ray's seconds to import

    game = games.make(chosen.game)
    assert alone.choice
    # The servers take what was chosen here.
    inference = replace(chosen.inference, **alone.choice._asdict())
    with tempfile.TemporaryDirectory(prefix="alphazero-bench-") as folder:
        fleet = RayFleet(replace(chosen, inference=inference), Path(folder), chosen.ray)
        try:
            fleet.publish(weights(chosen, game), 0)
            playing = _Playing(fleet)
            with playing.turn():
                playing.evaluations(0)
            before = playing.count()
            # Where servers make larger batches than a group, the network alone shall have them too.
            batch = max(chosen.selfplay.games, round(before["evaluations"] / before["batches"]))
            works = [
                Work(playing.evaluations, threads=1, around=playing.turn),
                _ceiling(alone, midgame(game, batch), settings),
            ]
            played, ready = measure(works, settings.seconds, warm=False)
            grown = playing.count() - before
        finally:
            fleet.close()
    each = grown["moves"] * chosen.selfplay.games / grown["evaluations"]  # positions
    positions = Tally(round(each * played.units), played.seconds)
    return {
        **_figures(chosen, positions, played.units, ready),
        "mean_batch": grown["evaluations"] / grown["batches"],
        "servers": fleet.plan.servers,
        "workers": fleet.plan.workers,
        "games": fleet.plan.workers * fleet.plan.groups * chosen.selfplay.games,
    }


def _ceiling(alone: NetworkEvaluator, states: States, settings: BenchSettings) -> Work:
    return Work(lambda _: len(alone(states).value), settings.threads)


def _figures(chosen: Config, played: Tally, evaluations: int, ready: Tally) -> Figures:
    """``played``: positions; ``evaluations`` in the same time; ``ready``: the network alone."""
    rate = evaluations / played.seconds
    return {
        "simulations_per_second": played.rate * chosen.search.simulations,
        "positions_per_second": played.rate,
        "evaluations_per_second": rate,
        "ceiling_evaluations_per_second": ready.rate,
        "fraction_of_ceiling": rate / ready.rate,
    }


class _Playing:
    """A Ray fleet that plays in its turns and holds between them."""

    def __init__(self, fleet: "RayFleet"):
        self._fleet = fleet
        self._last = self.count()

    def count(self) -> Counter[str]:
        """What the workers and servers did since they began; exact while the fleet holds."""
        counts = Counter[str]()
        for _, status in self._fleet.ask():
            names = status.keys() & {"moves", "evaluations", "batches"}
            counts.update({name: status[name] for name in names})
        return counts

    def evaluations(self, _: int) -> int:
        """Made since the last call, which lies up to half a second back."""
        self._fleet.collect()
        before, self._last = self._last, self.count()
        return self._last["evaluations"] - before["evaluations"]

    @contextmanager
    def turn(self) -> Iterator[None]:
        self._fleet.allow(2**62)
        self._wait(lambda grown: grown > 0)
        self._last = self.count()
        yield
        self._fleet.allow(0)
        self._wait(lambda grown: grown == 0)

    def _wait(self, reached: Callable[[int], bool]) -> None:
        """Until the evaluations between two looks are as they should be."""
        self.evaluations(0)
        while not reached(self.evaluations(0)):
            pass


class _Counting(NetworkEvaluator):
    """Remembers the size of every batch it was asked for."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.batches: list[int] = []

    def __call__(self, states: States) -> Evaluation:
        self.batches.append(len(states))  # atomic, where adding to a sum would not be
        return super().__call__(states)
