"""The rate of self-play, and the upper limit that the network sets."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alphazero.config import Config
from alphazero.inference import NetworkEvaluator
from alphazero.local_fleet import LocalFleet
from alphazero.parts import game_of, search_of
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
from workers.bench.synthetic import CountingStore
from workers.runs.train import choose_ray

if TYPE_CHECKING:
    from workers.cluster.fleet import RayFleet


def bench(chosen: Config, settings: BenchSettings) -> Figures:
    """Measure self-play as in a run, and in turns with it the network alone on ready batches.

    ``fraction_of_ceiling``: evaluations per second in self-play as a share of those of the network
    alone. With 8,000 and 10,000 it is 0.8: search, game rules and waiting take the rest.
    """
    game = game_of(chosen)
    # Long random openings, so that the games are at different plies.
    play = replace(chosen.selfplay, random_opening_plies=game.max_plies // 4)
    network_alone = NetworkEvaluator(game, chosen.network, chosen.inference)
    network_alone.load(weights(chosen, game), 0)
    ray = choose_ray() if chosen.ray == "auto" else chosen.ray
    chosen = replace(chosen, selfplay=play, ray=ray)
    measured = _local if ray == "off" else _on_ray
    return {
        **measured(chosen, settings, network_alone),
        **circumstances(chosen, settings),
        "ray": ray,
        "simulations": search_of(chosen).simulations,
        "backend": network_alone.description,
    }


def _local(chosen: Config, settings: BenchSettings, network_alone: NetworkEvaluator) -> Figures:
    game = game_of(chosen)
    groups = max(chosen.selfplay.groups, settings.threads)
    play = replace(chosen.selfplay, groups=groups, threads=settings.threads)
    chosen = replace(chosen, selfplay=play)
    evaluator = _BatchSizes(chosen)
    evaluator.choice = network_alone.choice  # one timing for both
    # Nothing is played ahead: it would run during the turns of the network alone.
    fleet = LocalFleet(chosen, CountingStore(), evaluator, ahead=False)
    fleet.publish(weights(chosen, game), 0)

    def collect(_: int) -> int:
        fleet.collect()
        return play.groups * play.games

    collect(0)
    evaluator.batches.clear()
    works = [Work(collect, threads=1), _ceiling(network_alone, midgame(game, play.games), settings)]
    played, ready = measure(works, settings.seconds, warm=False)
    fleet.close()
    return _figures(chosen, played, sum(evaluator.batches), ready) | {"games": groups * play.games}


def _on_ray(chosen: Config, settings: BenchSettings, network_alone: NetworkEvaluator) -> Figures:
    from workers.cluster.fleet import RayFleet  # which takes Ray's seconds to import

    game = game_of(chosen)
    assert network_alone.choice
    # The servers use the backend and precision chosen here.
    inference = replace(chosen.inference, **network_alone.choice._asdict())
    with tempfile.TemporaryDirectory(prefix="alphazero-bench-") as folder:
        fleet = RayFleet(replace(chosen, inference=inference), Path(folder), chosen.ray)
        try:
            fleet.publish(weights(chosen, game), 0)
            playing = _Playing(fleet)
            with playing.turn():
                playing.evaluations(0)
            before = playing.count()
            # Servers join the requests of groups: the network alone gets batches of the same size.
            batch = max(chosen.selfplay.games, round(before["evaluations"] / before["batches"]))
            works = [
                Work(playing.evaluations, threads=1, around=playing.turn),
                _ceiling(network_alone, midgame(game, batch), settings),
            ]
            played, ready = measure(works, settings.seconds, warm=False)
            grown = playing.count() - before
        finally:
            fleet.close()
    per_evaluation = grown["moves"] * chosen.selfplay.games / grown["evaluations"]
    positions = Tally(round(per_evaluation * played.units), played.seconds)
    return {
        **_figures(chosen, positions, played.units, ready),
        "mean_batch": grown["evaluations"] / grown["batches"],
        "servers": fleet.plan.servers,
        "workers": fleet.plan.workers,
        "games": fleet.plan.workers * fleet.plan.groups * chosen.selfplay.games,
    }


def _ceiling(network_alone: NetworkEvaluator, states: States, settings: BenchSettings) -> Work:
    return Work(lambda _: len(network_alone(states).value), settings.threads)


def _figures(chosen: Config, played: Tally, evaluations: int, ready: Tally) -> Figures:
    """Figures of ``played`` positions, their ``evaluations``, and ``ready``: the network alone."""
    rate = evaluations / played.seconds
    return {
        "simulations_per_second": played.rate * search_of(chosen).simulations,
        "positions_per_second": played.rate,
        "evaluations_per_second": rate,
        "ceiling_evaluations_per_second": ready.rate,
        "fraction_of_ceiling": rate / ready.rate,
    }


class _Playing:
    """A Ray fleet that plays during its turns and pauses between them."""

    def __init__(self, fleet: "RayFleet"):
        self._fleet = fleet
        self._last = self.count()

    def count(self) -> Counter[str]:
        """Counts of all workers and servers since they started; exact while the fleet pauses."""
        counts = Counter[str]()
        for _, status in self._fleet.fetch_statuses():
            names = status.keys() & {"moves", "evaluations", "batches"}
            counts.update({name: status[name] for name in names})
        return counts

    def evaluations(self, _: int) -> int:
        """Evaluations since the last call; the counts are up to half a second old."""
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
        """Wait until ``reached`` holds for the evaluations since the last count."""
        self.evaluations(0)
        while not reached(self.evaluations(0)):
            pass


class _BatchSizes(NetworkEvaluator):
    """A network evaluator that records the size of every batch."""

    def __init__(self, chosen: Config):
        super().__init__(game_of(chosen), chosen.network, chosen.inference)
        self.batches: list[int] = []

    def __call__(self, states: States) -> Evaluation:
        self.batches.append(len(states))  # atomic, where adding to a sum would not be
        return super().__call__(states)
